"""Live images: a prediction, and a few conjugate gradient iterations towards it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.coils import recombine
from inr_core.errors import ParameterError
from inr_core.methods.live import LiveMethod
from inr_core.parameters.live import LiveParameters
from inr_core.solvers.conjugate_gradient import CgPoint, continue_from
from inr_core.solvers.control import Control
from inr_core.solvers.expectation import LOST, LOST_BETWEEN_SCANS, Expectation, residual
from inr_core.solvers.fixed_lag import FixedLag
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.learnt import Learnt
from inr_core.solvers.motion_prior import MotionPrior
from inr_core.solvers.single_frame import first_frame

_FADE = 0.5  # of the history's k-space coverage from frame to frame: what moves is soon out of date
_AFTER_PAUSE = 2  # times the iterations of a frame that follows a pause


class _Outlook(NamedTuple):
    """A frame, its predicted image, b, and what the prediction leaves of it: b - G p; of the strongest coils."""

    frame: MeasuredFrame
    prediction: Tensor
    right: Tensor
    missing: Tensor


class PredictedCg(LiveMethod):
    """The live image of a frame, given a prediction of it; by itself the prediction is the frame before.

    The image of frame t is x = p + D z with

        z = argmin |W^1/2 (A_t (p + D z) - y)|^2 + h z^H D H_past D z + g lambda |z|^2

    where p is the prediction, D the expected deviation (:class:`MotionPrior`; half of the iterations run with what the
    last frames say, half with what the first half found), and H_past the fading sum of the last frames' grams: where
    they measured k-space, the prediction is known to be right. Everything in it costs one Toeplitz product an
    iteration.

    A frame that the prediction explains far worse than those before (:class:`Expectation`) does not fit. After a pause
    the motion may be anywhere: H_past is zero, D forgets what the last frames said, and the iterations are twice as
    many, which gave the first frame after half a heart beat 1.0 dB at 13 spokes and 0.4 dB at 5.

    State: the last frames (``history``), one image, one variance map, one kernel; the last images for ``delay_frames``.
    """

    def __init__(self, shape: tuple[int, int], parameters: LiveParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self._live = parameters
        self.history = FrameHistory(parameters.history_frames)
        self._prior = MotionPrior()
        self._previous: Tensor | None = None
        self._past_kernel: Tensor | None = None
        self._expectation = Expectation()
        self._outlook: _Outlook | None = None
        self._paused = False
        self._lag = FixedLag(parameters.delay_frames) if parameters.delay_frames > 0 else None
        if self._lag is not None and self._lag.window > parameters.history_frames:
            raise ParameterError(
                f"history_frames = {parameters.history_frames} with delay_frames = {parameters.delay_frames}",
                f"at least {self._lag.window} frames, which are solved together",
                "raise history_frames or lower delay_frames",
            )
        self._next_delayed = 0  # index of the first frame that may still be sent again

    @property
    def kept_frames(self) -> int:
        """As many as the history holds."""
        return self.history.limit

    @property
    def delay_frames(self) -> int:
        """As many as were asked for."""
        return self._live.delay_frames

    def pause(self) -> None:
        """The image before is still the best prediction; where it was measured and how it moved no longer counts."""
        self._paused = True

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
            ny, nx = self.shape
            self._past_kernel = torch.zeros(1, 2 * ny, 2 * nx, device=self.device)
            self._expectation = Expectation(learnt.level)
            self.pause()

    def _units(self, frame: MeasuredFrame, learnt: Learnt) -> complex:
        if learnt.image is None:
            return super()._units(frame, learnt)
        strong, maps = self._strongest(frame, learnt.csm)
        seen = strong.gram(maps).forward(learnt.image[None])[0]
        fit = torch.vdot(learnt.image.flatten(), strong.right_side(maps).flatten())
        return complex(fit / torch.vdot(learnt.image.flatten(), seen.flatten()).real)

    def _take_units(self, factor: complex) -> None:
        super()._take_units(factor)
        if self._previous is not None:
            self._previous = self._previous * abs(factor)

    def _as_expected(self, frame: MeasuredFrame) -> bool:
        csm, previous = self.calibration.csm, self._previous
        if csm is None or previous is None:
            return True
        self._outlook = self._look(frame, csm, previous)
        lost = LOST if len(self.history) else LOST_BETWEEN_SCANS
        return self._expectation.met(residual(self._outlook.missing, self._outlook.right), lost)

    def _look(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> _Outlook:
        """What is predicted of a frame; it is asked for twice, and made again only if the maps have changed."""
        if self._outlook is not None and self._outlook.frame is frame:
            return self._outlook
        strong, maps = self._strongest(frame, csm)
        prediction, right = self._predict(strong, maps, previous), strong.right_side(maps)
        return _Outlook(frame, prediction, right, right - strong.gram(maps).forward(prediction[None])[0])

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        strong, maps = self._strongest(frame, csm)
        if self._previous is None or self._past_kernel is None:
            image = first_frame(strong, maps, self._live.start_iterations, self._live.start_weight)
            self._past_kernel = frame.kernel.clone()
        else:
            _, prediction, _, missing = self._look(frame, csm, self._previous)
            if self._paused:
                self._prior, self._past_kernel = MotionPrior(), torch.zeros_like(self._past_kernel)
            image = self._towards(prediction, missing, strong, maps, self._past_kernel)
            self._prior.update(image - prediction)
            self._past_kernel = _FADE * self._past_kernel + frame.kernel
        self.history.append(frame)
        self._previous, self._outlook, self._paused = image, None, False
        if self._lag is not None:
            self._lag.append(image)
        return image

    @torch.no_grad()
    def delayed(self, control: Control | None = None, *, ended: bool = False) -> list[tuple[int, Tensor]]:
        """The frame ``delay_frames`` before the newest, see :class:`FixedLag`; when the scan has ended, those after it.

        Of the strongest virtual coils, as the live images.
        """
        super().settle()
        newest, csm = self.n_frames - 1, self.calibration.csm
        if self._lag is None or csm is None or newest < (0 if ended else self._lag.delay):
            return []
        if not self._lag.improve(list(self.history), csm[: self._live.live_coils], control or Control()):
            return []
        due = newest - self._lag.delay
        first = max(self._next_delayed, due)
        self._next_delayed = (newest if ended else due) + 1
        return [(i, self._lag.image(newest - i)) for i in range(first, self._next_delayed)]

    def _strongest(self, frame: MeasuredFrame, csm: Tensor) -> tuple[MeasuredFrame, Tensor]:
        """The frame and maps of the first virtual coils, which are the strongest: enough for a live image."""
        n = self._live.live_coils
        return replace(frame, coil_images=frame.coil_images[:n]), csm[:n]

    def _predict(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Tensor:
        """The prediction of a frame, (ny, nx), given the image of the frame before."""
        return previous

    def _towards(
        self, prediction: Tensor, missing: Tensor, frame: MeasuredFrame, csm: Tensor, past_kernel: Tensor
    ) -> Tensor:
        gram = frame.gram(csm)
        with_past = type(gram)(frame.kernel + self._live.history_weight * past_kernel, csm)
        weight = self._live.prior_weight * frame.strength

        def operator(deviation: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda z: deviation * with_past.forward((deviation * z)[None])[0] + weight * z

        # A lag is worked off by a few iterations less, of a tenth of a decibel each, until half of them are left.
        usual = self._live.iterations * (_AFTER_PAUSE if self._paused else 1)
        iterations = max(-(-usual // 2), usual - int(1.5 * self.behind))
        first = -(-iterations // 2)
        second = iterations - first
        deviation = self._prior.expected(prediction)
        start = CgPoint(torch.zeros_like(missing), deviation * missing)
        z, residual = continue_from(operator(deviation), start, first)
        change = deviation * z
        if second > 0:
            # What the gram makes of the change follows from the residual; the same change in the new variable.
            left = (residual + weight * z) / deviation
            deviation = self._prior.found(change, prediction)
            point = CgPoint(change / deviation, deviation * left - weight * change / deviation)
            change = deviation * continue_from(operator(deviation), point, second).solution
        return prediction + change

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:
        self._outlook = None
        if self._previous is not None:
            self._previous = recombine(self._previous, before, after)
        if self._lag is not None:
            self._lag.maps_changed(before, after)
