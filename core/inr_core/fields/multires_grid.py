"""The multi-resolution grid of Instant-NGP as a module: trainable features of points in one to three dimensions."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError

Overflow = Literal["hash", "tile"]

_PRIMES = (1, 2654435761, 805459861)
_LARGEST_TABLE = 2**28  # sums of three addresses stay within 32 bits
_CHUNK_BYTES = 200_000_000  # of nodes gathered at once
_CACHED_AXES = 32


@dataclass(frozen=True)
class Level:
    """One resolution: cells of each axis, and how its nodes (one more than cells) are kept.

    A ``dense`` level has a row for every node. Where nodes outnumber the table, several share a row: the row is
    ``hash``, the exclusive or of coordinates times primes, or ``tile``, the row that it would have if dense; modulo
    the size of the table.
    """

    resolution: tuple[int, ...]
    kind: Literal["dense", "hash", "tile"]

    def n_rows(self, table_size: int) -> int:
        """Rows of the level's table."""
        return _n_nodes(self.resolution) if self.kind == "dense" else table_size


def geometric_levels(
    n_min: int, growth: float, n_levels: int, n_dims: int, cap: tuple[int, ...] | None = None
) -> list[tuple[int, ...]]:
    """Cells of each axis at floor(n_min growth^l), l = 0 .. n_levels - 1.

    Parameters
    ----------
    cap : (n_dims,)
        Most cells of each axis. Levels that would repeat the one before are left out, so there may be fewer.

    Raises
    ------
    ParameterError
        For sizes below one, a growth below one, or a cap of another number of axes.
    """
    if min(n_min, n_levels, n_dims, *(cap or ())) < 1 or growth < 1:
        raise ParameterError(
            f"{n_levels} levels from {n_min} cells, growing by {growth}, capped at {cap}, of {n_dims} axes",
            "numbers of at least 1",
        )
    if cap is not None and len(cap) != n_dims:
        raise ParameterError(f"cap {cap}", f"{n_dims} numbers, one for each axis")
    # A growth that is itself rounded, as (n_max / n_min)^(1 / (n_levels - 1)), shall reach n_max and not one less.
    cells = [math.floor(n_min * growth**level * (1 + 1e-9)) for level in range(n_levels)]
    return list(dict.fromkeys(tuple(min(n, most) for most in cap or [n] * n_dims) for n in cells))


def n_parameters(resolutions: Sequence[tuple[int, ...]], n_features: int, table_size: int, n_dims: int) -> int:
    """Trainable numbers of a :class:`MultiresGrid`, without making it.

    Raises
    ------
    ParameterError
        As the grid does.
    """
    _check_levels(resolutions, n_features, table_size, n_dims)
    return n_features * sum(min(_n_nodes(resolution), table_size) for resolution in resolutions)


