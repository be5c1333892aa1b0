"""The deformed field: displacements of known size, contrast, finer images, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inr_core.fields.deformed_field import DeformedField, FrequencyDeformation, GridDeformation
from inr_core.fields.encodings import FrequencyEncoding
from inr_core.fields.multires_grid import MultiresGrid
from inr_core.fields.networks import Mlp

SHAPE, FRAMES = (9, 12), 5


class Shift(torch.nn.Module):
    """A displacement that is the same everywhere, in pixels."""

    def __init__(self, y: float, x: float) -> None:
        super().__init__()
        self.shift = torch.tensor([y / SHAPE[0], x / SHAPE[1]])

    def forward(self, t: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        return self.shift.expand(len(t), len(ys), len(xs), 2)


class Sum(torch.nn.Module):
    """A decoder: the sum of all features as the real part, the last one as the imaginary part."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([features.sum(-1), features[..., -1]], -1)


def time() -> FrequencyEncoding:
    return FrequencyEncoding(1, 2, include_input=True, multiplier=1.0)


def position() -> FrequencyEncoding:
    return FrequencyEncoding(2, 3, include_input=False, multiplier=math.pi)


def ramp_grid() -> MultiresGrid:
    """The feature at (y, x) is 9 y + 100 x: at a pixel's centre i + 1/2 and so on."""
    grid = MultiresGrid([SHAPE], 1, 2**10, overflow="hash", seed=0)
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(13.0), indexing="ij")
    with torch.no_grad():
        grid.tables[0][0] = (y + 100 * x / 12).flatten()
    return grid


def field(y: float = 0.0, x: float = 0.0, **extra: object) -> DeformedField:
    return DeformedField(SHAPE, FRAMES, Shift(y, x), ramp_grid(), Sum(), **extra)  # type: ignore[arg-type]


def grid_deformation(**change: int) -> GridDeformation:
    sizes = {"n_features": 4, "width": 16, "n_hidden": 1, "seed": 3, **change}
    return GridDeformation([(2, 2, 3), (4, 4, 6)], pixel=(1 / 9, 1 / 12), **sizes)


def frequency_deformation() -> FrequencyDeformation:
    return FrequencyDeformation(position(), time(), 8, 2, bias=True, seed=3)


