"""Pixels of finer images among those that were measured."""

from __future__ import annotations

import pytest
import torch

from inr_core.fields.coordinates import pixel_positions


@pytest.mark.parametrize(
    ("n", "measured", "wanted"),
    [
        (4, 4, [0, 1, 2, 3]),
        (5, 5, [0, 1, 2, 3, 4]),
        (6, 3, [-0.5, 0, 0.5, 1, 1.5, 2]),
        (8, 4, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
    ],
)
def test_the_field_of_view_is_the_same_and_so_is_its_centre(n: int, measured: int, wanted: list[float]) -> None:
    positions = pixel_positions(n, measured)
    assert positions.tolist() == wanted
    assert positions[n // 2] == measured // 2
    assert torch.diff(positions).sum() + measured / n == measured
