"""Whitening of the coils from the scan's own noise readouts: once, and visibly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.noise import NoiseCovariance, is_white, prewhitening_matrix, whiten

_SMALLEST_RATIO = 1e-3  # of two dwell times of one receiver


class Whitener:
    """Gathers the noise scan, then whitens the imaging data.

    Attributes
    ----------
    n_readouts
        Noise readouts so far.
    text
        What was decided, in words; empty before :meth:`settle`.
    """

    def __init__(self, enabled: bool, noise_bandwidth: float) -> None:
        self.enabled = enabled
        self.noise_bandwidth = noise_bandwidth
        self.n_readouts = 0
        self.text = ""
        self._covariance: NoiseCovariance | None = None
        self._dwell_us = 0.0
        self._matrix: NDArray[np.complex64] | None = None

    def add(self, acquisition: Any) -> None:
        """Add a noise readout; one of another number of coils starts the noise scan again."""
        data = acquisition.data
        self.n_readouts += 1
        if self._covariance is None or self._covariance.n_coils != data.shape[0]:
            self._covariance = NoiseCovariance(data.shape[0])
        self._covariance.add(data)
        self._dwell_us = float(acquisition.sample_time_us)

    def settle(self, acquisition: Any) -> None:
        """Decide at the first imaging readout what is to be done with the rest.

        Raises
        ------
        DataError
            If the noise scan cannot whiten: too short, or with a dead coil.
        """
        noise = f"{self.n_readouts} noise readout{'' if self.n_readouts == 1 else 's'}"
        if self._covariance is None:
            self.text = "no noise scan, coils not whitened"
            return
        n_coils = acquisition.data.shape[0]
        if not self.enabled:
            self.text = f"{noise} not used (whiten=off)"
        elif self._covariance.n_coils != n_coils:
            self.text = f"{noise} of {self._covariance.n_coils} coils, not {n_coils}: coils not whitened"
        else:
            imaging_us = float(acquisition.sample_time_us)
            dwell_ratio = imaging_us / self._dwell_us if self._dwell_us > 0 else 1.0
            if not _SMALLEST_RATIO <= dwell_ratio <= 1 / _SMALLEST_RATIO:  # one of them is not known
                dwell_ratio = 1.0
            covariance = self._covariance.matrix(dwell_ratio, self.noise_bandwidth)
            # Platforms that whiten do so to the noise scan itself or to the imaging bandwidth.
            if is_white(covariance) or is_white(self._covariance.matrix()):
                self.text = f"{noise}, coils white already"
            else:
                self._matrix = prewhitening_matrix(covariance)
                self.text = f"coils whitened from {noise}"
        self._covariance = None

    def apply(self, kspace: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Whiten (coils, ...) k-space if the noise scan asked for it."""
        return kspace if self._matrix is None else whiten(kspace, self._matrix)
