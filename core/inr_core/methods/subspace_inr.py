"""The subspace INR: a few images from one network, each with a curve of time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inr_core.fields.subspace_field import SubspaceField, combine, cubic_weights
from inr_core.losses import temporal_tv
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.operators.resample import zero_fill
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.parameters.subspace_inr import SubspaceInrParameters
from inr_core.solvers.conjugate_gradient import conjugate_gradient
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import ToeplitzL2
from inr_core.solvers.draft import grasp_draft
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import Training, cosine, random_window, train

_DRAFTED, _FITTED = 0.15, 0.4  # parts of the time: the draft is made, and it is learnt
_CODE = 0.1  # root mean square of a curve, and its image ten times as large: 2 dB more after 200 steps than with 1


class SubspaceInrMethod(OfflineMethod):
    """x_t(p) = sum_k U_k(p) v_k(t), all images U from one network, fitted to the data.

    Low rank along time as in partially separable functions (Liang, doi 10.1109/ISBI.2007.357020), the images by an
    implicit representation. The road there is short because what is known is not learnt again:

    1. a draft, GRASP from the time-averaged image;
    2. its first singular vectors along time are the curves, and its images with them what the network learns first:
       a regression without a transform;
    3. network and curves are trained on the data, with total variation along time and a pull towards the draft;
    4. if asked for, conjugate gradients from each image towards its frame's data.
    """

    def __init__(self, shape: tuple[int, int], parameters: SubspaceInrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Draft, regression, training, and what was asked of the field."""
        p = self.parameters
        draft = grasp_draft(data, p.grasp_iterations, control.within(0.0, _DRAFTED), p)
        curves, images = principal_curves(draft, p.rank)
        field = SubspaceField(
            data.shape, curves, features=p.features, hidden=p.hidden, layers=p.layers, seed=p.seed
        ).to(data.device)
        training = self._fit(field, images, control.within(_DRAFTED, _FITTED))
        if training.failure is None:
            on_data = self._train(field, data, draft, control.within(_FITTED, 1.0))
            training = Training(training.steps + on_data.steps, on_data.failure)
        series = self._render(field, data) * data.scale
        return RefinedSeries(data.frames.first, series, training.steps, query=self.query, failure=training.failure)

    def _fit(self, field: SubspaceField, images: Tensor, control: Control) -> Training:
        """Learn the images of the draft: the curves being orthogonal, as good as the series."""

        def losses(step: int) -> dict[str, Tensor]:
            return {"difference from the draft": (field.spatial() - images).abs().square().mean()}

        p = self.parameters
        return train(losses, self._optimiser(field, p.fit_rate, 0.0), p.fit_steps, control, rate=cosine())

    def _train(self, field: SubspaceField, data: SliceData, draft: Tensor, control: Control) -> Training:
        """Fit network and curves to the data."""
        p, n_frames, data_term = self.parameters, len(data), ToeplitzL2(data)
        window = min(p.window or n_frames, n_frames)
        generator = torch.Generator().manual_seed(p.seed)

        def losses(step: int) -> dict[str, Tensor]:
            positions = random_window(n_frames, window, generator)
            images = field(positions)
            terms = {"data consistency": data_term(images, positions)}
            if p.temporal_tv > 0:
                terms["total variation"] = p.temporal_tv * temporal_tv(images) / images.numel()
            if p.draft_weight > 0:
                pull = (images - draft[positions]).abs().square().mean()
                terms["difference from the draft"] = 0.5 * p.draft_weight * pull
            return terms

        optimiser = self._optimiser(field, p.learning_rate, p.curve_rate)
        return train(losses, optimiser, round(p.passes * n_frames / window), control, rate=cosine())

    def _optimiser(self, field: SubspaceField, rate: float, curve_rate: float) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": [*field.grid.parameters(), *field.mlp.parameters()]}]
        if curve_rate > 0:
            groups.append({"params": [field.codes], "lr": rate * curve_rate})
        return torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), fused=True)

    @torch.no_grad()
    def _render(self, field: SubspaceField, data: SliceData) -> Tensor:
        """(images, ny, nx): what was asked of the field, with what the polish adds; it lies between frames as well."""
        times, shape = self.query.times(len(data)), self.query.shape(data.shape)
        series = combine(field.temporal(times), field.spatial(shape))
        if self.parameters.polish_iterations == 0:
            return series
        change = self._polish(combine(field.temporal(torch.arange(len(data))), field.spatial()), data)
        weights = cubic_weights(times, len(data)).to(change)
        for number, weight in enumerate(weights):
            series[number] += zero_fill(torch.tensordot(weight, change, 1)[None], shape)[0]
        return series

    def _polish(self, images: Tensor, data: SliceData) -> Tensor:
        """(frames, ny, nx): z - x for z = argmin |W^1/2 (F S z - y)|^2 + a g |z - x|^2, begun from the images x."""
        p, changes = self.parameters, []
        for position, image in enumerate(images):
            frame = data.frames[position]
            gram, weight = frame.gram(data.csm), p.polish_weight * data.strength

            def operator(z: Tensor, gram: ToeplitzGram = gram, weight: float = weight) -> Tensor:
                return gram.forward(z[None])[0] + weight * z

            missing = data.right[position] / data.scale - gram.forward(image[None])[0]
            changes.append(conjugate_gradient(operator, missing, iterations=p.polish_iterations))
        return torch.stack(changes)


def principal_curves(series: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The first singular vectors along time of (frames, ny, nx), and the images that they belong to.

    Returns
    -------
    curves : (frames, K) complex64
        Orthogonal, of root mean square 0.1; K is the rank, or the number of frames if that is less.
    images : (K, ny, nx) complex64
        Their products with the curves add up to the series, or what is nearest to it.
    """
    casorati = series.flatten(1)
    vectors = torch.linalg.eigh((casorati @ casorati.mH).to(torch.complex128)).eigenvectors  # the last is the strongest
    curves = vectors.flip(1)[:, :rank].to(series.dtype) * (_CODE * len(series) ** 0.5)
    images = curves.mH @ casorati / (_CODE**2 * len(series))
    return curves, images.reshape(-1, *series.shape[1:])
