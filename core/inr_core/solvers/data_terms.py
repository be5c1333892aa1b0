"""Data consistency of images that a network made, as differentiable terms of its loss.

Images are in units of :attr:`SliceData.scale`. All terms are means over the frames that they are given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inr_core.density import ramp_density
from inr_core.errors import DataError
from inr_core.inner_products import inner
from inr_core.operators.linear_operator import LinearOperator
from inr_core.operators.nufft import Nufft
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.slice_data import SliceData


class _Quadratic(torch.autograd.Function):
    """1/2 x^H G x - Re x^H b with the gradient G x - b: one product with the gram for both."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gram: ToeplitzGram, right: Tensor) -> Tensor:
        product = gram.forward(x)
        ctx.save_for_backward(product - right)
        return inner(x, 0.5 * product - right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None


class ToeplitzL2:
    """1/2 |W^1/2 (F S x - y)|^2 / g per pixel, up to a constant, with g the mean of the gram's diagonal.

    The ramp is in W; no transform is differentiated, and a frame costs two FFTs a coil.
    """

    def __init__(self, data: SliceData) -> None:
        self._data = data

    def __call__(self, images: Tensor, positions: Tensor) -> Tensor:
        """(n, ny, nx) images of the frames at (n,) positions -> scalar."""
        data = self._data
        kernel = torch.cat([data.frames[int(i)].kernel for i in positions])
        right = data.right[positions] / data.scale
        value = _Quadratic.apply(images, ToeplitzGram(kernel, data.csm), right)  # type: ignore[no-untyped-call]
        return value / (data.strength * images.numel())  # type: ignore[no-any-return]


class RampBackward(LinearOperator):
    """F with the density-compensated adjoint F^H W / g in the place of the adjoint.

    Not the gradient, but a preconditioned one: what the released code of TD-DIP and DA-INR propagates.
    """

    def __init__(self, fourier: Nufft, weights: Tensor) -> None:
        self._fourier, self._weights = fourier, weights

    def forward(self, x: Tensor) -> Tensor:
        """(frames, coils, ny, nx) -> (frames, coils, spokes, samples)."""
        return self._fourier.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """(frames, coils, spokes, samples) -> (frames, coils, ny, nx)."""
        return self._fourier.adjoint(self._weights * y)


class NufftTerm:
    """A norm of F S x - y, sample by sample, for norms that no gram can express.

    Parameters
    ----------
    data
        With samples.
    norm
        Residual and prediction, (coils, spokes, samples) -> scalar; see :func:`l1`, :func:`l2` and :func:`relative_l2`.
    ramp_backward
        Propagate the residual's norm by the density-compensated adjoint instead of the adjoint.
    unit
        What samples are divided by; None for the largest magnitude of all. With ``data.scale`` they are those of an
        image of maximum 1 under the unitary transform.

    Raises
    ------
    DataError
        If the data hold no samples.
    """

    def __init__(self, data: SliceData, norm: Any, *, ramp_backward: bool = False, unit: float | None = None) -> None:
        if len(data.samples) != len(data):
            raise DataError(f"samples of {len(data.samples)} frames of {len(data)}", "samples of every frame")
        self._norm, self._csm = norm, data.csm
        largest = max(float(kspace.abs().max()) for kspace, _ in data.samples)
        if not largest > 0:
            raise DataError("samples that are all zero", "a signal", "check the receivers")
        unit = largest if unit is None else unit
        self._image_scale = data.scale / unit
        self._samples = [kspace / unit for kspace, _ in data.samples]
        self._fourier: list[LinearOperator] = []
        for _, traj in data.samples:
            fourier = Nufft(traj[None], data.shape)
            self._fourier.append(RampBackward(fourier, _unit_ramp(traj, data.shape)) if ramp_backward else fourier)

    def __call__(self, images: Tensor, positions: Tensor) -> Tensor:
        """(n, ny, nx) images of the frames at (n,) positions -> scalar."""
        coil_images = self._image_scale * images[:, None] * self._csm
        terms = []
        for image, position in zip(coil_images, positions, strict=True):
            predicted = self._fourier[int(position)](image[None])[0]
            terms.append(self._norm(predicted - self._samples[int(position)], predicted))
        return torch.stack(terms).mean()


def l1(residual: Tensor, predicted: Tensor) -> Tensor:
    """Mean of |Re| + |Im| of the residual (DA-INR)."""
    return (residual.real.abs() + residual.imag.abs()).mean()


def l2(residual: Tensor, predicted: Tensor) -> Tensor:
    """Mean of |e|^2 of the residual (FMLP, TD-DIP)."""
    return residual.abs().square().mean()


def relative_l2(residual: Tensor, predicted: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Mean over real and imaginary parts of e^2 / (p^2 + epsilon), p the prediction without its gradient (STINR)."""
    e, p = torch.view_as_real(residual), torch.view_as_real(predicted.detach())
    return (e**2 / (p**2 + epsilon)).mean()


def _unit_ramp(traj: Tensor, shape: tuple[int, int]) -> Tensor:
    """(spokes, samples): the ramp with which F^H W F has a unit diagonal."""
    density = torch.from_numpy(ramp_density(traj.cpu().numpy(), shape[::-1])).to(traj)
    return density * (shape[0] * shape[1] / density.sum())
