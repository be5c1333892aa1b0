"""The live solver: what each of its terms is for, and that time and noise decide as they should."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.operators.nufft import Nufft
from inr_core.operators.sense import Sense
from inr_core.parameters.live import LiveParameters
from inr_core.solvers.effort import Times
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.live_solver import LiveSolver
from oracles import rand
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")
TWICE = {"quick_iterations": 16, "iterations": 20}


def frame_of(scan: RadialScan, image: Tensor, number: int = 3, noise: float = 0.0) -> MeasuredFrame:
    """The frame that a scan's spokes would have measured of an image."""
    traj = scan.traj[number]
    samples = Nufft(traj[None], scan.shape).forward(Sense(scan.maps).forward(image[None]))[0]
    samples = samples + noise * rand(*samples.shape, seed=7).to(torch.complex64)
    return MeasuredFrame.from_samples(number, samples, traj, scan.shape)


def solved(scan: RadialScan, image: Tensor, prediction: Tensor, noise: float = 0.0, **parameters: Any) -> Tensor:
    solver = LiveSolver(scan.shape, LiveParameters(**parameters), CPU)
    return solver(solver.look(frame_of(scan, image, noise=noise), scan.maps, prediction), scan.maps)


def test_a_right_prediction_stays() -> None:
    scan = cine_scan()
    image = scan.truth[3]
    assert error(solved(scan, image, image, live_spatial=0.0), image) < 1e-3


def test_what_changed_is_found_from_few_spokes() -> None:
    scan = cine_scan()
    image, before = scan.truth[5], scan.truth[3]
    assert error(solved(scan, image, before), image) < 0.6 * error(before, image)


def test_a_moved_object_is_found_better_as_motion() -> None:
    scan = cine_scan()
    before = scan.truth[3]
    image = 0.4 * before.roll(1, -1) + 0.6 * before  # by four tenths of a pixel
    with_motion, without = (solved(scan, image, before, motion_weight=weight) for weight in (2.5, 0.0))
    assert error(with_motion, image) < 0.9 * error(without, image)


def test_a_spot_that_brightens_is_found_better_where_the_phase_rarely_changes() -> None:
    scan = cine_scan()
    before, brighter = scan.truth[3], scan.truth[3].clone()
    brighter[12:18, 10:16] *= 1.5
    equal, rare = (solved(scan, brighter, before, phase_changes=size) for size in (1.0, 0.2))
    assert error(rare, brighter) < 0.95 * error(equal, brighter)


def test_the_noisier_the_data_the_more_the_prediction_counts() -> None:
    scan = cine_scan()
    image = scan.truth[3]
    errors = [
        error(solved(scan, image, image, noise=0.3, live_spatial=0.0, noise_weight=weight), image)
        for weight in (0.0, 6.0, 60.0)
    ]
    assert errors[0] > 1.3 * errors[1] > 1.3 * errors[2]


def test_no_scale_of_the_data_matters() -> None:
    scan = cine_scan()
    image, before = scan.truth[5], scan.truth[3]
    one, large = solved(scan, image, before), solved(scan, 1e4 * image, 1e4 * before)
    torch.testing.assert_close(1e-4 * large, one, rtol=1e-3, atol=1e-3)


def test_past_k_space_holds_the_prediction() -> None:
    """What the last frames measured is trusted: the more, the less a frame departs from its prediction."""
    scan = cine_scan()
    image, before = scan.truth[5], scan.truth[3]
    departures = []
    for weight in (0.0, 10.0):
        solver = LiveSolver(scan.shape, LiveParameters(history_weight=weight), CPU)
        solver.first(frame_of(scan, before, 2))
        outlook = solver.look(frame_of(scan, image), scan.maps, before)
        departures.append(float((solver(outlook, scan.maps) - before).norm()))
    assert departures[1] < 0.97 * departures[0]


def test_time_decides_how_much_is_done() -> None:
    scan = cine_scan()
    solver = LiveSolver(scan.shape, LiveParameters(), CPU)
    solver.plan.times = Times()
    prediction = scan.truth[2]
    for number, remaining_s in ((3, 0.0), (4, 0.0), (5, math.inf)):
        outlook = solver.look(frame_of(scan, scan.truth[number], number), scan.maps, prediction)
        prediction = solver(outlook, scan.maps, remaining_s)
        assert solver.last_effort is not None
        # Nothing was measured before the first frame: it is not held back.
        assert (solver.last_effort.first, solver.last_effort.second) == {3: (8, 10), 4: (4, 0), 5: (8, 10)}[number]
    assert solver.last_effort.coils == len(scan.maps) < LiveParameters().live_coils


def test_after_a_pause_nothing_of_the_past_counts_and_the_work_is_twice_as_much() -> None:
    scan = cine_scan()
    # At this acceleration k-space of the past has no weight by default.
    solver, fresh = (LiveSolver(scan.shape, LiveParameters(history_weight=10.0, **kw), CPU) for kw in ({}, TWICE))
    prediction, efforts = scan.truth[2], []
    for number in (3, 4, 5):
        outlook = solver.look(frame_of(scan, scan.truth[number], number), scan.maps, prediction)
        expected = fresh(outlook, scan.maps) if number == 4 else None
        if number == 4:
            solver.forget()
        prediction = solver(outlook, scan.maps)
        if expected is not None:
            torch.testing.assert_close(prediction, expected)
        assert solver.last_effort is not None
        efforts.append(solver.last_effort.second)
    assert efforts == [10, 20, 10]


def test_a_frame_of_fewer_coils_than_asked_for() -> None:
    scan = cine_scan()
    few = replace(scan, maps=scan.maps[:1])
    assert torch.isfinite(torch.view_as_real(solved(few, scan.truth[3], scan.truth[2]))).all()


def test_noise_is_smoothed_in_the_plane() -> None:
    scan = cine_scan()
    image = scan.truth[3]
    errors = [
        error(solved(scan, image, image, noise=0.3, noise_weight=0.0, live_spatial_noise=weight), image)
        for weight in (0.0, 0.1)
    ]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize(
    "name", ["noise_weight", "motion_weight", "live_spatial", "live_spatial_noise", "history_weight"]
)
def test_each_weight_can_be_switched_off(name: str) -> None:
    scan = cine_scan()
    assert error(solved(scan, scan.truth[5], scan.truth[3], **{name: 0.0}), scan.truth[5]) < 0.3


def test_past_k_space_of_little_weight_is_left_out() -> None:
    scan, images = cine_scan(), []
    for weight in (0.0, 1.9, 10.0):  # of 0.019 and 0.1 at this acceleration
        solver, image = LiveSolver(scan.shape, LiveParameters(history_weight=weight), CPU), scan.truth[2]
        for number in (3, 4):
            image = solver(solver.look(frame_of(scan, scan.truth[number], number), scan.maps, image), scan.maps)
        images.append(image)
    torch.testing.assert_close(images[1], images[0], rtol=0, atol=0)
    assert not torch.equal(images[2], images[0])
