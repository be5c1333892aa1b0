"""The methods that run while the scan does, on a small beating heart."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import fields
from functools import cache
from threading import Timer
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.devices import cuda_problem
from inr_core.errors import DataError
from inr_core.methods import get_method, make_live
from inr_core.methods.live import LiveMethod, RefinedSeries, SeriesQuery
from inr_core.methods.td_dip import TdDipMethod
from inr_core.operators import column_blocks, prepared, toeplitz
from inr_core.operators.nufft import Nufft
from inr_core.parameters.grasp import GraspParameters
from inr_core.phantoms import CoilArray, Ellipses, Grid, kspace
from inr_core.solvers.calibration import Calibration
from inr_core.solvers.control import Control
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.slice_data import SliceData
from inr_core.trajectory import radial_trajectory, spoke_angles
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")
METHODS = ("inr", "grasp", "cg_sense", "nufft")


def live(scan: RadialScan, method: LiveMethod, tune_steps: int = 2) -> Tensor:
    """The live images of a scan, with training steps after each frame."""
    images = []
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        images.append(method.add_frame(samples, traj))
        for _ in range(tune_steps):
            method.tune()
    return torch.stack(images)


def made(scan: RadialScan, name: str = "inr", **parameters: Any) -> LiveMethod:
    return make_live(name, scan.shape, read(name, **{"refine_passes": 100.0, **parameters}), CPU)


def read(name: str, **values: Any) -> Any:
    """A method's parameters; those that it does not have are left out."""
    kind = get_method(name).parameter_type
    known = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in known})


@cache
def reconstructed(name: str) -> tuple[Tensor, RefinedSeries | None]:
    method = made(cine_scan(), name)
    images = live(cine_scan(), method)
    return images, method.refine()


# -- quality ------------------------------------------------------------------------------------------------------


def test_the_live_series_beats_its_rivals() -> None:
    truth = cine_scan().truth
    errors = {name: error(reconstructed(name)[0], truth) for name in METHODS}
    assert errors["inr"] < 0.6 * errors["cg_sense"] < 0.5 * errors["nufft"]


def test_the_live_series_gets_better_with_the_frames() -> None:
    images, truth = reconstructed("inr")[0], cine_scan().truth
    first, early, late = (error(images[part], truth[part]) for part in (slice(0, 1), slice(0, 8), slice(16, 24)))
    assert late < early < first


def test_the_refined_series_beats_the_live_one() -> None:
    images, refined = reconstructed("inr")
    truth = cine_scan().truth
    assert refined is not None
    assert refined.first == 0
    assert refined.steps == 400
    decibels = 20 * np.log10(error(images, truth) / error(refined.images, truth))
    assert decibels > 1


def test_images_have_the_scale_of_the_object() -> None:
    """Not only up to a factor: maps of unit norm leave the magnitude to the image."""
    truth = cine_scan().truth
    inside = truth.abs() > 0.3 * truth.abs().max()
    series = reconstructed("inr")[1]
    assert series is not None
    assert float((series.images.abs() / truth.abs())[inside].median()) == pytest.approx(1, abs=0.05)


def test_gridding_shows_the_plateau_of_a_disc_at_its_value() -> None:
    grid, coils = Grid((48, 40), (480.0, 400.0)), CoilArray.loops(6, (480.0, 400.0))
    traj = radial_trajectory(spoke_angles(np.arange(150)), 96)
    samples = kspace(Disc(), coils, grid, traj, np.zeros(150))
    method = make_live("nufft", (40, 48), read("nufft"), CPU)
    image = method.add_frame(torch.from_numpy(samples), torch.from_numpy(traj)).abs()
    y, x = np.moveaxis(grid.points, -1, 0)[::-1]
    plateau = torch.from_numpy(np.hypot(x, y) < 80)
    rss = torch.from_numpy(coils.rss(grid.points))
    assert float((image / rss)[plateau].mean()) == pytest.approx(0.7, rel=0.01)


class Disc:
    """A disc of 120 mm radius and value 0.7, at rest."""

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        n = len(times_ms)
        return Ellipses(np.zeros((n, 1, 2)), np.full((n, 1, 2), 120.0), np.zeros((n, 1)), np.full((n, 1), 0.7))


