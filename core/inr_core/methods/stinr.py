"""STINR and HashINR: a hash grid in space and time, decoded by a small network and fitted to the measured samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inr_core.fields.coordinates import pixel_positions
from inr_core.fields.multires_grid import MultiresGrid, geometric_levels
from inr_core.fields.networks import Mlp
from inr_core.fields.rendering import render_in_parts
from inr_core.losses import nuclear_norm, temporal_tv_of_parts
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.stinr import HashInrParameters, StinrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import NufftTerm, ToeplitzL2, relative_l2
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import cosine, halved, levels_at, random_window, train

_CHUNK_PIXELS = 1 << 19  # rendered at once


class SpaceTimeField(nn.Module):
    """Image x(t, y, x) = MLP(grid(t, y, x)), complex; no biases, as in the released code.

    Capped levels have their outermost nodes on the outermost pixels and frames. Otherwise the image is published
    STINR's: pixel centres (i + 1/2) / n of the unit square, and time in the same steps, whatever the number of frames.

    Parameters
    ----------
    shape
        (ny, nx) of the measured images.
    n_frames
        Number of frames.
    parameters
        See :class:`HashInrParameters`.
    """

    def __init__(self, shape: tuple[int, int], n_frames: int, parameters: HashInrParameters) -> None:
        super().__init__()
        self.shape, self.n_frames, self.capped = shape, n_frames, parameters.capped
        self.grid = MultiresGrid(
            space_time_levels(shape, n_frames, parameters),
            parameters.features,
            2**parameters.table_log2,
            overflow="hash",
            seed=parameters.seed,
        )
        self.mlp = Mlp(self.grid.n_out, 2, parameters.hidden, parameters.layers, bias=False, seed=parameters.seed)
        # Smaller than He's weights: the initial weights of the networks that the published method is built of.
        generator = torch.Generator().manual_seed(parameters.seed + 1)
        for layer in self.mlp.layers:
            nn.init.xavier_uniform_(layer.get_parameter("weight"), generator=generator)

    def forward(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Images at (n,) ``times``, in frames since the first: (n, ny, nx) complex64, of ``shape`` or the measured."""
        sides = [pixel_positions(n, measured) for n, measured in zip(shape or self.shape, self.shape, strict=True)]
        if self.capped:
            last = [max(n - 1, 1) for n in (self.n_frames, *self.shape)]
            axes = [position / n for position, n in zip([times, *sides], last, strict=True)]
        else:
            n = max(self.n_frames, *self.shape)
            axes = [(position + 0.5) / n for position in [times, *sides]]
        return torch.view_as_complex(self.mlp(self.grid.lattice(axes)))

    def render(self, times: Tensor, shape: tuple[int, int]) -> Tensor:
        """The same without a gradient, and of any number of images."""
        return render_in_parts(lambda part: self(part, shape), times, shape, _CHUNK_PIXELS)


def space_time_levels(shape: tuple[int, int], n_frames: int, parameters: HashInrParameters) -> list[tuple[int, ...]]:
    """Cells along (t, y, x) of every level.

    Either cubes, as published; or capped: a node for each frame and pixel at most, and cells that last as many frames
    however long the scan.
    """
    coarsest, growth, n_levels = parameters.coarsest, parameters.growth, parameters.levels
    if not parameters.capped:
        return geometric_levels(coarsest, growth, n_levels, 3)
    first = max(1, round((n_frames - 1) / parameters.coarsest_frames))
    most = [max(n - 1, 1) for n in (n_frames, *shape)]
    cells = zip(*(geometric_levels(n, growth, n_levels, 1) for n in (first, coarsest, coarsest)), strict=True)
    levels = [tuple(min(n, cap) for (n,), cap in zip(level, most, strict=True)) for level in cells]
    return list(dict.fromkeys(levels))


class HashInrMethod(OfflineMethod):
    """The field fitted to the data and to nothing else.

    State: that of :class:`OfflineMethod`; the field exists while it is trained.
    """

    keeps_samples = True

    def __init__(self, shape: tuple[int, int], parameters: HashInrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Train the field on windows of frames, and render it."""
        p, n_frames = self.parameters, len(data)
        field = SpaceTimeField(data.shape, n_frames, p).to(data.device)
        fit = _data_term(data, p.data_term)
        window = min(p.window or n_frames, n_frames)
        steps = round(p.passes * n_frames / window)
        generator = torch.Generator().manual_seed(p.seed)

        def losses(step: int) -> dict[str, Tensor]:
            part = control.part(step, steps)
            field.grid.active_levels = levels_at(part, len(field.grid.levels), p.coarse_to_fine)
            positions = random_window(n_frames, window, generator)
            images = field(positions.float())
            return {"data consistency": fit(images, positions), **self.regularisation(images)}

        groups: list[dict[str, Any]] = [
            {"params": field.grid.parameters()},
            {"params": field.mlp.parameters(), "weight_decay": p.weight_decay},
        ]
        optimiser = torch.optim.Adam(groups, p.learning_rate, (0.9, p.beta2), p.epsilon, fused=True)
        training = train(losses, optimiser, steps, control, rate=cosine() if p.schedule == "cosine" else halved(0.5))
        images = field.render(self.query.times(n_frames), self.query.shape(data.shape)) * data.scale
        return RefinedSeries(data.frames.first, images, training.steps, query=self.query, failure=training.failure)

    def regularisation(self, images: Tensor) -> dict[str, Tensor]:
        """Weighted terms of (n, ny, nx) images of consecutive frames, by name."""
        return {}


class StinrMethod(HashInrMethod):
    """Spatiotemporal implicit neural representation (STINR; Feng et al., doi 10.1109/TMI.2025.3526452).

    The field fitted to the data with sparse differences and low rank along time.
    """

    def __init__(self, shape: tuple[int, int], parameters: StinrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.weights = {"total variation": parameters.temporal_tv, "low rank": parameters.low_rank}
        self._tv_least = parameters.tv_least

    def regularisation(self, images: Tensor) -> dict[str, Tensor]:
        """Total variation along time, and the nuclear norm of the images over their number."""
        terms = {
            "total variation": lambda: temporal_tv_of_parts(images, self._tv_least),
            "low rank": lambda: nuclear_norm(images) / len(images),
        }
        return {name: weight * terms[name]() for name, weight in self.weights.items() if weight > 0}


def _data_term(data: SliceData, name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name == "weighted_l2":
        return ToeplitzL2(data)
    # Both parts of a sample count in full, and the rounding belongs to images of maximum 1.
    return NufftTerm(data, lambda e, p: 2 * relative_l2(e, p), unit=data.scale)
