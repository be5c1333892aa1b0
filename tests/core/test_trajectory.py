"""Angles against published numbers, and where spokes lie."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.trajectory import (
    GOLDEN_ANGLE_DEG,
    golden_angle,
    radial_trajectory,
    raga_angle,
    spoke_angles,
)


@pytest.mark.parametrize(("n", "degrees"), [(1, 111.246118), (2, 68.753882), (3, 49.750776), (7, 23.628143)])
def test_tiny_golden_angles(n: int, degrees: float) -> None:
    assert golden_angle(n) == pytest.approx(degrees, abs=1e-6)
    assert golden_angle(n, "2pi") == pytest.approx(2 * degrees, abs=2e-6)


def test_golden_angle_is_the_documented_one() -> None:
    assert pytest.approx(180 * 2 / (1 + 5**0.5), abs=1e-12) == GOLDEN_ANGLE_DEG


@pytest.mark.parametrize(("spokes", "n"), [(377, 1), (233, 1), (377, 2), (419, 7), (21, 1), (5, 1)])
def test_raga_is_a_uniform_set_near_the_golden_angle(spokes: int, n: int) -> None:
    angle = raga_angle(spokes, n)
    units = np.mod(np.arange(spokes) * angle / (180 / spokes), spokes)
    assert np.allclose(np.sort(np.round(units)), np.arange(spokes)), "every angle of the grid once"
    assert np.allclose(units, np.round(units), atol=1e-6)
    assert abs(angle - golden_angle(n)) < 180 / spokes
    assert raga_angle(spokes, n, "2pi") == pytest.approx(2 * angle)


def test_raga_names_the_sets_that_exist() -> None:
    with pytest.raises(ParameterError, match=r"RAGA set of 400 spokes for tiny golden angle 1; expected 233 or 377"):
        raga_angle(400)
    with pytest.raises(ParameterError, match="tiny golden angle number 0; expected a whole number of at least 1"):
        raga_angle(377, 0)


def test_wrong_angle_schemes_are_refused() -> None:
    with pytest.raises(ParameterError, match="tiny golden angle number 0; expected a whole number of at least 1"):
        golden_angle(0)
    with pytest.raises(ParameterError, match="angle base 'tau'; expected pi or 2pi"):
        golden_angle(1, "tau")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="direction 0; expected 1 or -1"):
        spoke_angles([0], direction=0)


def test_spoke_angles_offset_direction_and_large_numbers() -> None:
    assert np.allclose(spoke_angles([0, 1, 2], 90.0, 10.0), np.deg2rad([10, 100, 190]))
    assert np.allclose(spoke_angles([0, 1], 90.0, 10.0, -1), np.deg2rad([350, 260]))
    late = 10_000_000
    turns = (late * GOLDEN_ANGLE_DEG) % 360
    assert spoke_angles(late) == pytest.approx(np.deg2rad(turns), abs=1e-7)


@pytest.mark.parametrize("n_samples", [8, 9])
def test_spokes_pass_through_the_centre_sample(n_samples: int) -> None:
    traj = radial_trajectory(np.deg2rad([0.0, 90.0, 200.0]), n_samples)
    assert traj.shape == (3, n_samples, 2)
    assert traj.dtype == np.float32
    assert np.all(traj[:, n_samples // 2] == 0)
    assert traj[0, 0] == pytest.approx([-(n_samples // 2) / n_samples, 0])
    assert traj[1, -1] == pytest.approx([0, (n_samples - 1 - n_samples // 2) / n_samples], abs=1e-7)


def test_center_spacing_and_aspect() -> None:
    traj = radial_trajectory([0.0, np.pi / 2], 6, 1, spacing=0.1, aspect=1.5)
    assert traj[0, :, 0] == pytest.approx([-0.1, 0, 0.1, 0.2, 0.3, 0.4])
    assert traj[1, :, 1] == pytest.approx([-0.15, 0, 0.15, 0.3, 0.45, 0.6], abs=1e-6)