# -- contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_an_image_for_each_frame(name: str) -> None:
    scan = cine_scan(frames=3)
    method = made(scan, name)
    images = live(scan, method)
    assert images.shape == (3, *scan.shape)
    assert images.dtype == torch.complex64
    assert bool(torch.isfinite(images.abs()).all())
    assert not images.requires_grad
    assert method.n_frames == 3
    # The first frame alone gives nothing to learn.
    assert method.steps == (4 if name == "inr" else 0)


def test_two_runs_are_the_same_to_the_bit() -> None:
    scan = cine_scan(frames=8)
    runs = []
    for _ in range(2):
        method = made(scan, refine_passes=5.0)
        images, refined = live(scan, method), method.refine()
        assert refined is not None
        runs.append((images, refined.images))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


@pytest.mark.parametrize("coils", [1, 3])
def test_fewer_coils_than_virtual_coils(coils: int) -> None:
    scan = cine_scan(frames=6, coils=coils, spokes=13)
    method = made(scan, virtual_coils=8, refine_passes=20.0)
    images, refined = live(scan, method), method.refine()
    assert refined is not None
    assert error(images[3:], scan.truth[3:]) < 0.35
    assert error(refined.images, scan.truth) < 0.35


def test_more_coils_than_virtual_coils() -> None:
    scan = cine_scan(frames=6, coils=9)
    assert error(live(scan, made(scan, virtual_coils=5))[3:], scan.truth[3:]) < 0.35


def test_spokes_and_samples_may_vary_from_frame_to_frame() -> None:
    scan, varied = cine_scan(frames=8), list[Tensor]()
    method = made(scan, refine_passes=2.0)
    for i, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        few = 2 + i % 4
        inner = slice(8 * (i % 2), None)  # an asymmetric echo now and then
        varied.append(method.add_frame(samples[:, :few, inner], traj[:few, inner]))
        method.tune()
    images, refined = torch.stack(varied), method.refine()
    assert refined is not None
    assert bool(torch.isfinite(images.abs()).all())
    assert bool(torch.isfinite(refined.images.abs()).all())


def test_a_single_frame_has_no_refined_series() -> None:
    scan = cine_scan(frames=3)
    method = made(scan)
    method.add_frame(scan.kspace[0], scan.traj[0])
    assert method.tune() is False
    assert method.refine() is None
    assert make_live("inr", scan.shape, read("inr"), CPU).refine() is None


def test_refining_stops_when_told_and_gives_what_there_is() -> None:
    scan = cine_scan(frames=6)
    method = made(scan, refine_passes=1e5)
    live(scan, method)
    stopped, limited = method.refine(Control(stopped=lambda: True)), method.refine(Control(1e-9))
    assert stopped is not None
    assert limited is not None
    assert (stopped.steps, limited.steps) == (0, 1)
    assert stopped.images.shape == limited.images.shape == (6, *scan.shape)


def test_progress_is_told() -> None:
    scan, parts = cine_scan(frames=6), list[float]()
    method = made(scan, refine_passes=4.0)
    live(scan, method)
    refined = method.refine(Control(progress=parts.append))
    assert refined is not None
    assert len(parts) == 20 + 32 + refined.steps + 32  # GRASP and its polish, the field, its polish
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


def test_a_field_that_cannot_be_ready_leaves_the_polished_draft_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inr_core.methods.inr._ENOUGH_PASSES", 1e6)
    scan, limit_s = cine_scan(frames=8), 60.0
    method, grasp = made(scan, refine_passes=1e5), made(scan, refine_passes=0.0, polish_rounds=0)
    live(scan, method)
    live(scan, grasp)
    control = Control(limit_s)
    series, unpolished = method.refine(control), grasp.refine()
    assert time.monotonic() - control.begin < 0.5 * limit_s
    assert series is not None
    assert unpolished is not None
    assert "the refined series is GRASP's, polished" in series.remark
    assert error(series.images, scan.truth) < 0.97 * error(unpolished.images, scan.truth)


@pytest.mark.parametrize("name", METHODS)
def test_data_without_signal_are_refused(name: str) -> None:
    scan = cine_scan(frames=3)
    with pytest.raises(DataError, match=r"^coil images without any signal; expected data to make receive maps from"):
        made(scan, name).add_frame(torch.zeros_like(scan.kspace[0]), scan.traj[0])


