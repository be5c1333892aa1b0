"""The normal operator of a weighted radial measurement as a convolution: two FFTs instead of two NUFFTs."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from inr_core.batches import at_once
from inr_core.errors import DataError
from inr_core.lanes import in_lanes, n_lanes
from inr_core.operators.linear_operator import LinearOperator
from inr_core.operators.nufft_backends import make_backend

_SPECTRA_BYTES = 2**27  # of one batch on a device; a product holds about three times as much


def toeplitz_kernel(
    traj: Tensor, weights: Tensor, shape: tuple[int, int], backend: str = "auto", tolerance: float | None = None
) -> Tensor:
    """Transfer function of F^H W F on the doubled grid.

    F^H W F is a Toeplitz matrix: entry (r, s) is the point spread function w(r - s) = 1/(nx ny) sum_j w_j exp(2 pi i
    k_j (r - s)), for differences up to n - 1 in each direction. On a grid of 2n the convolution is circular and exact
    (Fessler et al., doi 10.1109/TSP.2005.853152). Real weights make the function Hermitian, and its transform real.

    Parameters
    ----------
    traj : (frames, spokes, samples, 2)
        (kx, ky) in cycles per pixel.
    weights : (frames, spokes, samples)
        Real weights of the samples.
    shape
        (ny, nx) of the images.

    Returns
    -------
    (frames, 2 ny, 2 nx) real
    """
    ny, nx = shape
    library = make_backend(backend, traj.device, traj.dtype, tolerance)
    points = traj.reshape(traj.shape[0], -1, 2)
    strengths = weights.reshape(weights.shape[0], 1, -1).to(traj.dtype.to_complex())
    psf = torch.cat([library.type1(p, c, (2 * ny, 2 * nx)) for p, c in zip(points, strengths, strict=True)])
    # Differences of -n occur in no pair of pixels and have no mirror image; without them the transform is exactly real.
    psf[:, 0, :] = 0
    psf[:, :, 0] = 0
    transfer: Tensor = torch.fft.fft2(torch.fft.ifftshift(psf, dim=(-2, -1))).real.contiguous() / (nx * ny)
    return transfer


class ToeplitzGram(LinearOperator):
    """S^H F^H W F S: its own adjoint, one frame of images in, one out.

    Parameters
    ----------
    kernel : (frames, 2 ny, 2 nx)
        From :func:`toeplitz_kernel`.
    csm : (coils, ny, nx)
        Receive maps.

    Raises
    ------
    DataError
        If shapes do not fit.
    """

    def __init__(self, kernel: Tensor, csm: Tensor) -> None:
        ny, nx = csm.shape[-2:]
        if kernel.ndim != 3 or tuple(kernel.shape[1:]) != (2 * ny, 2 * nx):
            raise DataError(f"a kernel of shape {tuple(kernel.shape)}", f"(frames, {2 * ny}, {2 * nx})")
        self.kernel, self.csm = kernel, csm

    def forward(self, x: Tensor) -> Tensor:
        """(frames, ny, nx) -> (frames, ny, nx)."""
        ny, nx = self.csm.shape[-2:]
        if x.ndim != 3 or tuple(x.shape) != (self.kernel.shape[0], ny, nx):
            raise DataError(f"images of shape {tuple(x.shape)}", f"({self.kernel.shape[0]}, {ny}, {nx})")
        if x.device.type == "cpu":
            return self._in_lanes(x)
        n = at_once(_SPECTRA_BYTES // (len(self.csm) * self.kernel[0].numel() * x.element_size()))
        parts = zip(x.split(n), self.kernel.split(n), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([_product(images, kernel, self.csm) for images, kernel in parts])

    def _in_lanes(self, x: Tensor) -> Tensor:
        """A frame, or a part of a single frame's coils, after the other in each lane.

        One frame's spectra stay in a CPU's caches, and those of many do not: two to three times as fast.
        """
        if len(x) == 1:
            # Twice as many as lanes: one that begins late, or has to wait, leaves more of them to the other.
            parts = self.csm.chunk(2 * n_lanes() if n_lanes() > 1 else 1)
            return torch.stack(in_lanes([partial(_product, x, self.kernel, csm) for csm in parts])).sum(0)
        frames = zip(x.split(1), self.kernel.split(1), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat(in_lanes([partial(_product, image, kernel, self.csm) for image, kernel in frames]))

    def adjoint(self, y: Tensor) -> Tensor:
        """The same as forward: weights are real."""
        return self.forward(y)


def _product(x: Tensor, kernel: Tensor, csm: Tensor) -> Tensor:
    ny, nx = x.shape[-2:]
    spectrum = torch.fft.fft2(csm * x[:, None], s=(2 * ny, 2 * nx))
    spectrum *= kernel[:, None]
    coils: Tensor = torch.fft.ifft2(spectrum)[..., :ny, :nx]
    return (csm.conj() * coils).sum(1)
