"""Coil maps: smooth, different from one another, and of unit root-sum-of-squares."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms import CoilArray, Grid


@pytest.mark.parametrize(("n_coils", "tolerance"), [(1, 1e-12), (4, 0.05), (8, 0.01), (12, 0.01), (32, 0.01)])
def test_root_sum_of_squares_is_one(n_coils: int, tolerance: float) -> None:
    fov = (300.0, 240.0)
    points = Grid((40, 32), fov).points
    disc = ((points / fov) ** 2).sum(-1) < 0.25
    assert np.abs(CoilArray.loops(n_coils, fov).rss(points) - 1)[disc].max() < tolerance


def test_each_coil_sees_its_own_side() -> None:
    points = Grid((32, 32), (300.0, 300.0)).points
    coils = CoilArray.loops(6, (300.0, 300.0))
    maps = np.abs(coils.maps(points))
    assert coils.n_coils == len(maps) == 6
    weights = maps**4
    centres = np.einsum("cyx,yxd->cd", weights, points) / weights.sum((1, 2))[:, None]
    angles = np.sort(np.mod(np.arctan2(centres[:, 1], centres[:, 0]), 2 * np.pi))
    assert np.linalg.norm(centres, axis=1).min() > 30
    assert np.diff(angles, append=angles[0] + 2 * np.pi).max() < 2.2


def test_seed_makes_the_array() -> None:
    one, same, other = (CoilArray.loops(4, (1.0, 1.0), seed).weights for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_refuses() -> None:
    with pytest.raises(ParameterError, match=r"0 coils over \(300.0, 300.0\) mm; expected at least 1 coil"):
        CoilArray.loops(0, (300.0, 300.0))
