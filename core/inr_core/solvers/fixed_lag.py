"""The last frames of a running scan, improved by what came after them."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from inr_core.coils import recombine
from inr_core.solvers.control import Control
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.two_sided import TwoSidedSolver


class FixedLag:
    """Images of the last frames, solved again and again as others come after them: a fixed-lag smoother.

    After frame t frame t - 1 is solved between its neighbours' images, then t - 2 between better ones, and so on to
    t - d, which has been solved d times by then. The image on its one side has been solved as often as it will be, and
    that on its other side once less.

    State: the data of d + 1 frames, and an image of each, twice.

    Parameters
    ----------
    delay
        d, at least 1.
    solver
        Solves a frame between two others.
    """

    def __init__(self, delay: int, solver: TwoSidedSolver) -> None:
        self.delay = delay
        self._solver = solver
        self._frames: deque[MeasuredFrame] = deque(maxlen=delay + 1)  # the newest first, as in the lists
        self._images: list[Tensor] = []
        self._times: list[int] = []
        self._earlier: list[Tensor] = []  # what the images were when the frame before was the newest

    def append(self, frame: MeasuredFrame, image: Tensor) -> None:
        """Take the newest frame and its live image, (ny, nx)."""
        self._frames.appendleft(frame)
        self._earlier = self._images
        self._images = [image, *self._earlier[: self.delay]]
        self._times = [0, *self._times[: self.delay]]

    def maps_changed(self, before: Tensor, after: Tensor) -> None:
        """Receive maps (coils, ny, nx) were replaced."""
        self._images = [recombine(image, before, after) for image in self._images]
        self._earlier = [recombine(image, before, after) for image in self._earlier]

    def improve(self, csm: Tensor, control: Control) -> bool:
        """Solve the frames before the newest, each once.

        Parameters
        ----------
        csm : (coils, ny, nx)
            Receive maps.
        control
            Asked before each frame; told of each.

        Returns
        -------
        Whether there was time for one. The first frame of a scan, with none before it, stays as it is.
        """
        if not self._images or control.stopped():
            return False
        for back in range(1, len(self._images)):
            if back < len(self._earlier):
                before, after = self._earlier[back], self._images[back - 1]
                self._images[back] = self._solver(self._frames[back], csm, before, after)
                self._times[back] += 1
                control.progress(control.part(back, self.delay))
                if control.stopped():
                    break
        return True

    def image(self, back: int) -> Tensor:
        """(ny, nx): the image of the frame that is ``back`` before the newest."""
        return self._images[back]

    def times(self, back: int) -> int:
        """How often that one was solved again."""
        return self._times[back]
