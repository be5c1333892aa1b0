"""The transfer function of a frame's normal operator, compiled for a CPU's caches and vectors; in single precision.

It is the Fourier transform of a point spread function, which is a sum of waves of real weights
(:func:`~inr_core.operators.toeplitz.toeplitz_kernel`). So nothing need be computed twice: what is spread onto a grid
is real, and two of its columns are transformed as one; the point spread function at -r is the conjugate of that at r,
and half of its rows will do; its transform is real, and two of its columns come from one transform again. All is one
call without the interpreter's lock: 2.4 ms of a core as a sum of waves and a library's transform, and 0.75 here
(5 spokes, 128 x 128).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from inr_core.compiling import Array, compiled, part
from inr_core.operators import column_blocks, column_transform, spreading
from inr_core.operators.column_blocks import W, n_blocks
from inr_core.operators.column_transform import ROOM, stages, tables, there
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


@part
def _spread(points, weights, table, numbers, d, first, shape):
    """Spread some samples onto a block of the grid: 16 columns as its real parts, and the next 16 as imaginary ones."""
    height, width = shape
    size, beyond = WIDTH * W, (height + WIDTH) * W
    along_y, along_x = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    values, own = np.empty(size, np.float32), np.zeros((W, size), np.float32)
    for k in range(size):
        own[k % W, k] = 1
    for m in numbers:
        left = spread_weights(points[m, 0] * width, table, along_x)
        o = spread_weights(points[m, 1] * height, table, along_y) % height * W
        for i in range(WIDTH):
            for k in range(W):
                values[i * W + k] = along_y[i] * weights[m]
        for j in range(WIDTH):
            x = (left + j) % width - first
            if 0 <= x < 2 * W:
                add_column(d[o + x // W * beyond :], along_x[j], own[x % W], values, size)


@part
def _rows_of_pairs(d, beyond, first, y_rows, ny, width, rows):
    """The rows r = 0 .. ny - 1 of both real columns that each of a block's complex ones is made of."""
    half = np.float32(0.5)
    for r in range(ny):
        to, p, q = rows[r // W], y_rows[ny + r] * W, y_rows[ny - r] * W
        for x in range(min(W, width - first)):
            a, b, c, e = d[p + x], d[p + x + beyond], d[q + x], d[q + x + beyond]
            i = (first + x) * W + r % W
            to[i], to[i + width * W] = half * (a + c), half * (b - e)
        for x in range(min(W, width - first - W)):
            a, b, c, e = d[p + x], d[p + x + beyond], d[q + x], d[q + x + beyond]
            i = (first + W + x) * W + r % W
            to[i], to[i + width * W] = half * (b + e), half * (c - a)


@part
def _cropped(t, x_rows, factors, nx, width, e):
    """The differences -nx + 1 .. nx - 1 of a block of rows, from zero on; -nx occurs in no pair of pixels."""
    for r in range(-nx + 1, nx):
        o, to, f = x_rows[nx + r] * W, r % (2 * nx) * W, factors[nx + r]
        for k in range(W):
            e[to + k] = f * t[o + k]
            e[to + k + 2 * nx * W] = f * t[o + k + width * W]
    for k in range(nx * W, (nx + 1) * W):
        e[k] = e[k + 2 * nx * W] = 0


@part
def _columns_of_pairs(e, first, order, factors, shape, columns):
    """Rows of frequencies along x, of the differences ``first`` .. along y, into columns: each two as one.

    They are those of real functions, so the rows of negative differences are the conjugates of these.
    """
    ny, nx = shape
    im = 2 * nx * W
    for c in range(nx):
        d, lane, o, p = columns[c // W], c % W, order[2 * c] * W, order[2 * c + 1] * W
        for j in range(min(W, ny - first)):
            r, f = first + j, factors[ny + first + j]
            a, b, u, v = f * e[o + j], f * e[o + j + im], f * e[p + j], f * e[p + j + im]
            if r == 0:
                d[lane], d[lane + 2 * ny * W] = a, u
            else:
                i, k = r * W + lane, (2 * ny - r) * W + lane
                d[i], d[i + 2 * ny * W] = a - v, b + u
                d[k], d[k + 2 * ny * W] = a + v, u - b


@cache
def _transfer_of(ny: int, nx: int) -> Callable[..., None]:
    height, width = grid_size(2 * ny), grid_size(2 * nx)
    y_grid, x_grid, y_plan, x_plan = stages(height), stages(width), stages(2 * ny), stages(2 * nx)

    def transfer(points, weights, table, begins, numbers, y, x, y_tables, x_tables, scale, out):
        y_rows, y_factors, y_twiddles, y_roots = y
        x_rows, x_factors, x_twiddles, x_roots = x
        beyond = (height + WIDTH) * W
        rows, d = np.empty((n_blocks(ny), 2 * width * W + ROOM), np.float32), np.empty(2 * beyond + ROOM, np.float32)
        for group in range(begins.size - 1):
            d[:] = 0
            some = numbers[begins[group] : begins[group + 1]]
            _spread(points, weights, table, some, d, 2 * W * group, (height, width))
            wrap_rows(d, height, beyond)
            there(d, beyond, y_twiddles, y_roots, height, y_grid)
            _rows_of_pairs(d, beyond, 2 * W * group, y_rows, ny, width, rows)
        y_order, y_twiddles, y_roots, _ = y_tables
        x_order, x2_twiddles, x2_roots, _ = x_tables
        columns, e = np.zeros((n_blocks(nx), 4 * ny * W + ROOM), np.float32), np.empty(4 * nx * W + ROOM, np.float32)
        for b in range(rows.shape[0]):
            there(rows[b], width * W, x_twiddles, x_roots, width, x_grid)
            _cropped(rows[b], x_rows, x_factors, nx, width, e)
            there(e, 2 * nx * W, x2_twiddles, x2_roots, 2 * nx, x_plan)
            _columns_of_pairs(e, b * W, x_order, y_factors, (ny, nx), columns)
        for c in range(columns.shape[0]):
            t = columns[c]
            there(t, 2 * ny * W, y_twiddles, y_roots, 2 * ny, y_plan)
            for k in range(2 * ny):
                even, odd = out[k % 2 * 2, k // 2, c * W :], out[k % 2 * 2 + 1, k // 2, c * W :]
                for j in range(min(W, nx - c * W)):
                    even[j] = scale * t[y_order[k] * W + j]
                    odd[j] = scale * t[y_order[k] * W + j + 2 * ny * W]

    return compiled(transfer, column_blocks, column_transform, spreading)


def transfer_function(points: Array, weights: Array, shape: tuple[int, int]) -> Array:
    """(4, ny, nx) float32: as of :func:`~inr_core.operators.toeplitz.toeplitz_kernel`, to about 1e-4 of its norm.

    Parameters
    ----------
    points : (samples, 2) float32
        (kx, ky) in cycles per pixel.
    weights : (samples,) float32
    shape
        (ny, nx) of the images, of which each doubled has :func:`~inr_core.operators.column_transform.radices`.

    Raises
    ------
    DataError
        If a point is not finite.
    """
    ny, nx = shape
    points = to_points(points)
    begins, numbers = samples_of_groups(points, 2 * W, grid_size(2 * nx))
    out = np.empty((4, ny, nx), np.float32)
    samples = points, np.ascontiguousarray(weights), spread_table(), begins, numbers
    along = tuple(axis_of(2 * ny)), tuple(axis_of(2 * nx)), tuple(tables(2 * ny)), tuple(tables(2 * nx))
    _transfer_of(ny, nx)(*samples, *along, np.float32(0.25 / (nx * ny)), out)
    return out
