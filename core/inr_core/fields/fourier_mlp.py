"""An image as a perceptron of Fourier features, one map of space and one of time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inr_core.errors import ParameterError
from inr_core.fields.coordinates import pixel_positions
from inr_core.fields.encodings import GaussianEncoding

_WEIGHT_STD, _BIAS_STD, _OUT_BIAS_STD = 1e-2, 1e-6, 1e-5  # of the initial weights, as released


class FourierMlp(nn.Module):
    """Image x(y, x, t) = MLP(phi(y, x), psi(t)): Gaussian features, ReLU layers normalised over their width (FMLP).

    A hidden layer is N(relu(W h + b)), N to zero mean and unit variance over its outputs without parameters, in the
    order of the released code. The first layer's product with the features of space is the same at all times and made
    once for all images of a call. Since N undoes the size of the weights, what counts is the learning rate relative
    to their initial standard deviation, 0.01.

    Space is counted in fields of view of the longer side, from the centre; time in frames since the first, never
    renormalised.

    Parameters
    ----------
    shape
        (ny, nx) of the measured images.
    space_features, time_features
        Of phi and psi, sines and cosines together.
    space_frequency
        Standard deviation of the frequencies of phi, cycles per field of view.
    time_frequency
        The same of psi, cycles per frame.
    width, n_hidden
        Of the hidden layers.
    seed
        Of frequencies and weights.

    References
    ----------
    Kunz et al., arXiv 2305.06822.

    Raises
    ------
    ParameterError
        For a size below one, or features that do not come in pairs.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        space_features: int,
        time_features: int,
        space_frequency: float,
        time_frequency: float,
        width: int,
        n_hidden: int,
        seed: int,
    ) -> None:
        super().__init__()
        if min(*shape, width, n_hidden) < 1:
            raise ParameterError(f"a network {n_hidden} x {width} of {shape} pixels", "sizes of at least 1")
        self.shape = shape
        self.space = GaussianEncoding(2, space_features, space_frequency, seed)
        self.time = GaussianEncoding(1, time_features, time_frequency, seed + 1)
        generator = torch.Generator().manual_seed(seed + 2)
        self.of_space = _linear(space_features, width, False, generator)
        self.of_time = _linear(time_features, width, True, generator)
        self.hidden = nn.ModuleList(_linear(width, width, True, generator) for _ in range(n_hidden - 1))
        self.out = _linear(width, 2, True, generator, _OUT_BIAS_STD)
        self._features: dict[tuple[int, int], Tensor] = {}

    def forward(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Images at (n,) ``times``, in frames since the first: (n, ny, nx) complex64, of ``shape`` or the measured."""
        shape = shape or self.shape
        psi = math.sqrt(2) * self.time(times.to(self.out.weight)[:, None])
        first = self.of_space(self._features_of_space(shape)) + self.of_time(psi)[:, None]
        h = _normalised(first)
        for layer in self.hidden:
            h = _normalised(layer(h))
        images: Tensor = torch.view_as_complex(self.out(h)).reshape(len(times), *shape)
        return images

    def _features_of_space(self, shape: tuple[int, int]) -> Tensor:
        """(pixels, features); those of the measured shape are kept, since every step of a training needs them."""
        if shape not in self._features:
            sides = [
                (pixel_positions(n, measured) - measured // 2) / max(self.shape)
                for n, measured in zip(shape, self.shape, strict=True)
            ]
            points = torch.cartesian_prod(*sides).reshape(-1, 2).to(self.out.weight)
            features: Tensor = math.sqrt(2) * self.space(points)
            if shape != self.shape:
                return features
            self._features[shape] = features
        return self._features[shape]


def _normalised(h: Tensor) -> Tensor:
    return F.layer_norm(h.relu_(), h.shape[-1:])


def _linear(n_in: int, n_out: int, bias: bool, generator: torch.Generator, bias_std: float = _BIAS_STD) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)  # type: ignore[no-untyped-call]
    nn.init.normal_(layer.weight, std=_WEIGHT_STD, generator=generator)
    if bias:
        nn.init.normal_(layer.bias, std=bias_std, generator=generator)
    return layer
