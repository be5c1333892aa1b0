"""The slice of a simulated scan as it is prescribed on a scanner: position, orientation, in-plane rotation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import ParameterError

Array = NDArray[np.float64]

# Normal of each main orientation, and read and phase direction of its usual picture (LPS): the patient's right is at
# the left of a transversal or coronal one, the front at the left of a sagittal one, and the head at the top.
_NORMALS = {"T": (0.0, 0.0, 1.0), "C": (0.0, 1.0, 0.0), "S": (1.0, 0.0, 0.0)}
_PICTURES = {
    "T": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "C": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "S": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}
_TILT = r":([TCS])([+-]?\d+(?:\.\d*)?)"


@dataclass(frozen=True)
class Prescription:
    """Where a slice lies: LPS mm of its centre, unit vectors of its axes."""

    position: Array
    read_dir: Array
    phase_dir: Array
    slice_dir: Array

    def at(self, x_mm: float, y_mm: float) -> Array:
        """Position (3,) of a point in the plane, mm along read_dir and phase_dir from the centre."""
        return np.asarray(self.position + x_mm * self.read_dir + y_mm * self.phase_dir)


def prescribe(position: str, orientation: str, rotation_deg: float = 0.0) -> Prescription:
    """Read a prescription.

    Parameters
    ----------
    position
        ``L:P:S``, mm of the centre towards the patient's left, back and head.
    orientation
        ``T``, ``C`` or ``S`` (transversal, coronal, sagittal); oblique ``T:C20``, the normal tilted by 20 degrees from
        transversal towards coronal, which scanners show as T > C20; double-oblique ``T:C20:S-10``, then by -10 degrees
        towards sagittal.
    rotation_deg
        In-plane rotation, from read_dir towards phase_dir.

    Raises
    ------
    ParameterError
        If it is none.
    """
    centre = re.split(":", position)
    try:
        numbers = [float(word) for word in centre]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise ParameterError(f"simulate.position = '{position}'", "L:P:S in mm, for example 10:-20:30")
    found = re.fullmatch(f"([TCS])(?:{_TILT})?(?:{_TILT})?", orientation.strip().upper())
    axes = [] if found is None else [axis for axis in found.group(1, 2, 4) if axis]
    if found is None or len(set(axes)) < len(axes):
        raise ParameterError(
            f"simulate.orientation = '{orientation}'", "T, C, S, oblique as T:C20 or double-oblique as T:C20:S-10"
        )
    main = axes[0]
    read, phase = (np.array(vector) for vector in _PICTURES[main])
    # The normal of the notation; that of the picture, read x phase, may be its opposite, and turns with it.
    normal = np.array(_NORMALS[main])
    for axis, degrees in ((found[2], found[3]), (found[4], found[5])):
        if axis:
            turn = _rotation(np.cross(normal, _NORMALS[axis]), float(degrees))
            normal, read, phase = turn @ normal, turn @ read, turn @ phase
    turn = _rotation(np.cross(read, phase), rotation_deg)
    read, phase = turn @ read, turn @ phase
    return Prescription(np.array(numbers), read, phase, np.cross(read, phase))


def _rotation(axis: Array, degrees: float) -> Array:
    """The rotation by an angle about a unit vector (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)
