"""Sums of waves from scattered samples, compiled for a CPU's caches and vectors; in single precision.

A non-uniform transform of type 1 as in FINUFFT: samples are spread onto a finer grid (:mod:`.spreading`), which is
transformed, cropped and divided by the kernel's own transform. A live frame has so few samples that nearly all of the
time is that of transforms: here those of :mod:`.column_transform`, of all coils at once, without a plan, and along the
second axis only of what is not cropped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from inr_core.compiling import Array, compiled, part
from inr_core.operators import column_transform, spreading
from inr_core.operators.column_blocks import W
from inr_core.operators.column_transform import ROOM, stages, there
from inr_core.operators.spreading import (
    WIDTH,
    add_column,
    axis_of,
    grid_size,
    samples_of_groups,
    spread_table,
    spread_weights,
    to_points,
    wrap_rows,
)

COLUMNS = 1, 8, W  # of images that go through together, each number by a function of its own
_GROUP = 8  # blocks of the grid that samples are spread to together: they stay in a core's second cache


@part
def _spread(points, coefficients, table, numbers, grid, first, shape, columns):
    """Spread some samples onto blocks of the grid that begin with the column ``first``.

    All rows that a sample is spread to are one long vector, and columns of the block that are not its own get zeros: a
    compiler makes no vectors of a few columns.
    """
    height, width = shape
    size, beyond, each = WIDTH * W, (height + WIDTH) * W, W // columns
    along_y, along_x = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    re, im, own = np.empty(size, np.float32), np.empty(size, np.float32), np.zeros((each, size), np.float32)
    for k in range(size):
        own[k % W // columns, k] = 1
    for m in numbers:
        left = spread_weights(points[m, 0] * width, table, along_x)
        o = spread_weights(points[m, 1] * height, table, along_y) % height * W
        for k in range(W):
            a, b = np.float32(0), np.float32(0)
            if k % columns < coefficients.shape[0]:
                a, b = coefficients[k % columns, 2 * m], coefficients[k % columns, 2 * m + 1]
            for i in range(WIDTH):
                re[i * W + k], im[i * W + k] = along_y[i] * a, along_y[i] * b
        for j in range(WIDTH):
            x = (left + j) % width - first
            if 0 <= x < _GROUP * each:
                add_column(grid[x // each, o:], along_x[j], own[x % each], re, size)
                add_column(grid[x // each, o + beyond :], along_x[j], own[x % each], im, size)


@cache
def _along_y(height: int, columns: int) -> Callable[..., None]:
    """Spread samples onto some blocks of the grid and transform these, one group after the other."""
    plan, beyond, each = stages(height), (height + WIDTH) * W, W // columns

    def transform(points, coefficients, table, begins, numbers, y_rows, twiddles, roots, width, rows):
        grid = np.empty((_GROUP, 2 * beyond + ROOM), np.float32)
        for group in range(begins.size - 1):
            grid[:] = 0
            first, some = group * _GROUP * each, numbers[begins[group] : begins[group + 1]]
            _spread(points, coefficients, table, some, grid, first, (height, width), columns)
            for block in range(min(_GROUP, -(-(width - first) // each))):
                d = grid[block]
                wrap_rows(d, height, beyond)
                there(d, beyond, twiddles, roots, height, plan)
                x = first + block * each
                _put_rows(d, beyond, x, min(each, width - x), y_rows, width, columns, rows)

    return compiled(transform, column_transform, spreading)


@part
def _put_rows(d, beyond, first, n, y_rows, width, columns, rows):
    """The rows that are pixels, of n columns of the grid, as columns of blocks for transforms along x."""
    each = W // columns
    for i in range(y_rows.size):
        to, o = rows[i // each], y_rows[i] * W
        for x in range(n):
            p, q = (first + x) * W + i % each * columns, o + x * columns
            for k in range(columns):
                to[p + k] = d[q + k]
                to[p + k + width * W] = d[q + k + beyond]


@cache
def _along_x(width: int, columns: int) -> Callable[..., None]:
    """Transforms of rows, of as many at once as a block has room for, and what is kept of them."""
    plan, m, each = stages(width), width * W, W // columns

    def transform(rows, y_factors, x_rows, x_factors, twiddles, roots, out):
        for b in range(rows.shape[0]):
            d = rows[b]
            there(d, m, twiddles, roots, width, plan)
            for k in range(out.shape[0]):
                for i in range(min(each, y_factors.size - b * each)):
                    image, factor = out[k, b * each + i], y_factors[b * each + i]
                    for x in range(x_rows.size):
                        o, f = x_rows[x] * W + i * columns + k, x_factors[x] * factor
                        image[2 * x], image[2 * x + 1] = f * d[o], f * d[o + m]

    return compiled(transform, column_transform, spreading)


def gridded(points: Array, coefficients: Array, shape: tuple[int, int]) -> Array:
    """x[k, r] = sum_j c[k, j] exp(+2 pi i p_j . r), (stack, ny, nx) complex64, to about 1e-4 of its norm.

    Parameters
    ----------
    points : (samples, 2) float32
        (kx, ky) in cycles per pixel.
    coefficients : (stack, samples) complex64
        c
    shape
        (ny, nx), counted from pixel n // 2.

    Raises
    ------
    DataError
        If a point is not finite.
    """
    points = to_points(points)
    ny, nx = shape
    coefficients = np.ascontiguousarray(coefficients)
    y, x, height, width = axis_of(ny), axis_of(nx), grid_size(ny), grid_size(nx)
    out = np.empty((len(coefficients), ny, 2 * nx), np.float32)
    for first in range(0, len(coefficients), W):
        some, images = coefficients[first : first + W], out[first : first + W]
        columns = next(n for n in COLUMNS if n >= len(some))
        each = W // columns
        rows = np.empty((-(-ny // each), 2 * width * W + ROOM), np.float32)
        samples = points, some.view(np.float32), spread_table(), *samples_of_groups(points, _GROUP * each, width)
        _along_y(height, columns)(*samples, y.rows, y.twiddles, y.roots, width, rows)
        _along_x(width, columns)(rows, y.factors, x.rows, x.factors, x.twiddles, x.roots, images)
    return out.view(np.complex64)
