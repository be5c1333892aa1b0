"""Differences whose sizes total variation adds up: along time, along the paths of motion, in the plane."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from inr_core.solvers.optical_flow import flow_residual, flow_residual_adjoint


class Variation(ABC):
    """A linear map from a series (frames, ny, nx) to its differences, (directions, n, ny, nx).

    The directions at a point share one modulus.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Differences of a series."""

    @abstractmethod
    def adjoint(self, differences: Tensor) -> Tensor:
        """(directions, n, ny, nx) -> (frames, ny, nx)."""


class TemporalVariation(Variation):
    """x_{t+1} - x_t, (1, frames - 1, ny, nx).

    Parameters
    ----------
    flow : (frames - 1, 2, ny, nx)
        With it the difference is :func:`~inr_core.solvers.optical_flow.flow_residual`, along the paths of motion.
    """

    def __init__(self, flow: Tensor | None = None) -> None:
        self._flow = flow

    def forward(self, x: Tensor) -> Tensor:
        """Differences of a series."""
        steps = x[1:] - x[:-1] if self._flow is None else flow_residual(x, self._flow)
        return steps[None]

    def adjoint(self, differences: Tensor) -> Tensor:
        """(1, frames - 1, ny, nx) -> (frames, ny, nx)."""
        steps = differences[0]
        if self._flow is not None:
            return flow_residual_adjoint(steps, self._flow)
        zero = steps.new_zeros(1, *steps.shape[1:])
        return -torch.diff(steps, dim=0, prepend=zero, append=zero)


class SpatialVariation(Variation):
    """Differences to the next pixel along x and y, (2, ..., ny, nx).

    Beyond the last pixel the image goes on as it is.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Differences of a series."""
        along_x = F.pad(x[..., 1:] - x[..., :-1], (0, 1))
        along_y = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
        return torch.stack([along_x, along_y])

    def adjoint(self, differences: Tensor) -> Tensor:
        """(2, frames, ny, nx) -> (frames, ny, nx)."""
        along_x, along_y = differences[0, ..., :-1], differences[1, ..., :-1, :]
        out = torch.zeros_like(differences[0])
        out[..., 1:] += along_x
        out[..., :-1] -= along_x
        out[..., 1:, :] += along_y
        out[..., :-1, :] -= along_y
        return out


def flow_variation(flow: Tensor, smooth: float = 0.1) -> Tensor:
    """sum_t,r sqrt(|d_x (u, v)|^2 + |d_y (u, v)|^2 + smooth^2): total variation of (steps, 2, ny, nx) in space.

    Differences are those to the next pixel; beyond the last one the flow goes on as it is. ``smooth``, in pixels per
    frame and pixel, rounds the corner at zero: what varies less is smoothed, as tissue deforms, and only what
    varies more may be an edge, as between tissues that slide along one another.
    """
    along_x, along_y = SpatialVariation().forward(flow)
    total: Tensor = ((along_x**2 + along_y**2).sum(1) + smooth**2).sqrt().sum()
    return total
