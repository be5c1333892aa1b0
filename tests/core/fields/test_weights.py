"""Adam that costs what a step touches is ordinary Adam for whoever looks."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.fields.weights import Adam, Parts, Rows, Weights

RATE, BETAS, EPSILON = 1e-2, (0.9, 0.99), 1e-8


def step(adam: Adam, touched: list[Rows], gradients: list[Tensor]) -> None:
    """Make good what the rows have missed, and take a step."""
    missed, scales = adam.begin(touched, RATE)
    parts = Parts.of(touched)
    adam.make_good(parts, missed, scales)
    adam.move(parts, gradients, scales)


class Dense:
    """torch's Adam, told that rows which a step does not touch have gradient zero."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.clone().requires_grad_()
        self._adam = torch.optim.Adam([self.value], lr=RATE, betas=BETAS, eps=EPSILON)

    def step(self, rows: slice, gradient: Tensor) -> None:
        self.value.grad = torch.zeros_like(self.value)
        self.value.grad[rows] = gradient
        self._adam.step()


class Race:
    """Both optimisers along the same gradients, of a window of rows that is drawn anew for each step."""

    def __init__(self, n_rows: int, window: int) -> None:
        self.generator = torch.Generator().manual_seed(0)
        start = torch.randn(n_rows, 3, 2, generator=self.generator)
        self.drift = torch.randn(n_rows, 3, 2, generator=self.generator)
        self.ours, self.dense, self.adam = Weights(start.clone()), Dense(start), Adam(BETAS, EPSILON)
        self.n_rows, self.window = n_rows, window
        self.mark()

    def mark(self) -> None:
        """Begin to compare here."""
        self._from = self.ours.value.clone(), self.dense.value.detach().clone()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            first = int(torch.randint(0, self.n_rows - self.window + 1, (1,), generator=self.generator))
            rows = slice(first, first + self.window)
            gradient = self.drift[rows] + torch.randn(self.window, 3, 2, generator=self.generator)
            step(self.adam, [(self.ours, rows)], [gradient])
            self.dense.step(rows, gradient)

    def difference(self, rows: slice = slice(None)) -> float:
        """Of the ways gone since the mark, relative to the way of ordinary Adam."""
        ours, dense = self.ours.value - self._from[0], self.dense.value.detach() - self._from[1]
        return float((ours[rows] - dense[rows]).norm() / dense[rows].norm())


def race(n_rows: int, window: int, steps: int) -> Race:
    made = Race(n_rows, window)
    made.run(steps)
    return made


def test_touching_every_row_is_ordinary_adam() -> None:
    assert race(n_rows=4, window=4, steps=50).difference() < 1e-5


def test_rows_that_were_left_alone_catch_up_with_ordinary_adam() -> None:
    both = race(n_rows=12, window=3, steps=600)
    both.adam.catch_up([(both.ours, slice(None))])
    # The missed steps take the bias corrections of the present, which is an approximation while these still change.
    assert both.difference() < 1e-2
    both.mark()
    both.run(300)
    behind = both.difference()
    both.adam.catch_up([(both.ours, slice(None))])
    assert both.difference() < 1e-3 < behind


def test_every_look_in_between_is_right_as_well() -> None:
    both = race(n_rows=6, window=2, steps=600)
    both.adam.catch_up([(both.ours, slice(None))])
    both.mark()
    both.run(100)
    for rows in (slice(4, 6), slice(0, 3), slice(0, 6)):
        both.adam.catch_up([(both.ours, rows)])
        assert both.difference(rows) < 1e-3


def test_looking_twice_moves_nothing() -> None:
    both = race(n_rows=6, steps=40, window=2)
    ours, adam = both.ours, both.adam
    adam.catch_up([(ours, slice(None))])
    once = [part.clone() for part in (ours.value, ours.moment1, ours.moment2, ours.last_step)]
    adam.catch_up([(ours, slice(None))])
    for part, before in zip((ours.value, ours.moment1, ours.moment2, ours.last_step), once, strict=True):
        assert torch.equal(part, before)


def test_rows_that_never_had_a_gradient_stay() -> None:
    start = torch.ones(4, 2)
    weights, adam = Weights(start.clone()), Adam()
    for _ in range(20):
        step(adam, [(weights, slice(0, 2))], [torch.ones(2, 2)])
    adam.catch_up([(weights, slice(None))])
    assert torch.equal(weights.value[2:], start[2:])
    assert bool((weights.value[:2] < start[:2]).all())


def test_a_step_costs_no_other_row() -> None:
    both = race(n_rows=6, steps=30, window=2)
    ours, adam = both.ours, both.adam
    others = ours.value[2:].clone()
    step(adam, [(ours, slice(0, 2))], [torch.ones(2, 3, 2)])
    assert torch.equal(ours.value[2:], others)
    assert adam.steps == 31


def parts(weights: Weights) -> list[Tensor]:
    return [weights.value, weights.moment1, weights.moment2, weights.last_step]


def test_growing_adds_zero_rows_to_weights_and_moments() -> None:
    ours = race(n_rows=5, steps=30, window=2).ours
    before = [part.clone() for part in parts(ours)]
    ours.grow(3)
    for part, old in zip(parts(ours), before, strict=True):
        assert part.shape == (8, *old.shape[1:])
        assert torch.equal(part[:5], old)
        assert not part[5:].any()


def test_dropping_moves_rows_up_and_keeps_the_size() -> None:
    ours = race(n_rows=5, steps=30, window=2).ours
    before = [part.clone() for part in parts(ours)]
    ours.drop(2)
    for part, old in zip(parts(ours), before, strict=True):
        assert part.shape == old.shape
        assert torch.equal(part[:3], old[2:])
        assert not part[3:].any()


def test_forgetting_keeps_the_values_only() -> None:
    ours = race(n_rows=5, steps=30, window=2).ours
    value = ours.value.clone()
    ours.forget()
    assert torch.equal(ours.value, value)
    assert not any(part.any() for part in parts(ours)[1:])
