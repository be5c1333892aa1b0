"""DA-INR: one canonical image, and for every frame a displacement that says where its points lie in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inr_core.fields.deformed_field import DeformedField, FrequencyDeformation, GridDeformation, Sample
from inr_core.fields.encodings import FrequencyEncoding
from inr_core.fields.mdsr import N_FEATURES, FrameFeatures, MdsrBody, load_body, random_body
from inr_core.fields.multires_grid import MultiresGrid, geometric_levels
from inr_core.fields.networks import Mlp
from inr_core.losses import temporal_tv
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.da_inr import DaInrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import NufftTerm, ToeplitzL2, l1
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import cosine, random_window, train

_RANDOM_BLOCKS = 16  # of a random body: as many as the smaller of the published ones has
_COARSEST_CELLS = 4  # of the deformation's grid
_CHANGE_CELLS = 8  # of the coarsest level of the grid of changes


class DaInrMethod(OfflineMethod):
    """Deformation-aware INR (DA-INR; Baik and Yoo, arXiv 2501.09049).

    State: that of :class:`OfflineMethod`; the field exists while it is trained.
    """

    keeps_samples = True

    def __init__(self, shape: tuple[int, int], parameters: DaInrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters
        # Before the scan: a file that is missing or wrong is not found out at its end.
        self._body = make_body(parameters)

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Train deformation and canonical image together, on windows of frames, and render them."""
        p, n_frames = self.parameters, len(data)
        field = make_field(data.shape, n_frames, p, frame_features(data, p, self._body)).to(data.device)
        fit = _data_term(data, p.data_term)
        generator = torch.Generator().manual_seed(p.seed)

        def losses(step: int) -> dict[str, Tensor]:
            positions = random_window(n_frames, p.window, generator)
            images, _ = field(positions.float())
            terms = {"data consistency": fit(images, positions)}
            if p.temporal_tv > 0:
                terms["total variation"] = p.temporal_tv * temporal_tv(images) / images.numel()
            return terms

        rate = cosine() if p.schedule == "cosine" else _constant
        training = train(losses, _optimiser(field, p), p.steps, control, rate=rate)
        images = field.render(self.query.times(n_frames), self.query.shape(data.shape)) * data.scale
        return RefinedSeries(data.frames.first, images, training.steps, query=self.query, failure=training.failure)


def make_field(
    shape: tuple[int, int], n_frames: int, parameters: DaInrParameters, sample: tuple[Sample, int] | None = None
) -> DeformedField:
    """The field that the parameters describe, for images (ny, nx).

    Parameters
    ----------
    sample
        Features of the measured frames, and how many there are of a point; None for none.
    """
    p = parameters
    position = FrequencyEncoding(2, p.position_octaves, include_input=p.plain_angles, multiplier=_angle(p))
    time = FrequencyEncoding(1, p.time_octaves, include_input=p.plain_angles, multiplier=_angle(p))
    cap = (max(shape[0] - 1, 1), max(shape[1] - 1, 1)) if p.capped else None
    canonical = MultiresGrid(
        geometric_levels(p.coarsest, p.growth, p.levels, 2, cap),
        p.features_per_level,
        2**p.table_log2,
        overflow="tile" if p.overflow == "tile" else "hash",
        seed=p.seed,
    )
    change = _change(shape, n_frames, p)
    n_in = (
        canonical.n_out
        + (time.n_out if p.decode_time else 0)
        + (position.n_out if p.decode_position else 0)
        + (change.n_out if change is not None else 0)
        + (sample[1] if sample is not None else 0)
    )
    return DeformedField(
        shape,
        n_frames,
        _deformation(shape, n_frames, p, position, time),
        canonical,
        _decoder(n_in, p),
        time=time if p.decode_time else None,
        position=position if p.decode_position else None,
        change=change,
        sample=sample[0] if sample is not None else None,
        pixelwise=p.capped,
    )


def make_body(parameters: DaInrParameters) -> MdsrBody | None:
    """The frozen network whose features the decoder is given; None for none."""
    if parameters.features == "none":
        return None
    if parameters.features == "mdsr":
        return load_body(Path(parameters.features_file))
    return random_body(_RANDOM_BLOCKS, parameters.seed + 5)


def frame_features(data: SliceData, parameters: DaInrParameters, body: MdsrBody | None) -> tuple[Sample, int] | None:
    """Features of the gridded frames, and how many there are of a point; None without a body."""
    if body is None:
        return None
    features = FrameFeatures(body, data.right)
    if not parameters.neighbour_features:
        return features.sample, N_FEATURES

    def neighbours(times: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        return torch.cat([features.sample(times - 1, ys, xs), features.sample(times + 1, ys, xs)], -1)

    return neighbours, 2 * N_FEATURES


def _deformation(
    shape: tuple[int, int],
    n_frames: int,
    p: DaInrParameters,
    position: FrequencyEncoding,
    time: FrequencyEncoding,
) -> FrequencyDeformation | GridDeformation:
    if p.deformation == "frequency":
        return FrequencyDeformation(
            position, time, p.deformation_width, p.deformation_layers, bias=p.bias, seed=p.seed + 1
        )
    steps = max(1, round((n_frames - 1) / p.deformation_frames))
    cells = geometric_levels(_COARSEST_CELLS, 2.0, 16, 2, (p.deformation_cells, p.deformation_cells))
    return GridDeformation(
        [(steps, *level) for level in cells],
        4,
        p.deformation_width,
        p.deformation_layers,
        (1 / shape[0], 1 / shape[1]),
        seed=p.seed + 1,
    )


def _change(shape: tuple[int, int], n_frames: int, p: DaInrParameters) -> MultiresGrid | None:
    if p.change_levels == 0:
        return None
    cap = (max(shape[0] - 1, 1), max(shape[1] - 1, 1))
    steps = max(n_frames - 1, 1)
    levels = [(steps, *level) for level in geometric_levels(_CHANGE_CELLS, 2.0, p.change_levels, 2, cap)]
    return MultiresGrid(levels, p.features_per_level, 2**p.table_log2, overflow="hash", seed=p.seed + 3)


def _decoder(n_in: int, p: DaInrParameters) -> nn.Module:
    if not p.two_networks:
        return Mlp(n_in, 2, p.width, p.layers, bias=p.bias, seed=p.seed + 4)
    return nn.Sequential(
        Mlp(n_in, p.width, p.width, 1, bias=p.bias, seed=p.seed + 4),
        Mlp(p.width, 2, p.width, p.layers, bias=p.bias, seed=p.seed + 6),
    )


def _constant(part: float) -> float:
    return 1.0


def _angle(p: DaInrParameters) -> float:
    return 1.0 if p.plain_angles else math.pi


def _data_term(data: SliceData, name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name == "weighted_l2":
        return ToeplitzL2(data)
    return NufftTerm(data, l1, ramp_backward=name == "l1_ramp_backward")


def _optimiser(field: DeformedField, p: DaInrParameters) -> torch.optim.Optimizer:
    rates = (
        (field.canonical, 1.0),
        (field.change, 1.0),
        (field.decoder, p.decoder_rate),
        (field.deformation, p.deformation_rate),
    )
    groups: list[dict[str, Any]] = [
        {"params": module.parameters(), "lr": rate * p.learning_rate} for module, rate in rates if module is not None
    ]
    return torch.optim.AdamW(
        groups, p.learning_rate, (0.9, p.beta2), p.epsilon, weight_decay=p.weight_decay, fused=True
    )
