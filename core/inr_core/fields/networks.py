"""Small networks that decode features of a point; every weight from a generator of the network's own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError

_CPU_BLOCK = 8192  # points; 5 layers of 128 are trained 1.5 times as fast as all 98 304 points of 6 images at once


class Mlp(nn.Module):
    """``n_hidden`` ReLU layers of ``width`` and a linear output, initialised after He et al. (arXiv 1502.01852).

    Parameters
    ----------
    n_in, n_out
        Features in and out.
    width, n_hidden
        Of the hidden layers.
    bias
        Whether layers have biases, zero at first.
    seed
        Of the weights.

    Raises
    ------
    ParameterError
        For a size below one.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        width: int,
        n_hidden: int,
        *,
        bias: bool = True,
        seed: int,
    ) -> None:
        super().__init__()
        self.layers = _linear_layers(n_in, n_out, width, n_hidden, bias)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.layers:
            nn.init.kaiming_uniform_(
                layer.get_parameter("weight"),
                nonlinearity="linear" if layer is self.layers[-1] else "relu",
                generator=generator,
            )
            if bias:
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, features: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        return _in_blocks(self._decode, features)

    def _decode(self, h: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            h = layer(h).relu_()
        out: Tensor = self.layers[-1](h)
        return out


class Siren(nn.Module):
    """Sine layers sin(omega (W h + b)) and a linear output, initialised as published (Sitzmann, arXiv 2006.09661).

    Weights are uniform within 1 / n_in in the first layer and within sqrt(6 / width) / omega in all others, so that
    every layer's input to the sine is normal with unit variance whatever the depth; biases within 1 / sqrt(inputs).

    Parameters
    ----------
    n_in, n_out
        Features in and out.
    width, n_hidden
        Of the sine layers, the first included.
    omega
        Frequency of the sines.
    seed
        Of weights and biases.

    Raises
    ------
    ParameterError
        For a size below one, or a frequency that is not positive.
    """

    def __init__(self, n_in: int, n_out: int, width: int, n_hidden: int, omega: float, seed: int) -> None:
        super().__init__()
        if omega <= 0:
            raise ParameterError(f"omega {omega}", "a positive frequency")
        self.omega = omega
        self.layers = _linear_layers(n_in, n_out, width, n_hidden, bias=True)
        generator = torch.Generator().manual_seed(seed)
        for i, layer in enumerate(self.layers):
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            inputs = weight.shape[1]
            bound = 1 / inputs if i == 0 else (6 / inputs) ** 0.5 / omega
            nn.init.uniform_(weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -(inputs**-0.5), inputs**-0.5, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        return _in_blocks(self._decode, features)

    def _decode(self, h: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            h = torch.sin(self.omega * layer(h))
        out: Tensor = self.layers[-1](h)
        return out


def init_uniform(network: nn.Module, seed: int) -> None:
    """Make the weights and biases of all layers uniform within 1 / sqrt(inputs), as torch's own are."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            for weight in module.parameters():
                nn.init.uniform_(weight, -bound, bound, generator=generator)


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module; weights that several of its parts share count once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _in_blocks(decode: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Decode (..., n_in): on a CPU so many points at a time that the layers' values stay in its cache."""
    points = features.reshape(-1, features.shape[-1])
    blocks = torch.split(points, _CPU_BLOCK) if points.device.type == "cpu" else (points,)
    # Narrow matrices with the points fastest in memory, as grids give them, are BLAS's slowest: hence contiguous.
    decoded = torch.cat([decode(block.contiguous()) for block in blocks])
    return decoded.reshape(*features.shape[:-1], decoded.shape[-1])


def _linear_layers(n_in: int, n_out: int, width: int, n_hidden: int, bias: bool) -> nn.ModuleList:
    """Layers without values yet: torch's own initialisation would draw from the global generator."""
    widths = [n_in, *[width] * n_hidden, n_out]
    if n_hidden < 1 or min(widths) < 1:
        raise ParameterError(f"a network {n_in} -> {n_hidden} x {width} -> {n_out}", "sizes of at least 1")
    without_values = functools.partial(nn.utils.skip_init, nn.Linear, bias=bias)
    return nn.ModuleList(without_values(a, b) for a, b in itertools.pairwise(widths))
