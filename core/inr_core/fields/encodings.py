"""Encodings of coordinates without trainable weights: a network of smooth layers sees fine detail only through them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError


class FrequencyEncoding(nn.Module):
    """Sines and cosines of every coordinate at octaves: sin(m 2^i p), cos(m 2^i p), i = 0 .. n_frequencies - 1.

    Parameters
    ----------
    n_dims
        Coordinates of a point.
    n_frequencies
        Octaves.
    include_input
        Whether the coordinates themselves come first.
    multiplier
        m: pi in NeRF (Mildenhall et al., doi 10.1007/978-3-030-58452-8_24), 1 where coordinates are taken as angles.

    Attributes
    ----------
    n_out
        Features of a point: ``n_dims`` * (2 ``n_frequencies`` + ``include_input``). Octave by octave the sines of all
        coordinates, then their cosines.

    Raises
    ------
    ParameterError
        For fewer than one coordinate or octave.
    """

    def __init__(self, n_dims: int, n_frequencies: int, *, include_input: bool, multiplier: float) -> None:
        super().__init__()
        if min(n_dims, n_frequencies) < 1:
            raise ParameterError(
                f"a frequency encoding of {n_dims} coordinates at {n_frequencies} frequencies", "at least 1 of each"
            )
        self.n_dims, self.include_input, self.multiplier = n_dims, include_input, multiplier
        self.n_out = n_dims * (2 * n_frequencies + int(include_input))
        self.octaves: Tensor
        self.register_buffer("octaves", 2.0 ** torch.arange(n_frequencies), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """(..., n_dims) -> (..., n_out)."""
        _check_points(points, self.n_dims)
        angles = (self.multiplier * points)[..., None, :] * self.octaves[:, None]
        waves = torch.stack([angles.sin(), angles.cos()], -2).flatten(-3)
        return torch.cat([points, waves], -1) if self.include_input else waves


class GaussianEncoding(nn.Module):
    """Random Fourier features cos(2 pi B p), sin(2 pi B p), B fixed and normal (Tancik et al., arXiv 2006.10739).

    Parameters
    ----------
    n_dims
        Coordinates of a point.
    n_features
        Features of a point, even: cosines first, then as many sines.
    sigma
        Standard deviation of B, in cycles per unit of the coordinates: the bandwidth.
    seed
        Of B, which is saved with the module.

    Raises
    ------
    ParameterError
        For fewer than one coordinate, or features that do not come in pairs.
    """

    def __init__(self, n_dims: int, n_features: int, sigma: float, seed: int) -> None:
        super().__init__()
        if n_dims < 1 or n_features < 2 or n_features % 2:
            raise ParameterError(
                f"{n_features} Gaussian features of {n_dims} coordinates", "an even number, of at least 1 coordinate"
            )
        self.n_dims, self.n_out = n_dims, n_features
        generator = torch.Generator().manual_seed(seed)
        self.frequencies: Tensor
        self.register_buffer("frequencies", sigma * torch.randn(n_features // 2, n_dims, generator=generator))

    def forward(self, points: Tensor) -> Tensor:
        """(..., n_dims) -> (..., n_out)."""
        _check_points(points, self.n_dims)
        angles = 2 * math.pi * (points @ self.frequencies.T)
        return torch.cat([angles.cos(), angles.sin()], -1)


def _check_points(points: Tensor, n_dims: int) -> None:
    if points.ndim < 1 or points.shape[-1] != n_dims:
        raise ParameterError(f"points of shape {tuple(points.shape)}", f"(..., {n_dims})")
