"""Series of few components: the cubic through the codes, the network's images, and both between frames and pixels."""

from __future__ import annotations

import pytest
import torch

from inr_core.errors import ParameterError
from inr_core.fields.networks import count_parameters
from inr_core.fields.subspace_field import SubspaceField, cubic_weights


def codes(frames: int = 5, rank: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, rank, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def made(shape: tuple[int, int] = (20, 14), frames: int = 5, seed: int = 0) -> SubspaceField:
    field = SubspaceField(shape, codes(frames), features=2, hidden=8, layers=2, seed=seed)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in field.grid.tables:
            table.copy_(torch.randn(table.shape, generator=generator))
    return field


@pytest.mark.parametrize(("frames", "degree"), [(2, 1), (3, 1), (5, 1), (7, 1), (9, 2)])
def test_the_cubic_keeps_lines_everywhere_and_parabolas_inside(frames: int, degree: int) -> None:
    first, last = (0.0, frames - 1.0) if degree == 1 else (1.0, frames - 2.0)
    times = torch.linspace(first, last, 41, dtype=torch.float64)
    nodes = torch.arange(frames, dtype=torch.float64)
    for power in range(degree + 1):
        torch.testing.assert_close(cubic_weights(times, frames) @ nodes**power, times**power, rtol=0, atol=1e-12)


def test_the_cubic_is_that_of_keys() -> None:
    expected = torch.tensor([[0, -9, 111, 29, -3]], dtype=torch.float64) / 128
    torch.testing.assert_close(cubic_weights(torch.tensor([2.25]), 5), expected)
    # Beside the first frame lies the line through the first two.
    expected = torch.tensor([[5 / 8 - 2 / 16, 9 / 16 + 1 / 16 - 1 / 16, -1 / 16]], dtype=torch.float64)
    expected[0, 0], expected[0, 1] = 9 / 16 - 2 / 16, 9 / 16 + 1 / 16
    torch.testing.assert_close(cubic_weights(torch.tensor([0.5]), 3), expected)


def test_at_the_frames_are_the_codes() -> None:
    field = made()
    torch.testing.assert_close(field.temporal(torch.arange(5)), codes())
    assert torch.equal(cubic_weights(torch.tensor([0.0, 0.5]), 1), torch.ones(2, 1, dtype=torch.float64))


def test_images_are_the_sums_of_products() -> None:
    field, times = made(), torch.tensor([0.0, 1.25, 4.0])
    images = field(times)
    spatial, temporal = field.spatial(), field.temporal(times)
    assert (images.shape, images.dtype) == ((3, 20, 14), torch.complex64)
    expected = sum(temporal[:, k, None, None] * spatial[k] for k in range(3))
    torch.testing.assert_close(images, expected)


@pytest.mark.parametrize("shape", [(20, 14), (9, 31), (8, 8)])
def test_its_channels_are_those_of_scattered_points(shape: tuple[int, int]) -> None:
    field = made(shape)
    y, x = torch.meshgrid(*(torch.arange(n) / (n - 1) for n in shape), indexing="ij")
    channels = field.mlp(field.grid(torch.stack([y.flatten(), x.flatten()], 1)))
    expected = torch.complex(channels[:, :3], channels[:, 3:]).T.reshape(3, *shape)
    torch.testing.assert_close(field.spatial(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 14), (13, 22), (21, 7)])
def test_a_finer_matrix_agrees_with_the_measured_pixels(shape: tuple[int, int]) -> None:
    field = made(shape)
    finer = field.spatial((2 * shape[0], 2 * shape[1]))
    starts = [(2 * n) // 2 - 2 * (n // 2) for n in shape]
    inside = finer[:, starts[0] :: 2, starts[1] :: 2]
    torch.testing.assert_close(inside, field.spatial(), rtol=1e-3, atol=1e-4)


def test_numbers_of_weights() -> None:
    """Levels of 8 x 8, 16 x 13 and 19 x 13 cells of 2 features; 6 -> 8 -> 8 -> 6 channels; 5 x 3 complex codes."""
    field = made()
    assert [level.resolution for level in field.grid.levels] == [(8, 8), (16, 13), (19, 13)]
    assert {level.kind for level in field.grid.levels} == {"dense"}
    grid, decoder = 2 * (9 * 9 + 17 * 14 + 20 * 14), (6 * 8 + 8) + (8 * 8 + 8) + (8 * 6 + 6)
    assert count_parameters(field) == grid + decoder + 2 * 5 * 3 == 1410


@pytest.mark.parametrize(
    ("side", "finest", "levels"), [(128, 127, 5), (129, 128, 5), (130, 129, 6), (5, 4, 1), (1, 1, 1)]
)
def test_the_finest_level_has_a_node_on_every_pixel(side: int, finest: int, levels: int) -> None:
    field = SubspaceField((side, side), codes(), features=1, hidden=2, layers=1, seed=0)
    assert field.grid.levels[-1].resolution == (finest, finest)
    assert len(field.grid.levels) == levels
    assert field.spatial().shape == (3, side, side)


def test_the_seed_decides_the_weights() -> None:
    one, again, other = (SubspaceField((9, 8), codes(), features=2, hidden=4, layers=1, seed=s) for s in (3, 3, 4))
    assert torch.equal(one.spatial(), again.spatial())
    assert not torch.equal(one.spatial(), other.spatial())


def test_codes_that_are_none_are_refused() -> None:
    for wrong in (torch.ones(5, 3), torch.ones(5, dtype=torch.complex64), torch.ones(0, 3, dtype=torch.complex64)):
        with pytest.raises(ParameterError, match=r"^codes of shape .*; expected complex \(frames, components\)$"):
            SubspaceField((9, 8), wrong, features=1, hidden=2, layers=1, seed=0)
