"""Where the pixels of a finer image lie among those that were measured."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_positions(n: int, measured: int) -> Tensor:
    """(n,) float32: centres of ``n`` pixels along an axis, in measured pixels, of which the first is at 0.

    They share the field of view of the ``measured`` ones, and the centre of the image is pixel n // 2 of both.
    """
    return (torch.arange(n) - n // 2) * (measured / n) + measured // 2


def sampling_grid(ys: Tensor, xs: Tensor) -> Tensor:
    """(1, ny, nx, 2): positions from 0 to 1 along each axis as ``grid_sample`` has them, (x, y) from -1 to 1."""
    return torch.stack(torch.meshgrid(2 * xs - 1, 2 * ys - 1, indexing="xy"), -1)[None]
