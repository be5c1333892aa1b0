"""What a live frame's prior computes, compiled, against torch in double precision."""

from __future__ import annotations

import pytest
import torch

from inr_core.solvers.change_network import network_maps
from inr_core.solvers.motion_prior import MotionPrior, smoothed_square
from oracles import rand

SHAPES = [(31, 24), (20, 33), (1, 9), (9, 1), (2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [3, 9])
def test_smoothed_squares(shape: tuple[int, int], window: int) -> None:
    image = rand(*shape, seed=1)
    image[:, shape[1] // 2 :] *= 1e-4  # what is next to something bright
    made = smoothed_square(image.to(torch.complex64), window)
    torch.testing.assert_close(made, smoothed_square(image, window).float(), rtol=1e-5, atol=0)


def test_a_square_is_a_mean_of_the_neighbours_that_there_are() -> None:
    image = torch.zeros(5, 7, dtype=torch.complex64)
    image[0, 0] = 3j
    made = smoothed_square(image, 3)
    assert float(made[0, 0]) == pytest.approx(9 / 4)
    assert float(made[1, 0]) == pytest.approx(9 / 6)
    assert float(made[1, 1]) == pytest.approx(1)
    assert int((made > 0).sum()) == 4


@pytest.mark.parametrize("shape", SHAPES)
def test_deviations_before_and_after_a_change_is_found(shape: tuple[int, int]) -> None:
    prior, change, prediction = MotionPrior(), rand(*shape, seed=2), rand(*shape, seed=3)
    prediction[0, 0] = 0
    for made, expected in (
        (prior.found(change.to(torch.complex64), prediction.to(torch.complex64)), prior.found(change, prediction)),
        (prior.between(change.to(torch.complex64), prediction.to(torch.complex64)), prior.between(change, prediction)),
    ):
        torch.testing.assert_close(made, expected.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("nothing", [False, True])
def test_the_maps_of_the_network(*, nothing: bool) -> None:
    shape = (20, 33)
    images = rand(*shape, seed=4), rand(*shape, seed=5), rand(*shape, seed=6)
    images[0][2, 3] = 0  # it has no phase
    if nothing:
        images = images[0], images[1], torch.zeros_like(images[2])
    deviation = rand(*shape, seed=7).abs()
    expected = network_maps(images, deviation, 2.5, 0.4, 25.6)
    first, second, third = (image.to(torch.complex64) for image in images)
    made = network_maps((first, second, third), deviation.float(), 2.5, 0.4, 25.6)
    assert made.shape == (9, *shape)
    torch.testing.assert_close(made, expected.float(), rtol=1e-5, atol=1e-6)


def test_images_of_zeros_have_no_scale_and_make_no_nan() -> None:
    zeros = torch.zeros(6, 5, dtype=torch.complex64)
    assert bool(torch.isfinite(MotionPrior().found(zeros, zeros)).all())


def test_pixels_whose_square_is_no_number_have_no_phase() -> None:
    image = torch.tensor([[1e-22, 3e-20, 1e-25j, 1.0]], dtype=torch.complex64)
    maps = network_maps((image, 1j * torch.ones_like(image), image), torch.ones(1, 4), 1.0, 1.0, 8.0)
    assert bool(torch.isfinite(maps).all())
    torch.testing.assert_close(maps[4, 0], torch.ones(4))