# -- gridded ahead, and maps beside the frames ---------------------------------------------------------------------


def ahead(scan: RadialScan, method: LiveMethod) -> Tensor:
    """The live images of a scan each frame of which is gridded while the one before it is reconstructed."""
    images, gridded = [], None
    for number in range(len(scan.kspace)):
        method.expect(gridded)
        assert method.fits(scan.kspace[number], scan.traj[number])
        following = number + 1 if number + 1 < len(scan.kspace) else number
        gridded = method.grid_ahead(scan.kspace[following], scan.traj[following])
        assert gridded is not None
        images.append(method.add_frame(scan.kspace[number], scan.traj[number]))
    return torch.stack(images)


@pytest.mark.parametrize("name", ["inr", "nufft"])
def test_frames_that_were_gridded_ahead_give_the_same_images(name: str) -> None:
    scan = cine_scan(frames=6)
    method = made(scan, name)
    # The first frame has yet to say how coils are compressed.
    assert method.grid_ahead(scan.kspace[0], scan.traj[0]) is None
    torch.testing.assert_close(ahead(scan, method), live(scan, made(scan, name), 0), rtol=0, atol=0)
    if name == "inr":
        assert [frame.index for frame in method.history] == list(range(6))  # type: ignore[attr-defined]


def test_what_was_gridded_ahead_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = cine_scan(frames=2)
    method = made(scan)
    method.add_frame(scan.kspace[0], scan.traj[0])
    gridded = method.grid_ahead(scan.kspace[1], scan.traj[1])
    monkeypatch.setattr(MeasuredFrame, "from_samples", None)
    method.expect(gridded)
    method.add_frame(scan.kspace[1], scan.traj[1])
    with pytest.raises(TypeError):
        method.add_frame(scan.kspace[0], scan.traj[0])


def test_what_another_reconstruction_has_gridded_is_not_used() -> None:
    scan = cine_scan(frames=2)
    method, other = made(scan), made(scan, virtual_coils=2)
    for each in (method, other):
        each.add_frame(scan.kspace[0], scan.traj[0])
    plain = made(scan)
    method.expect(other.grid_ahead(scan.kspace[1], scan.traj[1]))
    image = method.add_frame(scan.kspace[1], scan.traj[1])
    torch.testing.assert_close(image, live(scan, plain, 0)[1], rtol=0, atol=0)


def test_data_that_cannot_be_gridded_are_refused_in_their_turn() -> None:
    scan = cine_scan(frames=2)
    method = made(scan)
    method.add_frame(scan.kspace[0], scan.traj[0])
    bad = torch.full_like(scan.kspace[1], math.nan)
    gridded = method.grid_ahead(bad, scan.traj[1])
    assert gridded is None
    method.expect(gridded)
    with pytest.raises(DataError, match="samples that are not finite"):
        method.add_frame(bad, scan.traj[1])


def test_maps_of_frames_that_are_awaited_are_fitted_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    futures = list[Future[Any]]()

    def later(_: Any) -> Future[Any]:
        futures.append(Future())
        return futures[-1]

    monkeypatch.setattr("inr_core.solvers.calibration.beside", later)
    scan = cine_scan(frames=6)
    method = made(scan)
    method.due = time.monotonic() + 1e6
    for number in range(3):
        method.add_frame(scan.kspace[number], scan.traj[number])
    before = method.calibration.csm
    assert before is not None
    method.settle()
    assert len(futures) == 1
    method.add_frame(scan.kspace[3], scan.traj[3])
    assert method.calibration.csm is before
    futures[0].set_result(-before)
    method.settle()
    torch.testing.assert_close(method.calibration.csm, -before)
    # The refinement has the newest maps: it waits for those that are not ready.
    method.add_frame(scan.kspace[4], scan.traj[4])
    method.settle()
    assert len(futures) == 2
    Timer(0.05, futures[1].set_result, [before]).start()
    assert method.learnt() is not None
    torch.testing.assert_close(method.calibration.csm, before)


