"""The Fourier-feature perceptron against its formula in float64, and the size of the published one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.fourier_mlp import FourierMlp
from inr_core.fields.networks import count_parameters

SIZES = {
    "space_features": 6,
    "time_features": 4,
    "space_frequency": 2.0,
    "time_frequency": 0.1,
    "width": 5,
    "n_hidden": 3,
    "seed": 7,
}


def made(shape: tuple[int, int] = (7, 4), **changed: float) -> FourierMlp:
    return FourierMlp(shape, **(SIZES | changed))  # type: ignore[arg-type]


def explicit(net: FourierMlp, y: float, x: float, time: float) -> complex:
    """One point: sqrt 2 (cos, sin) of both maps, N(relu(W h + b)) layer by layer, and a linear output."""

    def waves(frequencies: Tensor, point: list[float]) -> Tensor:
        angles = 2 * math.pi * frequencies.double() @ torch.tensor(point, dtype=torch.float64)
        return math.sqrt(2) * torch.cat([angles.cos(), angles.sin()])

    def normal(h: Tensor) -> Tensor:
        h = h.clamp_min(0)
        return (h - h.mean()) / (h.var(unbiased=False) + 1e-5).sqrt()

    with torch.no_grad():
        h = net.of_space.weight.double() @ waves(net.space.frequencies, [y, x])
        h = normal(h + net.of_time.weight.double() @ waves(net.time.frequencies, [time]) + net.of_time.bias.double())
        for layer in net.hidden:
            h = normal(layer.weight.double() @ h + layer.bias.double())
        re, im = net.out.weight.double() @ h + net.out.bias.double()
    return complex(re, im)


def test_every_pixel_is_the_formula() -> None:
    net = made()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(30).add_(0.1)
        images = net(torch.tensor([0.0, 2.5]))
    assert images.shape == (2, 7, 4)
    for n, time in enumerate([0.0, 2.5]):
        for i, j in [(0, 0), (3, 2), (6, 3), (2, 1)]:
            wanted = explicit(net, (i - 3) / 7, (j - 2) / 7, time)
            assert complex(images[n, i, j]) == pytest.approx(wanted, rel=1e-4)


def test_a_finer_image_is_of_the_same_field_of_view() -> None:
    net = made()
    with torch.no_grad():
        measured, fine = net(torch.tensor([1.0])), net(torch.tensor([1.0]), (14, 12))
    assert fine.shape == (1, 14, 12)
    torch.testing.assert_close(fine[:, 1::2, ::3], measured, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(
        complex(fine[0, 0, 7]), explicit(net, (-3.5) / 7, (1 / 3) / 7, 1.0), rtol=1e-3, atol=1e-6
    )


def test_the_published_network_by_hand() -> None:
    net = made(space_features=512, time_features=128, width=512, n_hidden=7)
    assert count_parameters(net) == (512 + 128) * 512 + 512 + 6 * (512 * 512 + 512) + 2 * 512 + 2
    for layer in (net.of_space, net.of_time, *net.hidden, net.out):
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(net.of_time.bias.detach().std()) == pytest.approx(1e-6, rel=0.2)
    assert net.space.frequencies.shape == (256, 2)
    assert net.time.frequencies.shape == (64, 1)
    assert float(net.space.frequencies.std()) == pytest.approx(2.0, rel=0.1)
    assert float(net.time.frequencies.std()) == pytest.approx(0.1, rel=0.2)


def test_initial_values_follow_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = made()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again, other = made(), made(seed=8)
    assert torch.equal(state, torch.manual_seed(1).get_state())
    for (name, a), b, c in zip(
        first.state_dict().items(), again.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
        assert not torch.equal(a, c), name


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^a network 3 x 0 of \(7, 4\) pixels; expected sizes of at least 1$"):
        made(width=0)
