"""The training of the field on frames."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.losses import temporal_tv
from inr_core.parameters.inr import InrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.held_spokes import HeldSpokes
from inr_core.solvers.inr_trainer import InrTrainer
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")
FRAMES = 12


def scan() -> RadialScan:
    return cine_scan(frames=FRAMES)


def measured(limit: int = FRAMES) -> FrameHistory:
    history = FrameHistory(limit)
    for index, (kspace, traj) in enumerate(zip(scan().kspace, scan().traj, strict=True)):
        history.append(MeasuredFrame.from_samples(index, kspace, traj, scan().shape))
    return history


def trainer(history: FrameHistory, **parameters: object) -> InrTrainer:
    settings = InrParameters(**{"refine_passes": 10.0, **parameters})  # type: ignore[arg-type]
    made = InrTrainer(scan().shape, settings, 1.2, history[0].strength, CPU)
    for n_frames in range(1, history.first + len(history) + 1):
        made.extend(n_frames, history)
    return made


def times(history: FrameHistory) -> Tensor:
    return torch.arange(history.first, history.first + len(history))


def objective(made: InrTrainer, history: FrameHistory) -> float:
    """What the training lowers, by its definition, over all frames that are kept."""
    x = made.series(times(history)) / made.scale
    total = made.parameters.temporal_tv * float(temporal_tv(x))
    for image, frame in zip(x, history, strict=True):
        gram = frame.gram(scan().maps).forward(image[None])[0]
        right = frame.right_side(scan().maps) / made.scale
        data = 0.5 * torch.vdot(image.flatten(), gram.flatten()) - torch.vdot(image.flatten(), right.flatten())
        total += float(data.real) / made.strength
    return total / len(history)


def test_refining_lowers_the_objective_and_approaches_the_truth() -> None:
    history = measured()
    made = trainer(history, refine_passes=40.0)
    before = objective(made, history)
    made.refine(history, scan().maps)
    middle, early = objective(made, history), error(made.series(times(history)), scan().truth)
    made.refine(history, scan().maps)
    assert objective(made, history) < middle < before
    assert error(made.series(times(history)), scan().truth) < early < 0.3


def test_live_steps_lower_the_objective() -> None:
    history = measured()
    made = trainer(history)
    before = objective(made, history)
    for _ in range(60):
        made.tune(history, scan().maps)
    assert made.live_steps == 60
    assert objective(made, history) < before


def test_the_series_is_the_predictions_one_by_one() -> None:
    history = measured(limit=10)
    made = trainer(history, window=2)
    made.refine(history, scan().maps)
    series = made.series(times(history))  # brings frames to the present that the last steps did not touch
    assert series.shape == (10, *scan().shape)
    for i, image in enumerate(series):
        torch.testing.assert_close(made.predict(history.first + i), image, rtol=1e-4, atol=1e-5)


def trained_twice(**parameters: object) -> tuple[Tensor, Tensor]:
    results = []
    for _ in range(2):
        history = measured()
        made = trainer(history, **parameters)
        for _ in range(5):
            made.tune(history, scan().maps)
        made.refine(history, scan().maps)
        results.append(made.series(times(history)))
    return results[0], results[1]


def test_the_same_seed_gives_the_same_bits_and_another_other_ones() -> None:
    one, same = trained_twice(refine_passes=2.0)
    other, _ = trained_twice(refine_passes=2.0, seed=1)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_every_frame_is_visited_as_often_as_asked() -> None:
    history, parts = measured(), list[float]()
    made = trainer(history, refine_passes=10.0, window=6)
    steps = made.refine(history, scan().maps, control=Control(progress=parts.append))
    assert steps == 10 * FRAMES // 6 == len(parts)
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert made.adam.steps == steps


def test_no_passes_are_no_steps() -> None:
    history = measured()
    made = trainer(history, refine_passes=0.0)
    before = made.series(times(history))
    assert made.refine(history, scan().maps) == 0
    assert torch.equal(made.series(times(history)), before)


def test_it_stops_when_it_is_told() -> None:
    history, asked = measured(), list[int]()

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 4

    assert trainer(history, refine_passes=1e5).refine(history, scan().maps, control=Control(stopped=stopped)) == 4


@pytest.mark.parametrize("limit_s", [0.0, 1e-9])
def test_the_time_limit_ends_it(limit_s: float) -> None:
    history, parts = measured(), list[float]()
    control = Control(limit_s, progress=parts.append)
    steps = trainer(history, refine_passes=1e5).refine(history, scan().maps, control=control)
    assert steps == 1
    assert parts == [1.0]


def test_a_window_longer_than_the_scan_is_shortened() -> None:
    history = measured(limit=2)
    made = trainer(history, window=6, tune_window=3, refine_passes=3.0)
    made.tune(history, scan().maps)
    assert made.refine(history, scan().maps) == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_named(bad: float) -> None:
    history = measured(limit=3)
    history[1].coil_images[0, 3, 4] = bad
    made = trainer(history)
    with pytest.raises(DataError) as caught:
        for _ in range(20):
            made.tune(history, scan().maps)
    assert str(caught.value) == (
        f"a gradient that is not finite at step 1, frames {history.first} to {history.first + 2}; "
        "expected finite data consistency and total variation; lower recon.learning_rate"
    )
    assert all(bool(torch.isfinite(w.value).all()) for w in made.field.grids)  # the step was not taken


@pytest.mark.parametrize(
    ("scale", "strength", "line"),
    [
        (0.0, 1.0, "images of maximum 0 from data of weight 1; expected a signal; check the receivers"),
        (math.nan, 1.0, "images of maximum nan from data of weight 1; expected a signal; check the receivers"),
        (1.0, 0.0, "images of maximum 1 from data of weight 0; expected a signal; check the receivers"),
        (1.0, math.inf, "images of maximum 1 from data of weight inf; expected a signal; check the receivers"),
    ],
)
def test_there_must_be_a_signal(scale: float, strength: float, line: str) -> None:
    with pytest.raises(DataError) as caught:
        InrTrainer((8, 8), InrParameters(), scale, strength, CPU)
    assert str(caught.value) == line


def test_held_out_spokes_end_it_and_the_field_is_left_as_it_was_best() -> None:
    noisy = cine_scan(frames=16, spokes=8, sigma=0.3)
    history, held = FrameHistory(16), HeldSpokes(noisy.shape, 1.0, 16)
    for index, (kspace, traj) in enumerate(zip(noisy.kspace, noisy.traj, strict=True)):
        held.take(index, kspace, traj)
        history.append(MeasuredFrame.from_samples(index, kspace, traj, noisy.shape))
    seen, found = held.without(history), dict[bool, tuple[int, float]]()
    for early in (False, True):
        made = trainer(seen, refine_passes=60.0, temporal_tv=0.001)
        stop = made.judge(held.of(history), seen, noisy.maps)
        steps = made.refine(seen, noisy.maps, stop=stop if early else None)
        found[early] = steps, error(made.series(times(seen)), noisy.truth)
        if early:
            looks = dict(stop.errors)
            assert stop.useless
            assert {after - before for before, after in pairwise(looks)} == {round(5 * 16 / 6)}
            stop.errors.clear()
            stop.conclude(steps)
            assert stop.errors[0][1] == pytest.approx(min(looks.values()), rel=1e-4)
    assert found[True][0] < 0.5 * found[False][0]
    assert found[True][1] < found[False][1]
