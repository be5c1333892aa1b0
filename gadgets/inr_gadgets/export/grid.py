"""The planes of stored images in the patient, as DICOM describes them: first pixel, row and column, LPS mm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_gadgets.coordinates import PixelPositions

_UNIT_TOLERANCE = 0.01  # headers are float32, and some attributes have four digits
_SAME_MM, _SAME_DIRECTION = 0.02, 1e-4

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """The pixels of one plane.

    Attributes
    ----------
    first : (3,) mm
        Centre of pixel [y=0, x=0].
    row_dir, column_dir : (3,)
        Unit vectors along x (the next pixel of a row) and along y (the next pixel of a column); at right angles.
    spacing_mm
        (x, y) from pixel to pixel.
    thickness_mm
        Of the slice; 0 if unknown.
    shape
        (ny, nx).
    """

    first: Vector
    row_dir: Vector
    column_dir: Vector
    spacing_mm: tuple[float, float]
    thickness_mm: float
    shape: tuple[int, int]

    @property
    def normal(self) -> Vector:
        """Unit vector row x column, (3,): the side from which a viewer looks away."""
        return np.cross(self.row_dir, self.column_dir)

    @property
    def location_mm(self) -> float:
        """Of the plane, along its normal."""
        return float(self.first @ self.normal)

    def pixel(self, x: float, y: float) -> Vector:
        """Centre of pixel [y, x], (3,) mm."""
        dx, dy = self.spacing_mm
        return self.first + x * dx * self.row_dir + y * dy * self.column_dir

    def is_beside(self, other: PixelGrid) -> bool:
        """Whether the other grid is this one, moved along the normal by any distance."""
        way = other.first - self.first
        return (
            self.shape == other.shape
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-4)
            and np.allclose(self.row_dir, other.row_dir, atol=_SAME_DIRECTION)
            and np.allclose(self.column_dir, other.column_dir, atol=_SAME_DIRECTION)
            and bool(np.linalg.norm(way - (way @ self.normal) * self.normal) < _SAME_MM)
        )

    def is_same(self, other: PixelGrid) -> bool:
        """Whether the two are one plane."""
        return self.is_beside(other) and abs(self.location_mm - other.location_mm) < _SAME_MM


def has_directions(header: Any) -> bool:
    """Whether an image's header says how it lies; some simulators leave zeros."""
    return any(header.read_dir) or any(header.phase_dir)


def pixel_grid(header: Any, meta: Mapping[str, Any], z: int = 0) -> PixelGrid:
    """The grid of an image, or of plane ``z`` of a volume.

    Directions are those of the attributes ``ImageRowDir`` and ``ImageColumnDir`` where there are both, as senders that
    turn an image leave the header's own to the acquisition; else the header's. An image without directions lies along
    the axes of the patient.

    Raises
    ------
    DataError
        If the field of view is not positive, or the directions are no unit vectors at right angles.
    """
    turned = type(header).from_buffer_copy(header)
    row, column = (_triple(meta.get(name)) for name in ("ImageRowDir", "ImageColumnDir"))
    if row is not None and column is not None:
        turned.read_dir[:], turned.phase_dir[:] = row, column
    elif not has_directions(header):
        turned.read_dir[:], turned.phase_dir[:], turned.slice_dir[:] = np.eye(3)
    directions = np.array([list(turned.read_dir), list(turned.phase_dir)], np.float64)
    if not np.abs(directions @ directions.T - np.eye(2)).max() <= _UNIT_TOLERANCE:
        listed = " and ".join(str([round(value, 4) for value in direction.tolist()]) for direction in directions)
        raise DataError(
            f"image directions {listed}",
            "two unit vectors at right angles",
            "correct read_dir and phase_dir where the images are made",
        )
    positions = PixelPositions.of(turned)
    column = positions.column - (positions.column @ positions.row) * positions.row
    nx, ny, _ = positions.matrix
    dx, dy, dz = (float(size) for size in positions.spacing_mm)
    column = column / np.linalg.norm(column)
    return PixelGrid(positions.at(0, 0, z), positions.row, column, (dx, dy), max(dz, 0.0), (ny, nx))


def _triple(value: Any) -> Vector | None:
    """Three finite numbers of an attribute, or None."""
    try:
        numbers = np.array([float(text) for text in value], np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (3,) and np.isfinite(numbers).all() and numbers.any() else None
