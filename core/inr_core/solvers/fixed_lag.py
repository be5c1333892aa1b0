"""The last frames of a running scan, improved by what came after them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from inr_core.coils import recombine
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.temporal_tv_cg import GraspObjective, minimise

_BEFORE = 1  # frames before the delayed one that are solved with it, so that it has neighbours on both sides
_ITERATIONS = 3
_TEMPORAL, _SPATIAL, _PULL, _NOISE = 0.01, 0.001, 0.4, 1.25  # of the objective, relative as there
_SETTLED = 8  # iterations after which GraspObjective's corners are as sharp as images that are good already want them


class FixedLag:
    """Images of the last frames, solved together after each new one: a fixed-lag smoother.

    The frames t - d - 1 .. t minimise :class:`GraspObjective`, with total variation along time and in the plane and a
    pull towards the live images, by a few iterations that begin where those after the frame before ended. Frame t - d
    has then been solved d + 1 times, with d frames after it and one before.

    State: d + 2 images, twice.

    Parameters
    ----------
    delay
        d, at least 1.

    Attributes
    ----------
    window
        Frames that are solved together.
    """

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.window = delay + _BEFORE + 1
        self._images: deque[Tensor] = deque(maxlen=self.window)
        self._live: deque[Tensor] = deque(maxlen=self.window)

    def append(self, image: Tensor) -> None:
        """Take the newest frame's live image, (ny, nx)."""
        self._images.append(image)
        self._live.append(image)

    def maps_changed(self, before: Tensor, after: Tensor) -> None:
        """Receive maps (coils, ny, nx) were replaced."""
        for images in (self._images, self._live):
            for i, image in enumerate(images):
                images[i] = recombine(image, before, after)

    def improve(self, frames: Sequence[MeasuredFrame], csm: Tensor, control: Control) -> bool:
        """Solve the last frames together.

        Parameters
        ----------
        frames
            Measured, the newest last; those of the images at least.
        csm : (coils, ny, nx)
            Receive maps; of as many of the frames' first virtual coils as are used.
        control
            Asked before each iteration; told of each.

        Returns
        -------
        Whether there was time for an iteration. A single frame, which has nothing to be solved with, stays as it is.
        """
        n = len(self._images)
        if n < 1 or control.stopped():
            return False
        if n == 1:
            return True
        window = FrameHistory(n)
        for frame in frames[-n:]:
            window.append(frame)
        centre = torch.stack(list(self._live))
        objective = GraspObjective(
            window, csm, _TEMPORAL, _PULL, spatial_weight=_SPATIAL, noise_weight=_NOISE, centre=centre
        )
        better = torch.stack(list(self._images))
        for number, series in enumerate(minimise(objective, better, _ITERATIONS, _SETTLED), start=1):
            better = series
            control.progress(control.part(number, _ITERATIONS))
            if control.stopped():
                break
        for i, image in enumerate(better):
            self._images[i] = image.clone()  # a view would keep all of them
        return True

    def image(self, back: int) -> Tensor:
        """(ny, nx): the image of the frame that is ``back`` before the newest."""
        return self._images[-1 - back]
