"""Radial trajectories: the golden angle and its families, spokes, and their density compensation.

Angles are in degrees where they describe a scheme and in radians where they describe spokes; k-space is in cycles per
pixel of the reconstructed matrix. NumPy only: the buffer gadget, which must start without torch, uses this module.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inr_core.errors import DataError, ParameterError

GOLDEN_RATIO = (1.0 + math.sqrt(5.0)) / 2.0
GOLDEN_ANGLE_DEG = 180.0 / GOLDEN_RATIO
"""111.246 degrees: 180 * 2 / (1 + sqrt 5)."""

_BAND_EDGE = 1e-3  # of the edge of k-space: rounding, not another frequency
_SQUARE = 1e-3  # by which pixels that are meant to be square may miss it: the fit's rounding

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


def ramp_density(
    traj: NDArray[np.float32], matrix: tuple[int, int], *, aspect: float | None = None
) -> NDArray[np.float32]:
    """Density compensation of radial spokes, with the scale at which gridding returns the image itself.

    With y(k) = 1/sqrt(nx ny) sum_r x(r) exp(-2 pi i k r), the inverse transform x(r) = sqrt(nx ny) * integral of
    y(k) exp(2 pi i k r) d2k becomes x = A^H (w y) for w = nx ny dA, dA the area of k-space that a sample stands for.
    S spokes cut the circle into sectors of pi / S for each of their two halves, so dA = pi / S k dk. Where a spoke has
    no mirror image of a sample (an asymmetric echo, a half-spoke), half as many rays reach that radius and the sector
    is 2 pi / S.

    The sum over samples dk apart misses dk^2 / 6 of the integral of |k| dk because of the kink at k = 0 (the
    Euler-Maclaurin term; dk^2 B2(u) when the centre lies a part u of the way between two samples, B2 the second
    Bernoulli polynomial). That is the weight of the centre sample: with 0, or with the dk^2 / 4 of its own disc, the
    plateau of a large object is several per cent off. With it, it is right to 1 % for objects up to half the sampled
    field of view across, which is all of the image at twofold oversampling.

    Samples beyond 0.5 cycles per pixel, which spokes have along the longer side of oblong pixels, get no weight: an
    image of that matrix cannot say anything about them, and a discrete transform takes them for others inside.

    Parameters
    ----------
    traj : (spokes, samples, 2) cycles per pixel
        Spokes of one frame, at least two samples each, spread evenly over the half circle as golden angles are.
    matrix
        (nx, ny) of the image.
    aspect
        Height of a pixel over its width, as in :func:`radial_trajectory`; None for what the spokes' lengths say: they
        are one length in cycles per mm, so in cycles per pixel their ends lie on an ellipse.

    Returns
    -------
    (spokes, samples) float32

    Raises
    ------
    DataError
        If ``traj`` has another shape, or a spoke whose samples all lie on one point.
    """
    if traj.ndim != 3 or traj.shape[-1] != 2 or traj.shape[0] < 1 or traj.shape[1] < 2:
        raise DataError(f"a trajectory of shape {traj.shape}", "(spokes, samples, 2) with at least two samples")
    k = traj.astype(np.float64)
    inside = np.abs(k).max(axis=-1) <= 0.5 * (1 + _BAND_EDGE)
    aspect = _aspect_of(k[:, -1] - k[:, 0]) if aspect is None else aspect
    k[..., 1] /= aspect
    along = k[:, -1] - k[:, 0]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    if not np.all(length > 0):
        raise DataError("a spoke whose samples all lie on one point of k-space", "straight spokes")
    radius = np.einsum("snd,sd->sn", k, along / length)
    cell = np.gradient(radius, axis=1)
    distance = np.linalg.norm(k, axis=-1)
    # A sample has a mirror image if the other half of the spoke reaches as far; even readouts lack but the outermost.
    low, high = -radius.min(axis=1, keepdims=True), radius.max(axis=1, keepdims=True)
    alone = (distance > np.maximum(np.minimum(low, high), 0) + cell / 2) & (np.abs(high - low) > 1.5 * cell)
    ring = distance * cell * np.where(alone, 2.0, 1.0) + _centre_weight(radius)
    area = np.pi / k.shape[0] * ring * inside * aspect
    return np.asarray(matrix[0] * matrix[1] * area, dtype=np.float32)


def _aspect_of(ends: NDArray[np.float64]) -> float:
    """Ratio of the axes of the ellipse on which these vectors (spokes, 2) end; 1 where they do not tell two axes."""
    squares = ends**2
    values, vectors = np.linalg.eigh(squares.T @ squares)
    if values[0] <= 1e-4 * values[1]:
        return 1.0
    per_x, per_y = vectors @ ((vectors.T @ squares.sum(axis=0)) / values)
    if per_x <= 0 or per_y <= 0:
        return 1.0
    aspect = math.sqrt(per_x / per_y)
    return 1.0 if abs(aspect - 1) < _SQUARE else aspect


def _centre_weight(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """dk^2 B2(u) shared by the two samples beside k = 0; (spokes, samples), zero where the spoke does not cross it."""
    weight = np.zeros_like(radius)
    for spoke, r in enumerate(radius):
        left = min(int(np.searchsorted(r, 0.0, side="right")) - 1, r.size - 2)
        if left < 0:
            continue
        dk = r[left + 1] - r[left]
        u = -r[left] / dk
        if u <= 1:
            weight[spoke, left : left + 2] = dk**2 * (u**2 - u + 1 / 6) * np.array([1 - u, u])
    return weight


def _base_deg(base: str) -> float:
    if base not in _BASE_DEG:
        raise ParameterError(f"angle base '{base}'", "pi or 2pi")
    return _BASE_DEG[base]
