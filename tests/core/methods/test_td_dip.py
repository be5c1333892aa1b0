"""TD-DIP: what was published, by hand; its images of a small beating heart; and what it does with little data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.networks import count_parameters
from inr_core.methods import get_method, get_preset, td_dip
from inr_core.methods.live import RefinedSeries
from inr_core.methods.td_dip import TdDipMethod, make_field
from inr_core.parameters import parse
from inr_core.parameters.td_dip import TdDipParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import ToeplitzL2
from inr_core.solvers.training import train
from oracles import explicit_dft
from radial import RadialScan, cine_scan, error, gridded, refined_series, slice_data

CPU = torch.device("cpu")
SMALL = {"channels": 6, "upsamplings": 2, "training_steps": 4}


def refined(scan: RadialScan, **values: Any) -> RefinedSeries:
    return refined_series("td_dip", scan, TdDipParameters(**(SMALL | values)))


# -- what was published -------------------------------------------------------------------------------------------


def test_the_published_network_and_its_training() -> None:
    paper = parse(TdDipParameters, get_preset(get_method("td_dip"), "paper"), "td_dip")
    assert count_parameters(make_field((128, 128), 23, paper)) == 1_368_000
    assert (paper.frames_per_step, paper.training_steps, paper.held_out) == (1, 10000, 0.0)
    assert (paper.data_term, paper.learning_rate, paper.beta2, paper.schedule) == (
        "ramp_backward",
        1e-3,
        0.999,
        "halved",
    )


def test_the_published_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    class Watched(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            rates.extend(group["lr"] for group in self.param_groups)
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    refined(cine_scan(frames=2, matrix=(12, 10)), schedule="halved", learning_rate=1e-3, training_steps=10)
    assert rates == [1e-3] * 2 + [5e-4] * 2 + [2.5e-4] * 2 + [1.25e-4] * 2 + [6.25e-5] * 2


def test_the_published_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The squares of real and imaginary part, each a mean over the samples of all coils of one frame."""
    found: list[float] = []

    def watched(losses: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(float(losses(0)["data consistency"].detach()))
        return train(losses, *args, **kwargs)

    monkeypatch.setattr(td_dip, "train", watched)
    data = slice_data(cine_scan(frames=1, coils=3, matrix=(12, 10)), TdDipParameters())
    parameters = TdDipParameters(**(SMALL | {"data_term": "ramp_backward", "training_steps": 0}))  # type: ignore[arg-type]
    images = TdDipMethod(data.shape, parameters, CPU).solve(data, Control()).images
    kspace, traj = data.samples[0]
    residual = (explicit_dft(images[:, None] * data.csm, traj[None])[0] - kspace) / kspace.abs().max()
    assert found[0] == pytest.approx(float((residual.real**2).mean() + (residual.imag**2).mean()), rel=1e-3)


# -- what it makes of a small scan --------------------------------------------------------------------------------


@pytest.mark.parametrize("data_term", ["weighted_l2", "ramp_backward"])
def test_its_series_beats_gridding(data_term: str) -> None:
    scan = cine_scan()
    series = refined(scan, channels=16, training_steps=120, data_term=data_term)
    assert (series.failure, series.steps) == (None, 120)
    assert error(series.images, scan.truth) < 0.6 * error(gridded(), scan.truth)


def test_several_frames_a_step_and_no_more_than_there_are() -> None:
    scan = cine_scan(frames=3, matrix=(12, 10))
    one, all_of_them, many = (refined(scan, frames_per_step=n).images for n in (1, 3, 64))
    assert not torch.equal(one, all_of_them)
    assert torch.equal(all_of_them, many)


def test_held_out_spokes_end_the_training() -> None:
    scan = cine_scan(frames=6, matrix=(12, 10), sigma=0.5)
    series = refined(scan, training_steps=3000, learning_rate=1e-2, held_out=0.2, patience=3)
    assert 3 * 6 < series.steps < 1200
    assert series.steps % 6 == 0
    assert bool(torch.isfinite(series.images.abs()).all())


# -- what ends it before its time -----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_keeps_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = ToeplitzL2.__call__

    def spoilt(self: ToeplitzL2, images: Tensor, positions: Tensor) -> Tensor:
        calls.append(1)
        return original(self, images, positions) * (float("nan") if len(calls) == 3 else 1.0)

    scan = cine_scan(frames=4, matrix=(12, 10))
    good = refined(scan, training_steps=2, schedule="halved", learning_rate=1e-3).images
    monkeypatch.setattr(ToeplitzL2, "__call__", spoilt)
    series = refined(scan, training_steps=4, schedule="halved", learning_rate=1e-3)
    assert str(series.failure).startswith("data consistency not finite at step 3; expected a finite loss; lower")
    assert series.steps == 2
    assert series.images.shape == good.shape
    assert bool(torch.isfinite(series.images.abs()).all())


def test_unknown_data_terms_and_schedules_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^td_dip.data_term = 'l1'; expected one of weighted_l2, ramp_backward$"):
        parse(TdDipParameters, {"data_term": "l1"}, "td_dip")
    with pytest.raises(ParameterError, match=r"^td_dip.schedule = 'flat'; expected one of cosine, halved$"):
        parse(TdDipParameters, {"schedule": "flat"}, "td_dip")
