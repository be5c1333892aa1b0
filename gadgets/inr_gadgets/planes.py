"""Where a readout's plane lies, and whether it is still the one that a frame or a reconstruction began with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Vector = tuple[float, float, float]

_TOLERANCE_PIXELS = 0.5  # in the plane; more and anatomy is no longer in its pixel
_TOLERANCE_THICKNESS = 0.25  # of the slice, through the plane


class Plane(NamedTuple):
    """What a header says of the geometry: mm, and unit vectors."""

    position: Vector
    read_dir: Vector
    phase_dir: Vector
    slice_dir: Vector
    table: Vector

    @classmethod
    def of(cls, header: Any) -> Plane:
        """The plane of a readout or an image."""
        return cls(
            _vector(header.position),
            _vector(header.read_dir),
            _vector(header.phase_dir),
            _vector(header.slice_dir),
            _vector(header.patient_table_position),
        )


class Field(NamedTuple):
    """The image in its plane: pixels (x, y), and mm (x, y, z), z the slice's thickness."""

    matrix: tuple[int, int]
    fov_mm: Vector


class Move(NamedTuple):
    """How far a plane lies from another.

    Attributes
    ----------
    within_mm, through_mm
        The longest way of the image's centre or one of its corners, along the plane and across it.
    turned_deg
        Angle of the rotation.
    table_mm
        Way of the table.
    pixel_mm, thickness_mm
        Of the image; what the ways are large or small against.
    """

    within_mm: float
    through_mm: float
    turned_deg: float
    table_mm: float
    pixel_mm: float
    thickness_mm: float

    @property
    def is_new_plane(self) -> bool:
        """Whether anatomy has left its place in the image by more than half a pixel or a quarter of the slice."""
        return (
            max(self.within_mm, self.table_mm) > _TOLERANCE_PIXELS * self.pixel_mm
            or self.through_mm > _TOLERANCE_THICKNESS * self.thickness_mm
        )

    def __str__(self) -> str:
        """``"12.5 mm in the plane, 3.0 mm through it, turned by 4.0 degrees"``: what is not nothing."""
        parts = [
            (self.within_mm, "{:.1f} mm in the plane"),
            (self.through_mm, "{:.1f} mm through it"),
            (self.turned_deg, "turned by {:.1f} degrees"),
            (self.table_mm, "the table by {:.1f} mm"),
        ]
        return ", ".join(text.format(value) for value, text in parts if value >= 0.05) or "nothing"


def move(before: Plane, after: Plane, field: Field) -> Move:
    """How far ``after`` lies from ``before``. Coordinates that are not finite count as unmoved."""
    (nx, ny), (x_mm, y_mm, z_mm) = field
    pixel_mm = min(x_mm / nx, y_mm / ny)
    old, new = (np.array(plane, np.float64) for plane in (before, after))
    corners = np.array([(0, 0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]) * (x_mm, y_mm)
    with np.errstate(invalid="ignore", over="ignore"):
        way = new[0] - old[0] + corners @ (new[1:3] - old[1:3])
        across = way @ old[3]
        within = np.linalg.norm(way - across[:, None] * old[3], axis=1)
        # The trace of R, which takes the old directions to the new ones, is 1 + 2 cos(angle).
        trace = float((new[1:4] * old[1:4]).sum())
        turned = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))) if np.any(new[1:4] != old[1:4]) else 0.0
        ways = within.max(), np.abs(across).max(), turned, np.linalg.norm(new[4] - old[4])
    finite = [float(value) if np.isfinite(value) else 0.0 for value in ways]
    return Move(finite[0], finite[1], finite[2], finite[3], pixel_mm, z_mm if z_mm > 0 else pixel_mm)


class PlaneWatch:
    """Notices when the plane is another than the one that it began with; a slow drift adds up.

    Parameters
    ----------
    field
        Of the image.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self._begun: Plane | None = None
        self._same: Plane | None = None  # the last that was compared, as most are exactly that

    def moved(self, plane: Plane) -> Move | None:
        """How far a new plane lies from the one so far; None if it is the same. The new one then counts."""
        if plane == self._same:
            return None
        begun, self._same = self._begun, plane
        if begun is None:
            self._begun = plane
            return None
        way = move(begun, plane, self._field)
        if not way.is_new_plane:
            return None
        self._begun = plane
        return way


def _vector(values: Any) -> Vector:
    x, y, z = values
    return float(x), float(y), float(z)
