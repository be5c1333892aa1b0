"""The multi-resolution grid against a loop over points, levels and corners in plain numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields import multires_grid
from inr_core.fields.multires_grid import Level, MultiresGrid, Overflow, geometric_levels, n_parameters

PRIMES = (1, 2654435761, 805459861)
RESOLUTIONS = {
    1: [(3,), (10,), (70,), (1001,)],
    2: [(1, 4), (5, 3), (9, 13), (40, 23), (523, 911)],
    3: [(1, 2, 1), (3, 2, 4), (4, 9, 7), (31, 17, 60), (524, 3001, 70007)],
}
"""Up to 64 nodes are dense in the tables of 64 rows below."""


def made(n_dims: int, overflow: Overflow = "hash", n_features: int = 3) -> MultiresGrid:
    """A grid of large float64 features, as if it had been trained."""
    return MultiresGrid(RESOLUTIONS[n_dims], n_features, 64, overflow=overflow, seed=5, amplitude=1.0).double()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def row(level: Level, node: tuple[int, ...], table_size: int) -> int:
    """Where a node's features are kept, in unsigned integers of 32 bits as published."""
    if level.kind == "hash":
        mixed = 0
        for coordinate, prime in zip(node, PRIMES, strict=False):
            mixed ^= coordinate * prime % 2**32
        return mixed % table_size
    index = 0
    for coordinate, cells in zip(node, level.resolution, strict=True):
        index = index * (cells + 1) + coordinate
    return index % table_size if level.kind == "tile" else index


def naive(grid: MultiresGrid, point: list[float], table_size: int = 64) -> list[float]:
    features = []
    for level, table in zip(grid.levels, grid.tables, strict=True):
        position = [min(max(p * cells, 0.0), cells) for p, cells in zip(point, level.resolution, strict=True)]
        low = [min(math.floor(x), cells - 1) for x, cells in zip(position, level.resolution, strict=True)]
        total = [0.0] * grid.n_features
        for corner in itertools.product([0, 1], repeat=grid.n_dims):
            node = tuple(a + b for a, b in zip(low, corner, strict=True))
            weight = math.prod(1 - abs(x - n) for x, n in zip(position, node, strict=True))
            kept = table[:, row(level, node, table_size)].tolist()
            total = [t + weight * k for t, k in zip(total, kept, strict=True)]
        features += total
    return features


def product(axes: list[Tensor]) -> Tensor:
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


@pytest.mark.parametrize("overflow", ["hash", "tile"])
@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_values_point_by_point(n_dims: int, overflow: Overflow) -> None:
    grid = made(n_dims, overflow)
    kinds = [level.kind for level in grid.levels]
    assert kinds[0] == "dense"
    assert kinds[-1] == overflow
    corners = product([torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)] * n_dims).reshape(-1, n_dims)
    points = torch.cat([random(20, n_dims), corners])
    values = grid(points)
    assert values.shape == (len(points), grid.n_out) == (len(points), 3 * len(grid.levels))
    for point, value in zip(points.tolist(), values.tolist(), strict=True):
        assert value == pytest.approx(naive(grid, point), abs=1e-9)


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_beyond_the_edges_is_the_edge(n_dims: int) -> None:
    grid = made(n_dims)
    points = 3 * random(40, n_dims) - 1
    assert ((points < 0) | (points > 1)).any(-1).sum() > 10
    torch.testing.assert_close(grid(points), grid(points.clamp(0, 1)))


