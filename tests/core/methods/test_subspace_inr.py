"""The subspace INR: its curves and polish against their definitions, and what it makes of a small scan."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.devices import cuda_problem
from inr_core.methods import make_live
from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_core.methods.subspace_inr import SubspaceInrMethod, principal_curves
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.parameters.subspace_inr import SubspaceInrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.draft import grasp_draft
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.slice_data import SliceData
from radial import RadialScan, cine_scan, error, refined_series

CPU = torch.device("cpu")
QUICK = {"grasp_iterations": 6, "fit_steps": 12, "passes": 4.0}


def refined(
    scan: RadialScan,
    query: SeriesQuery | None = None,
    device: torch.device = CPU,
    control: Control | None = None,
    **values: Any,
) -> RefinedSeries:
    settings = SubspaceInrParameters(**{**QUICK, **values})
    return refined_series("subspace_inr", scan, settings, query=query, device=device, control=control)


def part(frames: int = 6, coils: int = 6, matrix: tuple[int, int] = (15, 22)) -> RadialScan:
    return cine_scan(frames=frames, coils=coils, matrix=matrix)


@cache
def once() -> RefinedSeries:
    return refined(part())


# -- curves -------------------------------------------------------------------------------------------------------


def test_curves_and_images_are_the_nearest_series_of_their_rank() -> None:
    series = torch.randn(7, 5, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    for rank in (1, 3, 7, 20):
        curves, images = principal_curves(series, rank)
        n = min(rank, 7)
        assert (curves.shape, images.shape) == ((7, n), (n, 5, 4))
        u, s, vh = torch.linalg.svd(series.flatten(1).to(torch.complex128), full_matrices=False)
        nearest = (u[:, :n] * s[:n]) @ vh[:n]
        found = curves @ images.flatten(1)
        torch.testing.assert_close(found, nearest.to(torch.complex64), rtol=0, atol=1e-5)
        # Orthogonal, and 0.1 on average whatever the number of frames.
        torch.testing.assert_close(curves.mH @ curves, 0.07 * torch.eye(n, dtype=torch.complex64), rtol=0, atol=1e-6)
        # Hence the difference of images is that of series, up to a factor.
        other = images + torch.randn(images.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
        difference = (curves @ (other - images).flatten(1)).norm()
        torch.testing.assert_close(difference, 0.07**0.5 * (other - images).norm())


def test_a_still_series_has_one_curve_and_nothing_else() -> None:
    curves, images = principal_curves(torch.ones(4, 3, 2, dtype=torch.complex64), 3)
    torch.testing.assert_close(curves[:, 0].abs(), torch.full((4,), 0.1))
    assert float(images[1:].abs().max()) < 1e-5 * float(images[0].abs().max())


# -- quality ------------------------------------------------------------------------------------------------------


def test_the_series_is_better_than_gridding_and_than_its_draft() -> None:
    scan = cine_scan(frames=10, spokes=7, matrix=(24, 20))
    gridded = make_live("nufft", scan.shape, SingleFrameParameters(), CPU)
    images = torch.stack([gridded.add_frame(k, t) for k, t in zip(scan.kspace, scan.traj, strict=True)])
    draft, series = (
        refined(scan, grasp_iterations=8, fit_steps=100, passes=passes, rank=6).images for passes in (0.0, 25.0)
    )
    assert error(series, scan.truth) < error(draft, scan.truth) < 0.6 * error(images, scan.truth)


def test_images_are_in_the_units_of_the_data() -> None:
    scan = part()
    bright = RadialScan([64 * k for k in scan.kspace], scan.traj, scan.truth, scan.maps)
    torch.testing.assert_close(refined(bright).images, 64 * once().images, rtol=1e-3, atol=1e-3)


def test_learning_the_draft_needs_no_data_and_leaves_the_curves() -> None:
    """With all frames' curves, and none of the training, the series comes near the draft."""
    scan = part()
    few, many = (refined(scan, rank=6, fit_steps=n, passes=0.0) for n in (10, 200))
    settings = SubspaceInrParameters(**QUICK)
    draft = grasp_draft(gathered(scan), settings.grasp_iterations, Control(), settings)
    assert error(many.images, draft) < 0.25 * error(few.images, draft)
    assert (few.steps, many.steps) == (10, 200)


def gathered(scan: RadialScan) -> SliceData:
    frames = FrameHistory(len(scan.kspace))
    for index, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        frames.append(MeasuredFrame.from_samples(index, samples, traj, scan.shape))
    return SliceData(scan.shape, scan.maps, frames)


