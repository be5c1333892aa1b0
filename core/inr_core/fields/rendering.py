"""A field's series in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def render_in_parts(images: Callable[[Tensor], Tensor], times: Tensor, shape: tuple[int, int], pixels: int) -> Tensor:
    """Images at many times, without a gradient.

    Parameters
    ----------
    images
        (n,) times -> (n, ny, nx).
    times : (n,)
        All of them.
    shape
        (ny, nx).
    pixels
        At most so many at once, but never less than an image.
    """
    at_once = max(1, pixels // (shape[0] * shape[1]))
    return torch.cat([images(part) for part in torch.split(times, at_once)])
