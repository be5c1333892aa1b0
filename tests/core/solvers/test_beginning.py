"""The past data of a scan's first frames, against the sums they are, and what they are worth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.methods import make_live
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.operators.toeplitz import sum_of
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers import beginning
from inr_core.solvers.beginning import Beginning
from inr_core.solvers.change_solver import outlook
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from radial import RadialScan, cine_scan


def gridded(scan: RadialScan, n: int) -> list[MeasuredFrame]:
    return [MeasuredFrame.from_samples(i, scan.kspace[i], scan.traj[i], scan.shape) for i in range(n)]


def images_of(scan: RadialScan) -> Tensor:
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    images = []
    for data in zip(scan.kspace, scan.traj, strict=True):
        images.append(method.add_frame(*data))
        method.settle()
    return torch.stack(images)


def error(images: Tensor, scan: RadialScan, part: slice) -> float:
    found, truth = images[part].abs(), scan.truth[part].abs()
    scale = (found * truth).sum() / found.square().sum()
    return float((scale * found - truth).norm() / truth.norm())


@pytest.mark.parametrize("ahead", [False, True])
def test_the_next_frame_has_the_data_of_all_before_it(ahead: bool) -> None:
    """The older the less, and all for an image that does not change."""
    scan = cine_scan(matrix=(30, 25), beat_frames=1e6)
    first, second, third, *rest = gridded(scan, 5)
    begun = Beginning(first)
    begun.append([second, third])
    alone = JointFrames.ahead(rest[:1], rest[1]) if ahead else rest[0]
    past = list(zip([0.2 * 0.85**2, 0.2 * 0.85, 0.2], (first, second, third), strict=True))
    maps, prediction, change = scan.maps, 0.9 * scan.truth[2], 0.1 * scan.truth[2]
    seen = begun.seen(outlook(alone, maps, prediction))
    assert seen is not None
    joint = seen.frame
    assert isinstance(joint, JointFrames)
    right = alone.right_side(maps) + sum(w * frame.right_side(maps) for w, frame in past)
    torch.testing.assert_close(joint.right_side(maps), right, rtol=1e-4, atol=1e-4)
    for of in (None, change):
        explained = sum_of(alone.products(maps, prediction, of))
        explained = explained + sum(w * sum_of(frame.products(maps, prediction, of)) for w, frame in past)
        torch.testing.assert_close(sum_of(joint.products(maps, prediction, of)), explained, rtol=1e-3, atol=1e-3)
    assert joint.strength == pytest.approx(alone.strength + sum(w * frame.strength for w, frame in past), rel=1e-6)
    assert joint.noise == pytest.approx(alone.noise + sum(w**2 * frame.noise for w, frame in past), rel=1e-6)
    assert joint.acceleration == pytest.approx(alone.acceleration)
    assert joint.parts == (rest[0],)
    assert joint.shares == (1.0,)
    # What is handed on is what would be seen of the joint frame.
    anew = outlook(joint, maps, prediction, seen.scale)
    torch.testing.assert_close(seen.right, anew.right, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.missing, anew.missing, rtol=1e-3, atol=1e-3)
    assert seen.noise == pytest.approx(anew.noise, rel=1e-5)


def test_a_past_that_the_next_frame_contradicts_is_over() -> None:
    scan = cine_scan(beat_frames=1e6)
    first, second, third, *_ = gridded(scan, 4)
    begun = Beginning(first)
    begun.append([second])
    still, change = scan.truth[0], 0.3 * scan.truth[0] * torch.linspace(-1, 1, scan.shape[1])
    agreed = begun.seen(outlook(third, scan.maps, still + change))  # both miss the change
    assert agreed is not None
    assert agreed.frame.strength == pytest.approx(third.strength + 0.2 * (second.strength + 0.85 * first.strength))
    other = MeasuredFrame(**{**vars(third), "coil_images": third.coil_images * 1.6})
    assert begun.seen(outlook(other, scan.maps, 1.3 * still)) is None  # the past wants it darker, the frame brighter


def test_images_are_good_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """And little is lost where things move at once and fast: part of one frame, until they contradict each other."""
    for spokes, beat, better in ((5, 36.0, 0.85), (9, 36.0, 0.9), (5, 16.0, 1.0), (9, 16.0, 1.08)):
        scan = cine_scan(frames=14, spokes=spokes, matrix=(56, 48), coils=4, beat_frames=beat)
        images = images_of(scan)
        with monkeypatch.context() as context:
            context.setattr(beginning, "_TRUST", 0.0)
            without = images_of(scan)
        torch.testing.assert_close(images[0], without[0], rtol=0, atol=0)
        assert error(images, scan, slice(2, 6)) < better * error(without, scan, slice(2, 6))
        assert error(images, scan, slice(6, 14)) < 1.005 * error(without, scan, slice(6, 14))


def test_after_a_pause_the_past_does_not_count() -> None:
    scan = cine_scan(beat_frames=1e6)
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    assert isinstance(method, PredictedCg)
    for data in zip(scan.kspace[:3], scan.traj[:3], strict=True):
        method.add_frame(*data)
    assert method._beginning is not None
    method.pause()
    assert method._beginning is None
    method.add_frame(scan.kspace[3], scan.traj[3])
    assert method._beginning is None


def test_frames_that_share_samples_have_no_past() -> None:
    """What both miss is then also their noise and their streaks, and they would agree for ever."""
    scan = cine_scan(beat_frames=1e6)
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    assert isinstance(method, PredictedCg)
    method.overlaps = True
    for data in zip(scan.kspace[:3], scan.traj[:3], strict=True):
        method.add_frame(*data)
    assert method._beginning is None


def test_when_no_frame_follows_the_past_is_let_go_of() -> None:
    scan = cine_scan(beat_frames=1e6)
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    assert isinstance(method, PredictedCg)
    method.add_frame(scan.kspace[0], scan.traj[0])
    method.rest()
    assert method._beginning is None


def test_where_all_images_are_the_same_a_product_is_enough() -> None:
    scan = cine_scan(beat_frames=1e6)
    first, second, third, fourth = gridded(scan, 4)
    seen = Beginning(first).seen(outlook(second, scan.maps, scan.truth[1]))
    ahead = Beginning(first).seen(outlook(JointFrames.ahead([third], fourth), scan.maps, scan.truth[1]))
    assert seen is not None
    assert ahead is not None
    image = scan.truth[1]
    assert [len(each.frame.products(scan.maps, image, image)) for each in (seen, ahead)] == [1, 2]


def test_it_ends_when_the_heart_contracts() -> None:
    scan = cine_scan(beat_frames=16.0)
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    assert isinstance(method, PredictedCg)
    for data in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(*data)
    assert method._beginning is None  # and its tensors are let go of
