"""Temporal total variation and its gradient."""

from __future__ import annotations

import pytest
import torch

from inr_core.losses import temporal_tv, temporal_tv_gradient
from oracles import rand


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("smooth", [1e-3, 0.5])
def test_the_gradient_is_that_of_the_value(frames: int, smooth: float) -> None:
    x = rand(frames, 3, 4).requires_grad_()
    temporal_tv(x, smooth).backward()
    torch.testing.assert_close(temporal_tv_gradient(x.detach(), smooth=smooth), x.grad, rtol=1e-12, atol=1e-12)


def test_a_global_phase_changes_nothing() -> None:
    x, phase = rand(4, 3, 5), torch.exp(torch.tensor(1.1j, dtype=torch.complex128))
    torch.testing.assert_close(temporal_tv(phase * x), temporal_tv(x))
    torch.testing.assert_close(temporal_tv_gradient(phase * x), phase * temporal_tv_gradient(x))


def test_steps_that_are_no_neighbours_do_not_count() -> None:
    x = rand(5, 3, 4)
    counts = torch.tensor([True, True, False, True])
    apart = torch.cat([temporal_tv_gradient(x[:3]), temporal_tv_gradient(x[3:])])
    torch.testing.assert_close(temporal_tv_gradient(x, counts), apart)


def test_what_rests_costs_only_the_rounding_of_the_corner() -> None:
    x = rand(1, 3, 4).expand(6, 3, 4)
    assert float(temporal_tv(x, 1e-3)) == pytest.approx(5 * 12 * 1e-3)
    assert not temporal_tv_gradient(x).any()
