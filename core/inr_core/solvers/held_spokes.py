"""Spokes that are kept as samples, to judge a training on gridded frames by what it has not seen."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from inr_core.operators.nufft import Nufft
from inr_core.operators.toeplitz import toeplitz_kernel
from inr_core.solvers.frames import FrameHistory, MeasuredFrame, density_weights
from inr_core.solvers.slice_data import FrameSamples

_EVERY = 4  # frames, of which one gives a spoke
_LEAST_SPOKES = 8  # of a frame that can do without one; with 5 it cost 0.3 dB
_LEAST_HELD = 3  # that say something


class _Held(NamedTuple):
    """A spoke: (coils, 1, samples), (1, samples, 2), its weights in its frame and the ramp, both (1, samples)."""

    frame: int
    samples: FrameSamples
    weights: Tensor
    ramp: Tensor
    n_spokes: int


class HeldSpokes:
    """The last spoke of each fourth frame.

    Frames that share spokes (a sliding window) have none to hold out: others would have been trained on them.

    State: one spoke of each fourth frame of the history.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    ramp_exponent
        As of the frames.
    limit
        Frames of the history.
    """

    def __init__(self, shape: tuple[int, int], ramp_exponent: float, limit: int) -> None:
        self._shape, self._exponent = shape, ramp_exponent
        self._held: deque[_Held] = deque(maxlen=-(-limit // _EVERY))
        self._overlap: bool | None = None

    def take(self, index: int, kspace: Tensor, traj: Tensor) -> None:
        """Look at a frame's samples, (coils, spokes, samples), and keep what is to be kept of them."""
        if self._overlap is None and self._held:
            kept = self._held[0].samples.kspace
            self._overlap = kept.shape[-1] == kspace.shape[-1] and bool((kspace == kept).all(dim=(0, 2)).any())
            if self._overlap:
                self._held.clear()
        if self._overlap or index % _EVERY != 1 or len(traj) < _LEAST_SPOKES:
            return
        samples = FrameSamples(kspace[:, -1:].clone(), traj[-1:].clone())
        weights, ramp = (density_weights(traj, self._shape, exponent)[-1:] for exponent in (self._exponent, 1.0))
        self._held.append(_Held(index, samples, weights.to(kspace.device), ramp.to(kspace.device), len(traj)))

    def of(self, history: FrameHistory) -> list[tuple[FrameSamples, Tensor]]:
        """Samples and ramp of each frame, empty where it has no such spoke; no frames if there are too few spokes."""
        held = {spoke.frame: spoke for spoke in self._held if spoke.frame >= history.first}
        if len(held) < _LEAST_HELD:
            return []
        some = next(iter(held.values()))
        nothing = FrameSamples(some.samples.kspace[:, :0], some.samples.traj[:0]), some.ramp[:0]
        return [
            (held[frame.index].samples, held[frame.index].ramp) if frame.index in held else nothing for frame in history
        ]

    def without(self, history: FrameHistory) -> FrameHistory:
        """The frames as they would be had these spokes not been measured: gridding is linear, so they are taken out."""
        held, frames = {spoke.frame: spoke for spoke in self._held}, FrameHistory(history.limit)
        for frame in history:
            frames.append(self._less(frame, held[frame.index]) if frame.index in held else frame)
        return frames

    def _less(self, frame: MeasuredFrame, spoke: _Held) -> MeasuredFrame:
        (kspace, traj), weights = spoke.samples, spoke.weights[None]
        adjoint = Nufft(traj[None], self._shape).adjoint(weights * kspace[None])[0]
        rest = spoke.n_spokes / (spoke.n_spokes - 1)  # each of the others stands for so much more of k-space
        strength = float(weights.double().sum()) / (self._shape[0] * self._shape[1])
        return replace(
            frame,
            coil_images=rest * (frame.coil_images - adjoint),
            kernel=rest * (frame.kernel - toeplitz_kernel(traj[None], weights, self._shape)),
            n_spokes=spoke.n_spokes - 1,
            strength=rest * (frame.strength - strength),
        )
