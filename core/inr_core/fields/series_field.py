"""Two real channels at every place and time of a series: an image's parts, or a flow along x and y."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError
from inr_core.fields.coordinates import pixel_positions
from inr_core.fields.grid_field import Level
from inr_core.fields.multires_grid import MultiresGrid
from inr_core.fields.networks import Mlp
from inr_core.fields.rendering import render_in_parts

_CHUNK_PIXELS = 1 << 19  # rendered at once
_AMPLITUDE = 1e-2  # of the grids' initial features


class SeriesField(nn.Module):
    """MLP(features), the features interpolated linearly from dense grids in time and space.

    Parameters
    ----------
    shape
        (ny, nx) of the measured images.
    n_frames
        Number of frames.
    levels
        Resolutions, as steps in pixels and frames; the grids' outermost nodes lie on the first and last pixel and
        frame. Of levels that are the same in a series as small as this, one is kept.
    features
        Of each level.
    hidden, layers
        Width and number of the decoder's ReLU layers.
    seed
        Of the initial weights.

    Raises
    ------
    ParameterError
        For a size below one.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        n_frames: int,
        levels: Sequence[Level],
        features: int,
        hidden: int,
        layers: int,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        if min(*shape, n_frames, *(min(level.pixels, level.frames) for level in levels)) < 1:
            raise ParameterError(f"a field of {n_frames} frames {shape} on {levels}", "sizes of at least 1")
        self.shape, self.n_frames = shape, n_frames
        cells = [[_cells(n_frames, v.frames), *(_cells(n, v.pixels) for n in shape)] for v in levels]
        resolutions = list(dict.fromkeys(tuple(level) for level in cells))
        nodes = max((t + 1) * (y + 1) * (x + 1) for t, y, x in resolutions)
        table = 1 << (nodes - 1).bit_length()  # none is larger: all are dense
        self.grid = MultiresGrid(resolutions, features, table, overflow="hash", seed=seed, amplitude=_AMPLITUDE)
        self.mlp = Mlp(self.grid.n_out, 2, hidden, layers, seed=seed)

    def forward(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """The channels at (n,) ``times`` in frames since the first: (n, ny, nx, 2), of ``shape`` or the measured one.

        Another shape samples the same field of view.
        """
        sides = [pixel_positions(n, measured) for n, measured in zip(shape or self.shape, self.shape, strict=True)]
        last = [max(n - 1, 1) for n in (self.n_frames, *self.shape)]
        channels: Tensor = self.mlp(self.grid.lattice([p / n for p, n in zip([times, *sides], last, strict=True)]))
        return channels

    def images(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """The same as real and imaginary part: (n, ny, nx) complex64."""
        return torch.view_as_complex(self(times, shape))

    def flow(self, times: Tensor) -> Tensor:
        """The same as (u, v): (n, 2, ny, nx)."""
        channels: Tensor = self(times)
        return channels.movedim(-1, 1)

    def render(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """:meth:`images` without a gradient, however many."""
        return render_in_parts(lambda part: self.images(part, shape), times, shape or self.shape, _CHUNK_PIXELS)


def _cells(n: int, step: int) -> int:
    return max(1, -(-(n - 1) // step))
