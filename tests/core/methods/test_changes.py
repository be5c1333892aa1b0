"""Changes in mid-scan: jumps are noticed and gradual ones are not, pauses, frames of unequal length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.methods import get_method, make_live
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod
from inr_core.phantoms import CinePhantom, CoilArray, DcePhantom, Grid, kspace, noise
from inr_core.phantoms.ellipse import Ellipses
from inr_core.phantoms.scan import Phantom
from inr_core.trajectory import radial_trajectory, spoke_angles
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")
GRID = Grid((46, 34), (345.0, 255.0))  # pixels of 7.5 mm
Frames = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Elsewhere:
    """A phantom that lies somewhere else from some time on."""

    phantom: Phantom
    way_mm: tuple[float, float]
    from_ms: float

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        there = self.phantom.ellipses(times_ms)
        moved = np.where(np.asarray(times_ms)[:, None, None] >= self.from_ms, self.way_mm, (0.0, 0.0))
        return replace(there, centre=there.centre + moved)


@cache
def scan_of(
    phantom: Phantom, frames: int, spokes: int, tr_ms: float, start_ms: float = 0.0, sigma: float = 0.003
) -> Frames:
    coils = CoilArray.loops(5, GRID.fov_mm)
    traj = radial_trajectory(spoke_angles(np.arange(frames * spokes)), 92)
    samples = kspace(phantom, coils, GRID, traj, start_ms + tr_ms * np.arange(frames * spokes))
    samples += noise(samples.shape, sigma, np.random.default_rng(1))
    parts = torch.from_numpy(samples).split(spokes, 1), torch.from_numpy(traj).split(spokes)
    return list(zip(*parts, strict=True))


def jump() -> Frames:
    """A chest that jumps by 12 pixels in frame 7 of 9."""
    return scan_of(Elsewhere(CinePhantom(), (90.0, 0.0), 7 * 13 * 3.0), 9, 13, 3.0)


def method(name: str = "grasp", shape: tuple[int, int] = (34, 46), **parameters: object) -> LiveMethod:
    return make_live(name, shape, get_method(name).parameter_type(**parameters), CPU)


def misfits(frames: Frames, name: str = "grasp") -> list[int]:
    """Frames that do not fit those before; reconstruction begins anew with each of them."""
    running, found = method(name), []
    for i, (samples, traj) in enumerate(frames):
        if not running.fits(samples, traj):
            found.append(i)
            running = method(name)
        running.add_frame(samples, traj)
        running.tune()
    return found


# -- sudden and gradual -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spokes", [5, 13])
@pytest.mark.parametrize("pixels", [6, 20])
def test_a_jump_is_noticed_in_its_frame(spokes: int, pixels: int) -> None:
    frames = scan_of(Elsewhere(CinePhantom(), (pixels * 7.5, 0.0), 7 * spokes * 3.0), 10, spokes, 3.0)
    assert misfits(frames) == [7]


def test_the_field_does_not_hide_a_jump() -> None:
    assert misfits(jump(), "inr") == [7]


@pytest.mark.parametrize("spokes", [5, 21])
def test_the_beating_heart_is_no_sudden_change(spokes: int) -> None:
    assert misfits(scan_of(CinePhantom(), 300 // (3 * spokes), spokes, 9.0)) == []


@pytest.mark.parametrize("sigma", [0.05, 0.3, 3.0])
def test_noise_is_no_sudden_change(sigma: float) -> None:
    """Even where the data are nothing but noise, and no prediction explains them."""
    assert misfits(scan_of(CinePhantom(), 8, 5, 3.0, sigma=sigma)) == []


@pytest.mark.parametrize(("spokes", "speed"), [(5, 30.0), (21, 30.0)])
def test_contrast_agent_that_arrives_is_no_sudden_change(spokes: int, speed: float) -> None:
    # From before its arrival in the aorta until well after it.
    frames = scan_of(DcePhantom(speed=speed), 14, spokes, 3.0, start_ms=11000 / speed)
    assert misfits(frames) == []


def test_a_frame_that_does_not_fit_leaves_no_trace() -> None:
    """Whoever goes on with the old method all the same gets what he would have got."""
    frames = scan_of(CinePhantom(), 6, 13, 3.0)
    asked, other = method(), method()
    for i, (samples, traj) in enumerate(frames):
        if i == 4:
            assert not asked.fits(torch.roll(samples, 40, -1), traj)
        if i > 0:
            assert asked.fits(samples, traj)
        assert torch.equal(asked.add_frame(samples, traj), other.add_frame(samples, traj))


def test_methods_of_single_frames_fit_everything() -> None:
    assert misfits(jump(), "cg_sense") == misfits(jump(), "nufft") == []


def test_a_reconstruction_that_begins_anew_shows_nothing_of_the_old_anatomy() -> None:
    frames = jump()
    fresh = method()
    alone = fresh.add_frame(*frames[7])
    stale = method()
    for samples, traj in frames[:6]:
        stale.add_frame(samples, traj)
    before, mixed = stale.add_frame(*frames[6]).abs(), stale.add_frame(*frames[7]).abs()

    def likeness(image: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([image.flatten(), before.flatten()]))[0, 1])

    assert likeness(mixed) > likeness(alone.abs()) + 0.1


# -- pauses -------------------------------------------------------------------------------------------------------


@cache
def paused_error(told: bool) -> float:
    """Error of the frame after half a heart beat without data."""
    scan = cine_scan(frames=16, spokes=9, matrix=(96, 80), beat_frames=24.0)
    running = method("grasp", scan.shape)
    for i in (*range(7), 15):
        if i == 15 and told:
            running.pause()
        image = running.add_frame(scan.kspace[i], scan.traj[i])
    return error(image[None], scan.truth[15:])


def test_after_a_pause_the_past_is_trusted_less() -> None:
    assert paused_error(True) < 0.99 * paused_error(False)


def test_a_pause_is_over_after_a_frame() -> None:
    scan, efforts = cine_scan(frames=5), []
    running = method("grasp", scan.shape)
    for i in range(5):
        if i == 2:
            running.pause()
        running.add_frame(scan.kspace[i], scan.traj[i])
        efforts.append(running.solver.last_effort)  # type: ignore[attr-defined]
    assert efforts[0] is None
    assert [effort.second for effort in efforts[1:]] == [10, 20, 10, 10]


# -- frames of unequal length -------------------------------------------------------------------------------------


def unequal(pattern: list[int]) -> tuple[Frames, Tensor]:
    """The spokes of a scan in frames of other lengths, and the truth at the middle of each."""
    scan = cine_scan(frames=120, spokes=1, coils=6, matrix=(48, 40), beat_frames=240.0)
    samples, traj = torch.cat(scan.kspace, 1), torch.cat(scan.traj)
    parts = [slice(sum(pattern[:i]), sum(pattern[: i + 1])) for i in range(len(pattern))]
    middle = torch.tensor([(part.start + part.stop) // 2 for part in parts])
    return [(samples[:, part], traj[part]) for part in parts], scan.truth[middle]


def test_frames_of_unequal_length_are_on_one_scale_and_as_good_as_equal_ones() -> None:
    images = {}
    for name, pattern in (("unequal", [21, 5, 8, 21, 5, 8, 13, 5, 8, 5, 21]), ("equal", [12] * 10)):
        frames, truth = unequal(pattern)
        running = method("inr", (40, 48))
        made = []
        for samples, traj in frames:
            assert running.fits(samples, traj)
            made.append(running.add_frame(samples, traj))
            running.tune()
        images[name] = torch.stack(made)[3:], truth[3:]
    series, truth = images["unequal"]
    inside = truth.abs() > 0.3 * truth.abs().max()
    for image, true, within in zip(series, truth, inside, strict=True):
        assert float((image.abs() / true.abs())[within].median()) == pytest.approx(1, abs=0.06)
    assert error(*images["unequal"]) < 1.25 * error(*images["equal"])


def test_what_is_resting_is_refined_all_the_same() -> None:
    scan = cine_scan(frames=6)
    images = []
    for rests in (False, True):
        running = method("inr", scan.shape, refine_passes=45.0, polish_rounds=0)
        for samples, traj in zip(scan.kspace, scan.traj, strict=True):
            running.add_frame(samples, traj)
            running.tune()
        if rests:
            running.rest()
            assert isinstance(running, InrMethod)
            assert running.trainer is None
        series = running.refine()
        assert series is not None
        assert series.remark == ""
        images.append(error(series.images, scan.truth))
    assert images[1] == pytest.approx(images[0], rel=0.15)


def test_another_number_of_coils_is_refused_before_it_is_asked_whether_it_fits() -> None:
    scan: RadialScan = cine_scan(frames=2)
    running = method("grasp", scan.shape)
    running.add_frame(scan.kspace[0], scan.traj[0])
    with pytest.raises(DataError, match=r"^a frame of 5 coils; expected 6, as in the first frame$"):
        running.fits(scan.kspace[1][:5], scan.traj[1])
