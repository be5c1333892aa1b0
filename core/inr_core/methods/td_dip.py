"""TD-DIP: a convolutional network driven by a helix in time, fitted to the measured samples."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.fields.dip_field import DipField
from inr_core.fields.rendering import render_in_parts
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.td_dip import TdDipParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import NufftTerm, ToeplitzL2, l2
from inr_core.solvers.held_out import HeldOut, samples_of_images
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import cosine, halved, train

_CHUNK_PIXELS = 1 << 17  # rendered at once


class TdDipMethod(OfflineMethod):
    """Time-dependent deep image prior (TD-DIP; Yoo et al., doi 10.1109/TMI.2021.3084288).

    The network is the only prior: convolutions of few channels make natural images sooner than noise, and frames that
    are neighbours on the helix resemble each other.

    State: that of :class:`OfflineMethod`; the network exists while it is trained.
    """

    keeps_samples = True

    def __init__(self, shape: tuple[int, int], parameters: TdDipParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Train the network on random frames, and render them all."""
        p, n_frames = self.parameters, len(data)
        generator = torch.Generator().manual_seed(p.seed)
        field = make_field(data.shape, n_frames, p).to(data.device)
        at_once = min(p.frames_per_step, n_frames)
        stop: HeldOut | None = None
        if p.held_out > 0:
            data, held = data.split(p.held_out, generator)
            stop = HeldOut(
                held,
                samples_of_images(field, data),
                field.parameters(),
                every=max(1, round(n_frames / at_once)),
                patience=p.patience,
            )
        fit = ToeplitzL2(data) if p.data_term == "weighted_l2" else NufftTerm(data, l2, ramp_backward=True)

        def losses(step: int) -> dict[str, Tensor]:
            positions = torch.randperm(n_frames, generator=generator)[:at_once]
            return {"data consistency": fit(field(positions), positions)}

        training = train(
            losses,
            torch.optim.Adam(field.parameters(), p.learning_rate, (0.9, p.beta2), fused=True),
            p.training_steps,
            control,
            rate=cosine() if p.schedule == "cosine" else halved(0.2, 0.4, 0.6, 0.8),
            after_step=stop or (lambda steps: False),
        )
        if stop:
            stop.restore()
        images = _render(field, n_frames) * data.scale
        return RefinedSeries(data.frames.first, images, training.steps, failure=training.failure)


def make_field(shape: tuple[int, int], n_frames: int, parameters: TdDipParameters) -> DipField:
    """The network of the parameters, for ``n_frames`` images of (ny, nx) pixels."""
    p = parameters
    return DipField(shape, n_frames, cycles=p.cycles, channels=p.channels, n_upsamplings=p.upsamplings, seed=p.seed)


def _render(field: DipField, n_frames: int) -> Tensor:
    return render_in_parts(field, torch.arange(n_frames), field.shape, _CHUNK_PIXELS)