# -- frames that wait for the next one ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inr", "grasp"])
def test_frames_that_wait_have_images_and_are_refined(name: str) -> None:
    scan, images = cine_scan(frames=9), []
    method = made(scan, name)
    for number in range(9):
        if number in (4, 6, 8):
            assert method.may_wait
            method.wait(scan.kspace[number], scan.traj[number])
        else:
            image = method.add_frame(scan.kspace[number], scan.traj[number])
            images += [*method.waited(), image]
        assert method.n_frames == number + 1
    images += method.waited()  # of the last one, which no other follows
    assert method.waited() == []
    assert len(images) == 9
    alone = live(scan, made(scan, name), 0)
    torch.testing.assert_close(torch.stack(images[:4]), alone[:4], rtol=0, atol=0)
    for number in range(4, 9):
        truth = scan.truth[number]
        assert error(images[number], truth) < 1.5 * error(alone[number], truth)
    series = method.refine()
    assert series is not None
    assert len(series.images) == 9
    plain = made(scan, name)
    live(scan, plain, 0)
    expected = plain.refine()
    assert expected is not None
    assert error(series.images, scan.truth) < 1.1 * error(expected.images, scan.truth)


def test_the_last_frames_are_there_for_whoever_solves_them_again() -> None:
    scan = cine_scan(frames=4)
    method = made(scan)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        image = method.add_frame(samples, traj)
        found = method.solved()
        assert found.image is image
        assert found.frame.index == method.n_frames - 1
    assert found.csm is method.calibration.csm
    lag = method.smoother(2)
    assert lag is not None
    assert lag.delay == 2
    single = made(scan, "nufft")
    assert single.smoother(1) is None
    with pytest.raises(LookupError, match=r"^no frame is kept$"):
        single.solved()


def test_what_cannot_wait() -> None:
    scan = cine_scan(frames=3)
    running, delayed, single = made(scan), made(scan, delay_frames=2), made(scan, "nufft")
    for number, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        assert running.may_wait == (number > 1)  # the maps need the first ones
        for method in (running, delayed, single):
            method.add_frame(samples, traj)
    assert running.may_wait
    assert not delayed.may_wait
    assert not single.may_wait


@pytest.mark.parametrize("name", ["nufft", "cg_sense"])
def test_images_that_do_not_go_by_the_clock_do_not_by_their_maps(name: str) -> None:
    scan = cine_scan(frames=6)
    method = made(scan, name)
    method.due = time.monotonic()
    torch.testing.assert_close(live(scan, method, 0), live(scan, made(scan, name), 0), rtol=0, atol=0)


class Turning(Calibration):
    """Receive maps whose phase, which is free, is another one after each refresh."""

    def update(self, coil_images: Tensor, *, at_once: bool = True) -> bool:
        changed = super().update(coil_images, at_once=at_once)
        if changed and self.csm is not None:
            self._turns = 1 + getattr(self, "_turns", 0)
            ramp = torch.linspace(-0.2, 0.2, self.csm.shape[-1])
            self.csm = self.csm * torch.exp(1j * self._turns * (1 + ramp))
        return changed


def test_the_free_phase_of_the_maps_has_no_part_in_the_series() -> None:
    scan = cine_scan(frames=8)
    plain, turning = made(scan), made(scan)
    turning.calibration = Turning(8, 6)
    turned, straight = live(scan, turning, 0), live(scan, plain, 0)
    # Not equal to the last digit: the live solver looks at the image's slopes, and they are its phase's, too.
    assert error(turned, straight) < 0.01
    assert float((turned - straight).norm() / straight.norm()) > 0.5


def test_what_the_caller_gave_is_not_changed() -> None:
    scan = cine_scan(frames=3)
    before = [(k.clone(), t.clone()) for k, t in zip(scan.kspace, scan.traj, strict=True)]
    live(scan, made(scan))
    for (k, t), kspace_now, traj_now in zip(before, scan.kspace, scan.traj, strict=True):
        assert torch.equal(k, kspace_now)
        assert torch.equal(t, traj_now)


def test_an_image_that_was_given_out_is_not_changed_later() -> None:
    scan = cine_scan(frames=6)
    method, images, copies = made(scan, refine_passes=1.0), list[Tensor](), list[Tensor]()
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        images.append(method.add_frame(samples, traj))
        copies.append(images[-1].clone())
        method.tune()
    method.refine()
    for image, copy in zip(images, copies, strict=True):
        assert torch.equal(image, copy)