@pytest.mark.parametrize("overflow", ["hash", "tile"])
@pytest.mark.parametrize("sizes", [(13,), (13, 6), (1, 9), (2, 13, 6), (1, 1, 7), (3, 8, 1)])
def test_lattice_is_forward_on_a_product_of_coordinates(sizes: tuple[int, ...], overflow: Overflow) -> None:
    """Unsorted, repeated and outlying coordinates included; and so are the gradients of the tables."""
    grid = made(len(sizes), overflow)
    axes = [1.2 * random(n, seed=n) - 0.1 for n in sizes]
    axes[-1][-1] = axes[-1][0]
    upstream = random(*sizes, grid.n_out, seed=9) - 0.5
    values, expected = grid.lattice(axes), grid(product(axes).reshape(-1, len(sizes))).reshape(*sizes, -1)
    torch.testing.assert_close(values, expected)
    for ours, theirs in zip(
        torch.autograd.grad(values, [*grid.parameters()], upstream),
        torch.autograd.grad(expected, [*grid.parameters()], upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_pixel_centres_touch_every_node_of_a_dense_level() -> None:
    """The quick road for images: no node is looked up where all are wanted, whichever frames are."""
    grid = MultiresGrid([(7, 4, 4), (7, 11, 8)], 2, 2**11, overflow="hash", seed=0, amplitude=1.0).double()
    assert [level.kind for level in grid.levels] == ["dense", "dense"]
    centres = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (11, 8)]
    for times in ([0.3], [0.0, 0.2, 0.9], [0.5, 0.1, 1.0, 0.12], torch.linspace(0, 1, 30).tolist()):
        axes = [torch.tensor(times, dtype=torch.float64), *centres]
        expected = grid(product(axes).reshape(-1, 3)).reshape(len(times), 11, 8, -1)
        torch.testing.assert_close(grid.lattice(axes), expected)


def test_lattice_in_single_precision_on_a_remembered_axis() -> None:
    """Interpolations are remembered by coordinates and precision: asking again, or otherwise, changes nothing."""
    grid = MultiresGrid([(5, 6), (40, 23)], 2, 64, overflow="hash", seed=0, amplitude=1.0)
    axes = [(torch.arange(n) + 0.5) / n for n in (9, 14)]
    first = grid.lattice(axes)
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, grid(product(axes).reshape(-1, 2)).reshape(9, 14, -1), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for table in grid.tables:
            table.mul_(2)
    torch.testing.assert_close(grid.lattice(axes), 2 * first)
    axes[0] += 0.01  # the same storage with other values
    torch.testing.assert_close(
        grid.lattice(axes), grid(product(axes).reshape(-1, 2)).reshape(9, 14, -1), atol=1e-5, rtol=1e-5
    )
    precise = grid.double()
    torch.testing.assert_close(
        precise.lattice(axes), precise(product(axes).double().reshape(-1, 2)).reshape(9, 14, -1), atol=1e-9, rtol=0
    )


def test_remembered_axes_are_bounded() -> None:
    grid = made(1)
    for i in range(100):
        grid.lattice([torch.tensor([i / 100])])
    assert len(grid._axes) <= multires_grid._CACHED_AXES


def test_lattice_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, axes = made(3), [random(5), random(7), random(3)]
    whole = grid.lattice(axes)
    calls: list[int] = []
    joined = grid._joined
    monkeypatch.setattr(grid, "_joined", lambda values: calls.append(values[0].shape[1]) or joined(values))
    monkeypatch.setattr(multires_grid, "_CHUNK_BYTES", 4 * 14 * 6 * (4 + 3 * 8))
    torch.testing.assert_close(grid.lattice(axes), whole)
    assert calls == [2, 2, 1]


@pytest.mark.parametrize("overflow", ["hash", "tile"])
@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_gradients_of_points_and_tables(n_dims: int, overflow: Overflow) -> None:
    grid = MultiresGrid(RESOLUTIONS[n_dims][:4], 2, 16, overflow=overflow, seed=5, amplitude=1.0).double()
    points = random(4, n_dims, seed=3).requires_grad_()
    axes = [random(n, seed=n) for n in (2, 4, 3)[:n_dims]]
    # gradcheck moves the tables themselves, number by number.
    assert torch.autograd.gradcheck(lambda x, *_: grid(x), (points, *grid.parameters()))
    assert torch.autograd.gradcheck(lambda *_: grid.lattice(axes), tuple(grid.parameters()))


def test_a_point_beyond_the_edge_has_no_gradient() -> None:
    points = torch.tensor([[1.5, 0.3], [0.2, -0.1]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(made(2)(points).sum(), points)
    assert gradient[0, 0] == 0
    assert gradient[1, 1] == 0
    assert gradient[0, 1] != 0
    assert gradient[1, 0] != 0


def test_dense_level_reproduces_constants_and_linear_functions() -> None:
    resolution, slope = (3, 7, 5), torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    grid = MultiresGrid([resolution], 2, 256, overflow="hash", seed=0).double()
    nodes = product([torch.arange(n + 1, dtype=torch.float64) / n for n in resolution]).reshape(-1, 3)
    with torch.no_grad():
        grid.tables[0][0] = 4.5
        grid.tables[0][1] = nodes @ slope + 3
    points = random(50, 3).requires_grad_()
    values = grid(points)
    torch.testing.assert_close(values[:, 0], torch.full((50,), 4.5, dtype=torch.float64))
    torch.testing.assert_close(values[:, 1], points @ slope + 3)
    (gradient,) = torch.autograd.grad(values[:, 1].sum(), points)
    torch.testing.assert_close(gradient, slope.expand(50, 3))


@pytest.mark.parametrize("road", ["forward", "lattice"])
def test_levels_beyond_the_active_are_zero_and_have_no_gradient(road: str) -> None:
    grid, axes = made(2), [random(4), random(5)]

    def evaluated() -> Tensor:
        return grid.lattice(axes).flatten(0, 1) if road == "lattice" else grid(product(axes).reshape(-1, 2))

    assert grid.active_levels == 5
    every = evaluated()
    grid.active_levels = 2
    few = evaluated()
    assert torch.equal(few[:, :6], every[:, :6])
    assert few.shape == every.shape
    assert not few[:, 6:].any()
    few.sum().backward()
    assert [table.grad is not None for table in grid.tables] == [True, True, False, False, False]
    for n in (0, 6):
        with pytest.raises(ParameterError, match=f"{n} active levels; expected 1 to 5"):
            grid.active_levels = n


def test_initial_features_are_the_seed_s_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (
        MultiresGrid([(3, 3), (99, 99)], 2, 1024, overflow="hash", seed=seed, amplitude=1e-3) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first.tables, again.tables, other.tables, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert 0.7e-3 < float(a.detach().abs().max()) <= 1e-3
        assert a.min() < 0 < a.max()


def test_levels_by_hand() -> None:
    assert geometric_levels(16, 2, 4, 2) == [(16, 16), (32, 32), (64, 64), (128, 128)]
    assert geometric_levels(16, 2, 16, 1)[-1] == (524288,)
    assert geometric_levels(2, 1.5, 5, 1) == [(2,), (3,), (4,), (6,), (10,)]
    assert geometric_levels(16, 2, 16, 3, cap=(23, 128, 100)) == [
        (16, 16, 16),
        (23, 32, 32),
        (23, 64, 64),
        (23, 128, 100),
    ]
    growth = (2048 / 16) ** (1 / 15)
    assert geometric_levels(16, growth, 16, 1)[-1] == (2048,)
    assert geometric_levels(5, 1.05, 4, 1) == [(5,)]


def test_parameters_counted_by_hand() -> None:
    """STINR: of 16 levels in three dimensions only the first four fit in 2^24 rows."""
    stinr = geometric_levels(16, 2, 16, 3)
    assert n_parameters(stinr, 2, 2**24, 3) == 2 * (17**3 + 33**3 + 65**3 + 129**3 + 12 * 2**24)
    assert n_parameters(geometric_levels(16, 2, 16, 3, cap=(23, 128, 128)), 4, 2**24, 3) == 4 * (
        17**3 + 24 * (33**2 + 65**2 + 129**2)
    )
    grid = made(3)
    assert n_parameters(RESOLUTIONS[3], 3, 64, 3) == sum(table.numel() for table in grid.parameters())
    assert [level.n_rows(64) for level in grid.levels] == [12, 60, 64, 64, 64]


def test_nothing_to_look_up_is_no_error() -> None:
    assert made(2)(torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 15)


def test_bad_arguments() -> None:
    def grid(
        resolutions: list[tuple[int, ...]], n_features: int = 2, table_size: int = 64, overflow: str = "hash"
    ) -> object:
        return MultiresGrid(resolutions, n_features, table_size, overflow=overflow, seed=0)

    with pytest.raises(ParameterError, match=r"resolutions \[\]; expected one or more, all of the same 1 to 3 axes"):
        grid([])
    with pytest.raises(ParameterError, match=r"resolutions \[\(2, 2\), \(2,\)\]; expected one or more"):
        grid([(2, 2), (2,)])
    with pytest.raises(ParameterError, match="same 1 to 3 axes"):
        grid([(2, 2, 2, 2)])
    with pytest.raises(ParameterError, match="same 1 to 3 axes"):
        n_parameters([(2, 2)], 2, 64, 3)
    with pytest.raises(ParameterError, match=r"2 features at resolutions \[\(2, 0\)\]; expected sizes of at least 1"):
        grid([(2, 0)])
    with pytest.raises(ParameterError, match="0 features at resolutions"):
        grid([(2, 2)], n_features=0)
    for rows in (0, 100, 2**29):
        with pytest.raises(ParameterError, match=f"a table of {rows} rows; expected a power of two up to 268435456"):
            grid([(2, 2)], table_size=rows)
    with pytest.raises(ParameterError, match="overflow 'drop'; expected 'hash' or 'tile'"):
        grid([(2, 2)], overflow="drop")
    with pytest.raises(ParameterError, match=r"points of shape \(4, 3\); expected \(n, 2\)"):
        made(2)(torch.zeros(4, 3))
    with pytest.raises(ParameterError, match=r"axes of shapes \(3,\), \(0,\); expected 2 lists of coordinates"):
        made(2).lattice([torch.zeros(3), torch.zeros(0)])
    with pytest.raises(ParameterError, match=r"axes of shapes \(3,\); expected 2 lists"):
        made(2).lattice([torch.zeros(3)])
    with pytest.raises(ParameterError, match=r"0 levels from 16 cells, growing by 2, capped at None, of 3 axes"):
        geometric_levels(16, 2, 0, 3)
    with pytest.raises(ParameterError, match=r"growing by 0\.5.*expected numbers of at least 1"):
        geometric_levels(16, 0.5, 4, 3)
    with pytest.raises(ParameterError, match=r"cap \(9, 9\); expected 3 numbers, one for each axis"):
        geometric_levels(16, 2, 4, 3, cap=(9, 9))
