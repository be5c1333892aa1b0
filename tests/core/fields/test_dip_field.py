"""The generator of TD-DIP: its helix and network by hand, and layer by layer against torch's own modules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from inr_core.errors import ParameterError
from inr_core.fields.dip_field import DipField, helix
from inr_core.fields.networks import count_parameters


def field(shape: tuple[int, int] = (12, 10), n_frames: int = 5, **values: int) -> DipField:
    return DipField(shape, n_frames, **({"cycles": 1.0, "channels": 3, "n_upsamplings": 2, "seed": 0} | values))  # type: ignore[arg-type]


def test_the_published_network_has_1_368_000_parameters() -> None:
    net = field((128, 128), 23, channels=128, n_upsamplings=4)
    mapping = 3 * 512 + 512 + 512 * 64 + 64
    convolutions = 9 * (1 * 128 + 9 * 128 * 128 + 128 * 2)
    normalisations = 10 * 2 * 128
    assert net.latent_shape == (8, 8)
    assert count_parameters(net.mapping) == mapping == 34_880
    assert count_parameters(net) == mapping + convolutions + normalisations == 1_368_000


def test_points_of_the_helix() -> None:
    half = math.sqrt(0.5)
    expected = [[1, 0, 0], [half, half, 0.25], [0, 1, 0.5], [-half, half, 0.75], [-1, 0, 1]]
    torch.testing.assert_close(helix(torch.arange(5.0), 5, 0.5), torch.tensor(expected), atol=1e-6, rtol=0)
    two_turns = helix(torch.tensor([0.0, 2.0, 4.0]), 5, 2.0)
    torch.testing.assert_close(two_turns[:, :2], torch.tensor([[1.0, 0.0]] * 3), atol=1e-6, rtol=0)
    assert helix(torch.zeros(1), 1, 3.0).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("shape", "n_upsamplings", "latent", "top", "left"),
    [((12, 10), 2, (3, 3), 0, 1), ((13, 8), 1, (7, 4), 0, 0), ((5, 11), 2, (2, 3), 1, 0), ((1, 1), 1, (2, 2), 1, 1)],
)
def test_the_images_are_those_of_torchs_modules_with_a_batch_of_one_frame(
    shape: tuple[int, int], n_upsamplings: int, latent: tuple[int, int], top: int, left: int
) -> None:
    net = field(shape, n_upsamplings=n_upsamplings, seed=3)
    perturb_normalisations(net)
    assert net.latent_shape == latent
    with torch.no_grad():
        images = net(torch.tensor([0, 3]))
        for image, frame in zip(images, (0, 3), strict=True):
            made = explicit(net, frame)[:, top : top + shape[0], left : left + shape[1]]
            torch.testing.assert_close(image, torch.complex(made[0], made[1]).to(image), rtol=1e-4, atol=1e-5)
    assert images.shape == (2, *shape)


def test_an_image_does_not_depend_on_those_made_with_it() -> None:
    net = field()
    with torch.no_grad():
        together, alone, other = net(torch.arange(5))[2], net(torch.tensor([2]))[0], net(torch.tensor([3]))[0]
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together, other, rtol=1e-3)


def test_weights_are_uniform_within_the_root_of_their_inputs_and_the_seeds_own() -> None:
    net = field((128, 128), channels=16, n_upsamplings=4)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            largest = float(module.weight.detach().abs().max())
            assert 0.95 * bound < largest <= bound
            assert float(module.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.15)
    state = torch.random.get_rng_state()
    same, other = field((128, 128), channels=16, n_upsamplings=4), field(seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))
    assert not torch.equal(other.last.weight, field().last.weight)


@pytest.mark.parametrize("values", [{"n_frames": 0}, {"channels": 0}, {"n_upsamplings": 0}])
def test_sizes_below_one_are_refused(values: dict[str, int]) -> None:
    n_frames, channels, n_upsamplings = (
        ({"n_frames": 5, "channels": 3, "n_upsamplings": 2} | values)[name]
        for name in ("n_frames", "channels", "n_upsamplings")
    )
    message = rf"^{n_frames} frames of {channels} channels, {n_upsamplings} upsamplings; expected at least 1 of each$"
    with pytest.raises(ParameterError, match=message):
        field(**values)


def perturb_normalisations(net: DipField) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(("gain", "offset")):
                weight += 0.3 * torch.randn(weight.shape, generator=generator)


def explicit(net: DipField, frame: int) -> Tensor:
    """(2, ny, nx) before it is cropped, by the modules that were published, in float64."""
    first, second = net.mapping.layers
    point = helix(torch.tensor([float(frame)], dtype=torch.float64), net.n_frames, net.cycles)
    hidden = torch.relu(point @ first.get_parameter("weight").double().T + first.get_parameter("bias").double())
    latent = hidden @ second.get_parameter("weight").double().T + second.get_parameter("bias").double()
    layers: list[nn.Module] = []
    for i, stage in enumerate(net.stages):
        layers += [nn.Upsample(scale_factor=2, mode="nearest")] if i > 0 else []
        for block in stage.children():
            weight = block.get_parameter("conv.weight")
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(len(weight))
            conv.weight.data, norm.weight.data = weight.data, block.get_parameter("gain").data
            norm.bias.data = block.get_parameter("offset").data
            layers += [conv, norm, nn.ReLU()]
    last = nn.Conv2d(net.last.weight.shape[1], 2, 3, padding=1, bias=False)
    last.weight.data = net.last.weight.data
    made: Tensor = nn.Sequential(*layers, last).double()(latent.reshape(1, 1, *net.latent_shape))
    return made[0]