class MultiresGrid(nn.Module):
    """Features interpolated linearly from grids of several resolutions (Mueller et al., doi 10.1145/3528223.3530127).

    A point p in [0, 1]^d lies at p * resolution between a level's nodes, the first and last of them on the edges;
    beyond the edges the value is that of the edge. Between nodes the features are linear along each axis.

    Parameters
    ----------
    resolutions
        Cells of each of 1 to 3 axes, level by level from coarse to fine, as from :func:`geometric_levels`.
    n_features
        Features of each level.
    table_size
        Most rows of a level, a power of two. Levels of no more nodes than this are dense.
    overflow
        How the nodes of larger levels share rows.
    seed, amplitude
        The initial features are uniform within the amplitude.

    Attributes
    ----------
    levels : tuple of Level
    n_out
        Features of a point: n_levels * ``n_features``, level by level.
    active_levels
        Coarse to fine: features of later levels are zero, and their tables have no gradient. All levels at first.

    Raises
    ------
    ParameterError
        For sizes below one, axes that differ in number, or a table that is not a power of two.
    """

    def __init__(
        self,
        resolutions: Sequence[tuple[int, ...]],
        n_features: int,
        table_size: int,
        *,
        overflow: Overflow,
        seed: int,
        amplitude: float = 1e-4,
    ) -> None:
        super().__init__()
        self.n_dims = len(resolutions[0]) if resolutions else 0
        _check_levels(resolutions, n_features, table_size, self.n_dims)
        if overflow not in ("hash", "tile"):
            raise ParameterError(f"overflow '{overflow}'", "'hash' or 'tile'")
        self.n_features, self._mask = n_features, table_size - 1
        self.levels = tuple(Level(r, "dense" if _n_nodes(r) <= table_size else overflow) for r in resolutions)
        self.n_out = len(self.levels) * n_features
        self._active_levels = len(self.levels)
        generator = torch.Generator().manual_seed(seed)
        # Features first: each is a plane, gathered by itself and multiplied by matrices along the axes that follow.
        self.tables = nn.ParameterList(
            amplitude * (2 * torch.rand(n_features, level.n_rows(table_size), generator=generator) - 1)
            for level in self.levels
        )
        self._axes: dict[tuple[object, ...], list[_Axis]] = {}

    @property
    def active_levels(self) -> int:
        """Levels from the coarsest that take part."""
        return self._active_levels

    @active_levels.setter
    def active_levels(self, n: int) -> None:
        if not 1 <= n <= len(self.levels):
            raise ParameterError(f"{n} active levels", f"1 to {len(self.levels)}")
        self._active_levels = n

    def forward(self, points: Tensor) -> Tensor:
        """Features of scattered points, differentiable with respect to tables and points.

        With respect to a point, the derivative is that within its cell.

        Parameters
        ----------
        points : (n, d)

        Returns
        -------
        (n, n_out), the points fastest in memory
        """
        if points.ndim != 2 or points.shape[1] != self.n_dims:
            raise ParameterError(f"points of shape {tuple(points.shape)}", f"(n, {self.n_dims})")
        values = []
        for level, table in zip(self.levels[: self.active_levels], self.tables, strict=False):
            strides = self._strides(level)
            parts, weights = [], []
            for axis, cells in enumerate(level.resolution):
                low, weight = _cell(points[:, axis], cells)
                nodes = torch.stack([low, low + 1])
                # (1, .., 2, .., 1, n): both nodes of this axis, the axes' corners one before the other
                parts.append(self._part(nodes, strides[axis]).reshape(_at(axis, self.n_dims, 2, len(points))))
                weights.append(weight)
            corners = _Gather.apply(table, level.kind == "hash", self._mask, *parts)  # type: ignore[no-untyped-call]
            for weight in weights:
                corners = torch.lerp(corners[:, 0], corners[:, 1], weight)
            values.append(corners)
        return self._joined(values)

    def lattice(self, axes: Sequence[Tensor]) -> Tensor:
        """Features on a product of coordinates: the values of :meth:`forward` at a fraction of its cost.

        Interpolation is done axis by axis, and nodes that neighbours share are looked up once. It is differentiable
        with respect to the tables only.

        Parameters
        ----------
        axes : (n_0,), .., (n_d-1,)
            Coordinates along each axis; on the CPU they cost no wait for another device.

        Returns
        -------
        (n_0, .., n_d-1, n_out), the features slowest in memory
        """
        if len(axes) != self.n_dims or any(axis.ndim != 1 or not len(axis) for axis in axes):
            shapes = ", ".join(str(tuple(axis.shape)) for axis in axes)
            raise ParameterError(f"axes of shapes {shapes}", f"{self.n_dims} lists of coordinates")
        n_chunks = min(len(axes[0]), -(-self._gathered_bytes(axes) // _CHUNK_BYTES))
        if n_chunks > 1:
            return torch.cat([self.lattice([chunk, *axes[1:]]) for chunk in axes[0].tensor_split(n_chunks)])
        along = [self._along(number, axis.detach().cpu()) for number, axis in enumerate(axes)]
        return self._joined([self._lattice_level(i, [a[i] for a in along]) for i in range(self.active_levels)])

    # -- one level ----------------------------------------------------------------------------------------------------

    def _lattice_level(self, number: int, along: list[_Axis]) -> Tensor:
        """(n_features, n_0, .., n_d-1)."""
        level, table = self.levels[number], self.tables[number]
        values: Tensor
        if level.kind == "dense" and all(axis.complete for axis in along[1:]):
            values = table.reshape(len(table), *(cells + 1 for cells in level.resolution))
            values = values if along[0].complete else values.index_select(1, along[0].nodes)
        else:
            parts = [axis.part.reshape(_at(i, self.n_dims, -1)) for i, axis in enumerate(along)]
            values = _Gather.apply(table, level.kind == "hash", self._mask, *parts)  # type: ignore[no-untyped-call]
        # The axes that leave the fewest values go first.
        for i in sorted(range(self.n_dims), key=lambda i: along[i].growth):
            values = along[i].interpolate(values, i + 1)
        return values

    def _along(self, number: int, coordinates: Tensor) -> list[_Axis]:
        """Interpolation to the coordinates of one axis, a level each. A training asks for the same again and again."""
        like = self.tables[0]
        key = (number, coordinates.dtype, coordinates.numpy().tobytes(), like.device, like.dtype)
        if key not in self._axes:
            while len(self._axes) >= _CACHED_AXES:
                del self._axes[next(iter(self._axes))]
            self._axes[key] = [
                self._axis(coordinates.double(), level.resolution[number], self._strides(level)[number], like)
                for level in self.levels
            ]
        return self._axes[key]

    def _axis(self, coordinates: Tensor, cells: int, stride: int, like: Tensor) -> _Axis:
        low, weight = _cell(coordinates, cells)
        nodes = torch.unique(torch.cat([low, low + 1]))
        if len(nodes) < 2 * len(low):
            position = low + weight
            weight = (1 - (position[:, None] - nodes).abs()).clamp_min(0)
        else:
            nodes = torch.cat([low, low + 1])
        return _Axis(
            nodes=nodes.to(like.device, torch.int32),
            part=self._part(nodes, stride).to(like.device),
            weights=weight.to(like.device, like.dtype),
            complete=torch.equal(nodes, torch.arange(cells + 1)),
        )

    def _strides(self, level: Level) -> tuple[int, ...]:
        """What each axis' coordinate is multiplied by in the address of a row."""
        if level.kind == "hash":
            return _PRIMES[: self.n_dims]
        nodes = [cells + 1 for cells in level.resolution]
        return tuple(math.prod(nodes[axis + 1 :]) for axis in range(self.n_dims))

    def _part(self, nodes: Tensor, stride: int) -> Tensor:
        """One axis' part of addresses. The table being a power of two, its modulus can be taken beforehand."""
        return (nodes * stride & self._mask).to(torch.int32)

    def _gathered_bytes(self, axes: Sequence[Tensor]) -> int:
        """Most memory that the nodes of one level and their addresses take."""
        most = max(
            math.prod(min(2 * len(axis), cells + 1) for axis, cells in zip(axes, level.resolution, strict=True))
            for level in self.levels[: self.active_levels]
        )
        return int(most * (4 + self.n_features * self.tables[0].element_size()))

    def _joined(self, values: list[Tensor]) -> Tensor:
        """(features of a level, ...) of the active levels -> (..., features of all levels)."""
        missing = self.n_out - self.n_features * len(values)
        if missing:
            values = [*values, values[0].new_zeros(missing, *values[0].shape[1:])]
        return torch.cat(values).movedim(0, -1)


@dataclass(frozen=True)
class _Axis:
    """Linear interpolation from a level's nodes to the coordinates of one axis.

    Attributes
    ----------
    nodes, part : (k,) int32
        The nodes that the coordinates touch, and their part of addresses.
    weights : (n, k) or (n,)
        A matrix; or, where no two coordinates share a node, the weights of the upper nodes, which are listed after
        the lower ones.
    complete
        Whether the nodes are all that there are, in order.
    """

    nodes: Tensor
    part: Tensor
    weights: Tensor
    complete: bool

    @property
    def growth(self) -> float:
        return len(self.weights) / len(self.nodes)

    def interpolate(self, values: Tensor, axis: int) -> Tensor:
        if self.weights.ndim == 1:
            low, high = values.chunk(2, axis)
            return torch.lerp(low, high, self.weights.reshape(-1, *[1] * (values.ndim - 1 - axis)))
        if axis == values.ndim - 1:
            return values @ self.weights.T
        flat = self.weights @ values.flatten(axis + 1)
        return flat.reshape(*flat.shape[:-1], *values.shape[axis + 1 :])


class _Gather(torch.autograd.Function):
    """Rows of a table at addresses that are put together from one part of each axis.

    Backward puts them together again: they take more memory than time. Plane by plane, gathering and scattering are
    on the CPU several times as fast as torch's embeddings.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, hashed: bool, mask: int, *parts: Tensor) -> Tensor:
        """Planes (features, rows) -> (features, broadcast shape of the parts)."""
        ctx.save_for_backward(*parts)
        ctx.shape, ctx.hashed, ctx.mask = table.shape, hashed, mask
        addresses = _addresses(parts, hashed, mask)
        flat = addresses.reshape(-1)
        gathered = torch.stack([plane.index_select(0, flat) for plane in table])
        return gathered.reshape(len(table), *addresses.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Sum the gradients of all addresses that share a row."""
        flat = _addresses(ctx.saved_tensors, ctx.hashed, ctx.mask).reshape(-1)
        table = gradient.new_zeros(ctx.shape)
        for plane, part in zip(table, gradient.flatten(1), strict=True):
            plane.index_add_(0, flat, part)
        return table, None, None, *[None] * len(ctx.saved_tensors)


def _addresses(parts: Sequence[Tensor], hashed: bool, mask: int) -> Tensor:
    if hashed:
        return functools.reduce(operator.xor, parts)
    return functools.reduce(operator.add, parts) & mask


def _cell(coordinates: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The lower node of each coordinate's cell (int64), and the weight of the upper one."""
    position = (coordinates * cells).clamp(0, cells)
    low = position.detach().floor().clamp_max(cells - 1)
    return low.long(), position - low


def _at(axis: int, n_dims: int, *sizes: int) -> tuple[int, ...]:
    """A shape of ones but for ``sizes[0]`` at ``axis``; further sizes follow all axes."""
    return *[1] * axis, sizes[0], *[1] * (n_dims - 1 - axis), *sizes[1:]


def _n_nodes(resolution: tuple[int, ...]) -> int:
    return math.prod(cells + 1 for cells in resolution)


def _check_levels(resolutions: Sequence[tuple[int, ...]], n_features: int, table_size: int, n_dims: int) -> None:
    if not 1 <= n_dims <= 3 or any(len(resolution) != n_dims for resolution in resolutions):
        raise ParameterError(f"resolutions {[*resolutions]}", "one or more, all of the same 1 to 3 axes")
    if n_features < 1 or any(min(resolution) < 1 for resolution in resolutions):
        raise ParameterError(f"{n_features} features at resolutions {[*resolutions]}", "sizes of at least 1")
    if not 1 <= table_size <= _LARGEST_TABLE or table_size & (table_size - 1):
        raise ParameterError(f"a table of {table_size} rows", f"a power of two up to {_LARGEST_TABLE}")
