"""The gradient delays of a slice: estimated from its first spokes, then settled, and said once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_core.gradient_delays import MARGIN, GradientDelays, corrected, estimate_delays
from inr_gadgets.planes import Plane

# Settled is an estimate that is known to a hundredth of a sample, by enough spokes to trust in that, or one of so many
# spokes that more would bring little.
_KNOWN_ERROR, _KNOWN_SPOKES, _MOST_SPOKES = 0.01, 10, 34
_SAME_DIRECTION = 0.05  # rad by which a plane may turn: a twentieth of the delays' difference between axes


class SliceDelays:
    """Estimates the delays of one slice or stack, frame by frame until they are settled.

    It holds the middle of the first readouts until then, and nothing after that.

    Parameters
    ----------
    aspect
        Height of a pixel over its width.
    plane
        Where its spokes lie.

    Attributes
    ----------
    text
        What became of them, for the operator; empty until they are settled.
    """

    def __init__(self, aspect: float, plane: Plane) -> None:
        self.text = ""
        self._directions = np.array([plane.read_dir, plane.phase_dir])
        self._aspect = aspect
        self._delays = GradientDelays()
        self._kspace: list[NDArray[np.complex64]] = []
        self._traj: list[NDArray[np.float32]] = []
        self._middle: slice | None = None

    @property
    def applied(self) -> GradientDelays | None:
        """What trajectories are corrected by; None where there is nothing worth it."""
        return self._delays if self._delays.significant else None

    def turned(self, plane: Plane) -> bool:
        """Whether the axes of the gradients lie otherwise in this plane, so that its delays are to be found anew."""
        with np.errstate(invalid="ignore"):  # directions that are not finite count as unmoved
            turn = np.array([plane.read_dir, plane.phase_dir]) - self._directions
        return float(np.linalg.norm(turn, axis=1).max()) > _SAME_DIRECTION

    def add(self, kspace: NDArray[np.complex64], traj: NDArray[np.float32]) -> bool:
        """Use the spokes that a frame brought, if the delays are not settled yet; True if they are so by them.

        Parameters
        ----------
        kspace : (coils, spokes, samples)
        traj : (spokes, samples, 2) cycles per pixel, as it was meant to be
        """
        if self.text:
            return False
        if self._middle is None:  # of the first frame, for all: a later one may have a damaged trajectory
            centre = int(np.argmin(np.linalg.norm(traj[0], axis=-1)))
            self._middle = slice(max(0, centre - MARGIN), centre + MARGIN + 1)
        self._kspace.append(kspace[..., self._middle].copy())
        self._traj.append(traj[:, self._middle].copy())
        try:
            self._delays = estimate_delays(
                np.concatenate(self._kspace, axis=1), np.concatenate(self._traj), aspect=self._aspect
            )
        except DataError as error:
            self._settle(f"gradient delays not estimated: {error.arrived}")
            return True
        known = self._delays.n_spokes >= _KNOWN_SPOKES and self._delays.error <= _KNOWN_ERROR
        if known or self._delays.n_spokes >= _MOST_SPOKES:
            self.finish()
        return bool(self.text)

    def finish(self) -> None:
        """Settle for what is known."""
        if not self.text:
            self._settle(_described(self._delays))

    def corrected(self, traj: NDArray[np.float32]) -> NDArray[np.float32]:
        """(spokes, samples, 2): where the samples lie, by what is known so far."""
        return traj if self.applied is None else corrected(traj, self.applied)

    def _settle(self, text: str) -> None:
        self.text = text
        self._kspace.clear()
        self._traj.clear()


def _described(delays: GradientDelays) -> str:
    if delays.significant:
        return f"gradient delays corrected: {delays}, from {delays.n_spokes} spokes"
    if delays.credible:
        return f"no gradient delays worth a correction: {delays}, from {delays.n_spokes} spokes"
    if math.isfinite(delays.error):
        return f"gradient delays not corrected: spokes differ by {delays.residual:.0%} where they cross"
    return f"gradient delays not corrected: {delays.n_spokes} spokes do not tell them"
