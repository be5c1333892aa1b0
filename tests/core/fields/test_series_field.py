"""A field of two channels on the lattice of a series."""

from __future__ import annotations

import pytest
import torch

from inr_core.errors import ParameterError
from inr_core.fields.grid_field import LEVELS, Level
from inr_core.fields.networks import count_parameters
from inr_core.fields.series_field import SeriesField


def field(shape: tuple[int, int] = (9, 14), n_frames: int = 6, levels: tuple[Level, ...] = LEVELS) -> SeriesField:
    return SeriesField(shape, n_frames, levels, 4, 32, 2, seed=3)


def test_levels_end_on_the_first_and_last_pixel_and_frame() -> None:
    # Steps of 16, 8, 4, 2 and 1 pixels in 9 and 14 of them, of 8, 4, 2, 1 and 1 frames in 6.
    assert [level.resolution for level in field().grid.levels] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 4),
        (5, 4, 7),
        (5, 8, 13),
    ]
    assert {level.kind for level in field().grid.levels} == {"dense"}
    tiny = field((1, 1), 1)
    assert [level.resolution for level in tiny.grid.levels] == [(1, 1, 1)]


def test_the_number_of_parameters() -> None:
    nodes = 2 * 2 * 2 + 3 * 2 * 3 + 4 * 3 * 5 + 6 * 5 * 8 + 6 * 9 * 14
    decoder = (20 + 1) * 32 + (32 + 1) * 32 + (32 + 1) * 2
    assert count_parameters(field()) == 4 * nodes + decoder


def test_channels_are_parts_of_images_and_components_of_flows() -> None:
    made, times = field(), torch.tensor([0.0, 2.25, 5.0])
    channels = made(times)
    assert channels.shape == (3, 9, 14, 2)
    torch.testing.assert_close(torch.view_as_real(made.images(times)), channels)
    torch.testing.assert_close(made.flow(times), torch.stack([channels[..., 0], channels[..., 1]], 1))
    torch.testing.assert_close(made.render(times), made.images(times))


def test_finer_images_pass_through_the_measured_ones() -> None:
    made = field((8, 6))
    coarse, fine = made.render(torch.tensor([1.0, 2.0])), made.render(torch.arange(3) / 2 + 1, (16, 12))
    torch.testing.assert_close(fine[::2, ::2, ::2], coarse, rtol=1e-4, atol=1e-6)
    assert float((fine[1, ::2, ::2] - coarse[0]).abs().max()) > 0


def test_many_images_are_rendered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, times = field(), torch.arange(6.0)
    whole = made.render(times)
    monkeypatch.setattr("inr_core.fields.series_field._CHUNK_PIXELS", 9 * 14 * 4)
    torch.testing.assert_close(made.render(times), whole)


def test_the_seed_makes_it() -> None:
    state = torch.random.get_rng_state()
    first, second = field(), field()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_sizes_below_one() -> None:
    with pytest.raises(ParameterError, match=r"^a field of 6 frames \(0, 14\) on .*; expected sizes of at least 1$"):
        field((0, 14))
    with pytest.raises(ParameterError, match=r"a field of 6 frames \(9, 14\) on .*Level\(pixels=0, frames=1\)"):
        field(levels=(Level(0, 1),))
