"""A field of two parts: where each point of a frame came from, and what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inr_core.fields.coordinates import pixel_positions, sampling_grid
from inr_core.fields.encodings import FrequencyEncoding
from inr_core.fields.multires_grid import MultiresGrid
from inr_core.fields.networks import Mlp
from inr_core.fields.rendering import render_in_parts

_CHUNK_PIXELS = 1 << 18  # rendered at once

Sample = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Times in frames (n,), ys (ny,), xs (nx,) in 0 to 1 -> features (n, ny, nx, k) of the frames."""


class FrequencyDeformation(nn.Module):
    """Displacement of every point from the frequencies of its position and time; zero at first.

    Parameters
    ----------
    position, time
        Encodings of (y, x) and of t.
    width, n_hidden, bias, seed
        Of the network, see :class:`Mlp`.
    """

    def __init__(
        self,
        position: FrequencyEncoding,
        time: FrequencyEncoding,
        width: int,
        n_hidden: int,
        *,
        bias: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.position, self.time = position, time
        self.network = Mlp(position.n_out + time.n_out, 2, width, n_hidden, bias=bias, seed=seed)
        nn.init.zeros_(self.network.layers[-1].get_parameter("weight"))

    def forward(self, t: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        """(n,), (ny,), (nx,), all 0 to 1 -> (n, ny, nx, 2): along y and x, in fields of view."""
        sides = len(t), len(ys), len(xs)
        features = _encoded(self.position, ys, xs), _encoded(self.time, t)[:, None, None]
        displacement: Tensor = self.network(torch.cat([f.expand(*sides, -1) for f in features], -1))
        return displacement


class GridDeformation(nn.Module):
    """Displacement that is smooth in space and time by construction: a coarse grid decoded at its nodes; zero at first.

    Between the nodes of its finest level the displacement is linear. So the network runs for a few hundred points of a
    frame, and what moves an edge moves its neighbourhood with it.

    Parameters
    ----------
    resolutions
        Cells of (t, y, x) of each level, see :class:`MultiresGrid`; the last is the finest.
    n_features
        Of each level.
    width, n_hidden
        Of the decoder.
    pixel : (2,)
        Size of a pixel along y and x, in fields of view: the unit of what the decoder says.
    seed
        Of the weights.
    """

    def __init__(
        self,
        resolutions: Sequence[tuple[int, ...]],
        n_features: int,
        width: int,
        n_hidden: int,
        pixel: tuple[float, float],
        seed: int,
    ) -> None:
        super().__init__()
        self.grid = MultiresGrid(resolutions, n_features, 2**20, overflow="hash", seed=seed, amplitude=1e-2)
        self.network = Mlp(self.grid.n_out, 2, width, n_hidden, seed=seed + 1)
        nn.init.zeros_(self.network.layers[-1].get_parameter("weight"))
        _, ny, nx = resolutions[-1]
        self._nodes = torch.linspace(0, 1, ny + 1), torch.linspace(0, 1, nx + 1)
        self.pixel: Tensor
        self.register_buffer("pixel", torch.tensor(pixel), persistent=False)

    def forward(self, t: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        """(n,), (ny,), (nx,), all 0 to 1 -> (n, ny, nx, 2): along y and x, in fields of view."""
        at_nodes = self.network(self.grid.lattice([t, *self._nodes])) * self.pixel
        where = sampling_grid(ys, xs).to(at_nodes)
        between = F.grid_sample(
            at_nodes.permute(0, 3, 1, 2),
            where.expand(len(t), -1, -1, -1),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return between.permute(0, 2, 3, 1)


class DeformedField(nn.Module):
    """x(t, p) = D(h(p + u(t, p)), further features): a canonical image h, a displacement u, a decoder D.

    By h alone the image at any time is one image, moved: it could not change contrast. The further features are what
    lets it: the time, what a coarse grid in space and time says, or features of the measured frames.

    Parameters
    ----------
    shape, n_frames
        (ny, nx) of the measured images, and their number.
    deformation
        u: :class:`FrequencyDeformation` or :class:`GridDeformation`.
    canonical
        h: a grid over (y, x).
    decoder
        D: features to real and imaginary part.
    time
        Encoding of t; the decoder is told the time. None if not.
    position
        Encoding of (y, x); the decoder is told the position before it is displaced. None if not.
    change
        A grid over (t, y, x), seen at the position before it is displaced. None for none.
    sample
        Features of the measured frames; None for none.
    pixelwise
        Look up h at the pixels only, once for all frames, and take it as linear between them: what a grid that is no
        finer than the pixels loses by that is little, and looking up is four times as fast.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        n_frames: int,
        deformation: FrequencyDeformation | GridDeformation,
        canonical: MultiresGrid,
        decoder: nn.Module,
        *,
        time: FrequencyEncoding | None = None,
        position: FrequencyEncoding | None = None,
        change: MultiresGrid | None = None,
        sample: Sample | None = None,
        pixelwise: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.n_frames, self.pixelwise = shape, n_frames, pixelwise
        self.deformation, self.canonical, self.decoder = deformation, canonical, decoder
        self.time, self.position, self.change, self._sample = time, position, change, sample

    def forward(self, times: Tensor, shape: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Images and where their points come from.

        Parameters
        ----------
        times : (n,)
            Frames since the first, on the CPU.
        shape
            (ny, nx) of the images over the same field of view; the measured one if None.

        Returns
        -------
        (n, ny, nx) complex64, and (n, ny, nx, 2): displacements along y and x in fields of view
        """
        t = (times + 0.5) / self.n_frames
        ys, xs = (
            (pixel_positions(n, measured) + 0.5) / measured
            for n, measured in zip(shape or self.shape, self.shape, strict=True)
        )
        displacement: Tensor = self.deformation(t, ys, xs)
        points = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1).to(displacement) + displacement
        sides = points.shape[:-1]
        # All with their features first, as grids have them in memory.
        features = [self._looked_up(points)]
        if self.time is not None:
            features.append(_encoded(self.time, t).T[:, :, None, None].expand(-1, *sides))
        if self.position is not None:
            features.append(_encoded(self.position, ys, xs).movedim(-1, 0)[:, None].expand(-1, *sides))
        if self.change is not None:
            features.append(self.change.lattice([t, ys, xs]).movedim(-1, 0))
        if self._sample is not None:
            features.append(self._sample(times, ys, xs).movedim(-1, 0))
        return torch.view_as_complex(self.decoder(torch.cat(features).movedim(0, -1))), displacement

    def _looked_up(self, points: Tensor) -> Tensor:
        """Canonical features at points (n, ny, nx, 2): (features, n, ny, nx)."""
        if not self.pixelwise:
            features: Tensor = self.canonical(points.reshape(-1, 2))
            return features.T.reshape(-1, *points.shape[:-1])
        pixels = self.canonical.lattice([(torch.arange(n) + 0.5) / n for n in self.shape]).movedim(-1, 0)
        where = 2 * points.flip(-1).flatten(0, 1) - 1
        looked_up = F.grid_sample(
            pixels[None], where[None], mode="bilinear", padding_mode="border", align_corners=False
        )
        return looked_up[0].reshape(-1, *points.shape[:-1])

    def render(self, times: Tensor, shape: tuple[int, int]) -> Tensor:
        """The images without a gradient, of any number of times."""
        return render_in_parts(lambda part: self(part, shape)[0], times, shape, _CHUNK_PIXELS)


def _encoded(encoding: FrequencyEncoding, *axes: Tensor) -> Tensor:
    """(n_0,), .., (n_d-1,) -> (n_0, .., n_d-1, features): an encoding of the product of coordinates."""
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    encoded: Tensor = encoding(points.to(encoding.octaves))
    return encoded
