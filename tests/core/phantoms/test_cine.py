"""The heart beats as a heart does, and its ellipses never cut one another."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms import CinePhantom, Grid
from inr_core.phantoms.cine import TISSUES

TIMES = np.linspace(0, 900, 13)
POINTS = Grid((301, 233), (300.0, 232.0)).points


def tissue_areas(phantom: CinePhantom, times: np.ndarray) -> dict[str, np.ndarray]:
    """Area of each tissue at each time; every point must be of exactly one tissue."""
    raster = phantom.ellipses(times).raster(POINTS)
    distances = np.stack([np.abs(raster - value) for value in TISSUES.values()])
    assert distances.min(axis=0).max() < 1e-12
    nearest = distances.argmin(axis=0)
    return {name: (nearest == i).sum(axis=(1, 2)) for i, name in enumerate(TISSUES)}


@pytest.mark.parametrize("breath", [0.0, 5.0])
def test_every_point_is_one_tissue_at_all_times(breath: float) -> None:
    # Ellipses add up: where two cut one another the sum would be of no tissue.
    times = TIMES + np.linspace(0, 2000, len(TIMES)) * (breath > 0)
    areas = tissue_areas(CinePhantom(respiration_mm=breath), times)
    assert all(area.min() > 0 for area in areas.values())


def test_the_body_is_as_large_as_it_says() -> None:
    ellipses = CinePhantom().ellipses(np.zeros(1))
    np.testing.assert_allclose(2 * ellipses.axes[0, 0], CinePhantom.SIZE_MM)
    np.testing.assert_array_equal(ellipses.centre[0, 0], 0)


def test_blood_is_ejected_while_the_wall_keeps_its_area() -> None:
    areas = tissue_areas(CinePhantom(), TIMES)
    blood, wall = areas["blood"] / areas["blood"][0], areas["myocardium"] / areas["myocardium"][0]
    systole = int(blood.argmin())
    assert 0.3 < TIMES[systole] / 900 < 0.45
    assert blood[systole] < 0.6
    assert 0.85 < wall.min() <= wall.max() < 1.2


def test_contraction_has_the_phases_of_a_beat() -> None:
    phantom = CinePhantom(period_ms=1000)
    rest, ejecting, systole, diastasis = (
        phantom.contraction(np.array(span)) for span in ([0, 40], [60, 200, 360], [375, 425], [640, 860])
    )
    np.testing.assert_array_equal(rest, 0)
    assert (np.diff(ejecting) > 0).all()
    np.testing.assert_array_equal(systole, 1)
    np.testing.assert_allclose(diastasis, 0.18)
    fine = phantom.contraction(np.linspace(0, 3000, 30001))
    assert np.abs(np.diff(fine)).max() < 1.2e-3  # smooth, also from beat to beat
    np.testing.assert_allclose(
        phantom.contraction(np.array([123.0])), phantom.contraction(np.array([5123.0])), atol=1e-9
    )


def test_first_phase_and_breath() -> None:
    phantom = CinePhantom(first_phase=0.4, respiration_mm=4, respiration_ms=2000)
    np.testing.assert_allclose(phantom.phase(np.array([0.0, 900.0])), 0.4)
    np.testing.assert_allclose(phantom.breath(np.array([0.0, 1000.0])), [[0, 0], [0, 4]], atol=1e-12)


def test_motion_of_the_wall_follows_its_boundaries() -> None:
    phantom = CinePhantom(respiration_mm=3)
    start, end = 20.0, 350.0
    ellipses = phantom.ellipses(np.array([start, end]))
    # Epicardium and endocardium are the third and the fourth ellipse of the heart, which come after body and belly.
    first = ellipses.amplitude.shape[1] - 7
    for index, shrink in ((first + 2, 1 - 1e-9), (first + 3, 1 + 1e-9)):
        turn = np.linspace(0, 2 * np.pi, 9)
        local = shrink * np.stack([np.cos(turn), np.sin(turn)], -1) * ellipses.axes[0, index]
        angle = ellipses.angle[0, index]
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = local @ rotation.T + ellipses.centre[0, index]
        assert phantom.wall(points, start).all()
        across = 1e-5 * np.sign(1 - shrink) * (points - ellipses.centre[0, index])
        assert not phantom.wall(points + across, start).any()
        displacement, known = phantom.motion(points, start, end)
        assert known.all()
        np.testing.assert_allclose(ellipses.level(points + displacement, 1, index), 1, atol=1e-6)


def test_motion_there_and_back() -> None:
    phantom = CinePhantom(respiration_mm=2)
    forth, known = phantom.motion(POINTS, 0, 300)
    wall = known & (np.abs(forth).max(-1) > 0)
    assert wall.sum() > 1000
    back, still = phantom.motion((POINTS + forth)[wall], 300, 0)
    np.testing.assert_allclose(back, -forth[wall], atol=1e-9)
    assert still.all()
    assert not known.all()
    assert not forth[~known].any()


def test_refuses() -> None:
    with pytest.raises(ParameterError, match=r"periods of 0 and 4000.0 ms; expected more than 0 ms"):
        CinePhantom(period_ms=0)
    with pytest.raises(ParameterError, match=r"respiration_mm = 9; expected 0 to 5 mm"):
        CinePhantom(respiration_mm=9)