def test_an_image_is_the_canonical_one_where_its_points_come_from() -> None:
    images, displacement = field(2.0, 0.0)(torch.tensor([0.0, 3.5]))
    assert images.shape == (2, *SHAPE)
    assert images.dtype == torch.complex64
    rows, columns = torch.arange(9) + 0.5, torch.arange(12) + 0.5
    wanted = (rows + 2).clamp_max(9)[:, None] + 100 * columns / 12
    torch.testing.assert_close(images.real, wanted.expand(2, -1, -1), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(displacement[1, 4, 5], torch.tensor([2 / 9, 0.0]))


def test_finer_images_share_the_field_of_view() -> None:
    made = field()
    fine, _ = made(torch.tensor([1.0]), (18, 24))
    # Pixel n // 2 is the centre of both grids: 18 pixels about 9, 9 about 4.
    rows = (torch.arange(18) - 9) / 2 + 4.5
    columns = (torch.arange(24) - 12) / 2 + 6.5
    wanted = rows.clamp(0, 9)[:, None] + 100 * columns.clamp(0, 12) / 12
    torch.testing.assert_close(fine[0].real, wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(fine[0, 1::2, ::2], made(torch.tensor([1.0]))[0][0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(made.render(torch.tensor([1.0]), (18, 24)), fine)


def test_contrast_changes_only_with_time_features() -> None:
    times = torch.tensor([0.0, 2.0])
    first, second = field()(times)[0]
    assert torch.equal(first, second)
    first, second = field(time=time())(times)[0]
    t = [0.1, 0.5]
    encoded = [sum([s, math.sin(s), math.cos(s), math.sin(2 * s), math.cos(2 * s)]) for s in t]
    torch.testing.assert_close((second - first).real, torch.full(SHAPE, encoded[1] - encoded[0]), rtol=1e-3, atol=1e-4)


def test_all_features_reach_the_decoder() -> None:
    seen: list[Tensor] = []

    def sample(times: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        return times[:, None, None, None] + torch.zeros(len(times), len(ys), len(xs), 1)

    made = field(time=time(), position=position(), sample=sample)
    made.change = MultiresGrid([(4, 3, 3)], 2, 2**8, overflow="hash", seed=1)
    made.decoder.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    made(torch.tensor([3.0]))
    (features,) = seen
    assert features.shape == (1, *SHAPE, 1 + 5 + 12 + 2 + 1)
    y, x = 4.5 / 9, 7.5 / 12
    wanted = [math.sin(math.pi * y), math.sin(math.pi * x), math.cos(math.pi * y), math.cos(math.pi * x)]
    assert features[0, 4, 7, 6:10].tolist() == pytest.approx(wanted, abs=1e-5)
    assert features[0, 4, 7, -1].item() == 3.0


def test_a_canonical_image_looked_up_at_pixels_is_linear_between_them() -> None:
    times = torch.tensor([0.0, 3.0])
    exact, pixelwise = field(0.3, -0.7), field(0.3, -0.7, pixelwise=True)
    # The ramp is linear everywhere, so that both are the same but beyond the outermost pixels' centres.
    for shape in (SHAPE, (18, 24)):
        images, wanted = pixelwise(times, shape)[0], exact(times, shape)[0]
        torch.testing.assert_close(images[:, 2:-2, 2:-2], wanted[:, 2:-2, 2:-2], rtol=1e-5, atol=1e-4)
    corner = pixelwise(times)[0][0, 8, 0]
    torch.testing.assert_close(corner.real, torch.tensor(8.5 + 100 * 0.5 / 12), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("make", [grid_deformation, frequency_deformation])
def test_displacements_are_zero_at_first_and_learn(make: object) -> None:
    deformation = make()  # type: ignore[operator]
    axes = torch.tensor([0.1, 0.7]), torch.linspace(0.05, 0.95, 9), torch.linspace(0.04, 0.96, 12)
    assert not bool(deformation(*axes).any())
    optimiser = torch.optim.Adam(deformation.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (deformation(*axes) - torch.tensor([0.1, -0.05])).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 2e-4


def test_a_grid_s_displacement_is_in_pixels_and_linear_between_its_nodes() -> None:
    deformation = grid_deformation()
    with torch.no_grad():
        deformation.network.layers[-1].bias.copy_(torch.tensor([1.5, -2.0]))
    constant = deformation(torch.tensor([0.3]), torch.rand(4), torch.rand(5))
    torch.testing.assert_close(constant, torch.tensor([1.5 / 9, -2 / 12]).expand(1, 4, 5, 2))
    with torch.no_grad():
        deformation.network.layers[-1].weight.normal_(generator=torch.Generator().manual_seed(1))
        for table in deformation.grid.tables:
            table.mul_(100)
        nodes = deformation(torch.tensor([0.3]), torch.linspace(0, 1, 5), torch.linspace(0, 1, 7))[0]
        middles = deformation(torch.tensor([0.3]), torch.linspace(0, 1, 5), (torch.arange(6) + 0.5) / 6)[0]
    torch.testing.assert_close(middles, 0.5 * (nodes[:, 1:] + nodes[:, :-1]), rtol=1e-4, atol=1e-5)
    assert float(nodes.std()) > 0.01


def test_the_gradient_reaches_the_displacement() -> None:
    """A canonical image that is known, moved by 1.3 pixels: the displacement is found from the images alone."""
    deformation = grid_deformation()
    canonical = MultiresGrid([SHAPE], 1, 2**10, overflow="hash", seed=0)
    y, x = torch.meshgrid(torch.linspace(0, 1, 10), torch.linspace(0, 1, 13), indexing="ij")
    with torch.no_grad():
        canonical.tables[0][0] = ((2 * y).sin() + (3 * x).cos()).flatten()
    made = DeformedField(SHAPE, FRAMES, deformation, canonical, Sum())
    times = torch.arange(5.0)
    with torch.no_grad():
        target = DeformedField(SHAPE, FRAMES, Shift(0.8, -1.0), canonical, Sum())(times)[0]  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(deformation.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        images, displacement = made(times)
        (images - target).abs().square().mean().backward()
        optimiser.step()
    inner = displacement.detach()[:, 2:-2, 2:-2] * torch.tensor(SHAPE)
    torch.testing.assert_close(inner.mean((0, 1, 2)), torch.tensor([0.8, -1.0]), atol=0.1, rtol=0)


def test_a_decoder_of_a_network() -> None:
    made = DeformedField(SHAPE, FRAMES, frequency_deformation(), ramp_grid(), Mlp(6, 2, 8, 1, seed=0), time=time())
    images, _ = made(torch.arange(5.0))
    images.abs().sum().backward()
    grads = [w.grad for w in made.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads)
