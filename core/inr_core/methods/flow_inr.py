"""The flow-guided INR: one field for the images and one for their motion, coupled by the optical flow equation."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.fields.grid_field import LEVELS, Level
from inr_core.fields.series_field import SeriesField
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.flow_inr import FlowInrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import ToeplitzL2
from inr_core.solvers.draft import grasp_draft
from inr_core.solvers.optical_flow import flow_penalty, from_the_first_frame
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import Training, cosine, random_window, train
from inr_core.solvers.variation import flow_variation

_DRAFT_PART = 0.15  # of the time
_ENOUGH_PASSES = 20  # over all frames; fields that were trained less are not better than the draft
_DRAFT_REMARK = (
    "the fields had no time to become better than their draft: the refined series is GRASP's, without motion"
)


class FlowInrMethod(OfflineMethod):
    """Images x and their flow (u, v) trained together (arXiv 2511.16948), images in units of the data's scale:

        L2 data consistency  +  flow_weight |x_{t+1} - x_t + u d_x m + v d_y m|  +  flow_tv TV(u, v)
                             +  draft_weight / 2 |x - d|^2

    m the mean of two neighbouring frames, d GRASP's series of the same data. All terms are means over frames and
    pixels. Until the flow starts u = v = 0, and the second term is the total variation along time.

    State: that of :class:`OfflineMethod`; the fields exist while they are trained.
    """

    def __init__(self, shape: tuple[int, int], parameters: FlowInrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """GRASP, then both fields on windows of frames.

        Where the fields had no time to become better than the draft, the draft is the series, and its remark says so.
        """
        p = self.parameters
        draft = None
        if p.draft_weight > 0 and len(data) > 1:
            draft = grasp_draft(data, p.draft_iterations, control.within(0.0, _DRAFT_PART))
        image, flow = self.fields(data.shape, len(data))
        image, flow = image.to(data.device), flow.to(data.device)
        training = self._train(image, flow, data, draft, control.within(_DRAFT_PART if draft is not None else 0.0, 1.0))
        passes = training.steps * self._window(data) / len(data)
        if draft is not None and (control.stopped() or passes < min(_ENOUGH_PASSES, 0.9 * p.passes)):
            failure = training.failure or self.query.failure_of_draft()
            images = draft * data.scale
            return RefinedSeries(data.frames.first, images, training.steps + 1, _DRAFT_REMARK, failure=failure)
        images = image.render(self.query.times(len(data)), self.query.shape(data.shape)) * data.scale
        return RefinedSeries(
            data.frames.first,
            images,
            training.steps,
            query=self.query,
            flow=self._motion(flow),
            failure=training.failure,
        )

    def fields(self, shape: tuple[int, int], n_frames: int) -> tuple[SeriesField, SeriesField]:
        """Of the images and of the flow, untrained."""
        p = self.parameters
        image = SeriesField(shape, n_frames, LEVELS, p.features, p.hidden, p.layers, seed=p.seed)
        levels = flow_levels(p.flow_pixels, p.flow_frames)
        flow = SeriesField(shape, n_frames, levels, p.flow_features, p.flow_hidden, p.flow_layers, seed=p.seed + 1)
        return image, flow

    def _window(self, data: SliceData) -> int:
        return min(self.parameters.window or len(data), len(data))

    def _train(
        self, image: SeriesField, flow: SeriesField, data: SliceData, draft: Tensor | None, control: Control
    ) -> Training:
        p, window = self.parameters, self._window(data)
        steps = round(p.passes * len(data) / window)
        fit, generator = ToeplitzL2(data), torch.Generator().manual_seed(p.seed)
        still = torch.zeros(window - 1, 2, *data.shape, device=data.device)

        def losses(step: int) -> dict[str, Tensor]:
            positions = random_window(len(data), window, generator)
            x = image.images(positions.float())
            terms = {"data consistency": fit(x, positions)}
            if draft is not None:
                terms["draft"] = 0.5 * p.draft_weight * (x - draft[positions]).abs().square().mean()
            if window < 2 or p.flow_weight == 0:
                return terms
            moves = control.part(step, steps) >= p.flow_start
            motion = flow.flow(positions[:-1] + 0.5) if moves else still
            terms["optical flow" if moves else "total variation"] = p.flow_weight * flow_penalty(x, motion) / x.numel()
            if moves:
                terms["flow variation"] = p.flow_tv * flow_variation(motion) / x.numel()
            return terms

        weights = [*image.parameters(), *flow.parameters()]
        optimiser = torch.optim.Adam(weights, p.learning_rate, (0.9, 0.99), fused=True)
        return train(losses, optimiser, steps, control, rate=cosine())

    @torch.no_grad()
    def _motion(self, flow: SeriesField) -> Tensor | None:
        """(frames - 1, 2, ny, nx) from each frame to the next; None where none was sought."""
        if flow.n_frames < 2 or self.parameters.flow_weight == 0:
            return None
        return from_the_first_frame(flow.flow(torch.arange(flow.n_frames - 1) + 0.5))


def flow_levels(pixels: int, frames: int) -> tuple[Level, ...]:
    """The flow's resolutions, from coarse to cells of that many pixels and frames."""
    return Level(4 * pixels, 2 * frames), Level(2 * pixels, frames), Level(pixels, frames)
