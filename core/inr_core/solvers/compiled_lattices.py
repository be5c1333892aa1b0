"""Displacements on pixels from those at nodes, by linear interpolation, as parts of what is compiled.

A pixel lies between two nodes of each axis, so that what is a product with a matrix elsewhere is a sum of a few terms
here: a tenth of the work, a row of pixels at once.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from torch import Tensor

from inr_core.compiling import Array, part


class Lattices(NamedTuple):
    """Displacements on pixels from those at nodes, by linear interpolation, of several levels.

    Attributes
    ----------
    counts : (levels, 2) int64
        Nodes along y and x.
    y_lines : (levels, ny) int64
        The first of the two lines of nodes around a row of pixels; those of u and then of v, one level after the other.
    y_shares : (levels, 2, ny) float32
        How much these two count, level's weight included.
    x_begins : (levels, most nodes) int64
        The first pixel between each node and the next, along x; the number of pixels beyond the last ones.
    x_shares : (levels, 2, nx) float32
        How much the nodes before and after a pixel count.
    """

    counts: Array
    y_lines: Array
    y_shares: Array
    x_begins: Array
    x_shares: Array

    @classmethod
    def of(cls, along_y: list[Tensor], along_x: list[Tensor]) -> Lattices:
        """From the matrices (pixels, nodes) of each level, which have two numbers in a row, side by side."""
        counts = np.array([(y.shape[1], x.shape[1]) for y, x in zip(along_y, along_x, strict=True)])
        first_lines = np.concatenate([[0], np.cumsum(2 * counts[:, 0])])
        y_pairs, x_pairs = [_pairs(y) for y in along_y], [_pairs(x) for x in along_x]
        begins = np.full((len(counts), counts[:, 1].max()), along_x[0].shape[0])
        for row, (nodes, _), n in zip(begins, x_pairs, counts[:, 1], strict=True):
            row[:n] = np.searchsorted(nodes, np.arange(n))
        return cls(
            counts,
            np.stack([first + nodes for first, (nodes, _) in zip(first_lines, y_pairs, strict=False)]),
            np.stack([shares for _, shares in y_pairs]),
            begins,
            np.stack([shares for _, shares in x_pairs]),
        )

    @property
    def n_nodes(self) -> int:
        """Numbers that all levels have: two for each node."""
        return 2 * int(self.counts.prod(1).sum())


@cache
def no_lattices(ny: int, nx: int) -> Lattices:
    """Of no levels: nothing moves."""
    whole, single = np.int64, np.float32
    shapes = (0, 2), (0, ny), (0, 2, ny), (0, 1), (0, 2, nx)
    return Lattices(
        *(np.empty(shape, kind) for shape, kind in zip(shapes, (whole, whole, single, whole, single), strict=True))
    )


def _pairs(matrix: Tensor) -> tuple[Array, Array]:
    """Which two nodes each pixel lies between, the first of them, and their shares, (2, pixels)."""
    dense = matrix.numpy()
    first = np.minimum((dense != 0).argmax(1), dense.shape[1] - 2)
    rows = np.arange(len(dense))
    return first, np.stack([dense[rows, first], dense[rows, first + 1]]).astype(np.float32)


@part
def room_for_lines(lattices, nx):
    """For a line of pixels for each line of nodes."""
    return np.empty((2 * lattices[0][:, 0].sum(), nx), np.float32)


@part
def lines_of(nodes, lattices, lines):
    """Interpolate along x: a line of pixels for each line of nodes."""
    counts, _, _, x_begins, x_shares = lattices
    line, o = 0, 0
    for level in range(counts.shape[0]):
        n, before, after = counts[level, 1], x_shares[level, 0], x_shares[level, 1]
        for _ in range(2 * counts[level, 0]):
            to = lines[line]
            for i in range(n - 1):
                a, b = nodes[o + i], nodes[o + i + 1]
                for x in range(x_begins[level, i], x_begins[level, i + 1]):
                    to[x] = before[x] * a + after[x] * b
            line, o = line + 1, o + n


@part
def nodes_of(lines, lattices, nodes):
    """The adjoint of that."""
    counts, _, _, x_begins, x_shares = lattices
    line, o = 0, 0
    for level in range(counts.shape[0]):
        n, before, after = counts[level, 1], x_shares[level, 0], x_shares[level, 1]
        for _ in range(2 * counts[level, 0]):
            row, right = lines[line], np.float32(0)
            for i in range(n - 1):
                left, right_of = right, np.float32(0)
                for x in range(x_begins[level, i], x_begins[level, i + 1]):
                    left += before[x] * row[x]
                    right_of += after[x] * row[x]
                nodes[o + i], right = left, right_of
            nodes[o + n - 1] = right
            line, o = line + 1, o + n


@part
def displaced(lines, y, lattices, u, v):
    """The displacement of a row of pixels."""
    counts, y_lines, y_shares, _, _ = lattices
    for x in range(u.size):
        u[x], v[x] = 0, 0
    for level in range(counts.shape[0]):
        line, n = y_lines[level, y], counts[level, 0]
        a, b = y_shares[level, 0, y], y_shares[level, 1, y]
        first, second = lines[line], lines[line + 1]
        for x in range(u.size):
            u[x] += a * first[x] + b * second[x]
        first, second = lines[line + n], lines[line + n + 1]
        for x in range(v.size):
            v[x] += a * first[x] + b * second[x]


@part
def collect(u, v, y, lattices, lines):
    """The adjoint of that: add a row to the lines."""
    counts, y_lines, y_shares, _, _ = lattices
    for level in range(counts.shape[0]):
        line, n = y_lines[level, y], counts[level, 0]
        a, b = y_shares[level, 0, y], y_shares[level, 1, y]
        first, second = lines[line], lines[line + 1]
        for x in range(u.size):
            first[x] += a * u[x]
            second[x] += b * u[x]
        first, second = lines[line + n], lines[line + n + 1]
        for x in range(v.size):
            first[x] += a * v[x]
            second[x] += b * v[x]
