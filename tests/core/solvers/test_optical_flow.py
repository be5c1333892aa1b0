"""The optical-flow residual: exact cases, gradients in float64, and what its penalty is without motion."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.losses import temporal_tv
from inr_core.solvers.optical_flow import (
    difference,
    difference_adjoint,
    flow_penalty,
    flow_residual,
    from_the_first_frame,
)
from inr_core.solvers.variation import flow_variation

NY, NX = 7, 10


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def pixels() -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(NY, dtype=torch.float64), torch.arange(NX, dtype=torch.float64), indexing="ij")
    return y, x


@pytest.mark.parametrize("dim", [-1, -2])
def test_differences_are_exact_for_ramps(dim: int) -> None:
    y, x = pixels()
    torch.testing.assert_close(
        difference(3 * x - 5 * y, dim), torch.full((NY, NX), 3.0 if dim == -1 else -5.0).double()
    )


@pytest.mark.parametrize("shape", [(2, 7, 10), (1, 1, 3), (1, 3, 1), (1, 2, 2), (3, 1, 1)])
@pytest.mark.parametrize("dim", [-1, -2])
def test_the_adjoint_of_differences(shape: tuple[int, ...], dim: int) -> None:
    a, b = random(*shape), random(*shape, seed=1)
    left = torch.vdot(difference(a, dim).flatten(), b.flatten())
    right = torch.vdot(a.flatten(), difference_adjoint(b, dim).flatten())
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_a_ramp_that_moves_leaves_no_residual() -> None:
    """Linear in space, at any speed and of any phase: x(r, t) = a . (r - t (u, v)) + b."""
    y, x = pixels()
    u, v = 2.75, -1.5
    frames = torch.stack([(2 + 1j) * (x - u * t) + (0.5 - 3j) * (y - v * t) + 4j for t in range(3)])
    flow = torch.tensor([u, v], dtype=torch.float64).reshape(1, 2, 1, 1).expand(2, 2, NY, NX)
    assert float(flow_residual(frames, flow).abs().max()) < 1e-12
    assert float(flow_residual(frames, -flow).abs().min()) > 1  # the sign: along x and y, from t to t + 1


def test_the_residual_of_a_wave_is_of_third_order() -> None:
    """Twice the motion, eight times the residual: mean and flow belong to the moment half-way."""
    _, x = pixels()
    left = []
    for u in (0.4, 0.8):
        frames = torch.stack([torch.sin(0.05 * (x - u * t)) for t in (-0.5, 0.5)])
        flow = torch.zeros(1, 2, NY, NX, dtype=torch.float64)
        # Half a pixel's central difference of a sine is its slope times sin(h) / h.
        flow[:, 0] = u * 0.05 / torch.sin(torch.tensor(0.05, dtype=torch.float64))
        left.append(float(flow_residual(frames, flow)[:, :, 1:-1].abs().max()))
    assert left[1] / left[0] == pytest.approx(8, rel=0.01)


def test_both_gradients_of_the_penalty() -> None:
    images = random(3, 4, 5).requires_grad_()
    flow = random(2, 2, 4, 5, seed=1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: flow_penalty(x, w, 0.1), (images, flow))


def test_the_penalty_is_a_sum_of_rounded_moduli() -> None:
    images, flow = random(3, 4, 5), random(2, 2, 4, 5, seed=1, dtype=torch.float64)
    wanted = 0.0
    for t in range(2):
        mean = 0.5 * (images[t] + images[t + 1])
        for y in range(1, 3):
            for x in range(1, 4):
                r = images[t + 1, y, x] - images[t, y, x]
                r += flow[t, 0, y, x] * (mean[y, x + 1] - mean[y, x - 1]) / 2
                r += flow[t, 1, y, x] * (mean[y + 1, x] - mean[y - 1, x]) / 2
                wanted += (abs(complex(r)) ** 2 + 0.01) ** 0.5
    inner = torch.zeros_like(flow_residual(images, flow).real)
    inner[:, 1:-1, 1:-1] = 1
    found = ((flow_residual(images, flow).abs() ** 2 + 0.01).sqrt() * inner).sum()
    assert float(found) == pytest.approx(wanted, rel=1e-12)


def test_without_motion_it_is_temporal_total_variation() -> None:
    images = random(4, NY, NX).requires_grad_()
    flow = torch.zeros(3, 2, NY, NX, dtype=torch.float64)
    penalty, plain = flow_penalty(images, flow, 0.02), temporal_tv(images, 0.02)
    torch.testing.assert_close(penalty, plain)
    torch.testing.assert_close(*(torch.autograd.grad(value, images)[0] for value in (penalty, plain)))


def test_variation_of_a_flow() -> None:
    y, x = pixels()
    flow = torch.stack([3 * x + 4 * y, torch.zeros_like(x)])[None]
    edges = (NY - 1) * 4 + (NX - 1) * 3  # last column: along y only; last row: along x only
    assert float(flow_variation(flow, 0.0)) == pytest.approx(5 * (NY - 1) * (NX - 1) + edges)
    assert float(flow_variation(torch.full((2, 2, NY, NX), 7.0), 0.5)) == pytest.approx(2 * NY * NX * 0.5)
    assert torch.autograd.gradcheck(flow_variation, random(2, 2, 3, 4, dtype=torch.float64).requires_grad_())


def test_displacements_from_the_first_frame() -> None:
    """A flow linear in space, half-way: w(r) = a (r + w / 2 - c), so w = a (r - c) / (1 - a / 2)."""
    y, x = pixels()
    a, b = 0.2, -0.3
    flow = torch.stack([a * (x - 4.5), b * (y - 3)])[None]
    wanted = torch.stack([a * (x - 4.5) / (1 - a / 2), b * (y - 3) / (1 - b / 2)])[None]
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(from_the_first_frame(flow)[inside], wanted[inside], rtol=1e-3, atol=1e-3)
    single = torch.tensor([[[[2.0]], [[-1.0]]]])
    torch.testing.assert_close(from_the_first_frame(single), single)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(
        DataError, match=r"a flow \(2, 2, 7, 10\) of images \(2, 7, 10\); expected \(frames - 1, 2, ny, nx\) and"
    ):
        flow_residual(random(2, NY, NX), torch.zeros(2, 2, NY, NX))
