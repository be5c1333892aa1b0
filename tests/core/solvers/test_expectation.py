"""What stands out of the running level of the predictions' residuals."""

from __future__ import annotations

import math

import pytest
import torch

from inr_core.solvers.expectation import Expectation, residual


def test_the_residual_is_the_relative_norm_of_what_is_missing() -> None:
    right = torch.tensor([[3.0 + 4.0j, 0.0]])
    assert residual(torch.tensor([[0.0, 2.5j]]), right) == pytest.approx(0.5)
    assert residual(torch.zeros_like(right), torch.zeros_like(right)) == 0.0


def test_the_first_frame_that_is_judged_sets_the_level() -> None:
    expectation = Expectation()
    assert expectation.level is None
    assert expectation.met(1.2)
    assert expectation.level == 1.2


def test_a_frame_is_judged_by_the_level_of_those_before() -> None:
    expectation = Expectation()
    for _ in range(3):
        assert expectation.met(0.2)
    assert expectation.level == pytest.approx(0.2)
    assert expectation.limit() == pytest.approx(0.2 + 0.6 * 0.8)
    assert expectation.met(0.6)
    assert expectation.level == pytest.approx(0.8 * 0.2 + 0.2 * 0.6)
    assert not Expectation(0.2).met(0.69)
    assert Expectation(0.2).met(0.65)
    assert not Expectation(0.2).met(0.65, lost=0.5)


def test_what_does_not_fit_does_not_move_the_level() -> None:
    expectation = Expectation(0.3)
    assert not expectation.met(0.9)
    assert expectation.level == 0.3


@pytest.mark.parametrize("level", [0.8, 1.0, 1.1])
def test_noise_alone_is_no_surprise(level: float) -> None:
    """Where a prediction explains next to nothing, a little less than that is chance."""
    assert Expectation(level).limit() == pytest.approx(1.25 * level)
    assert Expectation(level).met(1.2 * level)
    assert not Expectation(level).met(1.3 * level)


def test_a_residual_that_is_not_finite_teaches_nothing() -> None:
    expectation = Expectation(0.3)
    assert expectation.met(math.nan)
    assert expectation.level == 0.3
