"""Stopping by held-out spokes: the error by hand, which weights are kept, and when it is enough."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.held_out import HeldOut, samples_of_images
from inr_core.solvers.slice_data import FrameSamples, SliceData
from inr_core.solvers.training import train
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import explicit_dft

SHAPE = (9, 12)


def held_out(*spokes: int) -> list[FrameSamples]:
    """Frame i measures 1 + i everywhere with two coils."""
    return [
        FrameSamples(torch.full((2, n, 5), 1.0 + i, dtype=torch.complex64), torch.zeros(n, 5, 2))
        for i, n in enumerate(spokes)
    ]


class Constant:
    """Expects its one weight everywhere, and knows which frames it was asked for."""

    def __init__(self, value: float) -> None:
        self.weight = torch.tensor([value], requires_grad=True)
        self.asked: list[int] = []

    def __call__(self, position: int, traj: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.asked.append(position)
        return self.weight.to(torch.complex64).expand(2, *traj.shape[:2])


def test_the_error_is_that_of_all_held_out_samples() -> None:
    model = Constant(0.5)
    stop = HeldOut(held_out(3, 0, 1), model, [model.weight], every=1, patience=1)
    stop(1)
    wanted = math.sqrt((3 * 0.5**2 + 1 * 2.5**2) / (3 * 1 + 1 * 9))
    assert stop.errors == [(1, pytest.approx(wanted))]
    assert model.asked == [0, 2]


def test_frames_are_looked_at_in_turn_and_the_others_remembered() -> None:
    model = Constant(0.0)
    stop = HeldOut(held_out(1, 1, 1), model, [model.weight], every=2, patience=9, at_once=2)
    for step, value in enumerate([0.0, 0.0, 7.0, 1.0, 7.0, 2.0]):
        model.weight.data.fill_(value)
        stop(step + 1)
    errors = [error for _, error in stop.errors]
    # 0 for all three; 1 for the first two; 2 for the third and the first
    assert model.asked == [0, 1, 2, 0, 1, 2, 0]
    squares = [1 + 4 + 9, 0 + 1 + 9, 1 + 1 + 1]
    assert errors == pytest.approx([math.sqrt(s / 14) for s in squares])
    assert [step for step, _ in stop.errors] == [2, 4, 6]


def test_it_stops_a_training_that_gets_worse_and_goes_back_to_the_best() -> None:
    model = Constant(0.0)
    optimiser = torch.optim.SGD([model.weight], lr=0.25)
    stop = HeldOut(held_out(1), model, [model.weight], every=1, patience=3)
    done = train(lambda step: {"up": -model.weight.sum()}, optimiser, 50, Control(), after_step=stop)
    assert done.steps == 4 + 3  # 0.25 a step: exact after four
    assert min(stop.errors, key=lambda look: look[1]) == (4, 0.0)
    stop.restore()
    assert model.weight.item() == 1.0
    assert model.weight.requires_grad


def test_nothing_is_restored_that_was_not_looked_at_and_a_nan_is_not_better() -> None:
    model = Constant(0.0)
    stop = HeldOut(held_out(1), model, [model.weight], every=5, patience=2)
    model.weight.data.fill_(3.0)
    assert not any(stop(step) for step in range(1, 5))
    stop.restore()
    assert model.weight.item() == 3.0
    assert not stop(5)
    model.weight.data.fill_(math.nan)
    assert not stop(10)
    assert stop(15)
    stop.restore()
    assert model.weight.item() == 3.0


def test_samples_of_images_against_an_explicit_sum() -> None:
    generator = torch.Generator().manual_seed(4)
    csm = torch.randn(3, *SHAPE, dtype=torch.complex64, generator=generator)
    traj = torch.from_numpy(radial_trajectory(spoke_angles(range(2)), 24)).float()
    kspace = torch.randn(3, 2, 24, dtype=torch.complex64, generator=generator)
    frames = FrameHistory(2)
    for index in range(2):
        frames.append(MeasuredFrame.from_samples(index, kspace, traj, SHAPE))
    data = SliceData(SHAPE, csm, frames, (FrameSamples(kspace, traj),) * 2)
    images = torch.randn(2, *SHAPE, dtype=torch.complex64, generator=generator)
    predict = samples_of_images(lambda positions: images[positions], data)
    wanted = explicit_dft((data.scale * images[1] * csm)[None], traj[None])[0]
    assert float((predict(1, traj) - wanted).norm() / wanted.norm()) < 1e-3


def test_held_out_spokes_need_a_signal() -> None:
    silent = [FrameSamples(torch.zeros(2, 1, 5, dtype=torch.complex64), torch.zeros(1, 5, 2))]
    model = Constant(0.0)
    with pytest.raises(DataError, match=r"^held-out spokes without a signal; expected a signal; check the receivers$"):
        HeldOut(silent, model, [model.weight], every=1, patience=1)


def test_weighted_errors_count_by_their_weight() -> None:
    model, density = Constant(0.5), [torch.full((3, 5), 0.2), torch.zeros(0, 5), torch.full((1, 5), 2.0)]
    stop = HeldOut(held_out(3, 0, 1), model, [model.weight], every=1, patience=1, density=density)
    stop(1)
    wanted = math.sqrt((0.2 * 3 * 0.5**2 + 2.0 * 2.5**2) / (0.2 * 3 * 1 + 2.0 * 9))
    assert stop.errors == [(1, pytest.approx(wanted))]


def test_it_looks_from_a_first_step_on_and_once_more_at_the_end() -> None:
    model = Constant(0.0)
    stop = HeldOut(held_out(1), model, [model.weight], every=2, patience=1, first=5)
    assert [step for step in range(1, 10) if stop.due(step)] == [6, 8]
    model.weight.data.fill_(0.9)
    assert not stop(4)
    assert not stop(6)
    model.weight.data.fill_(0.8)
    assert stop(8)
    assert stop.useless
    stop.conclude(8)
    assert [step for step, _ in stop.errors] == [6, 8]
    assert model.weight.item() == pytest.approx(0.9)
    model.weight.data.fill_(1.0)
    stop.conclude(9)
    assert stop.errors[-1] == (9, 0.0)
    assert model.weight.item() == 1.0
