"""The last frames solved again between their neighbours, and what a method sends of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.methods import make_live
from inr_core.methods.live import LiveMethod
from inr_core.operators.toeplitz import ToeplitzGram as Gram
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.live import LiveParameters
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.solvers import change_solver
from inr_core.solvers.control import Control
from inr_core.solvers.fixed_lag import FixedLag
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.motion_prior import MotionPrior
from inr_core.solvers.two_sided import TwoSidedSolver
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")


def made(scan: RadialScan, **values: Any) -> LiveMethod:
    return make_live("grasp", scan.shape, GraspParameters(**values), CPU)


def measured(scan: RadialScan, n: int) -> list[MeasuredFrame]:
    pairs = zip(scan.kspace[:n], scan.traj[:n], strict=True)
    return [MeasuredFrame.from_samples(i, k, t, scan.shape) for i, (k, t) in enumerate(pairs)]


def run(scan: RadialScan, **values: Any) -> tuple[Tensor, dict[int, Tensor]]:
    """The live images, and the delayed ones by index."""
    method, live, found = made(scan, **values), list[Tensor](), dict[int, Tensor]()
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        live.append(method.add_frame(samples, traj))
        found.update(method.delayed())
    found.update(method.delayed(ended=True))
    return torch.stack(live), found


# -- the smoother -------------------------------------------------------------------------------------------------


def test_a_frame_between_two_is_solved_better_than_either_predicts() -> None:
    scan = cine_scan()
    solver = TwoSidedSolver(scan.shape, LiveParameters(), CPU)
    before, image, after = scan.truth[2], scan.truth[5], scan.truth[8]
    found, mean = solver(measured(scan, 6)[5], scan.maps, before, after), 0.5 * (before + after)
    assert error(found, image) < 0.8 * error(mean, image) < 0.8 * error(before, image)


def test_changes_are_expected_where_the_images_around_differ() -> None:
    before, after = torch.ones(20, 18, dtype=torch.complex64), torch.ones(20, 18, dtype=torch.complex64)
    after[8:12, 6:10] += 0.5j
    deviation = MotionPrior().between(before, after)
    assert float(deviation[8:12, 6:10].min()) > 2 * float(deviation[0, 0]) > 0


@pytest.mark.parametrize(("spokes", "coils"), [(3, [2]), (8, [2, 4])])
def test_many_spokes_have_a_second_part_on_more_coils(spokes: int, coils: list[int], monkeypatch: Any) -> None:
    # 48 x 48 from 3 spokes is an acceleration of 16.
    scan, used = cine_scan(frames=3, matrix=(48, 48), spokes=spokes, coils=6), list[int]()
    assert measured(scan, 1)[0].acceleration == 48 / spokes
    monkeypatch.setattr(change_solver, "ToeplitzGram", lambda kernel, csm: used.append(len(csm)) or Gram(kernel, csm))
    solver = TwoSidedSolver(scan.shape, LiveParameters(), CPU)
    solver(measured(scan, 2)[1], scan.maps, scan.truth[0], scan.truth[2])
    assert used == coils


class Means:
    """In place of a solver: the mean, and which frame between which images."""

    def __init__(self) -> None:
        self.calls = list[tuple[int, float, float]]()

    def __call__(self, frame: Any, csm: Tensor, before: Tensor, after: Tensor) -> Tensor:
        self.calls.append((frame, float(before), float(after)))
        return 0.5 * (before + after)


def test_each_frame_is_solved_between_the_best_of_its_neighbours() -> None:
    means, unlimited = Means(), Control()
    lag: Any = FixedLag(2, means)  # type: ignore[arg-type]
    for number, value in enumerate((1.0, 0.0, 4.0, 8.0)):
        lag.append(number, torch.tensor(value))
        assert lag.improve(torch.empty(0), unlimited)
    # Frame 0 has none before it. 1 after 2: between 1 and 4, 2.5. After 3, 2: between 2.5 and 8, 5.25; 1: 1 and 5.25.
    assert means.calls == [(1, 1.0, 4.0), (2, 2.5, 8.0), (1, 1.0, 5.25)]
    assert [float(lag.image(back)) for back in (0, 1, 2)] == [8.0, 5.25, 3.125]


def test_what_there_is_no_time_for_goes_on_as_it_is() -> None:
    means, parts = Means(), list[float]()
    lag: Any = FixedLag(2, means)  # type: ignore[arg-type]
    assert not lag.improve(torch.empty(0), Control())
    for number, value in enumerate((1.0, 0.0, 4.0)):
        lag.append(number, torch.tensor(value))
    assert not lag.improve(torch.empty(0), Control(stopped=lambda: True))
    assert [float(lag.image(back)) for back in (0, 1, 2)] == [4.0, 0.0, 1.0]
    lag.append(3, torch.tensor(8.0))
    left = [True, False]
    assert lag.improve(torch.empty(0), Control(stopped=left.pop, progress=parts.append))
    assert means.calls == [(2, 0.0, 8.0)]
    assert [float(lag.image(back)) for back in (0, 1, 2)] == [8.0, 4.0, 0.0]
    assert parts == [0.5]


def test_images_follow_new_receive_maps() -> None:
    scan = cine_scan(frames=3, matrix=(20, 18))
    means, image = Means(), scan.truth[0]
    lag: Any = FixedLag(1, means)  # type: ignore[arg-type]
    lag.append(0, image)
    lag.append(1, image)
    lag.maps_changed(scan.maps, 1j * scan.maps)
    for back in (0, 1):
        torch.testing.assert_close(lag.image(back), -1j * image)


# -- methods ------------------------------------------------------------------------------------------------------


def test_more_delay_is_better_and_any_better_than_live() -> None:
    scan = cine_scan()
    errors = []
    for delay in (1, 3):
        live, found = run(scan, delay_frames=delay)
        assert list(found) == list(range(24))
        errors.append(error(torch.stack(list(found.values()))[8:], scan.truth[8:]))
    assert errors[1] < errors[0] < 0.97 * error(live[8:], scan.truth[8:])


def test_the_live_series_stays_as_it_is() -> None:
    scan = cine_scan(frames=8)
    assert torch.equal(run(scan, delay_frames=2)[0], run(scan)[0])
    assert run(scan)[1] == {}


def test_what_there_was_no_time_for_is_left_out() -> None:
    scan = cine_scan(frames=8)
    method, found = made(scan, delay_frames=2), list[list[int]]()
    for i, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        method.add_frame(samples, traj)
        found.append([index for index, _ in method.delayed(Control(stopped=lambda busy=i in (3, 5, 6, 7): busy))])
    assert found == [[], [], [0], [], [2], [], [], []]
    assert [index for index, _ in method.delayed(ended=True)] == [5, 6, 7]
    assert method.delayed(ended=True) == []


def test_a_scan_shorter_than_the_delay_comes_whole_at_its_end() -> None:
    scan = cine_scan(frames=3)
    assert list(run(scan, delay_frames=4)[1]) == [0, 1, 2]
    assert made(scan, delay_frames=4).delayed(ended=True) == []


def test_methods_that_look_at_one_frame_have_none() -> None:
    scan = cine_scan(frames=3)
    method = make_live("nufft", scan.shape, SingleFrameParameters(), CPU)
    method.add_frame(scan.kspace[0], scan.traj[0])
    assert method.delay_frames == 0
    assert method.delayed(ended=True) == []
