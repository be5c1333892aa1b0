"""Band-limited interpolation against its definition: sums of plane waves."""

from __future__ import annotations

import pytest
import torch

from inr_core.errors import DataError
from inr_core.operators.resample import zero_fill


@pytest.mark.parametrize(("old", "new"), [((8, 7), (16, 14)), ((7, 8), (13, 12)), ((6, 5), (6, 11)), ((5, 6), (8, 9))])
def test_plane_waves_stay_plane_waves(old: tuple[int, int], new: tuple[int, int]) -> None:
    """Every wave below the edge of the band, about the centre of the image, pixel n // 2."""
    ky, kx = 2, -1

    def wave(shape: tuple[int, int]) -> torch.Tensor:
        y, x = ((torch.arange(n) - n // 2).double() * m / n for n, m in zip(shape, old, strict=True))
        return torch.polar(
            torch.ones(shape, dtype=torch.float64), 2 * torch.pi * (ky * y[:, None] / old[0] + kx * x / old[1])
        )

    made = zero_fill(wave(old)[None], new)
    assert made.shape == (1, *new)
    torch.testing.assert_close(made[0], wave(new), rtol=0, atol=1e-12)


def test_measured_pixels_keep_their_values() -> None:
    images = torch.randn(2, 6, 9, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(zero_fill(images, (12, 18))[:, ::2, 1::2], images)
    assert zero_fill(images, (6, 9)) is images


def test_a_coarser_matrix_is_refused() -> None:
    with pytest.raises(DataError, match=r"^images of \(6, 9\) pixels for \(12, 8\); expected at least as many$"):
        zero_fill(torch.zeros(1, 6, 9, dtype=torch.complex64), (12, 8))
