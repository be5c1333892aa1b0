"""Networks against their layers written out, and the statistics of their first weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.networks import Mlp, Siren, count_parameters


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("bias", [True, False])
def test_mlp_layer_by_layer(bias: bool) -> None:
    network = Mlp(5, 3, 7, 2, bias=bias, seed=0).double()
    with torch.no_grad():
        for layer in network.layers:
            if bias:
                layer.bias.copy_(features(*layer.bias.shape))
    h = x = features(4, 6, 5)
    for i, layer in enumerate(network.layers):
        h = torch.einsum("oi,...i->...o", layer.weight, h) + (layer.bias if bias else 0)
        if i < 2:
            h = h.clamp_min(0)
    assert network(x).shape == (4, 6, 3)
    torch.testing.assert_close(network(x), h)


def test_many_points_are_decoded_as_few_are() -> None:
    """Points that take more than one block, in either order in memory; and none at all."""
    x = features(3, 10, 1001).movedim(0, -1)
    for network in (Mlp(3, 2, 4, 1, seed=0).double(), Siren(3, 2, 4, 1, omega=3.0, seed=0).double()):
        rows = torch.stack([network(row) for row in x])
        torch.testing.assert_close(network(x), rows)
        torch.testing.assert_close(network(x.contiguous()), rows)
        assert network(x[:0]).shape == (0, 1001, 2)


def test_siren_layer_by_layer() -> None:
    network = Siren(3, 2, 6, 3, omega=30.0, seed=0).double()
    h = x = features(4, 5, 3)
    for i, layer in enumerate(network.layers):
        h = torch.einsum("oi,...i->...o", layer.weight, h) + layer.bias
        h = (30 * h).sin() if i < 3 else h
    assert network(x).shape == (4, 5, 2)
    torch.testing.assert_close(network(x), h)


@pytest.mark.parametrize("network", [Mlp(3, 2, 6, 2, seed=1), Siren(3, 2, 6, 2, omega=5.0, seed=1)])
def test_gradients(network: Mlp | Siren) -> None:
    network = network.double()
    # gradcheck moves the weights themselves, number by number.
    assert torch.autograd.gradcheck(lambda x, *_: network(x), (features(4, 3).requires_grad_(), *network.parameters()))


def test_mlp_weights_keep_the_variance() -> None:
    """He's uniform weights: within sqrt(6 / n) before a ReLU, sqrt(3 / n) before the output; zero biases."""
    network = Mlp(400, 300, 500, 2, seed=0)
    for layer, bound in zip(network.layers, [(6 / 400) ** 0.5, (6 / 500) ** 0.5, (3 / 500) ** 0.5], strict=True):
        assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.01)
        assert not layer.bias.any()
    assert float(network(features(200, 400).float()).detach().std()) == pytest.approx(1, rel=0.1)


def test_siren_weights_are_those_published() -> None:
    network = Siren(40, 30, 500, 2, omega=30.0, seed=0)
    bounds = [1 / 40, (6 / 500) ** 0.5 / 30, (6 / 500) ** 0.5 / 30]
    for layer, bound, inputs in zip(network.layers, bounds, [40, 500, 500], strict=True):
        assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert 0.9 * inputs**-0.5 < float(layer.bias.detach().abs().max()) <= inputs**-0.5


@pytest.mark.parametrize("make", [lambda seed: Mlp(4, 2, 8, 2, seed=seed), lambda seed: Siren(4, 2, 8, 2, 30.0, seed)])
def test_weights_are_the_seed_s_alone(make: Callable[[int], Mlp | Siren]) -> None:
    state = torch.get_rng_state()
    first, again, other = make(0), make(0), make(1)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_parameters_counted_by_hand() -> None:
    """STINR decodes 16 levels of 2 features with 5 x 128; DA-INR's deformation has five linear layers, no bias."""
    assert count_parameters(Mlp(32, 2, 128, 5, seed=0)) == (32 * 128 + 128) + 4 * (128 * 128 + 128) + (128 * 2 + 2)
    assert count_parameters(Mlp(55, 2, 128, 4, bias=False, seed=0)) == 55 * 128 + 3 * 128 * 128 + 128 * 2
    network = Siren(512, 2, 512, 8, omega=30.0, seed=0)
    assert count_parameters(network) == 8 * (512 * 512 + 512) + 512 * 2 + 2
    network.layers[0].requires_grad_(False)
    assert count_parameters(network) == 7 * (512 * 512 + 512) + 512 * 2 + 2


def test_bad_arguments() -> None:
    with pytest.raises(ParameterError, match="network 4 -> 0 x 8 -> 2; expected sizes of at least 1"):
        Mlp(4, 2, 8, 0, seed=0)
    with pytest.raises(ParameterError, match="network 4 -> 2 x 0 -> 2; expected sizes of at least 1"):
        Siren(4, 2, 0, 2, omega=30.0, seed=0)
    with pytest.raises(ParameterError, match=r"omega 0\.0; expected a positive frequency"):
        Siren(4, 2, 8, 2, omega=0.0, seed=0)
