"""A live frame's change, found by conjugate gradients that are compiled for a CPU.

What an iteration does beside its product is a score of passes over the image as operations of torch, each of which
asks for the interpreter's lock: beside a thread that reads the next readouts, half of a frame's time went by in waiting
for it. Here the pixels of an image, its edges and its displacement are two passes, and where the product is compiled,
too, all iterations run without the interpreter.

Complex images lie in rows of real parts followed by imaginary ones, (ny, 2 nx); a vector of numbers is such an image
of a and b, and then the displacement's nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inr_core.compiling import compiled, host_array, in_turn, part
from inr_core.operators import column_blocks, column_transform, compiled_gram
from inr_core.operators.column_blocks import W
from inr_core.operators.column_transform import stages
from inr_core.operators.compiled_gram import add_product, compiled_product, room_of
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers import compiled_lattices
from inr_core.solvers.compiled_lattices import (
    Lattices,
    collect,
    displaced,
    lines_of,
    no_lattices,
    nodes_of,
    room_for_lines,
)

_TINY = float(np.finfo(np.float32).tiny)
_CHUNK = 1024  # numbers that are summed in single precision


def _compiled_with_lattices(function: Callable[..., Any]) -> Callable[..., Any]:
    return compiled(function, compiled_lattices)


@part
def _change_rows(numbers, model, lattices, change, lines):
    """The change of a vector of numbers, an image in rows."""
    turned, along_x, along_y, quadrature = model
    ny, nx = turned.shape[0], turned.shape[1] // 2
    lines_of(numbers[ny * 2 * nx :], lattices, lines)
    u, v = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(ny):
        displaced(lines, y, lattices, u, v)
        free, d, dx, dy, to = numbers[y * 2 * nx :], turned[y], along_x[y], along_y[y], change[y]
        for x in range(nx):
            a, b = free[x], quadrature * free[nx + x]
            to[x] = d[x] * a - d[nx + x] * b + u[x] * dx[x] + v[x] * dy[x]
            to[nx + x] = d[x] * b + d[nx + x] * a + u[x] * dx[nx + x] + v[x] * dy[nx + x]


@part
def _numbers_of(image, model, lattices, numbers, lines):
    """The adjoint of that, from an image in rows, in the real inner product."""
    turned, along_x, along_y, quadrature = model
    ny, nx = turned.shape[0], turned.shape[1] // 2
    lines[:] = 0
    u, v = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(ny):
        free, d, dx, dy, row = numbers[y * 2 * nx :], turned[y], along_x[y], along_y[y], image[y]
        for x in range(nx):
            a, b = row[x], row[nx + x]
            free[x] = d[x] * a + d[nx + x] * b
            free[nx + x] = quadrature * (d[x] * b - d[nx + x] * a)
            u[x] = a * dx[x] + b * dx[nx + x]
            v[x] = a * dy[x] + b * dy[nx + x]
        collect(u, v, y, lattices, lines)
    nodes_of(lines, lattices, numbers[ny * 2 * nx :])


@part
def _pull(image, stiffness, sign, out):
    """Add sign times the gradient of the sum of stiffness |difference to the next pixel|^2 / 2, along x and y."""
    ny, nx = stiffness.shape
    for y in range(ny):
        stiff, above, below = stiffness[y], max(y - 1, 0), min(y + 1, ny - 1)
        for o in (0, nx):
            row, up, down, to = image[y, o : o + nx], image[above, o : o + nx], image[below, o : o + nx], out[y, o:]
            stiff_up = stiffness[above]
            for x in range(nx):
                to[x] += sign * (stiff_up[x] * (row[x] - up[x]) - stiff[x] * (down[x] - row[x]))
            for x in range(1, nx - 1):
                to[x] += sign * (stiff[x - 1] * (row[x] - row[x - 1]) - stiff[x] * (row[x + 1] - row[x]))
            if nx > 1:
                to[0] -= sign * stiff[0] * (row[1] - row[0])
                to[nx - 1] += sign * stiff[nx - 2] * (row[nx - 1] - row[nx - 2])


@part
def _dot(a, b):
    total = 0.0
    for begin in range(0, a.size, _CHUNK):
        p, q, some = a[begin : begin + _CHUNK], b[begin : begin + _CHUNK], np.float32(0)
        for i in range(p.size):
            some += p[i] * q[i]
        total += float(some)
    return total


@part
def _descend(direction, product, weight, solution, residual, size):
    """A step of conjugate gradients, given what the operator without its weight makes of the direction."""
    for i in range(direction.size):
        product[i] += weight * direction[i]
    step = np.float32(size / max(_dot(direction, product), _TINY))
    for i in range(direction.size):
        solution[i] += step * direction[i]
        residual[i] -= step * product[i]
    smaller = _dot(residual, residual)
    share = np.float32(smaller / max(size, _TINY))
    for i in range(direction.size):
        direction[i] = residual[i] + share * direction[i]
    return smaller


@part
def _rows_of(image, rows):
    """From numbers in turn, (ny, 2 nx)."""
    ny, nx = rows.shape[0], rows.shape[1] // 2
    for y in range(ny):
        row, to = image[y], rows[y]
        for x in range(nx):
            to[x], to[nx + x] = row[2 * x], row[2 * x + 1]


@part
def _rows_in_turn(rows, image):
    ny, nx = rows.shape[0], rows.shape[1] // 2
    for y in range(ny):
        row, to = rows[y], image[y]
        for x in range(nx):
            to[2 * x], to[2 * x + 1] = row[x], row[nx + x]


@_compiled_with_lattices
def _set_up(deviation, image, base, missing, strength, edges, model, lattices, stiffness, left):
    """Fill a model's arrays, the stiffness of its edges, and what pulls on its numbers where they are zero.

    ``edges`` are the weight of the variation and the difference from which on it is one of an edge.
    """
    turned, along_x, along_y, _ = model
    ny, nx = deviation.shape
    rows, known = np.empty((ny, 2 * nx), np.float32), np.empty((ny, 2 * nx), np.float32)
    _rows_of(image, rows)
    for y in range(ny):
        row, d, up, down = rows[y], deviation[y], rows[max(y - 1, 0)], rows[min(y + 1, ny - 1)]
        for x in range(nx):
            square = row[x] * row[x] + row[nx + x] * row[nx + x]
            # A pixel without a phase changes like any other.
            turned[y, x] = d[x] * row[x] / math.sqrt(square) if square > _TINY else d[x]
            turned[y, nx + x] = d[x] * row[nx + x] / math.sqrt(square) if square > _TINY else np.float32(0)
        share = strength if y in (0, ny - 1) else strength * np.float32(0.5)
        for x in range(2 * nx):
            along_y[y, x] = share * (down[x] - up[x])
        for o in (0, nx):
            one, to = row[o : o + nx], along_x[y, o:]
            for x in range(1, nx - 1):
                to[x] = strength * np.float32(0.5) * (one[x + 1] - one[x - 1])
            to[0] = strength * (one[min(1, nx - 1)] - one[0])
            to[nx - 1] = strength * (one[nx - 1] - one[max(nx - 2, 0)])
    _rows_of(base, known)
    weight, corner = edges
    for y in range(ny):
        row, down = known[y], known[min(y + 1, ny - 1)]
        for x in range(nx):
            right = min(x + 1, nx - 1)
            a, b = row[right] - row[x], row[nx + right] - row[nx + x]
            c, e = down[x] - row[x], down[nx + x] - row[nx + x]
            stiffness[y, x] = weight / math.sqrt(a * a + b * b + c * c + e * e + corner * corner)
    _rows_of(missing, rows)
    _pull(known, stiffness, np.float32(-1), rows)
    lines = room_for_lines(lattices, nx)
    _numbers_of(rows, model, lattices, left, lines)


@_compiled_with_lattices
def _start_from(change, nodes, weight, model, lattices, solution, residual):
    """The numbers of these nodes whose change is ``change``; and less of what pulls on them, by their weight."""
    turned, along_x, along_y, quadrature = model
    ny, nx = turned.shape[0], turned.shape[1] // 2
    n_free = ny * 2 * nx
    for i in range(nodes.size):
        solution[n_free + i] = nodes[i]
    rows, lines = np.empty((ny, 2 * nx), np.float32), room_for_lines(lattices, nx)
    _rows_of(change, rows)
    lines_of(nodes, lattices, lines)
    u, v = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(ny):
        displaced(lines, y, lattices, u, v)
        row, d, dx, dy, free = rows[y], turned[y], along_x[y], along_y[y], solution[y * 2 * nx :]
        for x in range(nx):
            re = row[x] - u[x] * dx[x] - v[x] * dy[x]
            im = row[nx + x] - u[x] * dx[nx + x] - v[x] * dy[nx + x]
            square = d[x] * d[x] + d[nx + x] * d[nx + x]
            free[x] = (re * d[x] + im * d[nx + x]) / square
            free[nx + x] = (im * d[x] - re * d[nx + x]) / (square * quadrature)
    for i in range(solution.size):
        residual[i] -= weight * solution[i]


@_compiled_with_lattices
def _change_of(numbers, model, lattices, image):
    """The change of a vector of numbers, as numbers in turn."""
    ny, nx = model[0].shape[0], model[0].shape[1] // 2
    change, lines = np.empty((ny, 2 * nx), np.float32), room_for_lines(lattices, nx)
    _change_rows(numbers, model, lattices, change, lines)
    _rows_in_turn(change, image)


@_compiled_with_lattices
def _size_of(residual):
    return _dot(residual, residual)


@_compiled_with_lattices
def _step(image, explained, direction, model, lattices, stiffness, weight, solution, residual, size):
    """A step, given the direction's change and what the data's operator makes of it."""
    ny, nx = stiffness.shape
    change, rows = np.empty((ny, 2 * nx), np.float32), np.empty((ny, 2 * nx), np.float32)
    _rows_of(image, change)
    _rows_of(explained, rows)
    _pull(change, stiffness, np.float32(1), rows)
    lines, product = room_for_lines(lattices, nx), np.empty_like(direction)
    _numbers_of(rows, model, lattices, product, lines)
    return _descend(direction, product, weight, solution, residual, size)


@part
def _to_blocks(rows, blocks):
    ny, nx = rows.shape[0], rows.shape[1] // 2
    for b in range(blocks.shape[0]):
        n = min(W, nx - b * W)
        for y in range(ny):
            row, to = rows[y, b * W :], blocks[b, y * W :]
            for j in range(n):
                to[j], to[j + ny * W] = row[j], row[nx + j]


@part
def _take_blocks(blocks, rows):
    """Rows from blocks, which are zero again."""
    ny, nx = rows.shape[0], rows.shape[1] // 2
    for b in range(blocks.shape[0]):
        n = min(W, nx - b * W)
        for y in range(ny):
            row, to = blocks[b, y * W :], rows[y, b * W :]
            for j in range(n):
                to[j], to[nx + j] = row[j], row[j + ny * W]
    blocks[:] = 0


@cache
def _solution_of(ny: int, nx: int) -> Callable[..., None]:
    """A whole part of a frame: the problem is set up, begun, iterated with the product in it, and its change made."""
    y_stages, x_stages = stages(ny), stages(nx)

    def solve(to_do, problem, start, count, weight, csm, kernel, tables, model, lattices, stiffness, numbers, found):
        solution, residual = numbers
        if to_do[0]:
            _set_up(*problem, model, lattices, stiffness, residual)
        if to_do[1]:
            _start_from(*start, model, lattices, solution, residual)
        y_tables, x_tables = tables
        image, explained = np.zeros(csm.shape[1:], np.float32), np.zeros(csm.shape[1:], np.float32)
        spectra, pair = room_of(ny, nx)
        change, rows = np.empty((ny, 2 * nx), np.float32), np.empty((ny, 2 * nx), np.float32)
        lines = room_for_lines(lattices, nx)
        direction, product = residual.copy(), np.empty_like(residual)
        size = _dot(residual, residual)
        for _ in range(count):
            _change_rows(direction, model, lattices, change, lines)
            _to_blocks(change, image)
            add_product(image, csm, kernel, y_tables, x_tables, spectra, pair, explained, y_stages, x_stages, (ny, nx))
            _take_blocks(explained, rows)
            _pull(change, stiffness, np.float32(1), rows)
            _numbers_of(rows, model, lattices, product, lines)
            size = _descend(direction, product, weight, solution, residual, size)
        _change_rows(solution, model, lattices, change, lines)
        _rows_in_turn(change, found)

    return compiled(solve, column_blocks, column_transform, compiled_gram, compiled_lattices)


class CompiledChange:
    """What :class:`~inr_core.solvers.change_problem.ChangeProblem` is, and does, for single precision on a CPU.

    Arguments and methods as there.
    """

    def __init__(
        self,
        deviation: Tensor,
        image: Tensor,
        base: Tensor,
        missing: Tensor,
        lattices: Lattices | None,
        strength: float,
        quadrature: float,
        edges: tuple[float, float],
    ) -> None:
        ny, nx = self._shape = (int(image.shape[0]), int(image.shape[1]))
        lattices = no_lattices(ny, nx) if lattices is None else lattices
        turned, along_x, along_y = np.empty((3, ny, 2 * nx), np.float32)
        self._model = turned, along_x, along_y, np.float32(quadrature)
        self._lattices, self._n_free = tuple(lattices), 2 * ny * nx
        self._stiffness = np.empty((ny, nx), np.float32)
        self._residual = np.empty(self._n_free + lattices.n_nodes, np.float32)
        self._solution = np.zeros_like(self._residual)
        self._problem = (
            np.ascontiguousarray(host_array(deviation)),
            *(in_turn(one) for one in (image, base, missing)),
            np.float32(strength),
            (np.float32(edges[0]), np.float32(edges[1])),
        )
        self._start = in_turn(base)[:0], np.empty(0, np.float32), np.float32(0)
        self._to_do = True, False  # whether it is to be set up, and to be begun from the start
        self._found: Tensor | None = None

    def start_from(self, change: Tensor, nodes: Tensor | None, weight: float) -> None:
        """Begin with this change and the motion of these nodes."""
        n_nodes = self._residual.size - self._n_free
        if tuple(change.shape) != self._shape or n_nodes != (0 if nodes is None else nodes.numel()):
            raise ValueError(f"a start of another problem: {self._shape} pixels and {n_nodes} nodes were expected")
        motion = np.empty(0, np.float32) if nodes is None else host_array(nodes)
        self._start = in_turn(change), motion, np.float32(weight)
        self._to_do, self._found = (self._to_do[0], True), None

    def iterate(self, gram: ToeplitzGram, weight: float, iterations: int) -> None:
        """Conjugate gradients."""
        if gram.runs_alone:
            (kernel, csm), found = gram.in_blocks(), self._image()
            work = iterations, np.float32(weight), csm, kernel, compiled_product(self._shape).tables
            to = self._model, self._lattices, self._stiffness, (self._solution, self._residual), in_turn(found)
            _solution_of(*self._shape)(self._to_do, self._problem, self._start, *work, *to)
            self._to_do, self._found = (False, False), found
            return
        self._begin()
        arrays = self._model, self._lattices, self._stiffness, np.float32(weight), self._solution, self._residual
        direction, size, change = self._residual.copy(), _size_of(self._residual), self._image()
        for _ in range(iterations):
            _change_of(direction, self._model, self._lattices, in_turn(change))
            explained = gram.forward(change[None])[0]
            size = _step(in_turn(change), in_turn(explained), direction, *arrays, size)
        self._found = None

    def _begin(self) -> None:
        """What iterations that run alone do themselves."""
        if self._to_do[0]:
            _set_up(*self._problem, self._model, self._lattices, self._stiffness, self._residual)
        if self._to_do[1]:
            _start_from(*self._start, self._model, self._lattices, self._solution, self._residual)
        self._to_do = False, False

    def change(self) -> Tensor:
        """(ny, nx) complex64: of the numbers so far."""
        if self._found is None:
            self._begin()
            self._found = self._image()
            _change_of(self._solution, self._model, self._lattices, in_turn(self._found))
        return self._found

    @property
    def nodes(self) -> Tensor:
        """Of the displacement."""
        self._begin()
        return torch.from_numpy(self._solution[self._n_free :])

    def _image(self) -> Tensor:
        return torch.empty(self._shape, dtype=torch.complex64)
