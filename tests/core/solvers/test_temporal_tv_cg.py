"""GRASP: the solver against a slow reference, and the method on a small beating heart."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.methods.grasp import GraspMethod
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.conjugate_gradient import conjugate_gradient
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.temporal_tv_cg import GraspObjective, minimise, solve_tridiagonal
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")
TINY = (6, 5)  # (x, y)


def objective(
    scan: RadialScan, weight: float, tikhonov: float = 0.05, double: bool = False, **options: Any
) -> GraspObjective:
    """The objective of a scan with its true maps."""
    history, maps = FrameHistory(len(scan.kspace)), scan.maps.to(torch.complex128) if double else scan.maps
    for i, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        if double:
            samples, traj = samples.to(torch.complex128), traj.double()
        history.append(MeasuredFrame.from_samples(i, samples, traj, scan.shape))
    return GraspObjective(history, maps, weight, tikhonov, **options)


def solved(problem: GraspObjective, iterations: int) -> Tensor:
    *_, last = minimise(problem, torch.zeros_like(problem.right), iterations)
    return last


def method_of(scan: RadialScan, **parameters: Any) -> GraspMethod:
    method = GraspMethod(scan.shape, GraspParameters(**parameters), CPU)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
    return method


# -- the solver ---------------------------------------------------------------------------------------------------


def reference(problem: GraspObjective, iterations: int = 1500) -> Tensor:
    """The minimum by the primal-dual method of Chambolle and Pock with dense grams, in float64."""
    b = problem.right
    n, pixels = len(b), b[0].numel()
    eye = torch.eye(pixels, dtype=b.dtype).reshape(pixels, *b.shape[1:])
    columns = torch.stack([problem.gram(e.expand_as(b).contiguous()).reshape(n, pixels) for e in eye], dim=-1)
    tau, sigma = 0.25, 0.25  # tau sigma |K|^2 <= 1, |K|^2 at most 4 of time, 8 of the plane and a little of the flow
    inverse = torch.linalg.inv(columns * tau + torch.eye(pixels, dtype=b.dtype))
    x = bar = torch.zeros_like(b)
    duals = [torch.zeros_like(v.forward(b)) for v, _ in problem.variations]
    for _ in range(iterations):
        pull = x + tau * b
        for i, (variation, weight) in enumerate(problem.variations):
            dual = duals[i] + sigma * variation.forward(bar)
            size = dual.abs().square().sum(0).sqrt()
            duals[i] = dual * (weight / size.clamp_min(weight))
            pull = pull - tau * variation.adjoint(duals[i])
        new = (inverse @ pull.reshape(n, pixels, 1)).reshape(b.shape)
        x, bar = new, 2 * new - x
    return x


@pytest.mark.parametrize("weight", [0.01, 0.1])
@pytest.mark.parametrize("more", [False, True], ids=["grasp", "centre, plane and motion"])
def test_it_finds_the_minimum_of_a_slow_reference(weight: float, more: bool) -> None:
    scan = cine_scan(frames=5, coils=3, matrix=TINY)
    options: dict[str, Any] = {}
    if more:
        generator = torch.Generator().manual_seed(4)
        flow = 0.3 * torch.randn(4, 2, *scan.shape, dtype=torch.float64, generator=generator)
        centre = scan.truth.to(torch.complex128) * 1.1
        options = {"flow": flow, "centre": centre, "spatial_weight": 0.4 * weight}
    problem = objective(scan, weight, double=True, **options)
    best = problem.value(reference(problem))
    start = torch.zeros_like(problem.right)
    free = problem.value(conjugate_gradient(problem.gram, problem.right, iterations=100))
    found = problem.value(solved(problem, 150))
    assert best < free - 1e-4 * abs(free)  # the prior has something to do
    assert found - best < 1e-3 * abs(best)
    assert found >= best - 1e-6 * abs(best)
    assert problem.value(start) == 0


def test_a_strong_pull_leaves_the_centre() -> None:
    scan = cine_scan(frames=3)
    problem = objective(scan, 1e-4, 1e4, centre=scan.truth)
    assert (solved(problem, 30) - scan.truth).norm() < 1e-2 * scan.truth.norm()


def test_the_objective_falls_from_iteration_to_iteration() -> None:
    problem = objective(cine_scan(frames=8), 0.02)
    values = [problem.value(x) for x in minimise(problem, torch.zeros_like(problem.right), 12)]
    assert all(after < before for before, after in pairwise(values))


def test_without_weight_it_is_least_squares() -> None:
    problem = objective(cine_scan(frames=3), 0.0)
    expected = conjugate_gradient(problem.gram, problem.right, iterations=60)
    assert (solved(problem, 60) - expected).norm() < 1e-3 * expected.norm()


def test_the_prior_leaves_a_constant_series_alone() -> None:
    """The same data in every frame: the weight has no say."""
    scan = cine_scan(frames=5)
    history = FrameHistory(5)
    for i in range(5):
        history.append(MeasuredFrame.from_samples(i, scan.kspace[0], scan.traj[0], scan.shape))
    free, strong = (solved(GraspObjective(history, scan.maps, weight, 0.05), 60) for weight in (0.0, 1.0))
    assert (strong - free).norm() < 1e-3 * free.norm()


def test_a_huge_weight_makes_the_series_constant() -> None:
    series = solved(objective(cine_scan(frames=5), 10.0), 40)
    assert (series - series.mean(0)).norm() < 1e-3 * series.norm()


def test_tau_and_lambda_are_relative_to_the_data() -> None:
    """A scan a thousand times as bright gives images a thousand times as bright."""
    scan = cine_scan(frames=3)
    bright = RadialScan([1000 * k for k in scan.kspace], scan.traj, scan.truth, scan.maps)
    series = solved(objective(scan, 0.02), 8)
    assert (solved(objective(bright, 0.02), 8) / 1000 - series).norm() < 1e-3 * series.norm()


def test_weights_for_streaks_grow_to_what_the_noise_wants() -> None:
    """lambda is at least what the noise of b exceeds it by; sigma grows with it; without much noise both stay."""
    for sigma, grown in ((0.2, True), (1e-5, False)):
        plain, told = (
            objective(cine_scan(frames=4, sigma=sigma), 0.01, spatial_weight=0.002, noise_weight=weight)
            for weight in (0.0, 1.0)
        )
        (_, time), (_, plane) = plain.variations
        (_, noisy_time), (_, noisy_plane) = told.variations
        if not grown:
            assert (noisy_time, noisy_plane) == (time, plane)
            continue
        # What two scans differ by, that differ in their noise alone, is the noise of b.
        quiet = objective(cine_scan(frames=4, sigma=0.0), 0.01)
        size = float((plain.right - quiet.right).abs().square().mean().sqrt())
        assert noisy_time == pytest.approx(size - time, rel=0.1)
        assert noisy_time > 1.5 * time
        assert noisy_plane == pytest.approx(0.2 * noisy_time)


def test_noise_does_not_switch_a_variation_on() -> None:
    problem = objective(cine_scan(frames=3, sigma=0.2), 0.0, noise_weight=1.0)
    assert [weight for _, weight in problem.variations] == [0.0]


def test_the_plane_is_smoothed_by_part() -> None:
    scan = cine_scan(frames=3)
    part = torch.ones(3, *scan.shape)
    whole, same, none = (
        solved(objective(scan, 0.01, spatial_weight=0.05, spatial_part=p), 40) for p in (None, part, 0 * part)
    )
    without = solved(objective(scan, 0.01), 40)
    torch.testing.assert_close(same, whole)
    assert (none - without).norm() < 0.02 * without.norm()
    assert (whole - without).norm() > 0.05 * without.norm()


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_tridiagonal_system_is_solved(frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    stiffness = 10 * torch.rand(frames - 1, 4, 3, generator=generator, dtype=torch.float64)
    right = torch.randn(frames, 4, 3, generator=generator, dtype=torch.complex128)
    z = solve_tridiagonal(stiffness, 0.7, right)
    back, force = 0.7 * z, stiffness * (z[1:] - z[:-1])
    back[1:] += force
    back[:-1] -= force
    torch.testing.assert_close(back, right)


def test_blocks_of_frames_make_no_difference() -> None:
    problem = objective(cine_scan(frames=7), 0.02)
    x = problem.right
    one_by_one = torch.cat(
        [frame.gram(problem.csm).forward(part) for frame, part in zip(problem.frames, x.split(1), strict=True)]
    )
    torch.testing.assert_close(problem.gram(x), one_by_one + problem.tikhonov * x, rtol=1e-4, atol=1e-5)


def test_a_long_scan_is_transformed_a_few_frames_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coils' spectra, 32 images a frame with 8 coils, are what would fill the memory."""
    at_once, forward = list[int](), ToeplitzGram.forward

    def counting(gram: ToeplitzGram, x: Tensor) -> Tensor:
        at_once.append(len(x))
        return forward(gram, x)

    problem = objective(cine_scan(), 0.02)
    monkeypatch.setattr(ToeplitzGram, "forward", counting)
    solved(problem, 2)
    assert sum(at_once) == 3 * 24  # one product with the start, one an iteration
    assert max(at_once) <= 4


