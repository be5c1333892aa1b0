"""What a frame's data say of a prediction, pixel by pixel, compiled for a CPU; images as numbers in turn."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from inr_core.compiling import compiled, in_turn


@compiled
def _look(csm, coil_images, explained, image, right, missing):
    """Fill right = sum_c conj(s_c) b_c and missing; the largest |image|^2 and the sum of |s_c|^2."""
    ny, n = right.shape
    largest, total = np.float32(0), 0.0
    for y in range(ny):
        b, m, e, p, some = right[y], missing[y], explained[y], image[y], np.float32(0)
        for x in range(n):
            b[x] = 0
        for coil in range(csm.shape[0]):
            s, c = csm[coil, y], coil_images[coil, y]
            for x in range(0, n, 2):
                b[x] += s[x] * c[x] + s[x + 1] * c[x + 1]
                b[x + 1] += s[x] * c[x + 1] - s[x + 1] * c[x]
                some += s[x] * s[x] + s[x + 1] * s[x + 1]
        for x in range(0, n, 2):
            m[x], m[x + 1] = b[x] - e[x], b[x + 1] - e[x + 1]
            largest = max(largest, p[x] * p[x] + p[x + 1] * p[x + 1])
        total += float(some)
    return largest, total


def look(csm: Tensor, coil_images: Tensor, explained: Tensor, image: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """What the data pull towards and what of it is not explained, the image's maximum, and the mean of |maps|^2.

    Parameters
    ----------
    csm, coil_images : (coils, ny, nx)
        Receive maps, and gridded data of as many coils or more.
    explained, image : (ny, nx)
        What is explained of the data, and the image whose maximum is asked for.
    """
    if csm.shape[1:] != coil_images.shape[1:] or len(csm) > len(coil_images) or explained.shape != image.shape:
        raise ValueError(f"maps {tuple(csm.shape)} of coil images {tuple(coil_images.shape)}")
    right, missing = (torch.empty(image.shape, dtype=image.dtype) for _ in range(2))  # in_turn must not copy them
    arrays = [in_turn(one) for one in (csm, coil_images, explained, image, right, missing)]
    largest, power = _look(*arrays)
    return right, missing, math.sqrt(largest), power / image.numel()
