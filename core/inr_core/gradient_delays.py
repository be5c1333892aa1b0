"""Gradient delays of radial spokes, found from the points at which spokes cross near the centre of k-space.

The gradients of a scanner start a little late, each axis by a time of its own. A spoke with a gradient along n is then
sampled not at k but at k + S w, w the step from sample to sample (along n) and S = (Sx, Sxy; Sxy, Sy) a symmetric
matrix in samples: its eigenvectors are the physical axes in the plane of the slice, its eigenvalues minus their delay
over the dwell time (Moussavi et al., doi 10.1002/mrm.24730). Spokes of different directions are shifted differently,
and no image fits all of them.

Two spokes i and j see the same k-space where they cross, so samples u and v of the two that are equal in all coils tell
where that is (RING; Rosenzweig, Holme and Uecker, doi 10.1002/mrm.27506):

    q_i + u w_i + S w_i = q_j + v w_j + S w_j

with q the nominal position of a spoke's central sample and u, v counted from it. Solved for u and v, the crossing moves
linearly with (Sx, Sy, Sxy). First every pair is searched for its crossing on a grid, and S is the least-squares fit of
what was found; then S itself is fitted to the samples of all pairs by Gauss-Newton.

NumPy only: the buffer gadget, which must start without torch, uses this module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError

_REACH = 4  # samples from the centre within which crossings are looked for
_HALF_WIDTH = 6  # of the interpolation kernel, samples
_WINDOW = _REACH + _HALF_WIDTH
_KAISER = 8.0
# I0(_KAISER sqrt(x)) / I0(_KAISER) as a series in x: NumPy takes ten times as long for the Bessel function.
_TERMS = [(_KAISER / 2) ** (2 * k) / math.factorial(k) ** 2 for k in range(28)]
_SERIES = np.array(_TERMS) / sum(_TERMS)
_SINE = 0.5  # of the angle between two spokes; where it is smaller their crossing is ill defined
_MOST_SPOKES, _MOST_COILS = 64, 8
_FEWEST_SPOKES = 5  # whose scatter says something about the error of three numbers
_DETERMINED = 1e-6  # of the best known combination of the three
_ITERATIONS, _CONVERGED, _LONGEST_STEP = 15, 1e-4, 0.5
# Measured: below a shift of 0.05 samples the images are as good without correction; without delays the estimate exceeds
# 5 of its standard errors only where the crossings do not agree anyway.
_WORTHWHILE, _ERRORS, _DISAGREEMENT = 0.05, 5.0, 0.2

MARGIN = 2 * _WINDOW
"""Samples to either side of the centre that :func:`estimate_delays` can make use of, whatever the spokes' centres."""


