"""A series as a sum of products: a few images from one network, and how each of them is weighted over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError
from inr_core.fields.coordinates import pixel_positions
from inr_core.fields.multires_grid import MultiresGrid, geometric_levels
from inr_core.fields.networks import Mlp

_COARSEST = 8  # cells of the coarsest level along a side
_AMPLITUDE = 1e-2  # of the grid's initial features


class SubspaceField(nn.Module):
    """x(p, t) = sum_k U_k(p) v_k(t), U from a capped grid with a decoder of 2 K channels, v a cubic through free codes.

    The network runs once for all frames. The finest level has its nodes on the pixels: one more would give every pixel
    weights of its own that no neighbour shares.

    Parameters
    ----------
    shape
        (ny, nx) of the measured images.
    codes : (frames, K) complex64
        v at the frames to begin with.
    features
        Of each level of the grid.
    hidden, layers
        Width and number of the decoder's hidden layers.
    seed
        Of the initial weights.

    Raises
    ------
    ParameterError
        For codes of another rank.
    """

    def __init__(
        self, shape: tuple[int, int], codes: Tensor, *, features: int, hidden: int, layers: int, seed: int
    ) -> None:
        super().__init__()
        if codes.ndim != 2 or not codes.is_complex() or not codes.numel():
            raise ParameterError(f"codes of shape {tuple(codes.shape)}, {codes.dtype}", "complex (frames, components)")
        self.shape = shape
        cap = (max(1, shape[0] - 1), max(1, shape[1] - 1))
        n_levels = 1 + max(0, (max(cap) - 1).bit_length() - (_COARSEST - 1).bit_length())
        resolutions = geometric_levels(_COARSEST, 2.0, n_levels, 2, cap)
        nodes = (cap[0] + 1) * (cap[1] + 1)
        table = 1 << (nodes - 1).bit_length()  # all levels are dense
        self.grid = MultiresGrid(resolutions, features, table, overflow="hash", seed=seed, amplitude=_AMPLITUDE)
        self.mlp = Mlp(self.grid.n_out, 2 * codes.shape[1], hidden, layers, seed=seed + 1)
        self.codes = nn.Parameter(torch.view_as_real(codes).clone())

    def forward(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Images at (n,) ``times``, in frames since the first: (n, ny, nx) complex64, of ``shape`` or the measured."""
        return combine(self.temporal(times), self.spatial(shape))

    def spatial(self, shape: tuple[int, int] | None = None) -> Tensor:
        """U: (K, ny, nx) complex64, of ``shape`` or the measured one over the same field of view."""
        axes = [
            pixel_positions(n, measured) / max(measured - 1, 1)
            for n, measured in zip(shape or self.shape, self.shape, strict=True)
        ]
        real, imaginary = self.mlp(self.grid.lattice(axes)).movedim(-1, 0).chunk(2)
        return torch.complex(real.contiguous(), imaginary.contiguous())

    def temporal(self, times: Tensor) -> Tensor:
        """v: (n, K) complex64 at (n,) ``times`` in frames; at whole numbers the codes themselves."""
        weights = cubic_weights(times, len(self.codes)).to(self.codes)
        return torch.view_as_complex(torch.einsum("nt,tkc->nkc", weights, self.codes))


def combine(temporal: Tensor, spatial: Tensor) -> Tensor:
    """(n, K) and (K, ny, nx) -> (n, ny, nx)."""
    return (temporal @ spatial.flatten(1)).reshape(len(temporal), *spatial.shape[1:])


def cubic_weights(times: Tensor, n_frames: int) -> Tensor:
    """(n, n_frames) float64: interpolation between frames by Keys' cubic convolution (doi 10.1109/TASSP.1981.1163711).

    The two frames on either side of a time are asked. Beyond the ends the series goes on as a straight line, so that
    what is linear in time is kept exactly, and quadratics are in the interior.
    """
    if n_frames == 1:
        return torch.ones(len(times), 1, dtype=torch.float64)
    times = times.double().cpu()
    nodes = torch.arange(-1, n_frames + 1)
    s = (times[:, None] - nodes).abs()
    near, far = (1.5 * s - 2.5) * s**2 + 1, ((-0.5 * s + 2.5) * s - 4) * s + 2
    weights = torch.where(s <= 1, near, torch.where(s < 2, far, 0.0))
    inner = weights[:, 1:-1].clone()
    for ghost, first, second in ((0, 0, 1), (-1, -1, -2)):
        inner[:, first] += 2 * weights[:, ghost]
        inner[:, second] -= weights[:, ghost]
    return inner
