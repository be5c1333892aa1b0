"""Differences of a series: adjoint, gradient of their total variation, and what they are zero for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.solvers.variation import SpatialVariation, TemporalVariation, Variation
from oracles import rand

SHAPE = (4, 5, 7)


def flow() -> Tensor:
    return 0.7 * rand(SHAPE[0] - 1, 2, *SHAPE[1:], seed=5, dtype=torch.float64)


def variations() -> list[Variation]:
    return [TemporalVariation(), TemporalVariation(flow()), SpatialVariation()]


@pytest.mark.parametrize("number", range(3))
def test_the_adjoint_is_the_adjoint(number: int) -> None:
    variation = variations()[number]
    x = rand(*SHAPE)
    differences = variation.forward(x)
    y = rand(*differences.shape, seed=1)
    left, right = (
        torch.vdot(differences.flatten(), y.flatten()),
        torch.vdot(x.flatten(), variation.adjoint(y).flatten()),
    )
    assert abs(left - right) < 1e-12 * float(differences.norm() * y.norm())


@pytest.mark.parametrize("number", range(3))
def test_the_gradient_is_the_adjoint(number: int) -> None:
    variation = variations()[number]
    x = rand(*SHAPE).requires_grad_()
    differences = variation.forward(x)
    y = rand(*differences.shape, seed=1)
    (gradient,) = torch.autograd.grad(differences, x, y)
    torch.testing.assert_close(gradient, variation.adjoint(y))


def test_what_does_not_vary_has_no_differences() -> None:
    still = rand(1, *SHAPE[1:]).expand(SHAPE)
    assert TemporalVariation().forward(still).abs().max() == 0
    assert SpatialVariation().forward(torch.ones(SHAPE, dtype=torch.complex64)).abs().max() == 0
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in SHAPE[1:]), indexing="ij")
    ramp = torch.stack([2 * x - 3 * y] * 2)
    differences = SpatialVariation().forward(ramp)
    assert (differences[0, ..., :-1] == 2).all()
    assert (differences[1, ..., :-1, :] == -3).all()
    assert (differences[0, ..., -1] == 0).all()
    assert (differences[1, ..., -1, :] == 0).all()


def test_along_the_paths_a_moving_ramp_does_not_vary() -> None:
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in SHAPE[1:]), indexing="ij")
    moved = torch.stack([2 * (x - 0.5 * t) + 3 * (y + 0.25 * t) for t in range(3)])
    motion = torch.tensor([0.5, -0.25])[None, :, None, None].expand(2, 2, *SHAPE[1:])
    assert TemporalVariation(motion).forward(moved).abs().max() < 1e-5
    assert TemporalVariation().forward(moved).abs().max() > 0.2
