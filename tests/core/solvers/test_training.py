"""The training loop: schedule, limits, and what a NaN leaves behind."""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import Tensor

from inr_core.solvers.control import Control
from inr_core.solvers.training import cosine, halved, levels_at, random_window, train


def problem() -> tuple[Tensor, torch.optim.Optimizer]:
    weight = torch.tensor([3.0], requires_grad=True)
    return weight, torch.optim.SGD([weight], lr=0.25)


def test_the_sum_of_the_terms_is_minimised() -> None:
    weight, optimiser = problem()
    told: list[float] = []
    done = train(
        lambda step: {"one": (weight[0] - 1) ** 2, "two": (weight[0] + 3) ** 2},
        optimiser,
        40,
        Control(progress=told.append),
    )
    assert (done.steps, done.failure) == (40, None)
    assert weight.item() == pytest.approx(-1.0, abs=1e-5)
    assert told == pytest.approx([i / 40 for i in range(1, 41)])


def test_the_rate_follows_its_schedule() -> None:
    weight, optimiser = problem()
    rates: list[float] = []
    train(
        lambda step: {"": weight.sum()},
        optimiser,
        8,
        Control(),
        rate=halved(0.25, 0.5),
        after_step=lambda n: bool(rates.append(optimiser.param_groups[0]["lr"])),
    )
    assert rates == [0.25] * 2 + [0.125] * 2 + [0.0625] * 4
    assert [cosine(0.1)(part) for part in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1])


@pytest.mark.parametrize(
    ("losses", "what"),
    [
        (lambda w: {"fit": w.sum(), "total variation": (w * math.nan).sum()}, "total variation"),
        (lambda w: {"fit": (w * math.inf).sum(), "flow": (w * math.nan).sum()}, "fit and flow"),
        (lambda w: {"fit": (w - w.detach()).sqrt().sum()}, "the gradient of fit"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_training_before_it_reaches_the_weights(losses: object, what: str) -> None:
    weight, optimiser = problem()

    def at(step: int) -> dict[str, Tensor]:
        return losses(weight) if step == 2 else {"fit": (weight**2).sum()}  # type: ignore[operator, no-any-return]

    done = train(at, optimiser, 10, Control())
    assert done.steps == 2
    assert str(done.failure) == (
        f"{what} not finite at step 3; expected a finite loss; lower recon.learning_rate; the last good images are kept"
    )
    assert weight.item() == pytest.approx(3 * 0.25)


def test_it_ends_when_told_to_and_when_time_is_over() -> None:
    weight, optimiser = problem()
    asked = iter([False, False, True])
    assert train(lambda n: {"": weight.sum()}, optimiser, 9, Control(stopped=lambda: next(asked))).steps == 2
    assert train(lambda n: {"": weight.sum()}, optimiser, 9, Control(), after_step=lambda n: n == 5).steps == 5
    assert train(lambda n: {"": weight.sum()}, optimiser, 9, Control(limit_s=0.0)).steps == 0
    assert train(lambda n: {"": weight.sum()}, optimiser, 0, Control()).steps == 0
    late = Control(limit_s=5.0, begin=time.monotonic() - 4.0)
    assert 0.8 <= late.part(1, 100) < 0.9
    assert late.part(95, 100) == 0.95


def test_stages_share_progress_and_time() -> None:
    told: list[float] = []
    whole = Control(limit_s=100.0, progress=told.append, begin=time.monotonic() - 50.0)
    stage = whole.within(0.2, 0.6)
    stage.progress(0.5)
    assert told == [pytest.approx(0.4)]
    assert stage.limit_s == pytest.approx(10.0, abs=1.0)
    assert stage.part(0, 10) < 0.1  # its schedule begins with it
    assert whole.within(0.0, 0.3).limit_s == 0.0
    assert math.isinf(Control().within(0.0, 0.5).limit_s)


def test_one_level_more_at_a_time() -> None:
    assert [levels_at(epoch / 8, 4) for epoch in range(8)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [levels_at(part, 5, 0.5) for part in (0.0, 0.09, 0.1, 0.49, 0.5, 1.0)] == [1, 1, 2, 5, 5, 5]
    assert [levels_at(part, 3, 0.0) for part in (0.0, 1.0)] == [3, 3]


def test_windows_are_consecutive_and_reach_every_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(9)
    for _ in range(1200):
        window = random_window(9, 4, generator)
        assert window.tolist() == list(range(int(window[0]), int(window[0]) + 4))
        counts[window] += 1
    assert counts.sum() == 4 * 1200
    assert counts.min() > 0.6 * counts.mean()
    for length in (0, 9, 12):
        assert random_window(9, length, generator).tolist() == list(range(9))
