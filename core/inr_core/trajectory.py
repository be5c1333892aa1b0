"""Radial trajectories: the golden angle and its families, and spokes.

Angles are in degrees where they describe a scheme and in radians where they describe spokes; k-space is in cycles per
pixel of the reconstructed matrix. NumPy only: the buffer gadget, which must start without torch, uses this module.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inr_core.errors import ParameterError

GOLDEN_RATIO = (1.0 + math.sqrt(5.0)) / 2.0
GOLDEN_ANGLE_DEG = 180.0 / GOLDEN_RATIO
"""111.246 degrees: 180 * 2 / (1 + sqrt 5)."""

Base = Literal["pi", "2pi"]
_BASE_DEG = {"pi": 180.0, "2pi": 360.0}


def golden_angle(n: int = 1, base: Base = "pi") -> float:
    """Angle from spoke to spoke of the ``n``-th tiny golden angle, degrees.

    180 / (phi + n - 1), or 360 / (phi + n - 1) for base ``2pi`` (half-spokes from the centre outwards). n = 1 is the
    golden angle, 111.246; n = 2 its complement, 68.754; n = 7 the tiny one of 23.628 degrees.

    References
    ----------
    Winkelmann et al., doi 10.1109/TMI.2006.885337; Wundrak et al., doi 10.1002/mrm.25831.

    Raises
    ------
    ParameterError
        If n is smaller than 1 or the base is neither ``pi`` nor ``2pi``.
    """
    if n < 1:
        raise ParameterError(f"tiny golden angle number {n}", "a whole number of at least 1")
    return _base_deg(base) / (GOLDEN_RATIO + n - 1)


def raga_angle(n_spokes: int, n: int = 1, base: Base = "pi") -> float:
    """Angle from spoke to spoke of the rational approximation of the ``n``-th tiny golden angle (RAGA), degrees.

    With the generalised Fibonacci numbers G(1) = 1, G(2) = n, G(i) = G(i-1) + G(i-2), and F for n = 1, the angle is
    180 F(i-1) / G(i) where G(i) = ``n_spokes``: after that many spokes the scheme repeats exactly, on a uniform grid.

    Parameters
    ----------
    n_spokes
        Spokes of the full set; 377, 233, 144 .. for n = 1.
    n
        Which tiny golden angle is approximated.
    base
        Whether the set covers a half (``pi``) or a full circle (``2pi``).

    References
    ----------
    Scholand et al., doi 10.1002/mrm.30247.

    Raises
    ------
    ParameterError
        If no such set has ``n_spokes`` spokes; the message names the nearest that has.
    """
    if n < 1:
        raise ParameterError(f"tiny golden angle number {n}", "a whole number of at least 1")
    members = [(1, 0), (n, 1)]  # (G(i), F(i-1))
    increments = [1, 1]  # F(i-1) for the next i: 1, 2, 3, 5 ..
    while members[-1][0] < n_spokes or len(members) < 4:
        members.append((members[-1][0] + members[-2][0], increments[-1]))
        increments.append(sum(increments[-2:]))
    usable = members[2:]  # fewer than three spokes make no scheme
    for size, increment in usable:
        if size == n_spokes:
            return _base_deg(base) * increment / size
    near = sorted(usable, key=lambda member: abs(member[0] - n_spokes))[:2]
    names = " or ".join(str(size) for size, _ in sorted(near))
    raise ParameterError(f"a RAGA set of {n_spokes} spokes for tiny golden angle {n}", f"{names} spokes")


def spoke_angles(
    index: ArrayLike, step_deg: float = GOLDEN_ANGLE_DEG, offset_deg: float = 0.0, direction: int = 1
) -> NDArray[np.float64]:
    """Angles of the spokes with these numbers, radians in [0, 2 pi).

    Parameters
    ----------
    index : (spokes,) integers
        Numbers of the spokes, from 0; of any size, since the angle is reduced to one turn in degrees.
    step_deg, offset_deg
        Angle from spoke to spoke, and of spoke 0, degrees.
    direction
        1 from kx towards ky, -1 the other way round.
    """
    if direction not in (1, -1):
        raise ParameterError(f"direction {direction}", "1 or -1")
    degrees = direction * (np.asarray(index, dtype=np.float64) * step_deg + offset_deg)
    return np.asarray(np.deg2rad(np.mod(degrees, 360.0)), dtype=np.float64)


def radial_trajectory(
    angles: ArrayLike,
    n_samples: int,
    center_sample: float | None = None,
    *,
    spacing: float | None = None,
    aspect: float = 1.0,
) -> NDArray[np.float32]:
    """Straight spokes through the centre of k-space.

    Parameters
    ----------
    angles : (spokes,) radians
    n_samples
        Samples of a spoke.
    center_sample
        Sample, from 0, that lies on the centre of k-space; ``n_samples // 2`` if None.
    spacing
        Distance of two samples, cycles per pixel; 1 / n_samples if None: a full readout reaches from -0.5 to 0.5.
    aspect
        Height of a pixel over its width: ky counts cycles per pixel along y.

    Returns
    -------
    (spokes, samples, 2) float32, (kx, ky) in cycles per pixel.
    """
    center = n_samples // 2 if center_sample is None else center_sample
    step = 1.0 / n_samples if spacing is None else spacing
    radius = (np.arange(n_samples) - center) * step
    theta = np.atleast_1d(np.asarray(angles, dtype=np.float64))
    direction = np.stack([np.cos(theta), aspect * np.sin(theta)], axis=-1)
    return np.asarray(radius[None, :, None] * direction[:, None, :], dtype=np.float32)


def _base_deg(base: str) -> float:
    if base not in _BASE_DEG:
        raise ParameterError(f"angle base '{base}'", "pi or 2pi")
    return _BASE_DEG[base]
