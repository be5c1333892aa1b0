"""Live images of few spokes that wait for the data of the next frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.methods import make_live
from inr_core.methods.live import LiveMethod
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.inr import InrParameters
from inr_core.parameters.single_frame import SingleFrameParameters
from radial import RadialScan, cine_scan

FEW, FRAMES = 4, 14
KINDS: dict[str, Any] = {"grasp": GraspParameters, "inr": InrParameters, "nufft": SingleFrameParameters}


def scan_of_few() -> RadialScan:
    """An acceleration of 13."""
    return cine_scan(frames=FRAMES, spokes=FEW, matrix=(56, 48), coils=4)


def made(scan: RadialScan, name: str = "grasp", **values: Any) -> LiveMethod:
    return make_live(name, scan.shape, KINDS[name](**values), torch.device("cpu"))


def followed(scan: RadialScan, method: LiveMethod, pairs: bool = False) -> Tensor:
    """All images: those of the first frames at once, those that wait one by one, or two by two."""
    images = list[Tensor]()
    for number, data in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        if not method.looks_ahead(FEW):
            images.append(method.add_frame(*data))
        elif pairs and number % 2:
            method.wait(*data)
        else:
            images += method.follow(*data)
        method.settle()
    return torch.stack([*images, *method.waited()])


def alone(scan: RadialScan, method: LiveMethod) -> Tensor:
    images = []
    for data in zip(scan.kspace, scan.traj, strict=True):
        images.append(method.add_frame(*data))
        method.settle()
    return torch.stack(images)


def error(images: Tensor, scan: RadialScan) -> float:
    """Of the magnitudes from the fifth frame to the one before the last, on one scale."""
    part = slice(4, FRAMES - 1)
    found, truth = images[part].abs(), scan.truth[part].abs()
    scale = (found * truth).sum() / found.square().sum()
    return float((scale * found - truth).norm() / truth.norm())


def test_images_are_better_for_the_next_frames_data() -> None:
    scan = scan_of_few()
    with_them, without = followed(scan, made(scan)), alone(scan, made(scan))
    assert len(with_them) == FRAMES
    assert error(with_them, scan) < 0.93 * error(without, scan)
    torch.testing.assert_close(with_them[:2], without[:2], rtol=0, atol=0)  # these make the maps, and wait for nobody


def test_two_frames_can_be_solved_with_the_one_after_them() -> None:
    scan = scan_of_few()
    method = made(scan)
    in_pairs, images, other = followed(scan, method, pairs=True), list[Tensor](), made(scan)
    assert len(in_pairs) == FRAMES == method.n_frames
    for number, data in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        if number > 1 and number % 2 == 0:
            other.wait(*data)
        else:
            image = other.add_frame(*data)
            images += [*other.waited(), image]
        other.settle()
    assert error(in_pairs, scan) < 0.95 * error(torch.stack(images), scan)  # two by two without the one after them


def test_an_image_waits_for_one_frame_and_the_last_for_none() -> None:
    scan = scan_of_few()
    method = made(scan)
    for number, data in enumerate(zip(scan.kspace[:6], scan.traj[:6], strict=True)):
        if number < 2:
            method.add_frame(*data)
            continue
        came = method.follow(*data)
        assert len(came) == (number > 2)
        assert method.n_frames == number + 1
        if came:
            assert method.solved().image is came[0]
            assert method.solved().frame.index == number - 1
    assert len(method.waited()) == 1
    assert method.waited() == []
    assert method.follow(scan.kspace[6], scan.traj[6]) == []
    assert isinstance(method, PredictedCg)
    assert [frame.index for frame in method.history] == [*range(6)]


def test_frames_that_waited_can_be_joined_by_the_next() -> None:
    """Where there is no time to look ahead any more."""
    scan = scan_of_few()
    method = made(scan)
    for data in zip(scan.kspace[:2], scan.traj[:2], strict=True):
        method.add_frame(*data)
    assert method.follow(scan.kspace[2], scan.traj[2]) == []
    image = method.add_frame(scan.kspace[3], scan.traj[3])
    (before,) = method.waited()
    assert image.shape == before.shape == scan.shape
    assert not torch.equal(image, before)


def test_all_frames_are_trained_on_and_refined() -> None:
    scan = scan_of_few()
    method = made(scan, "inr", refine_passes=2.0, companion_passes=0.0)
    for number, data in enumerate(zip(scan.kspace[:8], scan.traj[:8], strict=True)):
        _ = method.follow(*data) if number > 1 else method.add_frame(*data)
        method.settle()
        assert method.tune() == (number > 0)  # while one waits
    assert len(method.waited()) == 1
    series = method.refine()
    assert series is not None
    assert len(series.images) == 8


def test_what_does_not_fit_is_seen_while_a_frame_waits_and_not_mixed_with_it() -> None:
    scan = scan_of_few()
    method, same = made(scan), made(scan)
    for number, data in enumerate(zip(scan.kspace[:7], scan.traj[:7], strict=True)):
        for either in (method, same):
            assert either.fits(*data)
            _ = either.follow(*data) if number > 1 else either.add_frame(*data)
            either.settle()
    turns = scan.traj[7] @ torch.tensor([20.0, 11.0])  # all has moved by as many pixels
    moved = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    assert not method.fits(scan.kspace[7] * moved, scan.traj[7])
    torch.testing.assert_close(method.waited(), same.waited(), rtol=0, atol=0)
    assert same.fits(scan.kspace[7], scan.traj[7])


@pytest.mark.parametrize(
    ("name", "values", "spokes", "expected"),
    [
        ("grasp", {}, FEW, True),
        ("inr", {}, FEW, True),
        ("grasp", {}, FEW + 1, False),
        ("grasp", {"look_ahead": False}, FEW, False),
        ("grasp", {"lag_frames": 1}, FEW, False),
        ("grasp", {"delay_frames": 1}, FEW, False),
        ("nufft", {}, FEW, False),
    ],
)
def test_who_looks_ahead(name: str, values: dict[str, Any], spokes: int, expected: bool) -> None:
    scan = scan_of_few()
    method = made(scan, name, **values)
    for number in range(3):
        assert method.looks_ahead(spokes) == (expected and number > 1)
        method.add_frame(scan.kspace[number], scan.traj[number])
    assert method.looks_ahead(spokes) == expected
