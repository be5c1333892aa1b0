"""The Fourier transform from images to the samples of a trajectory, frame by frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.operators.linear_operator import LinearOperator
from inr_core.operators.nufft_backends import make_backend


class Nufft(LinearOperator):
    """y(k) = 1/sqrt(nx ny) sum_r x(r) exp(-2 pi i k.r): unitary up to the density of the samples.

    Parameters
    ----------
    traj : (frames, spokes, samples, 2)
        (kx, ky) in cycles per pixel, each within -0.5 to 0.5; float32 or float64 decides the precision.
    shape
        (ny, nx) of the images.
    backend
        See :func:`inr_core.operators.nufft_backends.make_backend`.
    tolerance
        Relative accuracy of (cu)FINUFFT; None for 1e-4 (single) or 1e-12 (double).

    Raises
    ------
    DataError
        If the trajectory or an argument has another shape.
    """

    def __init__(
        self, traj: Tensor, shape: tuple[int, int], backend: str = "auto", tolerance: float | None = None
    ) -> None:
        if traj.ndim != 4 or traj.shape[-1] != 2:
            raise DataError(f"a trajectory of shape {tuple(traj.shape)}", "(frames, spokes, samples, 2)")
        self.traj, self.shape = traj, shape
        self._points = traj.reshape(traj.shape[0], -1, 2)
        self._backend = make_backend(backend, traj.device, traj.dtype, tolerance)
        self._scale = 1.0 / math.sqrt(shape[0] * shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """(frames, coils, ny, nx) -> (frames, coils, spokes, samples)."""
        if x.ndim != 4 or x.shape[0] != self.traj.shape[0] or tuple(x.shape[-2:]) != self.shape:
            raise DataError(
                f"images of shape {tuple(x.shape)}",
                f"({self.traj.shape[0]} frames, coils, {self.shape[0]}, {self.shape[1]})",
            )
        frames = [self._backend.type2(p, x[t]) for t, p in enumerate(self._points)]
        return torch.stack(frames).reshape(*x.shape[:2], *self.traj.shape[1:3]) * self._scale

    def adjoint(self, y: Tensor) -> Tensor:
        """(frames, coils, spokes, samples) -> (frames, coils, ny, nx)."""
        frames, spokes, samples, _ = self.traj.shape
        if y.ndim != 4 or (y.shape[0], *y.shape[2:]) != (frames, spokes, samples):
            raise DataError(f"samples of shape {tuple(y.shape)}", f"({frames} frames, coils, {spokes}, {samples})")
        flat = y.reshape(*y.shape[:2], -1)
        images = [self._backend.type1(p, flat[t], self.shape) for t, p in enumerate(self._points)]
        return (images[0][None] if frames == 1 else torch.stack(images)).mul_(self._scale)
