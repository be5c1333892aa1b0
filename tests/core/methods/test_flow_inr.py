"""The flow-guided INR: sizes by hand, its terms and their schedule, and what it makes of a small beating heart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.devices import cuda_problem
from inr_core.errors import DataError
from inr_core.fields.grid_field import Level
from inr_core.fields.networks import count_parameters
from inr_core.methods import flow_inr, get_method, get_preset, make_live
from inr_core.methods.flow_inr import FlowInrMethod, flow_levels
from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_core.parameters import parse
from inr_core.parameters.flow_inr import FlowInrParameters
from inr_core.phantoms import CinePhantom, Grid
from inr_core.solvers.control import Control
from inr_core.solvers.training import Losses, Training
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")


def made(
    scan: RadialScan, query: SeriesQuery | None = None, device: torch.device = CPU, frames: int = 99, **values: Any
) -> FlowInrMethod:
    """The method with all frames of a scan."""
    method = make_live("flow_inr", scan.shape, parse(FlowInrParameters, values, "flow_inr"), device)
    for samples, traj in list(zip(scan.kspace, scan.traj, strict=True))[:frames]:
        method.add_frame(samples, traj)
    method.query = query or SeriesQuery()
    assert isinstance(method, FlowInrMethod)
    return method


def refined(scan: RadialScan, control: Control | None = None, **values: Any) -> RefinedSeries:
    series = made(scan, **values).refine(control)
    assert series is not None
    return series


def quick(**values: Any) -> dict[str, Any]:
    return {"passes": 2.0, "draft_iterations": 2, **values}


# -- ingredients ----------------------------------------------------------------------------------------------------


def test_the_size_of_both_fields() -> None:
    method = FlowInrMethod((128, 128), FlowInrParameters(), CPU)
    image, flow = method.fields((128, 128), 23)
    # Nodes in (t, y, x) of cells 16, 8, 4, 2, 1 pixels wide and 8, 4, 2, 1, 1 frames long; 4 features each.
    nodes = 4 * 9**2 + 7 * 17**2 + 12 * 33**2 + 23 * 65**2 + 23 * 128**2
    assert count_parameters(image) == 4 * nodes + 21 * 32 + 33 * 32 + 33 * 2
    # Of the flow 32, 16, 8 pixels and 4, 2, 2 frames; 2 features each.
    nodes = 7 * 5**2 + 12 * 9**2 + 12 * 17**2
    assert count_parameters(flow) == 2 * nodes + 7 * 32 + 33 * 32 + 33 * 2
    assert flow_levels(8, 2) == (Level(32, 4), Level(16, 2), Level(8, 2))


def test_the_paper_preset() -> None:
    method = get_method("flow_inr")
    paper = parse(FlowInrParameters, get_preset(method, "paper"), "flow_inr")
    assert (paper.learning_rate, paper.ramp_exponent, paper.draft_weight, paper.flow_start) == (1e-4, 0, 0, 0)
    assert (method.streams, method.continuous) == (True, True)


def losses_of(monkeypatch: pytest.MonkeyPatch, **values: Any) -> tuple[Losses, int]:
    """What the training is asked to minimise, and its number of steps."""
    asked: list[tuple[Losses, int]] = []

    def train(losses: Losses, optimiser: object, steps: int, *rest: object, **more: object) -> Training:
        asked.append((losses, steps))
        return Training(steps)

    monkeypatch.setattr(flow_inr, "train", train)
    refined(cine_scan(frames=6), **quick(passes=10.0, window=3, **values))
    return asked[0]


def test_total_variation_first_and_the_flow_after_a_fifth_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, steps = losses_of(monkeypatch)
    assert steps == 20
    still = {"data consistency", "draft", "total variation"}
    moving = {"data consistency", "draft", "optical flow", "flow variation"}
    assert [set(losses(step)) for step in (0, 3, 4, 19)] == [still, still, moving, moving]


def test_terms_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, _ = losses_of(monkeypatch, draft_weight=0.0)
    assert "draft" not in losses(0)
    losses, _ = losses_of(monkeypatch, flow_weight=0.0)
    assert set(losses(19)) == {"data consistency", "draft"}


def test_weights_multiply_their_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"draft": "draft_weight", "optical flow": "flow_weight", "flow variation": "flow_tv"}
    usual = losses_of(monkeypatch)[0](19)
    for name, weight in names.items():
        value = 3 * float(getattr(FlowInrParameters(), weight))
        tripled = losses_of(monkeypatch, **{weight: value})[0](19)
        assert {n for n in usual if not torch.isclose(usual[n], tripled[n], rtol=1e-5)} == {name}
        torch.testing.assert_close(tripled[name], 3 * usual[name], rtol=1e-4, atol=0)


# -- results --------------------------------------------------------------------------------------------------------


def end_point_error(flow: Tensor, scan: RadialScan, beat_frames: float) -> float:
    """In pixels, relative to that of no motion, in the wall of the left ventricle."""
    phantom, (ny, nx) = CinePhantom(), scan.shape
    grid = Grid((nx, ny), (300.0, 300.0 * ny / nx))
    frame = phantom.period_ms / beat_frames
    ours, none = [], []
    for i, found in enumerate(flow.double().numpy()):
        wall = phantom.wall(grid.points, frame * (i + 0.5))
        wanted = phantom.motion(grid.points, frame * (i + 0.5), frame * (i + 1.5))[0] / grid.pixel_mm
        ours.append(np.linalg.norm(found.transpose(1, 2, 0) - wanted, axis=-1)[wall])
        none.append(np.linalg.norm(wanted, axis=-1)[wall])
    return float(np.concatenate(ours).mean() / np.concatenate(none).mean())


def test_images_beat_gridding_and_the_flow_beats_none() -> None:
    scan = cine_scan(frames=16, spokes=9, matrix=(48, 40))
    series = refined(scan, passes=40.0)
    gridding = make_live("nufft", scan.shape, get_method("nufft").parameter_type(), CPU)  # type: ignore[arg-type]
    gridded = torch.stack([gridding.add_frame(k, t) for k, t in zip(scan.kspace, scan.traj, strict=True)])
    assert error(series.images, scan.truth) < 0.4 * error(gridded, scan.truth)
    assert series.flow is not None
    assert (series.flow.shape, series.flow.dtype) == ((15, 2, 40, 48), torch.float32)
    assert end_point_error(series.flow, scan, 16.0) < 0.8
    assert (series.failure, series.remark, series.first) == (None, "", 0)


def test_two_runs_are_the_same_to_the_bit() -> None:
    scan = cine_scan(frames=5)
    first, second = (refined(scan, **quick()) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.flow is not None
    assert second.flow is not None
    assert torch.equal(first.flow, second.flow)


@pytest.mark.parametrize(("matrix", "frames", "coils"), [((23, 18), 4, 6), ((24, 30), 2, 1), ((24, 24), 1, 3)])
def test_odd_oblong_few(matrix: tuple[int, int], frames: int, coils: int) -> None:
    scan = cine_scan(frames=frames, coils=coils, matrix=matrix)
    series = refined(scan, **quick())
    assert series.images.shape == (frames, *scan.shape)
    assert bool(torch.isfinite(series.images.abs()).all())
    if frames == 1:
        assert series.flow is None
    else:
        assert series.flow is not None
        assert series.flow.shape == (frames - 1, 2, *scan.shape)
        assert bool(torch.isfinite(series.flow).all())


def test_images_between_pixels_and_frames_and_motion_on_the_measured_ones() -> None:
    scan = cine_scan(frames=4)
    usual, finer = (refined(scan, query=query, **quick()) for query in (SeriesQuery(), SeriesQuery(2.0, 3)))
    assert finer.query == SeriesQuery(2.0, 3)
    assert finer.images.shape == (10, 48, 60)
    torch.testing.assert_close(finer.images[::3, ::2, ::2], usual.images, rtol=1e-3, atol=1e-3 * scan.truth.abs().max())
    assert usual.flow is not None
    assert finer.flow is not None
    assert torch.equal(usual.flow, finer.flow)


def test_no_time_leaves_the_draft_and_says_so() -> None:
    scan = cine_scan(frames=4)
    series = refined(scan, Control(limit_s=1e-9))
    assert "the refined series is GRASP's, without motion" in series.remark
    assert (series.flow, series.failure) == (None, None)
    assert series.images.shape == (4, *scan.shape)
    finer = refined(scan, Control(limit_s=1e-9), query=SeriesQuery(2.0))
    assert finer.query == SeriesQuery()
    assert str(finer.failure).startswith("a refinement that ended before its field was trained; expected the field")
    stopped = refined(scan, Control(stopped=lambda: True))
    assert stopped.remark == series.remark


def test_a_training_that_fails_keeps_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    penalty, asked = flow_inr.flow_penalty, [0]

    def failing(images: Tensor, flow: Tensor, smooth: float = 1e-3) -> Tensor:
        asked[0] += 1
        return penalty(images, flow, smooth) * (math.nan if asked[0] > at else 1.0)

    monkeypatch.setattr(flow_inr, "flow_penalty", failing)
    scan = cine_scan(frames=6)
    for at, remark in ((3, True), (22, False)):
        asked[0] = 0
        series = refined(scan, passes=25.0, window=0, draft_iterations=2)
        term = "total variation" if at < 5 else "optical flow"
        assert isinstance(series.failure, DataError)
        assert str(series.failure).startswith(f"{term} not finite at step {at + 1}; expected a finite loss")
        assert bool(series.remark) == remark
        assert bool(torch.isfinite(series.images.abs()).all())
        assert error(series.images, scan.truth) < 0.6


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_it_agrees_with_the_cpu() -> None:
    scan = cine_scan(frames=6)
    here, there = (refined(scan, device=torch.device(d), **quick(passes=20.0)) for d in ("cpu", "cuda"))
    assert there.images.device.type == "cuda"
    assert (there.images.cpu() - here.images).norm() < 1e-2 * here.images.norm()
