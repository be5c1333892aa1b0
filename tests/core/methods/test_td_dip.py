"""TD-DIP: what was published, by hand; its images of a small beating heart; and what it does with little data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.devices import cuda_problem
from inr_core.errors import DataError, ParameterError
from inr_core.fields.networks import count_parameters
from inr_core.methods import get_method, get_preset, td_dip
from inr_core.methods.live import RefinedSeries
from inr_core.methods.td_dip import TdDipMethod, make_field
from inr_core.parameters import parse
from inr_core.parameters.td_dip import TdDipParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import ToeplitzL2
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.training import train
from oracles import explicit_dft
from radial import RadialScan, cine_scan, error, gridded, refined_series

CPU = torch.device("cpu")
SMALL = {"channels": 6, "upsamplings": 2, "training_steps": 4}


def refined(
    scan: RadialScan, device: torch.device = CPU, control: Control | None = None, **values: Any
) -> RefinedSeries:
    return refined_series("td_dip", scan, TdDipParameters(**(SMALL | values)), device=device, control=control)


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
    data = slice_data(cine_scan(frames=1, coils=3, matrix=(12, 10)))
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


def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not() -> None:
    scan = cine_scan(frames=4, matrix=(12, 10))
    first, again, other = (refined(scan, seed=seed, held_out=0.2).images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_held_out_spokes_end_the_training() -> None:
    scan = cine_scan(frames=6, matrix=(12, 10), sigma=0.5)
    series = refined(scan, training_steps=3000, learning_rate=1e-2, held_out=0.2, patience=3)
    assert 3 * 6 < series.steps < 1200
    assert series.steps % 6 == 0
    assert bool(torch.isfinite(series.images.abs()).all())


@pytest.mark.parametrize(
    "values", [{"frames": 1}, {"coils": 1}, {"matrix": (13, 9)}, {"frames": 2, "spokes": 1}], ids=str
)
@pytest.mark.parametrize("preset", ["", "paper"])
def test_little_data_is_enough(preset: str, values: dict[str, Any]) -> None:
    scan = cine_scan(**({"frames": 3, "matrix": (10, 12)} | values))
    series = refined(scan, **{**get_preset(get_method("td_dip"), preset), **SMALL})
    assert series.failure is None
    assert series.images.shape == scan.truth.shape
    assert series.images.dtype == torch.complex64
    assert bool(torch.isfinite(series.images.abs()).all())


def test_units_are_those_of_the_data() -> None:
    scan = cine_scan(frames=3, matrix=(12, 10))
    loud = RadialScan([1000 * y for y in scan.kspace], scan.traj, scan.truth, scan.maps)
    quiet, loudly = refined(scan).images, refined(loud).images
    torch.testing.assert_close(loudly / 1000, quiet, rtol=0.05, atol=0.02 * float(quiet.abs().max()))


# -- what ends it before its time -----------------------------------------------------------------------------------


def test_frames_of_one_spoke_have_none_to_hold_out() -> None:
    with pytest.raises(DataError, match=r"^1 of 2 spokes in 2 frames to hold out; expected a spoke left in every"):
        refined(cine_scan(frames=2, spokes=1), held_out=0.1)


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


def test_a_stop_leaves_the_images_of_that_moment() -> None:
    parts: list[float] = []
    control = Control(stopped=lambda: len(parts) >= 2, progress=parts.append)
    series = refined(cine_scan(frames=3, matrix=(12, 10)), control=control, training_steps=8)
    assert (series.steps, series.failure) == (2, None)
    assert parts == pytest.approx([1 / 8, 2 / 8])


def test_unknown_data_terms_and_schedules_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^td_dip.data_term = 'l1'; expected one of weighted_l2, ramp_backward$"):
        parse(TdDipParameters, {"data_term": "l1"}, "td_dip")
    with pytest.raises(ParameterError, match=r"^td_dip.schedule = 'flat'; expected one of cosine, halved$"):
        parse(TdDipParameters, {"schedule": "flat"}, "td_dip")


# -- helpers --------------------------------------------------------------------------------------------------------


def slice_data(scan: RadialScan) -> SliceData:
    taken: list[SliceData] = []

    class Caught(TdDipMethod):
        def solve(self, data: SliceData, control: Control) -> RefinedSeries:
            taken.append(data)
            return RefinedSeries(0, torch.zeros(1, *data.shape), 0)

    method = Caught(scan.shape, TdDipParameters(), CPU)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
    method.refine()
    return taken[0]


# -- CUDA -----------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
@pytest.mark.parametrize("preset", ["", "paper"])
def test_it_agrees_with_the_cpu_on_cuda(preset: str) -> None:
    values = {**get_preset(get_method("td_dip"), preset), **SMALL, "training_steps": 2}
    here, there = (refined(cine_scan(frames=4), torch.device(d), **values).images for d in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    assert (there.cpu() - here).norm() < 2e-2 * here.norm()
