"""Receiver noise: its covariance from a noise scan, and the matrix that makes the coils' noise white.

After whitening the noise of every coil has unit variance (real and imaginary part together) and none of it is shared.
NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError

MOST_COILS = 1024  # that ISMRMRD has room for; their covariance takes 16 MiB
_SMALLEST_EIGENVALUE = 1e-10  # of the largest; below it a coil is dead, or a sum of others


class NoiseCovariance:
    """Covariance of the coils' noise, gathered readout by readout: its size does not grow with the noise scan.

    Parameters
    ----------
    n_coils
        Coils of the noise scan.

    Raises
    ------
    DataError
        If there are more than :data:`MOST_COILS`.
    """

    def __init__(self, n_coils: int) -> None:
        if n_coils > MOST_COILS:
            raise DataError(f"a noise scan of {n_coils} coils", f"at most {MOST_COILS}", "look at the sender")
        self._sum = np.zeros((n_coils, n_coils), np.complex128)
        self.n_samples = 0

    @property
    def n_coils(self) -> int:
        """Coils of the noise scan."""
        return self._sum.shape[0]

    def add(self, noise: NDArray[np.complexfloating[Any, Any]]) -> None:
        """Add one noise readout, (coils, samples)."""
        if noise.ndim != 2 or noise.shape[0] != self.n_coils:
            raise DataError(f"a noise readout of shape {noise.shape}", f"({self.n_coils} coils, samples)")
        samples = noise.astype(np.complex128)
        self._sum += samples @ samples.conj().T
        self.n_samples += noise.shape[1]

    def matrix(self, dwell_ratio: float = 1.0, bandwidth: float = 1.0) -> NDArray[np.complex128]:
        """(coils, coils) covariance E[n n^H] of the noise in the imaging data.

        Parameters
        ----------
        dwell_ratio
            Dwell time of the imaging readouts over that of the noise readouts: the variance falls with it.
        bandwidth
            Relative receiver noise bandwidth: what part of its nominal band the noise readout saw (0.79 is common).
            Kellman and McVeigh, doi 10.1002/mrm.20713.

        Raises
        ------
        DataError
            If there were fewer noise samples than coils, or a factor is not positive.
        """
        if self.n_samples < self.n_coils:
            raise DataError(
                f"a noise scan of {self.n_samples} samples for {self.n_coils} coils",
                f"at least {self.n_coils} samples",
                "acquire a longer noise scan, or switch whitening off",
            )
        if not (dwell_ratio > 0 and bandwidth > 0):
            raise DataError(f"dwell time ratio {dwell_ratio:g}, noise bandwidth {bandwidth:g}", "positive numbers")
        return np.asarray(self._sum / (self.n_samples * dwell_ratio * bandwidth), dtype=np.complex128)


def is_white(covariance: NDArray[np.complexfloating[Any, Any]], tolerance: float = 0.1) -> bool:
    """Whether the noise is white already, so that whitening it again would do nothing but harm.

    Two conventions are in use: unit variance of a complex sample, and unit variance of its real and of its imaginary
    part (covariance 2): the covariance may be within ``tolerance`` of either, element by element.
    """
    identity = np.eye(covariance.shape[0])
    return any(bool(np.abs(covariance / unit - identity).max() <= tolerance) for unit in (1.0, 2.0))


def prewhitening_matrix(covariance: NDArray[np.complexfloating[Any, Any]]) -> NDArray[np.complex64]:
    """(coils, coils) W with W C W^H = 1: the inverse of the lower Cholesky factor of the covariance C.

    Raises
    ------
    DataError
        If the covariance is not finite or is singular: a coil that is dead, or a sum of others.
    """
    n_coils = covariance.shape[0]
    if not np.isfinite(covariance).all():
        raise DataError(f"the noise covariance of {n_coils} coils is not finite", "finite noise readouts")
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues[0] > _SMALLEST_EIGENVALUE * eigenvalues[-1]:
        quiet = int(np.argmin(np.real(np.diag(covariance))))
        raise DataError(
            f"the noise covariance of {n_coils} coils is singular"
            f" (eigenvalues {eigenvalues[0]:.1e} to {eigenvalues[-1]:.1e})",
            "independent noise in every coil",
            f"look at coil {quiet}, the quietest, or switch whitening off",
        )
    factor = np.linalg.cholesky(covariance.astype(np.complex128))
    return np.asarray(np.linalg.inv(factor), dtype=np.complex64)


def whiten(kspace: NDArray[np.complex64], matrix: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Apply a prewhitening matrix to k-space of any shape (coils, ...).

    Raises
    ------
    DataError
        If the number of coils differs.
    """
    if kspace.shape[0] != matrix.shape[1]:
        raise DataError(f"k-space of {kspace.shape[0]} coils", f"{matrix.shape[1]} coils, as in the noise scan")
    white = matrix @ kspace.reshape(kspace.shape[0], -1)
    return np.asarray(white, dtype=np.complex64).reshape(kspace.shape)
