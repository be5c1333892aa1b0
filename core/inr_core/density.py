"""Density compensation of radial spokes, compiled: a live frame has one for itself, of a few hundred samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inr_core.compiling import compiled, part
from inr_core.errors import DataError

_BAND_EDGE = 1e-3  # of the edge of k-space: rounding, not another frequency
_SQUARE = 1e-3  # by which pixels that are meant to be square may miss it: the fit's rounding


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
        Height of a pixel over its width, as of :func:`~inr_core.trajectory.radial_trajectory`; None for what the spokes
        tell by their lengths: these are one in cycles per mm, so in cycles per pixel their ends lie on an ellipse.

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
    aspect = _aspect_of(k[:, -1] - k[:, 0]) if aspect is None else aspect
    density = np.empty(k.shape[:2], np.float32)
    if not _densities(k, float(aspect), math.pi * matrix[0] * matrix[1] * aspect / len(k), density):
        raise DataError("a spoke whose samples all lie on one point of k-space", "straight spokes")
    return density


def tempered(density: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """A power of a density with the same mean; samples beyond the band have none, and none to any power."""
    weights = np.empty(density.shape, np.float32)
    _temper(density.reshape(-1), float(exponent), weights.reshape(-1))
    return weights


@part
def _centre_weights(radius, weights):
    """dk^2 B2(u) shared by the two samples beside k = 0; zero where the spoke does not cross it."""
    n = radius.size
    left = -1
    while left + 1 < n and radius[left + 1] <= 0:
        left += 1
    left = min(left, n - 2)
    weights[:] = 0
    if left < 0:
        return
    dk = radius[left + 1] - radius[left]
    u = -radius[left] / dk
    if u <= 1:
        share = dk * dk * (u * u - u + 1 / 6)
        weights[left], weights[left + 1] = share * (1 - u), share * u


@compiled
def _densities(k, aspect, factor, density):
    """Fill the densities; False if a spoke has no length."""
    n = k.shape[1]
    radius, distance, centre = np.empty(n), np.empty(n), np.empty(n)
    for spoke in range(k.shape[0]):
        x, y = k[spoke, :, 0], k[spoke, :, 1] / aspect
        dx, dy = x[n - 1] - x[0], y[n - 1] - y[0]
        length = math.sqrt(dx * dx + dy * dy)
        if not length > 0:
            return False
        low = high = 0.0
        for i in range(n):
            radius[i], distance[i] = (x[i] * dx + y[i] * dy) / length, math.sqrt(x[i] * x[i] + y[i] * y[i])
            low, high = (-radius[i], radius[i]) if i == 0 else (max(low, -radius[i]), max(high, radius[i]))
        _centre_weights(radius, centre)
        for i in range(n):
            before, after = max(i - 1, 0), min(i + 1, n - 1)
            cell = (radius[after] - radius[before]) / (after - before)
            # A sample has a mirror image if the other half of the spoke reaches as far; even readouts lack but the
            # outermost.
            alone = distance[i] > max(min(low, high), 0.0) + cell / 2 and abs(high - low) > 1.5 * cell
            ring = distance[i] * cell * (2.0 if alone else 1.0) + centre[i]
            inside = max(abs(k[spoke, i, 0]), abs(k[spoke, i, 1])) <= 0.5 * (1 + _BAND_EDGE)
            density[spoke, i] = factor * ring if inside else 0.0
    return True


@compiled
def _temper(density, exponent, weights):
    mean = total = 0.0
    for i in range(density.size):
        mean += density[i] / density.size
    for i in range(density.size):
        weights[i] = (density[i] / mean) ** exponent if density[i] > 0 else 0.0
        total += weights[i]
    share = mean * density.size / total
    for i in range(density.size):
        weights[i] *= share


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
