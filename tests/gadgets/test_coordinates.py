"""Where pixels lie in the patient, from an image's header alone."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.coordinates import PixelPositions, direction_faults, is_left_handed, slice_direction

AXIAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
DOUBLE_OBLIQUE = (
    (0.8137976813493738, 0.46984631039295416, -0.3420201433256687),
    (-0.44096961052988237, 0.8825641192593856, 0.16317591116653482),
    (0.37852230636979245, 0.018028311236297265, 0.9254165783983234),
)


def header(
    matrix: tuple[int, int, int] = (8, 6, 1),
    fov: tuple[float, float, float] = (240.0, 120.0, 7.0),
    directions: Any = AXIAL,
    position: tuple[float, float, float] = (10.0, -20.0, 30.0),
) -> ismrmrd.ImageHeader:
    head = ismrmrd.ImageHeader()
    head.matrix_size[:], head.field_of_view[:], head.position[:] = matrix, fov, position
    head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = directions
    return head


@pytest.mark.parametrize("matrix", [(8, 6, 1), (7, 5, 1), (9, 4, 3), (1, 1, 1)])
def test_the_position_is_that_of_pixel_n_half(matrix: tuple[int, int, int]) -> None:
    """Where a discrete Fourier transform has its origin, for odd matrices as for even ones."""
    positions = PixelPositions.of(header(matrix, directions=DOUBLE_OBLIQUE))
    middle = [n // 2 for n in matrix]
    assert positions.at(*middle) == pytest.approx([10, -20, 30])
    frequencies = (np.arange(matrix[0]) - matrix[0] // 2) / matrix[0]
    point = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(np.exp(0j * frequencies))))  # an object at r = 0
    assert np.argmax(np.abs(point)) == middle[0]


def test_an_axial_image_by_hand() -> None:
    positions = PixelPositions.of(header())
    assert positions.spacing_mm == pytest.approx([30, 20, 7])
    assert positions.at(0, 0) == pytest.approx([10 - 4 * 30, -20 - 3 * 20, 30])
    assert positions.at(5, 3) == pytest.approx([40, -20, 30])
    assert positions.at(4, 5) == pytest.approx([10, 20, 30])
    assert positions.at(4, 3, 1) == pytest.approx([10, -20, 37])


def test_an_oblique_image_goes_along_its_directions() -> None:
    positions = PixelPositions.of(header(directions=DOUBLE_OBLIQUE))
    read, phase, along = np.array(DOUBLE_OBLIQUE)
    origin = positions.at(0, 0)
    assert positions.at(2, 0) - origin == pytest.approx(60 * read, abs=1e-5)
    assert positions.at(0, 2) - origin == pytest.approx(40 * phase, abs=1e-5)
    assert positions.at(0, 0, 2) - origin == pytest.approx(14 * along, abs=1e-5)
    homogeneous = positions.affine @ [3, 1, 0, 1]
    assert homogeneous[:3] == pytest.approx(positions.at(3, 1))
    assert homogeneous[3] == 1


def test_pixels_and_positions_are_inverse_and_take_arrays() -> None:
    positions = PixelPositions.of(header((9, 4, 3), directions=DOUBLE_OBLIQUE))
    x, y = np.meshgrid(np.arange(9), np.arange(4))
    points = positions.at(x, y, 1.5)
    assert points.shape == (4, 9, 3)
    back = positions.pixel(points)
    np.testing.assert_allclose(back[..., 0], x, atol=1e-9)
    np.testing.assert_allclose(back[..., 1], y, atol=1e-9)
    np.testing.assert_allclose(back[..., 2], 1.5, atol=1e-9)


def test_directions_that_are_not_unit_are_taken_as_such() -> None:
    doubled = 2 * np.array(DOUBLE_OBLIQUE)
    expected = PixelPositions.of(header(directions=DOUBLE_OBLIQUE)).affine
    assert PixelPositions.of(header(directions=doubled.tolist())).affine == pytest.approx(expected, rel=1e-5)


def test_a_missing_slice_direction_is_read_cross_phase() -> None:
    read, phase, along = DOUBLE_OBLIQUE
    head = header(directions=(read, phase, (0, 0, 0)))
    assert slice_direction(head) == pytest.approx(along, abs=1e-6)
    assert PixelPositions.of(head).normal == pytest.approx(along, abs=1e-6)
    opposite = header(directions=(read, phase, tuple(-a for a in along)))
    assert PixelPositions.of(opposite).normal == pytest.approx([-a for a in along], abs=1e-6)  # kept


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fov": (0.0, 120.0, 7.0)}, r"an image of 8 x 6 x 1 pixels in \(0, 120, 7\) mm; expected pixels of a size"),
        ({"matrix": (8, 0, 1)}, "an image of 8 x 0 x 1 pixels"),
        ({"fov": (240.0, float("nan"), 7.0)}, r"\(240, nan, 7\) mm"),
        ({"directions": ((0, 0, 0), (0, 1, 0), (0, 0, 0))}, r"read_dir \(0, 0, 0\) and phase_dir \(0, 1, 0\);"),
        ({"directions": ((0, 1, 0), (0, 1, 0), (0, 0, 0))}, "two directions of the plane"),
        ({"position": (0.0, float("inf"), 0.0)}, "two directions of the plane"),
    ],
)
def test_a_header_that_says_nothing_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        PixelPositions.of(header(**changes))


@pytest.mark.parametrize(
    ("directions", "text"),
    [
        (((0, 0, 0), (0, 1, 0), (0, 0, 1)), "read_dir or phase_dir is missing: where the images lie is not known"),
        (((1, 0, 0), (0, float("nan"), 0), (0, 0, 1)), "read_dir or phase_dir is missing"),
        (((2, 0, 0), (0, 1, 0), (0, 0, 1)), "read_dir has the length 2, not 1"),
        (((1, 0, 0), (0.5, 0.75**0.5, 0), (0, 0, 1)), "read_dir and phase_dir are 60.0 degrees apart, not 90"),
        (((1, 0, 0), (0, 1, 0), (0, 1, 0)), "slice_dir is not perpendicular to read_dir and phase_dir"),
    ],
)
def test_wrong_directions_are_named(directions: Any, text: str) -> None:
    (fault,) = direction_faults(header(directions=directions))
    assert fault.startswith(text)


@pytest.mark.parametrize("sign", [1, 0, -1])
def test_right_directions_need_no_word_whatever_their_hand(sign: int) -> None:
    read, phase, along = DOUBLE_OBLIQUE
    head = header(directions=(read, phase, tuple(sign * a for a in along)))
    assert direction_faults(head) == []
    assert is_left_handed(head) == (sign < 0)
