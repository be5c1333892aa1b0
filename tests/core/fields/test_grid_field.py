"""The grid field against a naive field that gathers the corners of every pixel's cells, in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.grid_field import LEVELS, GradientOf, GridField, Level

SHAPES = [(16, 16), (13, 22), (21, 7)]
FEW = (Level(8, 4), Level(3, 2), Level(1, 1))


def made(shape: tuple[int, int], n_frames: int = 20, levels: tuple[Level, ...] = FEW, seed: int = 0) -> GridField:
    """A field of random weights, as if it had been trained."""
    field = GridField(shape, features=2, hidden=8, layers=2, levels=levels, seed=seed)
    field.extend(n_frames, keep=10**6)
    generator = torch.Generator().manual_seed(seed)
    for weights, _ in field.touched(torch.arange(n_frames)):
        weights.value.copy_(0.7 * torch.randn(weights.value.shape, generator=generator))
    return field


def corners(position: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
    """The two nodes beside each position, with their weights."""
    low = position.floor().clamp(0, n - 2).long()
    part = position - low
    return [(low, 1 - part), (low + 1, part)]


def naive(field: GridField, leaves: list[Tensor], times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Images at ``times`` by gathering; ``leaves`` are float64 copies of all grids and layers."""
    trained, wanted = field.shape, shape or field.shape
    features = []
    for level, grid in zip(field.levels, leaves, strict=False):
        along = []
        for n, old, cells in zip(wanted, trained, grid.shape[-2:], strict=True):
            pixel = (torch.arange(n, dtype=torch.float64) - n // 2) * old / n + old // 2
            along.append(corners((pixel * (cells - 1) / max(old - 1, 1)).clamp(0, cells - 1), cells))
        in_time = corners((times.double() - field.first_frame) / level.frames, len(grid))
        value = torch.zeros(len(times), grid.shape[1], *wanted, dtype=torch.float64)
        for (t, wt), (y, wy), (x, wx) in itertools.product(in_time, *along):
            gathered = grid[t][:, :, y][:, :, :, x]
            value = value + wt[:, None, None, None] * wy[:, None] * wx * gathered
        features.append(value)
    h = torch.cat(features, 1).movedim(1, -1)
    layers = leaves[len(field.levels) :]
    for i, (matrix, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
        h = h @ matrix.T + bias[:, 0]
        if i < len(layers) // 2 - 1:
            h = h.relu()
    return torch.complex(h[..., 0], h[..., 1])


def doubles(field: GridField) -> list[Tensor]:
    parts = [*field.grids, *itertools.chain.from_iterable(field.layers)]
    return [weights.value.double().requires_grad_() for weights in parts]


def close(left: Tensor, right: Tensor, accuracy: float = 1e-5) -> bool:
    return float((left - right).norm()) <= accuracy * float(right.norm())


def gradients_at(field: GridField, times: Tensor, gradient_of: GradientOf) -> list[Tensor]:
    touched = field.touched(times)
    return field.gradients([w.value[rows] for w, rows in touched], field.between(times, touched), gradient_of)


# -- values and gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [FEW, LEVELS], ids=["few", "default"])
def test_values_are_those_of_the_naive_field(shape: tuple[int, int], levels: tuple[Level, ...]) -> None:
    field = made(shape, levels=levels)
    times = torch.tensor([0.0, 3.0, 4.25, 18.5, 19.0])
    images = field(times)
    assert images.dtype == torch.complex64
    assert images.shape == (5, *shape)
    assert close(images, naive(field, doubles(field), times).detach())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("times", [[4, 5, 6], [0], [3, 17], [2.5, 2.75]])
def test_gradients_are_those_of_the_naive_field(shape: tuple[int, int], times: list[float]) -> None:
    field, at = made(shape), torch.tensor(times)
    upstream = torch.randn(len(times), *shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    seen: list[Tensor] = []

    def gradient_of(images: Tensor) -> Tensor:
        seen.append(images)
        assert not images.requires_grad
        return upstream.to(torch.complex64)

    gradients = gradients_at(field, at, gradient_of)
    leaves = doubles(field)
    images = naive(field, leaves, at)
    (images.real * upstream.real + images.imag * upstream.imag).sum().backward()
    assert close(seen[0], images.detach())
    touched = field.touched(at)
    assert len(gradients) == len(touched) == len(leaves)
    for (weights, rows), gradient, leaf in zip(touched, gradients, leaves, strict=True):
        assert gradient.shape == weights.value[rows].shape
        assert leaf.grad is not None
        assert close(gradient, leaf.grad[rows], 1e-4)
        untouched = leaf.grad.clone()
        untouched[rows] = 0
        assert not untouched.any()


@pytest.mark.parametrize("length", [1, 2, 3, 6, 17])
def test_a_window_touches_as_many_nodes_wherever_it_begins(length: int) -> None:
    """What it touches besides is looked at by no frame."""
    field = made((5, 6), 70, LEVELS)
    sizes = set()
    for first in range(70 - length + 1):
        times = torch.arange(first, first + length)
        touched, seen = field.touched_by_window(first, length), field.touched(times)
        sizes.add(tuple(len(weights.value[rows]) for weights, rows in touched))
        for (_, rows), (_, needed) in zip(touched, seen, strict=True):
            assert rows == needed or (rows.start <= needed.start and rows.stop >= needed.stop)
        between = field.between(times, touched)
        for weight, exact, (_, rows), (_, needed) in zip(
            between, field.between(times, seen), touched, seen, strict=False
        ):
            assert torch.equal(weight[:, needed.start - rows.start :][:, : exact.shape[1]], exact)
            assert weight.sum() == exact.sum()
        assert all(g.isfinite().all() for g in gradients_at(field, times, lambda images: images))
    assert len(sizes) == 1


def test_training_changes_what_the_gradient_says() -> None:
    """A small step against the gradient lowers the objective by its square norm."""
    field, at = made((13, 22)), torch.tensor([4, 5])
    target = torch.zeros(2, 13, 22, dtype=torch.complex64)

    def objective() -> float:
        return 0.5 * float((field(at) - target).abs().square().sum())

    before, gradients = objective(), gradients_at(field, at, lambda images: images - target)
    expected = sum(float(g.double().square().sum()) for g in gradients)
    step = 1e-3 * before / expected
    for (weights, rows), gradient in zip(field.touched(at), gradients, strict=True):
        weights.value[rows] -= step * gradient
    assert before - objective() == pytest.approx(step * expected, rel=0.02)


# -- continuous queries -------------------------------------------------------------------------------------------


def test_the_encoding_is_linear_in_time_between_frames() -> None:
    """With a linear decoder the image between two frames is their mean."""
    field = made((13, 22))
    field.layers = [field.layers[-1]]
    matrix, _ = field.layers[0]
    matrix.value = torch.randn(2, len(FEW) * 2, generator=torch.Generator().manual_seed(1))
    for t in (0, 7, 18):
        left, middle, right = field(torch.tensor([t, t + 0.25, t + 1.0]))
        assert close(middle, 0.75 * left + 0.25 * right)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_finer_matrix_agrees_with_the_trained_pixels(shape: tuple[int, int]) -> None:
    field, times = made(shape), torch.tensor([3.0, 8.5])
    fine = field(times, (2 * shape[0], 2 * shape[1]))
    # Pixel n // 2 is the centre of both, so pixel j lies at 2 j, or one further on if n is odd.
    same = fine[:, shape[0] % 2 :: 2, shape[1] % 2 :: 2]
    assert close(same, field(times))
    assert close(fine, naive(field, doubles(field), times, (2 * shape[0], 2 * shape[1])).detach())


# -- time: growing and forgetting ---------------------------------------------------------------------------------


def test_a_new_field_shows_the_same_in_all_frames() -> None:
    field = GridField((9, 7))
    field.extend(70, keep=10**6)
    images = field(torch.tensor([0.0, 1.0, 33.3, 69.0]))
    assert images.abs().max() > 0
    for image in images[1:]:
        assert close(image, images[0])


@pytest.mark.parametrize("n_frames", [1, 2, 9, 20, 64, 65, 66])
@pytest.mark.parametrize("more", [1, 3, 70])
def test_extending_leaves_old_frames_and_copies_the_last_nodes(n_frames: int, more: int) -> None:
    field = made((9, 7), n_frames, LEVELS)
    old = field(torch.arange(n_frames))
    nodes = [(w.value[rows][-1].clone(), rows.stop) for w, rows in field.touched(torch.tensor([n_frames - 1]))]
    field.extend(n_frames + more, keep=10**6)
    assert field.n_frames == n_frames + more
    assert torch.equal(field(torch.arange(n_frames)), old)
    for (weights, rows), (last, stop) in zip(
        field.touched(torch.tensor([n_frames + more - 1]))[: len(LEVELS)], nodes, strict=False
    ):
        assert torch.equal(weights.value[stop : rows.stop], last.expand(rows.stop - stop, *last.shape))


@pytest.mark.parametrize("n_frames", [1, 9, 65])
def test_a_new_frame_is_a_copy_of_the_last_where_all_levels_have_a_node(n_frames: int) -> None:
    field = made((9, 7), n_frames, LEVELS)
    assert (n_frames - 1) % max(level.frames for level in LEVELS) == 0
    field.extend(n_frames + 5, keep=10**6)
    last, *new = field(torch.arange(n_frames - 1, n_frames + 5))
    for image in new:
        assert close(image, last)


def test_memory_is_bounded_and_kept_frames_stay_what_they_were() -> None:
    keep, levels = 20, (Level(4, 4), Level(2, 1))
    field = GridField((5, 6), features=1, hidden=2, layers=1, levels=levels)
    generator, sizes, checked = torch.Generator().manual_seed(0), set(), 0
    for n_frames in range(1, 10_001):
        first = field.first_frame
        dropping = n_frames - first > field.capacity
        kept = torch.arange(max(first, n_frames - 1 - keep), n_frames - 1)
        before = field(kept) if dropping else None
        field.extend(n_frames, keep)
        if before is not None:
            assert torch.equal(field(kept), before)
            checked += 1
        last = math.ceil((n_frames - 1 - field.first_frame) / levels[-1].frames)
        field.grids[-1].value[last] = torch.randn(field.grids[-1].value.shape[1:], generator=generator)
        if n_frames > 200:
            sizes.add(tuple(weights.value.shape[0] for weights in field.grids))
    assert checked > 100
    assert len(sizes) == 1
    assert field.capacity <= keep + 128
    assert field.n_frames == 10_000
    assert 10_000 - field.capacity <= field.first_frame <= 10_000 - keep


# -- construction -------------------------------------------------------------------------------------------------


def test_the_seed_decides_the_weights() -> None:
    one, same, other = (GridField((9, 7), seed=seed)(torch.tensor([0])) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not close(one, other, 0.1)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"shape": (0, 8)},
            "a field of (0, 8) pixels, 4 features, 2 x 32; expected sizes of at least 1",
        ),
        (
            {"shape": (8, 8), "layers": 0},
            "a field of (8, 8) pixels, 4 features, 0 x 32; expected sizes of at least 1",
        ),
        (
            {"shape": (8, 8), "levels": (Level(4, 3),)},
            "levels (Level(pixels=4, frames=3),); expected steps in time that divide 64",
        ),
    ],
)
def test_impossible_fields_are_refused(options: dict[str, object], line: str) -> None:
    with pytest.raises(ParameterError) as caught:
        GridField(**options)  # type: ignore[arg-type]
    assert str(caught.value) == line
