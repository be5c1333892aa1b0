"""STINR and HashINR: the published network and losses by hand-computed numbers, and what they make of a small scan."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.networks import count_parameters
from inr_core.methods import get_method, get_preset
from inr_core.methods.live import RefinedSeries
from inr_core.methods.stinr import HashInrMethod, SpaceTimeField, StinrMethod, space_time_levels
from inr_core.parameters import parse
from inr_core.parameters.stinr import HashInrParameters, StinrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import train
from oracles import explicit_dft
from radial import RadialScan, cine_scan, error, gridded, refined_series, slice_data

CPU = torch.device("cpu")
NAMES = ("stinr", "hash_inr")


def parameters(name: str, preset: str = "", **values: Any) -> Any:
    method = get_method(name)
    return parse(method.parameter_type, {**get_preset(method, preset), **values}, name)


def refined(scan: RadialScan, name: str = "stinr", **values: Any) -> RefinedSeries:
    return refined_series(name, scan, parameters(name, **values))


# -- what was published -------------------------------------------------------------------------------------------


def test_the_published_levels_and_the_size_of_their_tables() -> None:
    paper = parameters("stinr", "paper")
    levels = space_time_levels((128, 128), 23, paper)
    assert levels == [(16 * 2**i,) * 3 for i in range(16)]
    rows = [min((n + 1) ** 3, 2**24) for n, _, _ in levels]
    assert rows[:5] == [4913, 35937, 274625, 2146689, 2**24]
    # Two features of four dense levels and twelve hashed ones: 408 million numbers, 1.6 GB.
    assert 2 * sum(rows) == 2 * (2462164 + 12 * 2**24) == 407577512


def test_the_published_network_with_smaller_tables() -> None:
    field = SpaceTimeField((12, 10), 5, parameters("stinr", "paper", table_log2=10))
    assert field.grid.n_out == 32
    assert count_parameters(field.mlp) == 32 * 128 + 4 * 128 * 128 + 128 * 2 == 69888
    assert count_parameters(field.grid) == 16 * 2 * 1024
    assert all(layer.bias is None for layer in field.mlp.layers)


def test_published_coordinates_are_pixel_centres_and_time_has_the_same_steps() -> None:
    field = SpaceTimeField((12, 10), 5, parameters("stinr", "paper", table_log2=8, levels=2))
    asked: list[list[Tensor]] = []
    lattice = field.grid.lattice
    field.grid.lattice = lambda axes: (asked.append(list(axes)), lattice(axes))[1]  # type: ignore[method-assign]
    field(torch.tensor([0.0, 3.5]))
    t, y, x = asked[0]
    torch.testing.assert_close(t, torch.tensor([0.5, 4.0]) / 12)
    torch.testing.assert_close(y, (torch.arange(12) + 0.5) / 12)
    torch.testing.assert_close(x, (torch.arange(10) + 0.5) / 12)
    field(torch.zeros(1), (24, 20))
    assert asked[1][1].tolist() == pytest.approx([(i / 2 + 0.5) / 12 for i in range(24)])
    assert SpaceTimeField((4, 3), 40, parameters("stinr", "paper", table_log2=8)).n_frames == 40


def test_frames_beyond_the_number_of_pixels_are_not_all_the_same() -> None:
    field = SpaceTimeField((4, 3), 40, parameters("stinr", "paper", table_log2=8, levels=3))
    with torch.no_grad():
        images = field(torch.tensor([30.0, 39.0]))
    assert not torch.equal(images[0], images[1])


def test_the_published_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    data = slice_data(cine_scan(frames=3, matrix=(12, 10)), HashInrParameters())
    method = StinrMethod(data.shape, parameters("stinr", "paper", table_log2=8, levels=2, passes=1), CPU)
    found = terms_of_first_step(method, data, monkeypatch)
    images = SpaceTimeField(data.shape, 3, method.parameters)
    images.grid.active_levels = 1
    with torch.no_grad():
        x = images(torch.arange(3.0))
    residuals = []
    for frame, (kspace, traj) in zip(x, data.samples, strict=True):
        predicted = torch.view_as_real(explicit_frame(frame, data.csm, traj))
        measured = torch.view_as_real(kspace / data.scale)
        residuals.append(((measured - predicted) ** 2 / (predicted**2 + 1e-4)).sum(-1).mean())
    assert found["data consistency"] == pytest.approx(float(torch.stack(residuals).mean()), rel=1e-3)
    step = x[1:] - x[:-1]
    variation = float((step.real.abs() + step.imag.abs()).sum()) / (3 * 120 * float(x.abs().max()))
    assert found["total variation"] == pytest.approx(0.02 * variation, rel=1e-4)
    nuclear = float(torch.linalg.svdvals(x.flatten(1)).sum())
    assert found["low rank"] == pytest.approx(2e-4 * nuclear / 3, rel=1e-2)
    hash_inr = HashInrMethod(data.shape, parameters("hash_inr", "paper", table_log2=8, levels=2, passes=1), CPU)
    assert terms_of_first_step(hash_inr, data, monkeypatch) == {"data consistency": found["data consistency"]}


def test_the_published_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    data = slice_data(cine_scan(frames=3, matrix=(12, 10)), HashInrParameters())
    method = StinrMethod(data.shape, parameters("stinr", "paper", table_log2=8, passes=32), CPU)
    rates: list[tuple[float, ...]] = []
    active: list[int] = []
    made: list[torch.optim.Adam] = []

    class Watched(torch.optim.Adam):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

        def step(self, closure: Any = None) -> Any:
            rates.append(tuple(group["lr"] for group in self.param_groups))
            active.append(sum(w.grad is not None for w in self.param_groups[0]["params"]))
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    assert method.solve(data, Control()).steps == 32
    assert rates == [(1e-3, 1e-3)] * 16 + [(5e-4, 5e-4)] * 16
    assert active == [1 + step // 2 for step in range(32)]
    assert [group["weight_decay"] for group in made[0].param_groups] == [0.0, 1e-6]
    assert made[0].param_groups[0]["betas"] == (0.9, 0.999)
    assert made[0].param_groups[0]["eps"] == 1e-8


# -- what is the default ------------------------------------------------------------------------------------------


def test_capped_levels_end_at_pixels_and_frames() -> None:
    defaults = parameters("stinr")
    assert space_time_levels((128, 128), 23, defaults) == [
        (3, 8, 8),
        (6, 16, 16),
        (12, 32, 32),
        (22, 64, 64),
        (22, 127, 127),
    ]
    # Cells in time last as long in a scan of ten times as many frames.
    assert space_time_levels((128, 96), 230, defaults)[:2] == [(29, 8, 8), (58, 16, 16)]
    assert space_time_levels((128, 96), 230, defaults)[-1] == (229, 127, 95)
    assert space_time_levels((1, 3), 1, defaults) == [(1, 1, 2)]
    # Without a regularisation the prior is all in the grid.
    coarse = [(1, 8, 8), (2, 16, 16), (4, 32, 32), (8, 64, 64)]
    assert space_time_levels((128, 128), 23, parameters("hash_inr")) == coarse


def test_images_are_linear_between_frames_and_pixels_of_the_finest_level() -> None:
    field = SpaceTimeField((5, 7), 4, parameters("stinr", coarsest=6, levels=1, coarsest_frames=1.0))
    assert field.grid.levels[0].resolution == (3, 4, 6)
    with torch.no_grad():
        field.grid.tables[0].fill_(0.0)
        field.grid.tables[0][0] = torch.arange(4 * 5 * 7, dtype=torch.float32)
        # Positive features: the decoder is linear in them, and so is the image.
        times = torch.tensor([0.0, 1.25, 3.0])
        coarse, fine = field(times), field(times, (10, 14))
    ramp = times[:, None, None] * 35 + torch.arange(5)[:, None] * 7 + torch.arange(7)
    unit = coarse[2, 4, 6] / ramp[2, 4, 6]
    torch.testing.assert_close(coarse, unit * ramp, rtol=1e-3, atol=1e-3)
    # Pixel n // 2 is the centre of both; 5 pixels have their centre at 2, 10 at 5.
    y, x = (torch.arange(10) - 5) / 2 + 2, (torch.arange(14) - 7) / 2 + 3
    inside = times[:, None, None] * 35 + y.clamp(0, 4)[:, None] * 7 + x.clamp(0, 6)
    torch.testing.assert_close(fine, unit * inside, rtol=1e-3, atol=1e-3)


def test_series_are_better_than_gridding() -> None:
    scan = cine_scan()
    errors = {name: error(refined(scan, name, passes=20).images, scan.truth) for name in NAMES}
    assert errors["stinr"] < 0.3 * error(gridded(), scan.truth)
    assert errors["stinr"] < errors["hash_inr"] < 0.6 * error(gridded(), scan.truth)


def test_a_loss_that_is_not_finite_ends_with_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, calls = cine_scan(frames=3, matrix=(12, 10)), [0]
    before = refined(scan, passes=2)

    def broken(self: StinrMethod, images: Tensor) -> dict[str, Tensor]:
        calls[0] += 1
        return {"total variation": images.abs().sum() * (math.nan if calls[0] == 3 else 0.0)}

    monkeypatch.setattr(StinrMethod, "regularisation", broken)
    series = refined(scan, passes=4)
    assert series.steps == 2
    assert str(series.failure).startswith("total variation not finite at step 3; expected a finite loss; lower")
    assert bool(torch.isfinite(series.images.abs()).all())
    assert series.images.shape == before.images.shape


def test_weights_belong_to_stinr_only() -> None:
    assert set(vars(StinrParameters())) - set(vars(HashInrParameters())) == {"temporal_tv", "tv_least", "low_rank"}
    message = r"^hash_inr has no parameter 'temporal_tv'; expected one of "
    with pytest.raises(ParameterError, match=message):
        parameters("hash_inr", temporal_tv=0.1)
    with pytest.raises(ParameterError, match=r"^stinr.data_term = 'l3'; expected one of weighted_l2, relative_l2$"):
        parse(StinrParameters, {"data_term": "l3"}, "stinr")
    assert len(get_method("stinr").presets) == len(get_method("hash_inr").presets) == 1


# -- helpers --------------------------------------------------------------------------------------------------------


def terms_of_first_step(method: HashInrMethod, data: SliceData, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    found: list[dict[str, float]] = []

    def watched(losses: Any, *args: Any, **kwargs: Any) -> Any:
        found.append({name: float(term.detach()) for name, term in losses(0).items()})
        return train(losses, *args, **kwargs)

    monkeypatch.setattr("inr_core.methods.stinr.train", watched)
    method.solve(data, Control())
    return found[0]


def explicit_frame(image: Tensor, csm: Tensor, traj: Tensor) -> Tensor:
    return explicit_dft((image * csm)[None], traj[None])[0]
