"""Live images: a prediction, and a few conjugate gradient iterations towards it."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from inr_core.coils import recombine
from inr_core.methods.live import LiveMethod, Solved
from inr_core.parameters.live import LiveParameters
from inr_core.solvers.beginning import Beginning
from inr_core.solvers.change_solver import Outlook
from inr_core.solvers.control import Control
from inr_core.solvers.effort import SPARSE
from inr_core.solvers.expectation import LOST, LOST_BETWEEN_SCANS, Expectation, residual
from inr_core.solvers.fixed_lag import FixedLag
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from inr_core.solvers.learnt import Learnt
from inr_core.solvers.live_solver import LiveSolver
from inr_core.solvers.single_frame import first_frame
from inr_core.solvers.two_sided import TwoSidedSolver

_LAST = 2  # frames that may be asked for again: the newest, and one that has waited for it
_LEAST_AHEAD = 12.0  # acceleration from which the next frame's data make an image better
_TELLING_COILS = 1  # strongest virtual coils by which a frame is judged that is not solved yet
_FEW_COILS = 4  # strongest virtual coils that the first image is made of; of few spokes those of a first part


class PredictedCg(LiveMethod):
    """The live image of a frame, given a prediction of it (:class:`LiveSolver`); by itself that is the frame before.

    A frame that the prediction explains far worse than those before (:class:`Expectation`) does not fit.

    State: the sums of the scan's first frames (:class:`~inr_core.solvers.beginning.Beginning`), until they are over;
    the last frames (``history``), one image, and the solver's: one variance map, one kernel; the last images for
    ``delay_frames``.
    """

    by_clock: ClassVar[bool] = True

    def __init__(self, shape: tuple[int, int], parameters: LiveParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self._live = parameters
        self.history = FrameHistory(parameters.history_frames)
        self.solver = LiveSolver(shape, parameters, device)
        self._previous: Tensor | None = None
        self._expectation = Expectation()
        self._outlook: Outlook | None = None
        self._lag = self.smoother(parameters.delay_frames) if parameters.delay_frames > 0 else None
        self._solved: deque[Solved] = deque(maxlen=_LAST)
        self._beginning: Beginning | None = None  # while it lasts
        self._next_delayed = 0  # index of the first frame that may still be sent again

    @property
    def kept_frames(self) -> int:
        """As many as the history holds."""
        return self.history.limit

    @property
    def delay_frames(self) -> int:
        """As many as were asked for."""
        return self._live.delay_frames

    def smoother(self, delay: int) -> FixedLag:
        """Of live images."""
        return FixedLag(delay, TwoSidedSolver(self.shape, self._live, self.device))

    def solved(self, back: int = 0) -> Solved:
        """As they were when they were solved."""
        return self._solved[-1 - back]

    def pause(self) -> None:
        """The image before is still the best prediction; where it was measured and how it moved no longer counts."""
        self.solver.forget()
        self._beginning = None

    def learnt(self) -> Learnt | None:
        """With the last image and what is usual of the predictions."""
        known, level = super().learnt(), self._expectation.level
        if known is None or level is None:
            return known  # an image without a measure of what may follow it would be trusted blindly
        return replace(known, image=self._previous, level=level)

    def resume(self, learnt: Learnt) -> None:
        """Go on as after a pause."""
        super().resume(learnt)
        if self._resumed is not None and self._resumed.image is not None:
            self._previous = self._resumed.image
            self._expectation = Expectation(learnt.level)
            self.pause()

    def _units(self, frame: MeasuredFrame, learnt: Learnt) -> complex:
        if learnt.image is None:
            return super()._units(frame, learnt)
        outlook, image = self.solver.look(frame, learnt.csm, learnt.image), learnt.image.flatten()
        fit = torch.vdot(image, outlook.right.flatten())
        return complex(fit / torch.vdot(image, (outlook.right - outlook.missing).flatten()).real)

    def _take_units(self, factor: complex) -> None:
        super()._take_units(factor)
        if self._previous is not None:
            self._previous = self._previous * abs(factor)

    def _as_expected(self, frame: MeasuredFrame) -> bool:
        csm, previous = self.calibration.csm, self._previous
        if csm is None or previous is None:
            return True
        if self._waiting:  # the image before this one is not there yet
            seen = self.solver.look(frame, csm[:_TELLING_COILS], previous)
        else:
            seen = self._outlook = self._look(frame, csm, previous)
        lost = LOST if len(self.history) else LOST_BETWEEN_SCANS
        return self._expectation.met(residual(seen.missing, seen.right), lost)

    def _look(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Outlook:
        """What is predicted of a frame; it is asked for twice, and made again only if the maps have changed."""
        if self._outlook is not None and self._outlook.frame is frame:
            return self._outlook
        return self.solver.look(frame, csm, self._predict(frame, csm, previous))

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        if self._previous is None:
            # A scan must not begin with a lag: of few spokes, which come fast, two coils cost the first image 0.4 dB.
            few = csm[: _FEW_COILS if frame.acceleration < SPARSE else self._live.quick_coils]
            image = first_frame(frame, few, self._live.start_iterations, self._live.start_weight)
            self.solver.first(frame)
            self._beginning = None if self.overlaps else Beginning(frame)
        else:
            outlook = self._with_past(self._look(frame, csm, self._previous))
            image = self.solver(outlook, csm, self.due - time.monotonic())
            if isinstance(frame, JointFrames):
                *waited, image = frame.images(outlook.prediction, image)
                for part, earlier in zip(frame.parts[:-1], waited, strict=True):
                    self._keep(part, earlier, csm)
                self._waited += waited
                frame = frame.parts[-1]
        self._keep(frame, image, csm)
        self._previous, self._outlook = image, None
        return image

    def rest(self) -> None:
        """Forget the beginning, too."""
        super().rest()
        self._beginning = None

    def _with_past(self, seen: Outlook) -> Outlook:
        """What a frame and the beginning of the scan, while it lasts, say of the frame's prediction."""
        if self._beginning is None:
            return seen
        joint = self._beginning.seen(seen)
        if joint is None:
            self._beginning = None
            return seen
        self._beginning.append(seen.frame.parts)
        return joint

    def _keep(self, frame: MeasuredFrame, image: Tensor, csm: Tensor) -> None:
        """Keep a frame and its image, (ny, nx)."""
        self.history.append(frame)
        self._solved.append(Solved(frame, image, csm))
        if self._lag is not None:
            self._lag.append(frame, image)

    @property
    def may_wait(self) -> bool:
        """After the second frame, on a CPU, and not where each is awaited once more."""
        return self._running and self.device.type == "cpu"

    def looks_ahead(self, n_spokes: int) -> bool:
        """After the second frame, of few spokes, and not where the next frame's data are known or used otherwise."""
        p, few = self._live, math.sqrt(math.prod(self.shape)) >= _LEAST_AHEAD * n_spokes
        return p.look_ahead and few and self._running and p.lag_frames == 0 and not self.overlaps

    @property
    def _running(self) -> bool:
        return self._previous is not None and self.n_frames > 1 and self._lag is None

    @torch.no_grad()
    def delayed(self, control: Control | None = None, *, ended: bool = False) -> list[tuple[int, Tensor]]:
        """The frame ``delay_frames`` before the newest, see :class:`FixedLag`; after the scan those after it, too."""
        super().settle()
        newest, csm = self.n_frames - 1, self.calibration.csm
        if self._lag is None or csm is None or newest < (0 if ended else self._lag.delay):
            return []
        if not self._lag.improve(csm, control or Control()):
            return []
        due = newest - self._lag.delay
        first = max(self._next_delayed, due)
        self._next_delayed = (newest if ended else due) + 1
        return [(i, self._lag.image(newest - i)) for i in range(first, self._next_delayed)]

    def _predict(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Tensor:
        """The prediction of a frame, (ny, nx), given the image of the frame before."""
        return previous

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:
        self._outlook = None
        if self._previous is not None:
            self._previous = recombine(self._previous, before, after)
        if self._lag is not None:
            self._lag.maps_changed(before, after)
