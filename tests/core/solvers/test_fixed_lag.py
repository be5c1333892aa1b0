"""The last frames solved together, and what a method sends of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.methods import make_live
from inr_core.methods.live import LiveMethod
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.solvers.control import Control
from inr_core.solvers.fixed_lag import FixedLag
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.temporal_tv_cg import GraspObjective
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


def test_the_last_frames_come_nearer_to_the_objective_s_minimum() -> None:
    scan = cine_scan(frames=5, matrix=(20, 18))
    frames, window = measured(scan, 5), FrameHistory(4)
    for frame in frames[1:]:
        window.append(frame)
    objective = GraspObjective(window, scan.maps, 0.012, 0.02, spatial_weight=0.001)
    start = [frame.right_side(scan.maps) for frame in frames]
    lag = FixedLag(2)
    assert lag.window == 4
    for image in start:
        lag.append(image)  # the first of five is forgotten
    values = [objective.value(torch.stack(start[1:]))]
    for _ in range(3):
        assert lag.improve(frames, scan.maps, Control())
        values.append(objective.value(torch.stack([lag.image(back) for back in (3, 2, 1, 0)])))
    assert values == sorted(values, reverse=True)
    assert values[1] < values[0] - 0.5 * abs(values[0])


def test_it_stops_when_told_and_keeps_what_it_has() -> None:
    scan = cine_scan(frames=3, matrix=(20, 18))
    frames = measured(scan, 3)
    images = [frame.right_side(scan.maps) for frame in frames]

    def after(looks: int) -> tuple[bool, Tensor, list[float]]:
        lag, left, parts = FixedLag(1), [False] * looks, list[float]()
        for image in images:
            lag.append(image)
        done = lag.improve(frames, scan.maps, Control(stopped=lambda: not left or left.pop(), progress=parts.append))
        return done, lag.image(0), parts

    done, image, parts = after(0)
    assert not done
    assert not parts
    assert torch.equal(image, images[2])
    (done, once, parts), (_, thrice, others) = after(1), after(3)
    assert done
    assert parts == [pytest.approx(1 / 3)]
    assert others[-1] == 1.0
    assert not torch.equal(once, images[2])
    assert not torch.equal(once, thrice)


def test_a_single_frame_stays_as_it_is() -> None:
    scan = cine_scan(frames=3, matrix=(20, 18))
    lag, frames = FixedLag(1), measured(scan, 1)
    assert not lag.improve(frames, scan.maps, Control())
    lag.append(frames[0].right_side(scan.maps))
    assert not lag.improve(frames, scan.maps, Control(stopped=lambda: True))
    assert lag.improve(frames, scan.maps, Control())
    assert torch.equal(lag.image(0), frames[0].right_side(scan.maps))


def test_images_follow_new_receive_maps() -> None:
    scan = cine_scan(frames=3, matrix=(20, 18))
    lag, image = FixedLag(1), scan.truth[0]
    lag.append(image)
    lag.maps_changed(scan.maps, 1j * scan.maps)
    torch.testing.assert_close(lag.image(0), -1j * image)


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
    assert list(run(scan, delay_frames=5)[1]) == [0, 1, 2]
    assert made(scan, delay_frames=5).delayed(ended=True) == []


def test_methods_that_look_at_one_frame_have_none() -> None:
    scan = cine_scan(frames=3)
    method = make_live("nufft", scan.shape, SingleFrameParameters(), CPU)
    method.add_frame(scan.kspace[0], scan.traj[0])
    assert method.delay_frames == 0
    assert method.delayed(ended=True) == []


def test_the_frames_that_are_solved_together_must_be_kept() -> None:
    message = (
        r"^history_frames = 5 with delay_frames = 4; expected at least 6 frames, which are solved together; "
        r"raise history_frames or lower delay_frames$"
    )
    with pytest.raises(ParameterError, match=message):
        made(cine_scan(frames=3), delay_frames=4, history_frames=5)
