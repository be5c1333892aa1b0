"""All that was measured of a slice, in the forms that the offline methods use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.frames import FrameHistory, MeasuredFrame, check_signal


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
        return self.frames.right_sides(self.csm)

    @cached_property
    def strength(self) -> float:
        """Mean of the diagonal of the grams S^H F^H W F S: right / strength is the gridded image."""
        return self.frames.strength

    @cached_property
    def scale(self) -> float:
        """Maximum magnitude of the time-averaged gridded image: what images are divided by.

        Raises
        ------
        DataError
            If the data hold no signal.
        """
        largest = float(self.right.mean(0).abs().max())
        check_signal(largest, self.strength)
        return largest / self.strength

    def split(self, fraction: float, generator: torch.Generator) -> tuple[SliceData, tuple[FrameSamples, ...]]:
        """The data without a random ``fraction`` of all their spokes, at least one, and these spokes.

        Every frame keeps at least one. The spokes that are held out come as one entry a frame; those of most frames
        are without spokes where the fraction is less than one of each.

        Raises
        ------
        DataError
            If there are no samples, or the frames have too few spokes.
        """
        if len(self.samples) != len(self.frames):
            raise DataError(f"samples of {len(self.samples)} frames of {len(self.frames)}", "samples of every frame")
        counts = [traj.shape[0] for _, traj in self.samples]
        total = sum(counts)
        wanted = max(1, round(fraction * total))
        if wanted > total - len(counts):
            raise DataError(
                f"{wanted} of {total} spokes in {len(counts)} frames to hold out",
                "a spoke left in every frame",
                "use longer frames or hold out fewer",
            )
        held: list[list[int]] = [[] for _ in counts]
        owners = [(frame, spoke) for frame, n in enumerate(counts) for spoke in range(n)]
        for i in torch.randperm(total, generator=generator).tolist():
            frame, spoke = owners[i]
            if wanted > 0 and len(held[frame]) < counts[frame] - 1:
                held[frame].append(spoke)
                wanted -= 1
        return self._without(held), tuple(
            FrameSamples(kspace[:, sorted(out)], traj[sorted(out)])
            for (kspace, traj), out in zip(self.samples, held, strict=True)
        )

    def _without(self, held: list[list[int]]) -> SliceData:
        """The data without these spokes of each frame; frames that lose none are not gridded again."""
        frames, kept = FrameHistory(self.frames.limit), []
        for frame, samples, out in zip(self.frames, self.samples, held, strict=True):
            if not out:
                frames.append(frame)
                kept.append(samples)
                continue
            rest = [spoke for spoke in range(samples.traj.shape[0]) if spoke not in out]
            kept.append(FrameSamples(samples.kspace[:, rest], samples.traj[rest]))
            frames.append(MeasuredFrame.from_samples(frame.index, *kept[-1], self.shape, self.ramp_exponent))
        return SliceData(self.shape, self.csm, frames, tuple(kept), self.ramp_exponent)
