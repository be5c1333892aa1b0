"""Where the pixels of a finer image lie among those that were measured."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_positions(n: int, measured: int) -> Tensor:
    """(n,) float32: centres of ``n`` pixels along an axis, in measured pixels, of which the first is at 0.

    They share the field of view of the ``measured`` ones, and the centre of the image is pixel n // 2 of both.
    """
    return (torch.arange(n) - n // 2) * (measured / n) + measured // 2


def lattice_cells(n: int, spacing: int) -> int:
    """Nodes along an axis of ``n`` pixels, about ``spacing`` of them apart; 2 at least."""
    return max(2, -(-n // spacing))


def interpolation_matrix(n: int, measured: int, cells: int) -> Tensor:
    """(n, cells) float32: linear interpolation from nodes spread over the measured pixels, the outermost on the edges.

    The n positions are those of :func:`pixel_positions`; beyond the outermost nodes the values go on as they are.
    """
    position = (pixel_positions(n, measured) * ((cells - 1) / max(measured - 1, 1))).clamp(0, cells - 1)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0)


def sampling_grid(ys: Tensor, xs: Tensor) -> Tensor:
    """(1, ny, nx, 2): positions from 0 to 1 along each axis as ``grid_sample`` has them, (x, y) from -1 to 1."""
    return torch.stack(torch.meshgrid(2 * xs - 1, 2 * ys - 1, indexing="xy"), -1)[None]
