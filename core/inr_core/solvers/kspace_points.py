"""The samples of a slice as points of k-space and time, and images of a k-space that is known everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.slice_data import SliceData


@dataclass(frozen=True)
class Spokes:
    """All spokes of a slice, each with its own time: no frames.

    Attributes
    ----------
    times : (spokes,) float32
        From -1, the begin of the first frame, to 1, the end of the last; the spokes of a frame follow each other
        evenly.
    traj : list of (samples, 2) float32
        (kx, ky) from -1 to 1, which is half a cycle per pixel.
    kspace : list of (samples, coils) complex64
        Divided by ``unit``.
    unit
        The largest magnitude of all samples.
    """

    times: Tensor
    traj: list[Tensor]
    kspace: list[Tensor]
    unit: float

    @classmethod
    def of(cls, data: SliceData) -> Spokes:
        """The spokes of all frames.

        Raises
        ------
        DataError
            If the data hold no samples, or nothing but zeros.
        """
        if len(data.samples) != len(data):
            raise DataError(f"samples of {len(data.samples)} frames of {len(data)}", "samples of every frame")
        unit = max(float(kspace.abs().max()) for kspace, _ in data.samples)
        if not (math.isfinite(unit) and unit > 0):
            raise DataError(f"samples of maximum {unit:g}", "a signal", "check the receivers")
        times, trajectories, spokes = [], [], []
        for i, (kspace, traj) in enumerate(data.samples):
            n = traj.shape[0]
            times.append(2 * (i + (torch.arange(n) + 0.5) / n) / len(data) - 1)
            trajectories += list(2 * traj)
            spokes += list((kspace / unit).permute(1, 2, 0))
        return cls(torch.cat(times).to(data.device), trajectories, spokes, unit)

    def part(self, chosen: list[int]) -> Spokes:
        """Some of the spokes."""
        return Spokes(self.times[chosen], [self.traj[i] for i in chosen], [self.kspace[i] for i in chosen], self.unit)

    def points(self) -> tuple[Tensor, Tensor]:
        """(samples, 3) of (t, kx, ky), and (samples, coils): all samples of all spokes."""
        coordinates = [torch.cat([t.expand(len(k), 1), k], 1) for t, k in zip(self.times, self.traj, strict=True)]
        return torch.cat(coordinates), torch.cat(self.kspace)

    @property
    def extent(self) -> tuple[float, float]:
        """Largest |kx| and |ky|: the half axes of what was measured."""
        ends = torch.stack([k.abs().amax(0) for k in self.traj]).amax(0)
        return float(ends[0]), float(ends[1])


def image_of_kspace(
    kspace: Callable[[Tensor], Tensor], extent: tuple[float, float], shape: tuple[int, int], device: torch.device
) -> Tensor:
    """Coil images of a k-space that can be evaluated anywhere, by an inverse FFT.

    It is evaluated on a Cartesian grid twice as dense as that of the image, so on twice the field of view, since what
    lies outside of the image would else be folded into it; the image is its middle. Points outside of the ellipse with
    the half axes ``extent`` are zero: nothing was measured there.

    Parameters
    ----------
    kspace
        (points, 2) of (kx, ky) from -1 to 1 -> (points, coils) samples of the unitary transform of the image (see
        :class:`inr_core.operators.nufft.Nufft`).
    extent
        Half axes along kx and ky; 0 for the line of the other axis.
    shape
        (ny, nx) of the image.

    Returns
    -------
    (coils, ny, nx) complex64
    """
    ny, nx = shape
    ky, kx = ((torch.arange(2 * n, device=device) - n) / n for n in shape)
    points = torch.stack(torch.meshgrid(ky, kx, indexing="ij")[::-1], -1).reshape(-1, 2)
    axes = torch.tensor(extent, device=device).clamp_min(torch.finfo(torch.float32).tiny)
    inside = (points / axes).square().sum(1) <= 1
    values = kspace(points[inside])
    grid = torch.zeros(values.shape[1], 4 * ny * nx, dtype=values.dtype, device=device)
    grid[:, inside] = values.T
    grid = torch.fft.ifftshift(grid.reshape(-1, 2 * ny, 2 * nx), dim=(-2, -1))
    # A step of the grid is 1/2n cycles per pixel: x = sqrt(ny nx) sum y exp(2 pi i k r) / (4 ny nx).
    image = torch.fft.fftshift(torch.fft.ifft2(grid), dim=(-2, -1)) * math.sqrt(ny * nx)
    top, left = ny - ny // 2, nx - nx // 2
    middle: Tensor = image[:, top : top + ny, left : left + nx]
    return middle