@dataclass(frozen=True)
class GradientDelays:
    """How far gradient delays shift the samples of each spoke.

    Attributes
    ----------
    sx, sy, sxy
        Elements of the matrix S, samples of the readout; positive: further along the spoke than the trajectory says.
    spacing
        Distance of two samples, cycles per pixel along x.
    aspect
        Height of a pixel over its width.
    error
        Standard error of a shift, samples; infinite where the spokes do not determine all three numbers.
    residual
        By what part of the central samples two spokes differ where they cross: noise, motion, or spokes that do not
        see the same object.
    n_spokes
        From how many spokes they were estimated.
    """

    sx: float = 0.0
    sy: float = 0.0
    sxy: float = 0.0
    spacing: float = 0.0
    aspect: float = 1.0
    error: float = 0.0
    residual: float = 0.0
    n_spokes: int = 0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 2) S, samples."""
        return np.array([[self.sx, self.sxy], [self.sxy, self.sy]])

    @cached_property  # asked for several times in each frame
    def largest(self) -> float:
        """The largest shift of any spoke, samples."""
        return float(np.abs(np.linalg.eigvalsh(self.matrix)).max())

    @property
    def cycles_per_pixel(self) -> tuple[float, float, float]:
        """(Sx, Sy, Sxy) as distances in k-space, cycles per pixel along x."""
        return self.sx * self.spacing, self.sy * self.spacing, self.sxy * self.spacing

    @property
    def credible(self) -> bool:
        """Whether the crossings of the spokes agree well enough to say anything."""
        return math.isfinite(self.error) and self.residual <= _DISAGREEMENT and self.largest < _REACH - 1

    @property
    def significant(self) -> bool:
        """Whether a correction is worth its while: credible, beyond its error, and large enough to be seen."""
        return self.credible and self.largest >= max(_WORTHWHILE, _ERRORS * self.error)

    def __str__(self) -> str:
        """In words, for the operator."""
        return f"Sx {self.sx:+.3f}, Sy {self.sy:+.3f}, Sxy {self.sxy:+.3f} samples (+-{self.error:.3f})"


def corrected(traj: NDArray[np.floating[Any]], delays: GradientDelays) -> NDArray[np.float32]:
    """Where the samples really lie.

    A sample is shifted by S times the step of the trajectory there, which is what a delay does to any waveform, to
    first order; of a straight and even spoke all samples are shifted alike.

    Parameters
    ----------
    traj : (spokes, samples, 2) cycles per pixel
        What the gradients were meant to do.
    delays
        From :func:`estimate_delays`.

    Returns
    -------
    (spokes, samples, 2) float32 cycles per pixel

    Raises
    ------
    DataError
        If ``traj`` has another shape.
    """
    _check_trajectory(traj)
    stretch = np.array([1.0, delays.aspect])
    step = np.gradient(traj.astype(np.float64), axis=1) / stretch
    return np.asarray(traj + stretch * (step @ delays.matrix), dtype=np.float32)


def estimate_delays(
    kspace: NDArray[np.complexfloating[Any, Any]], traj: NDArray[np.floating[Any]], *, aspect: float = 1.0
) -> GradientDelays:
    """Estimate the delays of a scan from some of its spokes, whole or only their :data:`MARGIN` around the centre.

    Two spokes are compared as vectors of coils, up to a complex factor: neither the phase that they gathered nor the
    magnetisation's way into its steady state moves a crossing. (A single coil is compared in its magnitude.)

    Parameters
    ----------
    kspace : (coils, spokes, samples) complex
        Whitened samples; of more than 64 spokes the first are used.
    traj : (spokes, samples, 2) cycles per pixel
        (kx, ky) without delays, even and straight near the centre of k-space.
    aspect
        Height of a pixel over its width, as in :func:`inr_core.trajectory.radial_trajectory`.

    Returns
    -------
    Estimate and error, which :attr:`GradientDelays.significant` weighs. Spokes too few or too much alike have an
    infinite error.

    Raises
    ------
    DataError
        If shapes do not fit, samples are not finite or all zero, or spokes are not even and straight around the centre
        of k-space or do not reach beyond it to either side.
    """
    _check(kspace, traj)
    n_spokes = min(kspace.shape[1], _MOST_SPOKES)
    near, position, step = _around_the_centre(kspace[:, :n_spokes], traj[:n_spokes] / np.array([1.0, aspect]))
    pairs = _Pairs.of(near, position, step)
    spacing = float(np.linalg.norm(step, axis=-1).mean())
    if n_spokes < _FEWEST_SPOKES or len(pairs.first) < 3:
        return GradientDelays(spacing=spacing, aspect=aspect, error=math.inf, n_spokes=n_spokes)
    shift, fit = _fit(pairs)
    sx, sy, sxy = (float(value) for value in shift)
    return GradientDelays(
        sx,
        sy,
        sxy,
        spacing=spacing,
        aspect=aspect,
        error=_standard_error(fit, n_spokes),
        residual=fit.residual,
        n_spokes=n_spokes,
    )


@dataclass(frozen=True)
class _Fit:
    """Two spokes compared at all of their crossings, for one S.

    ``hessian`` (3, 3) and ``scores`` (spokes, 3) are Gauss-Newton's: the gradient is half the sum of the scores, in
    which every pair counts for both of its spokes. ``residual`` is as in :class:`GradientDelays`.
    """

    hessian: NDArray[np.float64]
    scores: NDArray[np.float64]
    residual: float


@dataclass(frozen=True)
class _Pairs:
    """All pairs of spokes that cross at a fair angle.

    Attributes
    ----------
    samples : (spokes, 2 _WINDOW + 1, coils) complex128
    first, second : (pairs,)
        Numbers of the two spokes.
    nominal : (pairs, 2)
        Sample, from the centre, at which the first and the second reach their crossing without delays.
    per_shift : (pairs, 2, 3)
        How that moves with Sx, Sy and Sxy.
    """

    samples: NDArray[np.complex128]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    nominal: NDArray[np.float64]
    per_shift: NDArray[np.float64]

    @classmethod
    def of(cls, samples: NDArray[np.complex128], position: NDArray[np.float64], step: NDArray[np.float64]) -> _Pairs:
        """Pairs of spokes with these central positions and steps, (spokes, 2)."""
        first, second = np.triu_indices(len(step), 1)
        length = np.linalg.norm(step, axis=-1)
        area = _cross(step[first], step[second])
        fair = np.abs(area) > _SINE * length[first] * length[second]
        first, second, area = first[fair], second[fair], area[fair]

        def solved(apart: NDArray[np.float64]) -> NDArray[np.float64]:
            """(pairs, 2) u and v of  u w_i - v w_j = apart."""
            return np.stack([_cross(apart, step[second]) / area, _cross(apart, step[first]) / area], axis=-1)

        dx, dy = (step[second] - step[first]).T
        none = np.zeros_like(dx)
        columns = [solved(np.stack(column, axis=-1)) for column in ((dx, none), (none, dy), (dy, dx))]
        return cls(samples, first, second, solved(position[second] - position[first]), np.stack(columns, axis=-1))

    def compare(self, shift: NDArray[np.float64]) -> _Fit | None:
        """Compare the spokes where they cross if S is ``shift``; None if most crossings are out of reach."""
        places = self.nominal + self.per_shift @ shift
        within = np.asarray((np.abs(places) < _REACH).all(axis=1))
        if 2 * within.sum() < len(within):
            return None
        first, second, per_shift = self.first[within], self.second[within], self.per_shift[within]
        a, da = self._at(first, places[within, 0])
        b, db = self._at(second, places[within, 1])
        power = np.maximum((np.abs(b) ** 2).sum(axis=1), np.finfo(np.float64).tiny)
        factor = ((b.conj() * a).sum(axis=1) / power)[:, None]
        single = a.shape[1] == 1
        if single:
            factor = np.exp(1j * np.angle(factor))
        other = factor * b
        slope = da[..., None] * per_shift[:, None, 0] - (factor * db)[..., None] * per_shift[:, None, 1]
        # What the free factor takes up does not tell anything about S.
        taken = np.einsum("pc,pck->pk", other.conj(), slope)
        taken /= np.maximum((np.abs(other) ** 2).sum(axis=1), np.finfo(np.float64).tiny)[:, None]
        slope -= other[..., None] * (1j * taken.imag if single else taken)[:, None]
        rest = a - other
        scores = np.zeros((len(self.samples), 3))
        gradient = np.einsum("pck,pc->pk", slope.conj(), rest).real
        np.add.at(scores, first, gradient)
        np.add.at(scores, second, gradient)
        centre = (np.abs(self.samples[:, _WINDOW]) ** 2).sum(axis=1).mean()
        residual = math.sqrt((np.abs(rest) ** 2).sum() / (len(rest) * max(centre, np.finfo(np.float64).tiny)))
        return _Fit(np.einsum("pck,pcl->kl", slope.conj(), slope).real, scores, residual)

    def _at(
        self, spokes: NDArray[np.intp], places: NDArray[np.float64]
    ) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Samples of spokes between the measured ones and their derivative along the spoke, (pairs, coils) each."""
        taps = np.floor(places).astype(np.intp)[:, None] + np.arange(1 - _HALF_WIDTH, 1 + _HALF_WIDTH)
        apart, little = places[:, None] - taps, 1e-3
        here, after, before = _kernel(np.stack([apart, apart + little, apart - little]))
        slope = (after - before) / (2 * little)
        measured = self.samples[spokes[:, None], taps + _WINDOW]
        value, derivative = (np.einsum("pt,ptc->pc", weights, measured) for weights in (here, slope))
        return np.asarray(value), np.asarray(derivative)