def test_data_without_signal_are_refused() -> None:
    scan = cine_scan(frames=2)
    dark = RadialScan([torch.zeros_like(k) for k in scan.kspace], scan.traj, scan.truth, scan.maps)
    with pytest.raises(DataError, match=r"^images of maximum 0 from data of weight .*; expected a signal"):
        objective(dark, 0.02)


# -- the method ---------------------------------------------------------------------------------------------------


@cache
def refined() -> tuple[Tensor, Tensor, int]:
    """Live images' start of the refinement, the refined series, steps."""
    method = method_of(cine_scan())
    untouched, series = method.refine(Control(stopped=lambda: True)), method.refine()
    assert untouched is not None
    assert series is not None
    return untouched.images, series.images, series.steps


def test_the_refined_series_beats_the_live_one() -> None:
    live, series, steps = refined()
    truth = cine_scan().truth
    assert steps == GraspParameters().grasp_iterations
    assert 20 * math.log10(error(live, truth) / error(series, truth)) > 1


def test_the_weight_is_worth_it() -> None:
    free = method_of(cine_scan(), grasp_weight=0.0).refine()
    assert free is not None
    assert error(refined()[1], cine_scan().truth) < 0.7 * error(free.images, cine_scan().truth)


def test_a_single_frame_has_no_refined_series() -> None:
    assert method_of(cine_scan(frames=1)).refine() is None
    assert GraspMethod((8, 8), GraspParameters(), CPU).refine() is None


