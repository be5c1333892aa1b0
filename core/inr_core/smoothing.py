"""Means over squares of pixels."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def box_mean(images: Tensor, window: int) -> Tensor:
    """The mean over a square of ``window`` pixels, odd, of those of them that there are; (..., ny, nx) real."""
    along_y, along_x = (_box(n, window, images.dtype, images.device) for n in images.shape[-2:])
    return along_y @ images @ along_x.T


@cache
def _box(n: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, n): the mean of ``window`` neighbours, of fewer at the ends. Two such products are faster than pooling."""
    pixel = torch.arange(n, device=device)
    near = ((pixel[:, None] - pixel).abs() <= window // 2).to(dtype)
    return near / near.sum(1, keepdim=True)