def _fit(pairs: _Pairs) -> tuple[NDArray[np.float64], _Fit]:
    """(Sx, Sy, Sxy) at which the spokes agree best where they cross, and how well they do."""
    at_zero = pairs.compare(np.zeros(3))
    if at_zero is None:
        raise DataError("spokes that do not cross near the centre of k-space", "radial spokes through the centre")
    shift, fit = np.zeros(3), at_zero
    start = _search(pairs)
    searched = pairs.compare(start)
    if searched is not None and searched.residual < at_zero.residual:
        shift, fit = start, searched
    for _ in range(_ITERATIONS):
        step = -np.linalg.pinv(fit.hessian, hermitian=True) @ (fit.scores.sum(axis=0) / 2)
        step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), _CONVERGED))
        moved = pairs.compare(shift + step)
        if moved is None:
            break
        shift, fit = shift + step, moved
        if np.abs(step).max() < _CONVERGED:
            break
    return shift, fit


def _search(pairs: _Pairs) -> NDArray[np.float64]:
    """A first S: the crossing of each pair on a grid, then a fit to them that does not mind outliers."""
    grid = np.arange(-_REACH + 0.5, _REACH - 0.25, 0.25)
    kernel = _kernel(grid[:, None] - np.arange(-_WINDOW, _WINDOW + 1))
    values = np.einsum("gt,stc->sgc", kernel, pairs.samples)
    power = (np.abs(values) ** 2).sum(axis=-1)
    product = np.abs(values[pairs.first] @ values[pairs.second].conj().swapaxes(1, 2))
    distance = power[pairs.first][:, :, None] + power[pairs.second][:, None] - 2 * product
    best = distance.reshape(len(distance), -1).argmin(axis=1)
    found = grid[np.stack(np.divmod(best, len(grid)), axis=-1)]
    matrix, target = pairs.per_shift.reshape(-1, 3), (found - pairs.nominal).reshape(-1)
    weight = np.ones_like(target)
    for _ in range(5):
        shift = np.linalg.lstsq(matrix * weight[:, None], target * weight, rcond=None)[0]
        # Weights of the sum of absolute deviations; nothing on the grid is known better than its step.
        weight = 1 / np.sqrt(np.maximum(np.abs(matrix @ shift - target), 0.25))
    return np.asarray(shift)


