"""What a frame's data say of a prediction, pixel by pixel, compiled for a CPU; images as numbers in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from inr_core.compiling import compiled, in_turn, part
from inr_core.operators import column_blocks, column_transform, compiled_gram
from inr_core.operators.column_blocks import from_blocks_in_turn, to_blocks
from inr_core.operators.column_transform import stages
from inr_core.operators.compiled_gram import add_product, compiled_product, room_of
from inr_core.operators.toeplitz import Product, sum_of

_NOTHING = np.empty(0, np.float32)


@part
def _look_at(csm, coil_images, explained, image, right, missing):
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


@compiled
def _look(csm, coil_images, explained, image, right, missing):
    return _look_at(csm, coil_images, explained, image, right, missing)


@cache
def _products_and_look_of(ny: int, nx: int) -> Callable[..., tuple[float, float]]:
    """The same with what is explained: a product, or the sum of two."""
    y_stages, x_stages = stages(ny), stages(nx)

    def look(first, second, tables, csm, coil_images, image, right, missing):
        (kernel, blocks, one), (more_kernel, more_blocks, other) = first, second
        y_tables, x_tables = tables
        spectra, pair = room_of(ny, nx)
        x, out = np.zeros((1, *blocks.shape[1:]), np.float32), np.zeros(blocks.shape[1:], np.float32)
        to_blocks(one.reshape(1, -1), ny, nx, x)
        add_product(x[0], blocks, kernel, y_tables, x_tables, spectra, pair, out, y_stages, x_stages, (ny, nx))
        if more_kernel.size > 0:
            to_blocks(other.reshape(1, -1), ny, nx, x)
            add_product(
                x[0], more_blocks, more_kernel, y_tables, x_tables, spectra, pair, out, y_stages, x_stages, (ny, nx)
            )
        explained = np.empty_like(right)
        from_blocks_in_turn(out, ny, nx, explained.reshape(-1))
        return _look_at(csm, coil_images, explained, image, right, missing)

    return compiled(look, column_blocks, column_transform, compiled_gram)


def look(
    csm: Tensor, coil_images: Tensor, products: Sequence[Product], image: Tensor
) -> tuple[Tensor, Tensor, float, float]:
    """What the data pull towards and what of it is not explained, the image's maximum, and the mean of |maps|^2.

    Parameters
    ----------
    csm, coil_images : (coils, ny, nx)
        Receive maps, and gridded data of as many coils or more.
    products
        Grams and images, (ny, nx), whose products are what is explained of the data; one or two.
    image : (ny, nx)
        That whose maximum is asked for.
    """
    if csm.shape[1:] != coil_images.shape[1:] or len(csm) > len(coil_images) or image.shape != csm.shape[1:]:
        raise ValueError(f"maps {tuple(csm.shape)} of coil images {tuple(coil_images.shape)}")
    for _, one in products:
        if one.shape != image.shape or one.dtype != image.dtype:
            expected = f"{tuple(image.shape)} {image.dtype} expected"
            raise ValueError(f"a product of {tuple(one.shape)} {one.dtype}: {expected}")
    right, missing = (torch.empty(image.shape, dtype=image.dtype) for _ in range(2))  # in_turn must not copy them
    arrays = [in_turn(one) for one in (csm, coil_images, image, right, missing)]
    shape = image.shape[0], image.shape[1]
    if all(gram.runs_alone for gram, _ in products):
        first, *more = ((*gram.in_blocks(), in_turn(one)) for gram, one in products)
        second = more[0] if more else (_NOTHING, *first[1:])
        work = _products_and_look_of(*shape)
        largest, power = work(first, second, compiled_product(shape).tables, *arrays)
    else:
        largest, power = _look(arrays[0], arrays[1], in_turn(sum_of(products)), *arrays[2:])
    return right, missing, math.sqrt(largest), power / image.numel()