def test_the_polish_solves_its_equation() -> None:
    """(G + a g) z = b + a g x, by a dense matrix in float64."""
    scan = cine_scan(frames=2, coils=3, matrix=(6, 7))
    data = gathered(scan)
    method = SubspaceInrMethod(scan.shape, SubspaceInrParameters(polish_iterations=60, polish_weight=0.2), CPU)
    x = torch.randn(2, 7, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    change = method._polish(x, data)
    for i, frame in enumerate(data.frames):
        unit = torch.eye(42, dtype=torch.complex64).reshape(42, 7, 6)
        gram = torch.stack([frame.gram(data.csm).forward(e[None])[0].flatten() for e in unit], 1).to(torch.complex128)
        weight = 0.2 * data.strength
        right = (data.right[i] / data.scale + weight * x[i]).flatten().to(torch.complex128)
        expected = torch.linalg.solve(gram + weight * torch.eye(42), right).reshape(7, 6)
        torch.testing.assert_close((x[i] + change[i]).to(torch.complex128), expected, rtol=0, atol=2e-4)


def test_the_polish_brings_images_nearer_to_their_data() -> None:
    scan = part()
    data = gathered(scan)

    def misfit(images: Tensor) -> float:
        terms = [
            0.5 * torch.vdot(x.flatten(), f.gram(data.csm).forward(x[None])[0].flatten()).real
            - torch.vdot(x.flatten(), f.right_side(data.csm).flatten()).real
            for x, f in zip(images, data.frames, strict=True)
        ]
        return float(torch.stack(terms).sum())

    assert misfit(refined(scan, polish_iterations=5, polish_weight=0.1).images) < misfit(once().images)


# -- the promises of a method ---------------------------------------------------------------------------------------


def test_two_runs_are_the_same_to_the_bit_and_the_seed_counts() -> None:
    assert torch.equal(refined(part()).images, once().images)
    assert not torch.equal(refined(part(), seed=1).images, once().images)


@pytest.mark.parametrize(("frames", "coils", "matrix"), [(1, 3, (15, 22)), (2, 1, (9, 13)), (3, 6, (21, 8))])
def test_odd_oblong_matrices_a_single_frame_a_single_coil(frames: int, coils: int, matrix: tuple[int, int]) -> None:
    scan = part(frames, coils, matrix)
    series = refined(scan, polish_iterations=2)
    assert series.images.shape == (frames, *scan.shape)
    assert (series.images.dtype, series.failure, series.first) == (torch.complex64, None, 0)
    assert bool(torch.isfinite(series.images.abs()).all())
    assert float(series.images.abs().max()) > 0


@pytest.mark.parametrize("polish", [0, 3])
def test_between_pixels_and_frames(polish: int) -> None:
    scan = part()
    plain = refined(scan, polish_iterations=polish)
    finer = refined(scan, SeriesQuery(2.0, 3), polish_iterations=polish)
    assert finer.query == SeriesQuery(2.0, 3)
    assert finer.images.shape == (16, 44, 30)
    size = float(plain.images.abs().max())
    # 22 rows and 15 columns: the centre of the field of view is an even row, and an odd column.
    torch.testing.assert_close(finer.images[::3, ::2, 1::2], plain.images, rtol=1e-3, atol=1e-4 * size)
    # A frame's neighbour in time is nearer than the next frame.
    near, far = (finer.images[1:] - finer.images[:-1]).norm(), (plain.images[1:] - plain.images[:-1]).norm()
    assert near < far * (2 * 15 / 5) ** 0.5


def test_steps_are_those_of_both_trainings_and_progress_is_told() -> None:
    told = list[float]()
    series = refined(part(), control=Control(progress=told.append), window=3)
    assert series.steps == 12 + 8
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert len(told) == 6 + 12 + 8


def test_it_stops_when_told() -> None:
    assert refined(part(), control=Control(stopped=lambda: True)).steps == 0
    asked = iter(range(1000))
    assert 0 < refined(part(), control=Control(stopped=lambda: next(asked) > 20)).steps < 20


def test_no_time_is_no_training() -> None:
    assert refined(part(), control=Control(limit_s=0.0)).steps == 0


def test_a_loss_that_is_not_finite_keeps_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1000))

    def broken(images: Tensor) -> Tensor:
        return images.real.sum() * (math.nan if next(calls) == 3 else 0.0)

    monkeypatch.setattr("inr_core.methods.subspace_inr.temporal_tv", broken)
    series = refined(part(), window=2)
    assert series.failure is not None
    assert str(series.failure).startswith("total variation not finite at step 4; expected a finite loss; lower recon.")
    assert series.steps == 12 + 3
    assert bool(torch.isfinite(series.images.abs()).all())


# -- CUDA -----------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_it_agrees_with_the_cpu() -> None:
    there = refined(part(), device=torch.device("cuda"), polish_iterations=2)
    assert there.images.device.type == "cuda"
    here = refined(part(), polish_iterations=2).images
    assert float((there.images.cpu() - here).norm()) < 0.02 * float(here.norm())
