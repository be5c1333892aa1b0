"""FMLP: a perceptron of Fourier features of space and time, fitted to the measured samples."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.fields.fourier_mlp import FourierMlp
from inr_core.fields.rendering import render_in_parts
from inr_core.losses import temporal_tv
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.fmlp import FmlpParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import NufftTerm, ToeplitzL2, l2
from inr_core.solvers.held_out import HeldOut, samples_of_images
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import cosine, random_window, train

_CHUNK_PIXELS = 1 << 16  # rendered at once


class FmlpMethod(OfflineMethod):
    """Fourier-feature perceptron (FMLP; Kunz et al., arXiv 2305.06822).

    The network is the only prior; spokes that it was not trained on can tell when it has learnt enough.
    """

    keeps_samples = True

    def __init__(self, shape: tuple[int, int], parameters: FmlpParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Train the network on windows of frames, and render it."""
        p, n_frames = self.parameters, len(data)
        generator = torch.Generator().manual_seed(p.seed)
        field = make_field(data.shape, p).to(data.device)
        window = min(p.window, n_frames)
        steps_of_pass = n_frames / window
        stop: HeldOut | None = None
        if p.held_out > 0:
            data, held = data.split(p.held_out, generator)
            predict = samples_of_images(field, data)
            stop = HeldOut(held, predict, field.parameters(), every=round(steps_of_pass), patience=p.patience)
        fit = ToeplitzL2(data) if p.data_term == "weighted_l2" else NufftTerm(data, l2)

        def losses(step: int) -> dict[str, Tensor]:
            positions = random_window(n_frames, window, generator)
            images = field(positions)
            terms = {"data consistency": fit(images, positions)}
            if p.temporal_tv > 0 and window > 1:
                terms["total variation"] = p.temporal_tv * temporal_tv(images) / images.numel()
            return terms

        training = train(
            losses,
            torch.optim.Adam(field.parameters(), p.learning_rate, fused=True),
            round(p.passes * steps_of_pass),
            control,
            rate=cosine(p.last_rate),
            after_step=stop or (lambda steps: False),
        )
        if stop:
            stop.restore()
        images = _render(field, self.query.times(n_frames), self.query.shape(data.shape)) * data.scale
        return RefinedSeries(data.frames.first, images, training.steps, query=self.query, failure=training.failure)


def make_field(shape: tuple[int, int], parameters: FmlpParameters) -> FourierMlp:
    """The network of the parameters, for images of (ny, nx) pixels."""
    p = parameters
    return FourierMlp(
        shape,
        space_features=p.space_features,
        time_features=p.time_features,
        space_frequency=p.space_frequency,
        time_frequency=p.time_frequency,
        width=p.hidden,
        n_hidden=p.layers,
        seed=p.seed,
    )


def _render(field: FourierMlp, times: Tensor, shape: tuple[int, int]) -> Tensor:
    return render_in_parts(lambda part: field(part, shape), times, shape, _CHUNK_PIXELS)
