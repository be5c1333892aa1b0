"""Samples on a finer grid than the image's, as FINUFFT spreads them (Barnett et al., doi 10.1137/18M120885X).

What sums of waves from scattered samples have in common: the kernel exp(b (sqrt(1 - z^2) - 1)), the size of the grid,
which columns of it a sample reaches, and what pixels are multiplied by after the transform of the grid.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from inr_core.compiling import Array, compiled, part
from inr_core.errors import DataError
from inr_core.operators.column_blocks import W
from inr_core.operators.column_transform import radices, tables

_FINER = 1.5  # at least, is the grid than the images
WIDTH = 6  # points of the grid along an axis that a sample is spread to
_STEEPNESS = 0.97 * math.pi * WIDTH * (1 - 1 / (2 * _FINER))  # b
_TABLE = 1024  # values of the kernel for each point of the grid, and straight lines between them


@cache
def grid_size(n: int) -> int:
    """The next size of a grid for n pixels that is a power of 2, three times one, or nine times one."""
    least = math.ceil(_FINER * n)
    sizes: list[int] = sorted(k * 2**e for k in (1, 3, 9) for e in range(32))
    return next(size for size in sizes if size >= least and radices(size))


def _kernel(z: Array) -> Array:
    """At distances z, in halves of its width."""
    values: Array = np.exp(_STEEPNESS * (np.sqrt(np.maximum(0, 1 - z * z)) - 1)) * (np.abs(z) <= 1)
    return values


class Axis(NamedTuple):
    """What a transform takes along an axis of n pixels.

    Attributes
    ----------
    rows : (n,) int64
        Where each pixel lies after the transform.
    factors : (n,) float32
        One over the kernel's transform.
    twiddles, roots
        Of the transform.
    """

    rows: Array
    factors: Array
    twiddles: Array
    roots: Array


@cache
def axis_of(n: int) -> Axis:
    size = grid_size(n)
    found, pixels = tables(size), np.arange(n) - n // 2
    nodes, weights = np.polynomial.legendre.leggauss(4 * WIDTH + 20)
    waves = np.cos(math.pi * WIDTH / size * np.outer(pixels, nodes))
    factors = 1 / (0.5 * WIDTH * waves @ (weights * _kernel(nodes)))
    # The transform is that of exp(-i ..): the pixel at r is its frequency -r.
    return Axis(found.order[-pixels % size], factors.astype(np.float32), found.twiddles, found.roots)


@cache
def spread_table() -> Array:
    """The kernel from the left end of its width to the right one, and beyond it for the last line."""
    values = _kernel(2 * np.arange(WIDTH * _TABLE + 2) / (WIDTH * _TABLE) - 1)
    return values.astype(np.float32)


@part
def spread_weights(position, table, weights):
    """The kernel at the points of the grid around a position, and the first of them."""
    first = math.ceil(position - 0.5 * WIDTH)
    for i in range(WIDTH):
        at = (first + i - position + 0.5 * WIDTH) * _TABLE
        left = int(at)
        share = np.float32(at - left)
        weights[i] = table[left] + share * (table[left + 1] - table[left])
    return first


@part
def add_column(at, share, own, values, size):
    for k in range(size):
        at[k] += share * own[k] * values[k]


@compiled
def samples_of_groups(points, per_group, width):
    """Which samples reach into which groups of columns: where each group's begin in a list, and the list."""
    n = -(-width // per_group)
    begins = np.zeros(n + 1, np.int64)
    numbers, places = np.empty(0, np.int64), begins
    for fills in (False, True):
        if fills:
            begins[1:] = np.cumsum(begins[1:])
            numbers, places = np.empty(begins[n], np.int64), begins[:n].copy()
        for m in range(points.shape[0]):
            left = math.ceil(points[m, 0] * width - 0.5 * WIDTH)
            first = last = left % width // per_group
            for j in range(WIDTH):
                group = (left + j) % width // per_group
                # On a grid of two groups it may come around to the one that it began in.
                if j == 0 or (group != last and group != first):
                    if fills:
                        numbers[places[group]] = m
                        places[group] += 1
                    else:
                        begins[group + 1] += 1
                last = group
    return begins, numbers


@part
def wrap_rows(d, height, beyond):
    """What is beyond the last row of a block of the grid belongs to the first ones; the last of it comes first."""
    for begin in (0, beyond):
        for row in range(WIDTH - 1, -1, -1):
            for k in range(begin + row * W, begin + (row + 1) * W):
                d[k] += d[k + height * W]


def to_points(points: Array) -> Array:
    """(samples, 2) float32 as compiled sums take them.

    Raises
    ------
    DataError
        If a point is not finite.
    """
    if not np.isfinite(points).all():
        raise DataError("a trajectory that is not finite", "positions in k-space", "leave those readouts out")
    return np.ascontiguousarray(points)
