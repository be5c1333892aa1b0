"""The flow between frames, of patterns whose motion is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.flow_estimate import estimate_flow

SHAPE = (45, 38)


def pattern(x: Tensor, y: Tensor) -> Tensor:
    """A smooth texture without a period in sight."""
    return 2 + torch.sin(0.5 * x + 0.2 * y) + torch.sin(0.23 * x - 0.61 * y + 1) + 0.5 * torch.cos(0.9 * y + 0.1 * x)


def grid() -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in SHAPE), indexing="ij")
    return x, y


@pytest.mark.parametrize(("u", "v"), [(0.4, -0.3), (1.7, 0.8), (-2.6, 3.1)])
def test_a_shift_is_found(u: float, v: float) -> None:
    x, y = grid()
    frames = torch.stack([pattern(x - u * t, y - v * t) for t in range(3)]) * torch.exp(1j * 0.1 * x)
    flow = estimate_flow(frames)
    assert flow.shape == (2, 2, *SHAPE)
    inside = flow[..., 6:-6, 6:-6]
    assert (inside[:, 0] - u).abs().mean() < 0.05 + 0.02 * abs(u)
    assert (inside[:, 1] - v).abs().mean() < 0.05 + 0.02 * abs(v)


def test_a_rotation_is_found() -> None:
    x, y = grid()
    centre_x, centre_y, angle = SHAPE[1] / 2, SHAPE[0] / 2, math.radians(4)

    def turned(by: float) -> Tensor:
        dx, dy = x - centre_x, y - centre_y
        return pattern(
            centre_x + math.cos(by) * dx + math.sin(by) * dy, centre_y - math.sin(by) * dx + math.cos(by) * dy
        )

    flow = estimate_flow(torch.stack([turned(-angle / 2), turned(angle / 2)]))[0]
    wanted = 2 * math.sin(angle / 2) * torch.stack([-(y - centre_y), x - centre_x])
    error = (flow - wanted)[:, 6:-6, 6:-6].norm(dim=0)
    assert error.mean() < 0.1 * wanted[:, 6:-6, 6:-6].norm(dim=0).mean()


def test_what_rests_has_no_flow_whatever_its_scale() -> None:
    x, y = grid()
    still = pattern(x, y)[None].expand(3, *SHAPE)
    assert estimate_flow(still).abs().max() < 1e-5
    moved = torch.stack([pattern(x, y), pattern(x - 0.5, y)])
    torch.testing.assert_close(estimate_flow(1e4 * moved), estimate_flow(moved), rtol=1e-3, atol=1e-3)


def test_small_images_have_a_single_level() -> None:
    x, y = grid()
    frames = torch.stack([pattern(x - 0.3 * t, y) for t in range(2)])[:, :9, :13]
    assert (estimate_flow(frames)[:, 0, 2:-2, 2:-2] - 0.3).abs().mean() < 0.1


@pytest.mark.parametrize("images", [torch.ones(1, 4, 4), torch.zeros(3, 4, 4), torch.ones(4, 4)])
def test_what_has_no_flow_is_refused(images: Tensor) -> None:
    with pytest.raises(DataError, match=r"^images \(.*\) of maximum [01]; expected two frames with a signal$"):
        estimate_flow(images)