# -- bounded state ------------------------------------------------------------------------------------------------


def tensors(state: Any, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor that can be reached from an object."""
    if id(state) in seen:
        return
    seen.add(id(state))
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from tensors(value, seen)
    elif isinstance(state, list | tuple | deque | set):
        for value in state:
            yield from tensors(value, seen)
    elif type(state).__module__.startswith("inr_core"):
        yield from tensors(vars(state), seen)


def storage(method: LiveMethod) -> int:
    """Bytes of all storage behind a method's tensors: a view keeps the whole of what it is a view of."""
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(method, set())}
    return sum(found.values())


@pytest.mark.parametrize("name", METHODS)
def test_state_does_not_grow_with_the_scan(name: str) -> None:
    scan = cine_scan(frames=16, matrix=(12, 10))
    method, sizes = made(scan, name, history_frames=8, refine_passes=5.0), dict[int, int]()
    for number in range(1, 201):
        method.add_frame(scan.kspace[number % 16], scan.traj[number % 16])
        method.tune()
        if number in (100, 140, 200):
            sizes[number] = storage(method)
    assert sizes[100] > 0
    assert sizes[100] == sizes[140] == sizes[200]
    refined = method.refine()
    if refined is not None:
        assert refined.first == 192
        assert len(refined.images) == 8
        assert bool(torch.isfinite(refined.images.abs()).all())


def test_a_long_scan_is_as_good_as_a_short_one() -> None:
    """Blocks of the field are forgotten on the way; what is left is as good as it was."""
    scan = cine_scan(frames=16, matrix=(12, 10))
    method, found = made(scan, history_frames=16), list[float]()
    images = []
    for number in range(160):
        images.append(method.add_frame(scan.kspace[number % 16], scan.traj[number % 16]))
        method.tune()
    for start in (32, 144):
        found.append(error(torch.stack(images[start : start + 16]), scan.truth))
    assert found[1] < 1.25 * found[0]
    refined = method.refine()
    assert refined is not None
    assert refined.first == 144
    assert error(refined.images, scan.truth) < 1.25 * found[0]


def test_a_companion_joins_the_field_or_it_is_said_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = cine_scan(frames=4)
    found = []
    for passes, steps in ((0.0, 1.0), (2.0, 1.0), (2.0, 0.2)):
        method = made(scan, refine_passes=20.0, companion_passes=passes)
        live(scan, method, tune_steps=0)

        def solve(self: TdDipMethod, data: SliceData, control: Control, part: float = steps) -> RefinedSeries:
            assert len(data) == 4
            assert self.parameters.training_steps == 8
            return RefinedSeries(0, torch.zeros(4, *scan.shape, dtype=torch.complex64), round(8 * part))

        monkeypatch.setattr(TdDipMethod, "solve", solve)
        refined = method.refine()
        assert refined is not None
        found.append(refined)
    alone, joined, late = found
    assert [series.remark for series in found] == [
        "",
        "",
        "the convolutional prior had no time: the field is by itself",
    ]
    torch.testing.assert_close(late.images, alone.images)
    assert 0.2 < float(joined.images.norm() / alone.images.norm()) < 0.95


def test_the_training_ends_when_held_out_spokes_are_no_longer_explained_better() -> None:
    noisy, found = cine_scan(frames=16, spokes=9, matrix=(18, 16), sigma=0.3), dict[bool, RefinedSeries]()
    for early in (False, True):
        method = made(noisy, early_stop=early, refine_passes=60.0)
        live(noisy, method)
        refined = method.refine()
        assert refined is not None
        assert refined.remark == ""
        found[early] = refined
    assert found[False].steps == 160
    assert found[True].steps < 120
    assert error(found[True].images, noisy.truth) < error(found[False].images, noisy.truth)


# -- between the frames and pixels --------------------------------------------------------------------------------


