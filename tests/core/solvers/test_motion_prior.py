"""The prior lets move what moved, forbids nothing, and does not know phase or scale."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.solvers.motion_prior import MotionPrior
from oracles import rand
from outlooks import seen_of

SHAPE = (31, 24)


def prediction() -> Tensor:
    return rand(*SHAPE, seed=9).to(torch.complex64) + 3


def change(seed: int = 0) -> Tensor:
    """Something that moves in a corner."""
    image = torch.zeros(SHAPE, dtype=torch.complex64)
    image[:8, :8] = rand(8, 8, seed=seed).to(torch.complex64)
    return image


def deviations(factor: complex = 1.0) -> dict[str, Tensor]:
    """Every kind of deviation that the prior gives, with all images multiplied by ``factor``."""
    prior, at = MotionPrior(), factor * prediction()
    unknown = prior.expected(seen_of(at))
    for seed in range(3):
        prior.update(factor * change(seed))
    return {"unknown": unknown, "expected": prior.expected(seen_of(at)), "found": prior.found(factor * change(), at)}


@pytest.mark.parametrize("kind", ["expected", "found"])
def test_what_moved_may_move_and_the_rest_is_not_forbidden(kind: str) -> None:
    deviation = deviations()[kind]
    assert deviation.shape == SHAPE
    assert deviation[:8, :8].mean() > 2 * deviation[16:, 16:].mean()
    assert deviation.min() > 0.1 * deviation.mean()


def test_before_anything_is_known_all_bright_pixels_are_alike() -> None:
    unknown = deviations()["unknown"]
    assert unknown.min() > 0.8 * unknown.max() > 0


@pytest.mark.parametrize("factor", [1e-4, 1e4, 1j, -0.6 + 0.8j])
def test_phase_and_scale_of_the_images_do_not_matter(factor: complex) -> None:
    plain, other = deviations(), deviations(factor)
    for kind, deviation in plain.items():
        torch.testing.assert_close(other[kind], deviation, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("image", [torch.zeros(SHAPE, dtype=torch.complex64), prediction()])
def test_nothing_moves_and_nothing_is_divided_by_zero(image: Tensor) -> None:
    prior, rest = MotionPrior(), torch.zeros(SHAPE, dtype=torch.complex64)
    prior.update(rest)
    for deviation in (prior.expected(seen_of(image)), prior.found(rest, image)):
        assert bool(torch.isfinite(deviation).all())
        assert deviation.min() > 0


def test_what_moved_long_ago_is_forgotten() -> None:
    prior = MotionPrior()
    prior.update(change())
    for _ in range(100):
        prior.update(change().roll(16, dims=0))
    deviation = prior.expected(seen_of(prediction()))
    assert deviation[17:23, :8].mean() > 2 * deviation[:6, :8].mean()
