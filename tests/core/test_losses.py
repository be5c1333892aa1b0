"""Temporal total variation and the nuclear norm, and their gradients."""

from __future__ import annotations

import pytest
import torch

from inr_core.losses import nuclear_norm, temporal_tv, temporal_tv_gradient, temporal_tv_of_parts
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


def test_the_variation_of_parts_by_hand() -> None:
    x = torch.tensor([1 + 1j, 3 - 2j, 3 + 4j]).reshape(3, 1, 1)
    # Steps 2 and 3, 0 and 6; three numbers; the largest is 5.
    assert float(temporal_tv_of_parts(x)) == pytest.approx(11 / (3 * 5))
    assert float(temporal_tv_of_parts(40 * x)) == pytest.approx(11 / (3 * 5))
    assert float(temporal_tv_of_parts(40 * x, least=100.0)) == pytest.approx(11 / (3 * 5))
    assert float(temporal_tv_of_parts(x, least=20.0)) == pytest.approx(11 / (3 * 20))
    assert float(temporal_tv_of_parts(x[:1])) == 0.0
    assert float(temporal_tv_of_parts(0 * x)) == 0.0


def test_the_maximum_that_divides_the_variation_has_no_gradient() -> None:
    x = rand(4, 3, 5).requires_grad_()
    temporal_tv_of_parts(x).backward()
    step = x.detach()[1:] - x.detach()[:-1]
    signs = torch.complex(step.real.sign(), step.imag.sign())
    wanted = torch.zeros_like(x)
    wanted[1:] += signs
    wanted[:-1] -= signs
    torch.testing.assert_close(x.grad, wanted / (x.numel() * x.detach().abs().max()))


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 3, 4), (7, 2, 3)])
def test_the_nuclear_norm_is_the_sum_of_singular_values(shape: tuple[int, int, int]) -> None:
    x = rand(*shape)
    torch.testing.assert_close(nuclear_norm(x), torch.linalg.svdvals(x.flatten(1)).sum(), rtol=1e-6, atol=0)
    torch.testing.assert_close(nuclear_norm(3j * x), 3 * nuclear_norm(x))
    assert torch.autograd.gradcheck(nuclear_norm, x.requires_grad_(), eps=1e-6, atol=1e-5)


def test_the_nuclear_norm_of_images_that_rest_and_of_none() -> None:
    x = rand(1, 3, 4).expand(6, 3, 4).to(torch.complex64).contiguous().requires_grad_()
    norm = nuclear_norm(x)
    # One singular value; the others are known to the precision of the squares.
    assert norm.item() == pytest.approx(float(x.detach().norm()), rel=6e-3)
    norm.backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, x.detach() / x.detach().norm(), rtol=1e-3, atol=1e-3)
    zero = torch.zeros(3, 2, 2, dtype=torch.complex64, requires_grad=True)
    nuclear_norm(zero).backward()
    assert zero.grad is not None
    assert not zero.grad.any()
