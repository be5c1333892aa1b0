"""All that was measured of a slice, in the forms that the offline methods use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.frames import FrameHistory, MeasuredFrame


class FrameSamples(NamedTuple):
    """A frame's samples after coil compression.

    Attributes
    ----------
    kspace : (coils, spokes, samples) complex64
    traj : (spokes, samples, 2) float32
        (kx, ky) in cycles per pixel.
    """

    kspace: Tensor
    traj: Tensor


@dataclass(frozen=True)
class SliceData:
    """The frames of a slice, and the receive maps that their images are combined by.

    Positions count from 0, the oldest frame that is kept. Images are in units of ``scale`` wherever a network makes
    them: divide what comes from the data by it, multiply what leaves.

    Attributes
    ----------
    shape
        (ny, nx) of the images.
    csm : (coils, ny, nx) complex64
        Receive maps of unit root-sum-of-squares.
    frames
        Gridded.
    samples
        As measured; empty for methods that asked for gridded data only.
    ramp_exponent
        Power of the ramp in the weights of the gridded frames.
    """

    shape: tuple[int, int]
    csm: Tensor
    frames: FrameHistory
    samples: tuple[FrameSamples, ...] = ()
    ramp_exponent: float = 1.0

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.csm.device

    @cached_property
    def right(self) -> Tensor:
        """(frames, ny, nx): S^H F^H W y of every frame, in the data's units."""
        return torch.stack([frame.right_side(self.csm) for frame in self.frames])

    @cached_property
    def strength(self) -> float:
        """Mean of the diagonal of the grams S^H F^H W F S: right / strength is the gridded image."""
        return sum(frame.strength for frame in self.frames) / len(self.frames)

    @cached_property
    def scale(self) -> float:
        """Maximum magnitude of the time-averaged gridded image: what images are divided by.

        Raises
        ------
        DataError
            If the data hold no signal.
        """
        largest = float(self.right.mean(0).abs().max())
        if not (math.isfinite(largest) and largest > 0 and self.strength > 0):
            raise DataError(
                f"gridded images of maximum {largest:g} from data of weight {self.strength:g}",
                "a signal",
                "check the receivers",
            )
        return largest / self.strength

    def split(self, fraction: float, generator: torch.Generator) -> tuple[SliceData, SliceData]:
        """Two parts: without and with a random ``fraction`` of each frame's spokes, at least one.

        Raises
        ------
        DataError
            If there are no samples, or a frame has too few spokes to leave any.
        """
        if len(self.samples) != len(self.frames):
            raise DataError(f"samples of {len(self.samples)} frames of {len(self.frames)}", "samples of every frame")
        parts: tuple[list[FrameSamples], list[FrameSamples]] = ([], [])
        for kspace, traj in self.samples:
            n_spokes = traj.shape[0]
            held = max(1, round(fraction * n_spokes))
            if held >= n_spokes:
                raise DataError(
                    f"{held} of {n_spokes} spokes of a frame to hold out", "some to train on", "use longer frames"
                )
            order = torch.randperm(n_spokes, generator=generator).to(traj.device)
            for part, chosen in zip(parts, (order[held:].sort().values, order[:held]), strict=True):
                part.append(FrameSamples(kspace[:, chosen], traj[chosen]))
        kept, held_out = (self._of(part) for part in parts)
        return kept, held_out

    def _of(self, samples: list[FrameSamples]) -> SliceData:
        frames = FrameHistory(max(2, len(samples)))
        for i, (kspace, traj) in enumerate(samples):
            index = self.frames.first + i
            frames.append(MeasuredFrame.from_samples(index, kspace, traj, self.shape, self.ramp_exponent))
        return SliceData(self.shape, self.csm, frames, tuple(samples), self.ramp_exponent)
