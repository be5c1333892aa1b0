"""The frames that a scan begins with: what they measured counts for the next ones, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from inr_core.inner_products import energy, inner
from inr_core.solvers.change_solver import Outlook, outlook
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames

_TRUST = 0.2  # weight of the frame before's data, relative to a frame's own
_OLDER = 0.85  # of it, that each frame before that one has
_CONTRADICTION = 0.1  # of what the past asks for, that a frame asks for the opposite of: the past is out of date
_LEAST = 0.005  # weight of no consequence
_TINY = 1e-30


class Beginning:
    """The data of a scan's first frames, as one frame that the next ones are solved with.

    The first image is that of a few spokes and full of streaks, and each frame after it makes it better by what its own
    spokes say. As long as these errors are larger than what moves, the past data, taken as those of a scene at rest,
    say more of them than they get wrong: what they miss of a prediction is what the next frame misses, too. Once things
    move the two contradict each other, and the past counts no more. Its data are more terms of a frame's sums, so that
    all it costs is one product on a few coils, and a sum.

    Measured on a real cine, third to ninth frame: 1.0 to 1.5 dB at 5 spokes, 0.5 to 2.0 at 13, 0 to 1.0 at 21; where
    the heart contracts in just these frames 0 to 0.8 at 5; of a scene at rest up to 5. Were the contradiction not
    noticed, a phantom that moves at once would lose up to 9.

    Parameters
    ----------
    first
        The first frame.
    """

    def __init__(self, first: MeasuredFrame) -> None:
        self._past: MeasuredFrame = first

    def append(self, frames: Sequence[MeasuredFrame]) -> None:
        """Take frames that follow, in order."""
        for frame in frames:
            self._past = JointFrames.of([frame]).with_past(self._past, _OLDER)

    def seen(self, alone: Outlook) -> Outlook | None:
        """What the past and the next frame, or joint frames, say of a prediction together.

        Parameters
        ----------
        alone
            What the frame says of it by itself.

        Returns
        -------
        None where the past counts no more: it is over for good.
        """
        past = outlook(self._past, alone.csm, alone.prediction, alone.scale)
        weight = _TRUST * _agreement(alone, past)
        if weight < _LEAST:
            return None
        joint = alone.frame if isinstance(alone.frame, JointFrames) else JointFrames.of([alone.frame])
        return replace(
            alone,
            frame=joint.with_past(self._past, weight),
            right=torch.add(alone.right, past.right, alpha=weight),
            missing=torch.add(alone.missing, past.missing, alpha=weight),
            noise=alone.noise + weight**2 * past.noise,
        )


def _agreement(alone: Outlook, past: Outlook) -> float:
    """From 1, where a frame does not object to what the past asks for, to 0, where they contradict each other.

    While the prediction's own errors are large the frame asks for much of the same; where things go on moving, for the
    opposite.
    """
    confirmed = float(inner(past.missing, alone.missing)) * past.frame.strength
    asked = float(energy(past.missing)) * alone.frame.strength
    return min(1.0, max(0.0, 1 + confirmed / (_CONTRADICTION * max(asked, _TINY))))