def test_two_frames_are_enough() -> None:
    series = method_of(cine_scan(frames=2)).refine()
    assert series is not None
    assert bool(torch.isfinite(series.images.abs()).all())


def test_it_stops_when_told_and_tells_its_progress() -> None:
    method, parts = method_of(cine_scan(frames=6), grasp_iterations=8), list[float]()
    stopped = method.refine(Control(stopped=lambda: len(parts) == 3, progress=parts.append))
    assert stopped is not None
    assert parts == [1 / 8, 2 / 8, 3 / 8]
    assert stopped.steps == method.steps == 3
    for limit, steps in ((0.0, 0), (1e-9, 1), (math.inf, 8)):
        limited = method.refine(Control(limit))
        assert limited is not None
        assert limited.steps == steps
        assert limited.images.shape == (6, *method.shape)


def test_only_the_last_frames_are_kept_and_refined() -> None:
    method = method_of(cine_scan(), history_frames=5, grasp_iterations=2)
    series = method.refine()
    assert series is not None
    assert series.first == 19
    assert len(series.images) == len(method.history) == len(method._images) == 5
    late = RadialScan(cine_scan().kspace[19:], cine_scan().traj[19:], cine_scan().truth[19:], cine_scan().maps)
    assert error(series.images, late.truth) < 0.3


def test_what_is_begun_from_follows_the_maps() -> None:
    """The free phase of maps that are replaced is taken over by the images that were made with the old ones."""
    scan = cine_scan(frames=4)
    method = method_of(scan)
    assert method.calibration.csm is not None
    before, phase = method.calibration.csm, torch.linspace(0, 3, scan.shape[1])
    images = torch.stack(list(method._images))
    method._maps_changed(before, before * torch.exp(1j * phase))
    torch.testing.assert_close(torch.stack(list(method._images)), images * torch.exp(-1j * phase), rtol=1e-4, atol=1e-5)