def _standard_error(fit: _Fit, n_spokes: int) -> float:
    """Root of the summed variances of Sx, Sy, Sxy; infinite where one of them is not determined.

    The pairs of a spoke share its noise, so that it is the spokes that count as independent and not the pairs: their
    scores' scatter, carried through the inverse of the Hessian.
    """
    values = np.linalg.eigvalsh(fit.hessian)
    if values[0] <= _DETERMINED * max(values[-1], n_spokes):  # of samples whose largest is 1
        return math.inf
    inverse = np.linalg.inv(fit.hessian)
    variance = inverse @ (fit.scores.T @ fit.scores) @ inverse * (n_spokes / (n_spokes - 3))
    return math.sqrt(float(np.trace(variance)))


def _around_the_centre(
    kspace: NDArray[np.complexfloating[Any, Any]], traj: NDArray[np.float64]
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64]]:
    """Samples (spokes, 2 _WINDOW + 1, coils), central positions and steps (spokes, 2)."""
    n_samples = traj.shape[1]
    centre = np.argmin(np.linalg.norm(traj, axis=-1), axis=1)
    if centre.min() < _WINDOW or centre.max() + _WINDOW >= n_samples:
        sides = f"{centre.min()} samples before the centre of k-space and {n_samples - 1 - centre.max()} after it"
        raise DataError(f"spokes with {sides}", f"at least {_WINDOW} to either side, to see where spokes cross")
    index = centre[:, None] + np.arange(-_WINDOW, _WINDOW + 1)
    near = np.take_along_axis(traj, index[..., None], axis=1)
    step = (near[:, -1] - near[:, 0]) / (2 * _WINDOW)
    straight = near[:, _WINDOW, None] + np.arange(-_WINDOW, _WINDOW + 1)[:, None] * step[:, None]
    if not np.abs(near - straight).max() <= 0.05 * np.linalg.norm(step, axis=-1).min():
        raise DataError("spokes that are curved or uneven near the centre of k-space", "straight and even ones")
    samples = np.take_along_axis(kspace, index[None], axis=2).transpose(1, 2, 0).astype(np.complex128)
    largest = np.abs(samples).max()
    if not largest > 0:
        raise DataError("samples that are all zero near the centre of k-space", "spokes of an object")
    samples /= largest
    return _strongest_coils(samples), near[:, _WINDOW], step


def _strongest_coils(samples: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """(.., coils) samples in the few virtual coils that hold most of their power."""
    if samples.shape[-1] <= _MOST_COILS:
        return samples
    flat = samples.reshape(-1, samples.shape[-1])
    vectors = np.linalg.eigh(flat.T @ flat.conj())[1]
    return np.asarray(samples @ vectors[:, -_MOST_COILS:].conj())


def _kernel(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinc under a Kaiser window at distances in samples."""
    inside = np.clip(1 - (apart / _HALF_WIDTH) ** 2, 0, None)
    return np.sinc(apart) * np.polynomial.polynomial.polyval(inside, _SERIES) * (inside > 0)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _check_trajectory(traj: NDArray[Any]) -> None:
    if traj.ndim != 3 or traj.shape[-1] != 2 or traj.shape[0] < 1 or traj.shape[1] < 2:
        raise DataError(f"a trajectory of shape {traj.shape}", "(spokes, samples, 2) with at least two samples")


def _check(kspace: NDArray[Any], traj: NDArray[Any]) -> None:
    _check_trajectory(traj)
    if kspace.ndim != 3 or kspace.shape[0] < 1 or kspace.shape[1:] != traj.shape[:2]:
        raise DataError(f"k-space of shape {kspace.shape} for a trajectory of {traj.shape}", "(coils, spokes, samples)")
    if not np.isfinite(kspace).all() or not np.isfinite(traj).all():
        raise DataError("k-space or a trajectory with NaN or infinity", "finite numbers")
