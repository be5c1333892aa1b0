"""Frames that are solved together, against the data of images that change evenly."""

from __future__ import annotations

import pytest
import torch

from inr_core.operators.nufft import Nufft
from inr_core.operators.sense import Sense
from inr_core.operators.toeplitz import ToeplitzGram
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
    with pytest.raises(RuntimeError, match=r"JointFrames\.of"):
        made.gram(scan.maps)
