"""Frames that are solved together, against the data of images that change evenly."""

from __future__ import annotations

import pytest
import torch

from inr_core.operators.nufft import Nufft
from inr_core.operators.sense import Sense
from inr_core.operators.toeplitz import ToeplitzGram, sum_of
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from oracles import rand
from radial import RadialScan, cine_scan


def measured(scan: RadialScan, images: list[torch.Tensor]) -> list[MeasuredFrame]:
    made = []
    for number, image in enumerate(images):
        traj = scan.traj[number]
        samples = Nufft(traj[None], scan.shape).forward(Sense(scan.maps).forward(image[None]))[0]
        made.append(MeasuredFrame.from_samples(number, samples, traj, scan.shape))
    return made


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_even_change_leaves_nothing_of_the_data_unexplained(n: int) -> None:
    scan = cine_scan()
    prediction = scan.truth[3]
    change = 0.3 * rand(*scan.shape, seed=4).to(torch.complex64)
    images = [prediction + (i + 1) / n * change for i in range(n)]
    joint = JointFrames.of(measured(scan, images))
    missing = joint.right_side(scan.maps) - joint.gram(scan.maps).forward(prediction[None])[0]
    explained = ToeplitzGram(joint.kernel, scan.maps).forward(change[None])[0]
    assert float((missing - explained).norm() / missing.norm()) < 1e-3  # the kernels' accuracy
    for made, image in zip(joint.images(prediction, prediction + change), images, strict=True):
        torch.testing.assert_close(made, image)
    assert joint.index == n - 1


def test_what_weights_are_relative_to_is_that_of_the_change() -> None:
    scan = cine_scan()
    joint = JointFrames.of(measured(scan, [scan.truth[0]] * 4))
    squares = sum((i / 4) ** 2 for i in (1, 2, 3, 4))
    assert joint.strength == pytest.approx(float(joint.kernel.sum(1).mean()), rel=1e-3)
    assert joint.strength == pytest.approx(squares * joint.parts[0].strength, rel=0.02)
    assert joint.n_spokes == round(squares * joint.parts[0].n_spokes)


def test_joint_frames_have_parts() -> None:
    scan = cine_scan()
    (frame,) = measured(scan, [scan.truth[0]])
    made = JointFrames(0, frame.coil_images, frame.kernel, frame.n_spokes, frame.strength)
    with pytest.raises(RuntimeError, match=r"JointFrames\.of or ahead"):
        made.gram(scan.maps)


@pytest.mark.parametrize("n", [1, 2])
def test_frames_whose_change_goes_on_as_expected_leave_nothing_unexplained(n: int) -> None:
    scan, prediction = cine_scan(), cine_scan().truth[3]
    change = 0.3 * rand(*scan.shape, seed=5).to(torch.complex64)
    shares = [(i / n) ** 0.75 for i in range(1, n + 1)]
    images = [prediction + a * change for a in (*shares, 1.35)]
    *own, following = measured(scan, images)
    joint = JointFrames.ahead(own, following)
    for made, image in zip(joint.images(prediction, prediction + change), images[:-1], strict=True):
        torch.testing.assert_close(made, image)
    assert joint.index == n - 1
    assert joint.parts == tuple(own)
    right = joint.right_side(scan.maps)
    assert float((right - sum_of(joint.products(scan.maps, prediction, change))).norm() / right.norm()) < 1e-3
    without = right - sum_of(joint.products(scan.maps, prediction))
    explained = ToeplitzGram(joint.kernel, scan.maps).forward(change[None])[0]
    assert float((without - explained).norm() / without.norm()) < 1e-3


def test_both_kernels_meet_maps_that_are_turned_once() -> None:
    scan = cine_scan()
    own, following = measured(scan, [scan.truth[0]] * 2)
    joint = JointFrames.ahead([own], following)
    (first, _), (second, _) = joint.products(scan.maps, scan.truth[0], scan.truth[1])
    assert second._turned() is first._turned()


def test_the_frame_itself_counts_more_than_the_one_after_it() -> None:
    scan = cine_scan()
    own, following = measured(scan, [scan.truth[0]] * 2)
    joint = JointFrames.ahead([own], following)
    added = 0.4 * 1.35**2
    assert joint.strength == pytest.approx(own.strength + added * following.strength, rel=1e-6)
    assert joint.n_spokes == round(own.n_spokes * (1 + added))
    assert joint.noise == pytest.approx(own.noise + (0.4 * 1.35) ** 2 * following.noise, rel=1e-6)


def test_a_frame_by_itself_explains_an_image_whatever_it_is_made_of() -> None:
    scan = cine_scan()
    (frame,) = measured(scan, [scan.truth[0]])
    image, change = scan.truth[1], scan.truth[2] - scan.truth[1]
    whole = sum_of(frame.products(scan.maps, scan.truth[2]))
    torch.testing.assert_close(sum_of(frame.products(scan.maps, image, change)), whole, rtol=1e-4, atol=1e-4)
