"""Planes in the patient: first pixel, directions and what lies beside what, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.export.grid import has_directions, pixel_grid
from inr_gadgets.export.stacks import planes_of, stacks_of
from stored import rotation, stored_image


def grid(shape: tuple[int, ...] = (5, 8), z: int = 0, meta: dict[str, Any] | None = None, **fields: Any) -> Any:
    return pixel_grid(stored_image(np.zeros(shape, np.float32), **fields).getHead(), meta or {}, z)


def test_first_pixel_of_an_axial_oblong_image() -> None:
    # 8 x 5 pixels of 240 x 200 mm: 30 x 40 mm each; pixel (4, 2) is at the centre.
    found = grid(position=(10, -20, 30), fov=(240, 200, 8))
    np.testing.assert_allclose(found.first, [10 - 4 * 30, -20 - 2 * 40, 30])
    assert found.spacing_mm == (30, 40)
    assert found.shape == (5, 8)
    assert found.thickness_mm == 8
    np.testing.assert_allclose(found.normal, [0, 0, 1])
    assert found.location_mm == 30


def test_first_pixel_of_a_sagittal_image_with_odd_matrix() -> None:
    # Rows run towards the back, columns towards the feet: seen from the patient's left.
    found = grid((7, 9), directions=np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]), position=(5, 6, 7), fov=(90, 140, 4))
    np.testing.assert_allclose(found.first, [5, 6 - 4 * 10, 7 + 3 * 20])
    assert found.location_mm == -5


def test_first_pixel_of_a_double_oblique_image() -> None:
    directions = rotation(35, -20, 110)
    found = grid((6, 7), directions=directions, position=(-60, 45, -120), fov=(210, 120, 5))
    expected = np.array([-60, 45, -120]) - 3 * 30 * directions[0] - 3 * 20 * directions[1]
    np.testing.assert_allclose(found.first, expected, atol=1e-5)
    np.testing.assert_allclose([found.row_dir, found.column_dir, found.normal], directions, atol=1e-6)
    assert abs(found.row_dir @ found.column_dir) < 1e-15


@pytest.mark.parametrize("side", [1, -1])
def test_planes_of_a_volume_follow_the_slice_direction(side: int) -> None:
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, side]])
    first, last = (grid((1, 5, 4, 4), z, directions=directions, position=(0, 0, 0), fov=(40, 40, 15)) for z in (0, 4))
    assert first.thickness_mm == 3
    assert (first.location_mm, last.location_mm) == (-6 * side, 6 * side)


def test_attributes_say_how_a_turned_image_lies() -> None:
    turned = {"ImageRowDir": ["0", "0", "-1"], "ImageColumnDir": ["0.0", "1.0", "0.0"]}
    found = grid((4, 4), meta=turned, position=(0, 0, 0), fov=(40, 40, 5))
    np.testing.assert_allclose(found.first, [0, -20, 20])
    np.testing.assert_allclose(grid(meta={"ImageRowDir": ["0", "0", "-1"]}).row_dir, [1, 0, 0])
    np.testing.assert_allclose(grid(meta=turned | {"ImageRowDir": "text"}).row_dir, [1, 0, 0])


def test_without_directions_it_is_axial() -> None:
    nothing = np.zeros((3, 3))
    assert not has_directions(stored_image(np.zeros((4, 4), np.float32), directions=nothing).getHead())
    assert has_directions(stored_image(np.zeros((4, 4), np.float32)).getHead())
    np.testing.assert_array_equal(grid(directions=nothing).normal, [0, 0, 1])


def test_refuses() -> None:
    with pytest.raises(DataError, match=r"image directions \[1.0, 0.0, 0.0\] and \[1.0, 0.0, 0.0\]; expected two unit"):
        grid(directions=np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]]))
    with pytest.raises(DataError, match=r"image directions \[nan, .*; expected two unit vectors at right angles"):
        grid(directions=np.full((3, 3), np.nan))
    with pytest.raises(DataError, match=r"an image of 8 x 5 x 1 pixels in \(0, 0, 0\) mm"):
        grid(fov=(0, 0, 0))


def test_pixel_is_where_it_is() -> None:
    found = grid((5, 8), position=(10, -20, 30), fov=(240, 200, 8))
    np.testing.assert_allclose(found.pixel(4, 2), [10, -20, 30])


def placed(*places: tuple[int, float, float]) -> dict[Any, tuple[int, int]]:
    """Stack and position by plane, of images that are (slice, x, z)."""
    grids = [grid((4, 4), position=(x, 0, z)) for _, x, z in places]
    planes = planes_of(grids, [number for number, _, _ in places])
    found = stacks_of(planes, [[one] for one in grids])
    return {plane: found[plane, 0] for plane in planes}


def test_slices_are_stacked_by_where_they_lie() -> None:
    assert placed((0, 0, 8), (2, 0, -8), (1, 0, 0), (0, 0, 8)) == {(0, 0): (0, 2), (2, 0): (0, 0), (1, 0): (0, 1)}


def test_slices_that_lie_beside_each_other_are_no_stack() -> None:
    assert placed((0, 0, 0), (1, 30, 8)) == {(0, 0): (0, 0), (1, 0): (1, 0)}


def test_a_slice_that_moved_begins_another_stack() -> None:
    assert placed((0, 0, 0), (0, 0, 0), (0, 0, 8), (0, 0, 8)) == {(0, 0): (0, 0), (0, 1): (1, 0)}


def test_a_volume_of_uncounted_slices_is_a_stack() -> None:
    assert placed((0, 0, 8), (0, 0, 0), (0, 0, 16)) == {(0, 0): (0, 1), (0, 1): (0, 0), (0, 2): (0, 2)}


def test_slices_in_one_place_are_no_stack() -> None:
    assert placed((0, 0, 0), (1, 0, 0.01)) == {(0, 0): (0, 0), (1, 0): (1, 0)}
