"""Where the pixels of an image lie in the patient: LPS millimetres from its header alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inr_core.errors import DataError

Array = NDArray[np.float64]

_NEAR = 1e-3  # by which headers' single-precision directions may miss unit length and right angles


@dataclass(frozen=True)
class PixelPositions:
    """The pixels of an ISMRMRD image in the patient.

    Coordinates are DICOM's: LPS, mm, towards the patient's left, back and head, from the isocentre. The centre of pixel
    (nx // 2, ny // 2, nz // 2) lies at the header's ``position``, the centre of the field of view: a Fourier transform
    has its origin there, for odd matrices as for even ones. The middle of the image's outline is half a pixel beside it
    where the matrix is even.

    Attributes
    ----------
    matrix
        (x, y, z) pixels.
    spacing_mm : (3,)
        From pixel to pixel along each axis; z is the thickness of a slice, where there is one.
    centre_mm : (3,)
        Centre of pixel n // 2.
    row, column, normal : (3,)
        Unit vectors along which x, y and z grow. ``normal`` is the header's ``slice_dir``; it may be opposite to
        row x column, as Siemens' is.
    """

    matrix: tuple[int, int, int]
    spacing_mm: Array
    centre_mm: Array
    row: Array
    column: Array
    normal: Array

    @classmethod
    def of(cls, header: Any) -> PixelPositions:
        """Read the header of an image, or an image.

        Raises
        ------
        DataError
            If the header does not say where the image lies: no field of view, no directions.
        """
        nx, ny, nz = (int(n) for n in header.matrix_size)
        fov_mm = _vector(header.field_of_view)
        if min(nx, ny, nz) < 1 or not (np.isfinite(fov_mm).all() and (fov_mm[:2] > 0).all()):
            raise DataError(f"an image of {nx} x {ny} x {nz} pixels in {_listed(fov_mm)} mm", "pixels of a size")
        row, column, centre = (_vector(part) for part in (header.read_dir, header.phase_dir, header.position))
        normal = slice_direction(header)
        if not (np.isfinite([row, column, normal, centre]).all() and normal.any()):
            raise DataError(
                f"an image with read_dir {_listed(row)} and phase_dir {_listed(column)}", "two directions of the plane"
            )
        return cls((nx, ny, nz), fov_mm / (nx, ny, nz), centre, _unit(row), _unit(column), _unit(normal))

    def at(self, x: ArrayLike, y: ArrayLike, z: ArrayLike = 0.0) -> Array:
        """Positions of pixels by their numbers, which may lie between pixels.

        Parameters
        ----------
        x, y, z
            Pixel numbers from 0, along the row, the column and the normal; arrays are broadcast.

        Returns
        -------
        (..., 3) LPS, mm
        """
        pixels = np.stack(np.broadcast_arrays(*(np.asarray(part, np.float64) for part in (x, y, z))), -1)
        return np.asarray(pixels @ self.affine[:3, :3].T + self.affine[:3, 3])

    def pixel(self, position_mm: ArrayLike) -> Array:
        """Pixel numbers (..., 3) as (x, y, z), with fractions, of positions (..., 3) LPS, mm."""
        away = np.asarray(position_mm, np.float64) - self.affine[:3, 3]
        return np.asarray(away @ np.linalg.inv(self.affine[:3, :3]).T)

    @property
    def affine(self) -> Array:
        """(4, 4): takes (x, y, z, 1) of a pixel to (L, P, S, 1) in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([self.row, self.column, self.normal], axis=1) * self.spacing_mm
        matrix[:3, 3] = self.centre_mm - matrix[:3, :3] @ [n // 2 for n in self.matrix]
        return matrix


def slice_direction(header: Any) -> Array:
    """``slice_dir`` of a readout's or an image's header; where that is zero read_dir x phase_dir."""
    given = _vector(header.slice_dir)
    return given if given.any() else np.cross(_vector(header.read_dir), _vector(header.phase_dir))


def direction_faults(header: Any) -> list[str]:
    """What is wrong with the directions of a readout or an image, in words; empty if nothing."""
    names = ("read_dir", "phase_dir", "slice_dir")
    read, phase, along = vectors = [_vector(getattr(header, name)) for name in names]
    if not (np.isfinite(vectors).all() and read.any() and phase.any()):
        return ["read_dir or phase_dir is missing: where the images lie is not known"]
    found = []
    for name, vector in zip(names, vectors, strict=True):
        length = float(np.linalg.norm(vector))
        if length and abs(length - 1) > _NEAR:
            found.append(f"{name} has the length {length:.4g}, not 1")
    if abs(_unit(read) @ _unit(phase)) > _NEAR:
        degrees = np.degrees(np.arccos(_unit(read) @ _unit(phase)))
        found.append(f"read_dir and phase_dir are {degrees:.1f} degrees apart, not 90")
    elif along.any() and abs(abs(_unit(along) @ np.cross(_unit(read), _unit(phase))) - 1) > _NEAR:
        found.append("slice_dir is not perpendicular to read_dir and phase_dir")
    return found


def is_left_handed(header: Any) -> bool:
    """Whether slice_dir is opposite to read_dir x phase_dir, as in what Siemens' converter writes."""
    read, phase, along = (_vector(part) for part in (header.read_dir, header.phase_dir, header.slice_dir))
    return bool(np.cross(read, phase) @ along < 0)


def _vector(values: Any) -> Array:
    return np.array(list(values), np.float64)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _listed(vector: Array) -> str:
    return "(" + ", ".join(f"{value:g}" for value in vector) + ")"
