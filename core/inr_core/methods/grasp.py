"""GRASP: all frames at once, with total variation along time."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.methods.live import RefinedSeries
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.control import Control
from inr_core.solvers.draft import grasp_objective
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.kept_images import KeptImages
from inr_core.solvers.temporal_tv_cg import minimise


class GraspMethod(PredictedCg):
    """Golden-angle radial sparse parallel MRI (GRASP; Feng et al., doi 10.1002/mrm.24980).

    Live images are those of :class:`PredictedCg`. The refined series minimises GRASP's objective over all frames
    that are kept, begun from the live images.

    State: that of :class:`PredictedCg`, and one image for each frame of its history.
    """

    def __init__(self, shape: tuple[int, int], parameters: GraspParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters
        self._images = KeptImages(parameters.history_frames)

    def _keep(self, frame: MeasuredFrame, image: Tensor, csm: Tensor) -> None:
        super()._keep(frame, image, csm)
        self._images.append(image)

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:
        super()._maps_changed(before, after)
        self._images.maps_changed(before, after)

    def refine(self, control: Control | None = None) -> RefinedSeries | None:
        """GRASP of all frames that are kept; None for a single frame, which has no variation along time.

        A time limit or a stop leaves the images as good as they have become by then.
        """
        self._finish()
        if self.calibration.csm is None or len(self.history) < 2:
            return None
        return self._grasp(self.history, self.calibration.csm, control or Control())

    @torch.no_grad()
    def _grasp(self, history: FrameHistory, csm: Tensor, control: Control) -> RefinedSeries:
        """GRASP of these frames, begun from the live images of all that are kept."""
        total = self.parameters.grasp_iterations
        steps, images = 0, self._images.stack()
        objective = grasp_objective(history, csm, self.parameters)
        if control.stopped() or control.limit_s <= 0:
            return RefinedSeries(history.first, images, 0)
        for better in minimise(objective, images, total):
            images, steps = better, steps + 1
            part = control.part(steps, total)
            control.progress(part)
            if part >= 1 or control.stopped():
                break
        self.steps += steps
        return RefinedSeries(history.first, images, steps)