def test_images_between_the_frames_agree_with_those_at_them() -> None:
    scan = cine_scan(frames=6)
    series = []
    for query in (SeriesQuery(), SeriesQuery(frame_scale=2), SeriesQuery(matrix_scale=2.0)):
        method = made(scan, refine_passes=60.0)
        method.query = query
        live(scan, method)
        refined = method.refine()
        assert refined is not None
        assert refined.query == query
        series.append(refined.images)
    usual, between, finer = series
    assert between.shape == (11, *scan.shape)
    torch.testing.assert_close(between[::2], usual, rtol=1e-3, atol=1e-4 * float(usual.abs().max()))
    low, high = torch.minimum(usual[1:].abs(), usual[:-1].abs()), torch.maximum(usual[1:].abs(), usual[:-1].abs())
    inside = (between[1::2].abs() >= 0.9 * low) & (between[1::2].abs() <= 1.1 * high + 1e-2)
    assert inside.float().mean() > 0.9
    # Pixel n // 2 is the centre of either matrix: every second pixel lies on one of the coarse ones.
    ny, nx = scan.shape
    on_coarse = finer[:, (2 * ny // 2) % 2 :: 2, (2 * nx // 2) % 2 :: 2]
    assert error(on_coarse, usual) < 0.1


# -- CUDA ---------------------------------------------------------------------------------------------------------

needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}"),
]


class TestCuda:
    pytestmark = needs_cuda

    def test_the_transform_agrees_with_the_cpu(self) -> None:
        scan = cine_scan(frames=2)
        traj, images = torch.stack(scan.traj), scan.maps[None] * scan.truth[:2, None]
        there, here = Nufft(traj.cuda(), scan.shape), Nufft(traj, scan.shape)
        samples = here.forward(images)
        assert (there.forward(images.cuda()).cpu() - samples).norm() < 1e-3 * samples.norm()
        back = here.adjoint(samples)
        assert (there.adjoint(samples.cuda()).cpu() - back).norm() < 1e-3 * back.norm()

    @pytest.mark.parametrize("name", METHODS)
    def test_the_methods_agree_with_the_cpu(self, name: str) -> None:
        scan = cine_scan(frames=6)
        results = []
        for device in ("cpu", "cuda"):
            method = make_live(name, scan.shape, read(name, refine_passes=2.0), torch.device(device))
            results.append(live(scan, method, tune_steps=1).cpu())
            refined = method.refine()
            assert refined is None or refined.images.device.type == device
        assert (results[0] - results[1]).norm() < 1e-3 * results[0].norm()


def test_maps_are_arranged_for_compiled_products_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each product: it takes as long as one of two coils."""
    scan, arranged = cine_scan(frames=8, matrix=(22, 15), coils=4), list[int]()
    monkeypatch.setattr(prepared, "_PREPARED", {scan.shape})

    def in_blocks(images: Any) -> Any:
        arranged.append(len(images))
        return column_blocks.in_blocks(images)

    monkeypatch.setattr(toeplitz, "in_blocks", in_blocks)
    method = make_live("grasp", scan.shape, GraspParameters(), CPU)
    counts = []
    for data in zip(scan.kspace, scan.traj, strict=True):
        arranged.clear()
        method.add_frame(*data)
        method.settle()
        counts.append(sum(n > 1 for n in arranged))
    assert 0 in counts  # where they are not refreshed
    assert max(counts) <= 2  # before it and after it


@pytest.mark.parametrize("name", ["grasp", "inr"])
def test_a_size_that_another_scan_prepares_for_in_mid_scan_changes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, sizes = cine_scan(frames=8, matrix=(22, 15), coils=4), set[tuple[int, int]]()
    monkeypatch.setattr(prepared, "_PREPARED", sizes)
    made, transfer_function = list[int](), toeplitz.transfer_function

    def noted(*given: Any) -> Any:
        made.append(1)
        return transfer_function(*given)

    monkeypatch.setattr(toeplitz, "transfer_function", noted)
    series = []
    for change in (len(scan.kspace), 4):
        sizes.clear()
        method, images = make_live(name, scan.shape, read(name), CPU), list[torch.Tensor]()
        for index, data in enumerate(zip(scan.kspace, scan.traj, strict=True)):
            if index == change:
                assert prepared.prepare(scan.shape)
            images.append(method.add_frame(*data))
            method.settle()
        series.append(torch.stack(images))
        assert bool(made) == (change == 4)
    assert (series[1] - series[0]).norm() < 1e-3 * series[0].norm()
