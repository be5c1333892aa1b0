"""The compiled transfer function of a normal operator, against the sums that it is made of, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.operators import prepared, toeplitz
from inr_core.operators.compiled_transfer import transfer_function
from inr_core.operators.toeplitz import toeplitz_kernel


def samples(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Anywhere in k-space, on its edges and a little beyond, as delays may turn them; and weights."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.cat(
        [torch.rand(n - 3, 2, generator=generator) - 0.5, torch.tensor([[0.5, -0.5], [-0.51, 0.52], [0, 0]])]
    )
    return points, torch.rand(n, generator=generator)


@pytest.mark.parametrize("shape", [(15, 22), (33, 20), (9, 11), (12, 12), (2, 9), (128, 128)])
def test_it_is_the_transform_of_the_sum_of_waves(shape: tuple[int, int]) -> None:
    points, weights = samples(300)
    double = points.double()[None, :, None], weights.double()[None, :, None]
    expected = toeplitz_kernel(*double, shape, "direct")[0]
    made = torch.from_numpy(transfer_function(points.numpy(), weights.numpy(), shape))
    assert made.shape == expected.shape
    assert (made - expected).norm() < 1e-4 * expected.norm()
    assert (made - expected).abs().max() < 5e-4 * expected.abs().max()


def test_a_single_sample_is_a_single_wave() -> None:
    """Whose transform is that of a window: of both signs, and its mean is the weight."""
    shape, point = (15, 22), np.array([[0.13, -0.27]], np.float32)
    made = transfer_function(point, np.array([2.5], np.float32), shape)
    assert made.min() < 0
    assert made.sum(0).mean() * 15 * 22 == pytest.approx(2.5, rel=1e-4)


def test_frames_that_are_prepared_for_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, frames = (15, 22), [samples(60, seed) for seed in range(3)]
    points, weights = (torch.stack(parts).reshape(3, 4, 15, -1).squeeze(-1) for parts in zip(*frames, strict=True))
    monkeypatch.setattr(prepared, "_PREPARED", set())
    expected = toeplitz_kernel(points, weights, shape)
    called = list[tuple[int, int]]()

    def noted(where: np.ndarray, strengths: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        called.append(size)
        return transfer_function(where, strengths, size)

    monkeypatch.setattr(toeplitz, "transfer_function", noted)
    prepared.prepare(shape)
    for n in (3, 1):
        made = toeplitz_kernel(points[:n], weights[:n], shape)
        assert (made - expected[:n]).norm() < 2e-4 * expected[:n].norm()
    assert len(called) == 4
    assert toeplitz_kernel(points[:1].double(), weights[:1].double(), shape).dtype == torch.float64
    assert toeplitz_kernel(points[:1], weights[:1], shape, "finufft").shape == (1, 4, *shape)
    assert len(called) == 4  # neither of double precision nor where another library was asked for


def test_points_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match=r"^a trajectory that is not finite; expected positions in k-space;"):
        transfer_function(np.array([[np.nan, 0]], np.float32), np.ones(1, np.float32), (15, 22))
