"""Frames that are solved together, for want of time for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.frames import MeasuredFrame


@dataclass
class JointFrames(MeasuredFrame):
    """Frames whose images change evenly, x_i = p + a_i c with a_i = i / m for i = 1 .. m, as one frame of change c.

    What the data of all say of c, given the prediction p, is

        sum a_i (b_i - G_i p) - (sum a_i^2 G_i) c

    so that the work on them is that on a single frame, the last one, whose image is p + c.

    Attributes
    ----------
    coil_images
        sum a_i of the frames'.
    kernel
        sum a_i^2 of theirs, what c meets; strength, noise and spokes likewise.
    prediction_kernel : (1, 4, ny, nx)
        sum a_i of theirs, what p meets.
    parts
        The frames, in order.
    """

    prediction_kernel: Tensor | None = None
    parts: tuple[MeasuredFrame, ...] = ()

    @classmethod
    def of(cls, frames: Sequence[MeasuredFrame]) -> JointFrames:
        """Join frames that follow one another."""
        pairs = list(zip(_shares(len(frames)), frames, strict=True))
        return cls(
            index=frames[-1].index,
            coil_images=sum(a * frame.coil_images for a, frame in pairs),  # type: ignore[arg-type]
            kernel=sum(a * a * frame.kernel for a, frame in pairs),  # type: ignore[arg-type]
            n_spokes=max(1, round(sum(a * a * frame.n_spokes for a, frame in pairs))),
            strength=sum(a * a * frame.strength for a, frame in pairs),
            noise=sum(a * a * frame.noise for a, frame in pairs),
            prediction_kernel=sum(a * frame.kernel for a, frame in pairs),  # type: ignore[arg-type]
            parts=tuple(frames),
        )

    def gram(self, csm: Tensor) -> ToeplitzGram:
        """What a prediction meets."""
        if self.prediction_kernel is None:
            raise RuntimeError("joint frames are made by JointFrames.of")
        return ToeplitzGram(self.prediction_kernel, csm)

    def images(self, prediction: Tensor, last: Tensor) -> list[Tensor]:
        """Those of all frames, (ny, nx), given the prediction of them and the image of the last."""
        change = last - prediction
        return [torch.add(prediction, change, alpha=a) for a in _shares(len(self.parts))]


def _shares(n: int) -> list[float]:
    """a_i of n frames."""
    return [i / n for i in range(1, n + 1)]
