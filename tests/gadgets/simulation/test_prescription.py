"""Slices as they are prescribed on a scanner."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_gadgets.simulation.prescription import prescribe


@pytest.mark.parametrize(
    ("orientation", "read", "phase"),
    [
        ("T", (1, 0, 0), (0, 1, 0)),
        ("C", (1, 0, 0), (0, 0, -1)),
        ("s", (0, 1, 0), (0, 0, -1)),
    ],
)
def test_the_main_orientations_are_the_usual_pictures(
    orientation: str, read: tuple[int, ...], phase: tuple[int, ...]
) -> None:
    plane = prescribe("1:-2.5:3", orientation)
    assert plane.position.tolist() == [1, -2.5, 3]
    assert plane.read_dir.tolist() == [*read]
    assert plane.phase_dir.tolist() == [*phase]


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        ("T:C30", (0, 0.5, 0.75**0.5)),
        ("T:S-30", (-0.5, 0, 0.75**0.5)),
        ("C:T30", (0, 0.75**0.5, 0.5)),
        ("S:C30", (0.75**0.5, 0.5, 0)),
        ("T:C30:S30", (0.5, 0.5 * 0.75**0.5, 0.75)),
        ("C:S90:T30", (0.75**0.5, 0, 0.5)),
    ],
)
@pytest.mark.parametrize("rotation", [0.0, 35.0])
def test_the_normal_is_tilted_towards_the_other_axes(
    orientation: str, normal: tuple[float, ...], rotation: float
) -> None:
    plane = prescribe("0:0:0", orientation, rotation)
    assert abs(plane.slice_dir @ normal) == pytest.approx(1)
    axes = np.array([plane.read_dir, plane.phase_dir, plane.slice_dir])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_the_rotation_goes_from_read_towards_phase() -> None:
    straight, turned = prescribe("0:0:0", "T:C20"), prescribe("0:0:0", "T:C20", 30.0)
    assert turned.read_dir @ straight.read_dir == pytest.approx(0.75**0.5)
    assert turned.read_dir @ straight.phase_dir == pytest.approx(0.5)
    np.testing.assert_allclose(turned.slice_dir, straight.slice_dir, atol=1e-12)


def test_points_of_the_plane() -> None:
    assert prescribe("10:20:30", "S").at(5, 7).tolist() == [10, 25, 23]


@pytest.mark.parametrize("position", ["1:2", "a:2:3", "1:2:nan", "1,2,3", ""])
def test_a_position_that_is_none(position: str) -> None:
    with pytest.raises(ParameterError, match=r"simulate.position = '.*'; expected L:P:S in mm, for example 10:-20:30"):
        prescribe(position, "T")


@pytest.mark.parametrize("orientation", ["", "X", "T:20", "T:T20", "T:C20:T5", "T:C20:C5", "T:C1:S2:T3", "T>C20"])
def test_an_orientation_that_is_none(orientation: str) -> None:
    with pytest.raises(ParameterError, match=r"simulate.orientation = '.*'; expected T, C, S, oblique as T:C20 or"):
        prescribe("0:0:0", orientation)
