"""The project's own method: live images towards a field's prediction, and the field refined at the end."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.inr_trainer import InrTrainer
from inr_core.solvers.live import RefinedSeries
from inr_core.solvers.live_parameters import InrParameters
from inr_core.solvers.predicted_cg import PredictedCg


class InrMethod(PredictedCg):
    """A capped multi-resolution field that learns while the scan runs.

    It predicts the next frame as soon as it has been trained, and is trained on all frames at the end: its images are
    the refined series.
    """

    def __init__(self, shape: tuple[int, int], parameters: InrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters
        self.trainer: InrTrainer | None = None
        self._scale: Tensor | None = None  # maximum of the first image: one scale for the whole scan

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        image = super()._reconstruct(frame, csm)
        if self._scale is None:
            self._scale = image.abs().max()
        return image

    def settle(self) -> None:
        """Receive maps, and room for the frame in the field."""
        super().settle()
        if self._scale is None or len(self.history) == 0:
            return
        if self.trainer is None:
            strength = self.history[0].strength
            self.trainer = InrTrainer(self.shape, self.parameters, float(self._scale), strength, self.device)
        self.trainer.extend(self.n_frames, self.history)

    def _predict(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Tensor:
        """The frame before, and as much of the field's opinion as the new data confirm: an exact line search."""
        if self.trainer is None or self.trainer.live_steps == 0:
            return previous
        gram = frame.gram(csm)
        step = self.trainer.predict(frame.index - 1) - previous
        along = gram.forward(step[None])[0]
        slope = torch.vdot(step.flatten(), (frame.right_side(csm) - gram.forward(previous[None])[0]).flatten()).real
        curvature = torch.vdot(step.flatten(), along.flatten()).real
        part = (slope / curvature.clamp_min(torch.finfo(curvature.dtype).tiny)).clamp(0, 1)
        return previous + part * step

    def tune(self) -> bool:
        """One training step of the field."""
        self.settle()
        if self.trainer is None or self.calibration.csm is None or len(self.history) < 2:
            return False
        self.trainer.tune(self.history, self.calibration.csm)
        self.steps += 1
        return True

    def refine(
        self,
        limit_s: float = math.inf,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda part: None,
    ) -> RefinedSeries | None:
        """Train the field on all frames that are kept; its images are the refined series."""
        self.settle()
        if self.trainer is None or self.calibration.csm is None or len(self.history) < 2:
            return None
        steps = self.trainer.refine(
            self.history, self.calibration.csm, limit_s=limit_s, stopped=stopped, progress=progress
        )
        self.steps += steps
        return RefinedSeries(self.history.first, self.trainer.series(self.history), steps)
