"""Compression and maps settle with a scan's first frames, and no state grows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import torch

from inr_core.errors import DataError
from inr_core.solvers.calibration import Calibration
from inr_core.solvers.frames import MeasuredFrame
from oracles import rand
from radial import cine_scan


def refreshes(last: int, frames: int) -> list[int]:
    """Numbers of the frames, from 1, after which the maps changed."""
    calibration, changed = Calibration(4, 2, last), []
    for number in range(1, frames + 1):
        before = calibration.csm
        if calibration.update(rand(4, 9, 8, seed=number).to(torch.complex64)):
            changed.append(number)
            assert calibration.csm is not before
        else:
            assert calibration.csm is before
    return changed


def test_maps_are_refreshed_often_at_first_then_ever_more_seldom() -> None:
    changed = refreshes(last=64, frames=200)
    assert changed[:5] == [1, 2, 3, 5, 8]
    ratios = [b / a for a, b in itertools.pairwise(changed[2:])]
    assert all(1.4 <= ratio <= 1.8 for ratio in ratios)
    assert 64 / 1.8 < changed[-1] <= 64


def test_maps_that_are_fitted_beside_the_frames_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = list[Callable[[], Any]]()

    def later(work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        waiting.append(lambda: future.set_result(work()))
        return future

    monkeypatch.setattr("inr_core.solvers.calibration.beside", later)
    images = [rand(4, 9, 8, seed=number).to(torch.complex64) for number in range(4)]
    at_once, beside = Calibration(4, 2), Calibration(4, 2)
    for calibration in (at_once, beside):
        calibration.update(images[0])
    at_once.update(images[1])
    before = beside.csm
    assert not beside.update(images[1], at_once=False)
    assert not beside.adopt(wait=False)
    # Frame 3 would be the next with new maps, and 2 is still at it: its data are of the ones after that.
    assert not beside.update(images[2], at_once=False)
    assert beside.csm is before
    assert len(waiting) == 1
    waiting[0]()
    assert beside.adopt(wait=False)
    torch.testing.assert_close(beside.csm, at_once.csm, rtol=0, atol=0)
    assert not beside.adopt(wait=True)
    at_once.update(images[2])
    assert at_once.update(images[3]) is False
    assert not beside.update(images[3], at_once=False)
    waiting[1]()
    assert beside.adopt(wait=True)


def test_maps_that_cannot_be_fitted_are_an_error_when_they_are_asked_for() -> None:
    calibration = Calibration(4, 2)
    calibration.update(torch.zeros(4, 9, 8, dtype=torch.complex64), at_once=False)
    with pytest.raises(DataError, match="coil images without any signal"):
        calibration.adopt(wait=True)


def test_after_the_last_frame_nothing_changes_any_more() -> None:
    assert refreshes(last=3, frames=100) == [1, 2, 3]


def test_the_first_frame_fixes_the_compression() -> None:
    calibration = Calibration(3, 2)
    first = calibration.compress(rand(5, 4, 20).to(torch.complex64))
    assert first.shape == (3, 4, 20)
    matrix = calibration.matrix
    other = rand(5, 2, 20, seed=1).to(torch.complex64)
    torch.testing.assert_close(calibration.compress(other), (matrix @ other.flatten(1)).reshape(3, 2, 20))
    assert calibration.matrix is matrix


def test_virtual_coils_are_at_most_the_coils() -> None:
    assert Calibration(8, 2).compress(rand(3, 4, 20).to(torch.complex64)).shape == (3, 4, 20)


def test_coils_do_not_change_in_mid_scan() -> None:
    calibration = Calibration(8, 2)
    calibration.compress(rand(5, 4, 20).to(torch.complex64))
    with pytest.raises(DataError, match=r"^a frame of 4 coils; expected 5, as in the first frame$"):
        calibration.compress(rand(4, 4, 20).to(torch.complex64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_refused(bad: float) -> None:
    calibration, kspace = Calibration(8, 2), rand(5, 4, 20).to(torch.complex64)
    kspace[2, 1, 7] = bad
    with pytest.raises(DataError) as caught:
        calibration.compress(kspace)
    assert str(caught.value) == "samples that are not finite; expected finite samples; leave those readouts out"


def test_the_input_is_not_kept() -> None:
    """A caller may use its tensor again."""
    calibration = Calibration(4, 2)
    images = rand(4, 9, 8).to(torch.complex64)
    calibration.update(images)
    again = Calibration(4, 2)
    again.update(images.clone())
    images.zero_()
    more = rand(4, 9, 8, seed=1).to(torch.complex64)
    calibration.update(more)
    again.update(more)
    assert torch.equal(calibration.csm, again.csm)  # type: ignore[arg-type]


def test_maps_get_better_with_the_frames() -> None:
    scan = cine_scan(frames=16)
    calibration = Calibration(scan.maps.shape[0], 6)
    body = scan.truth.abs().mean(0) > 0.2
    found = []
    for index, (kspace, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        # Compression is a change of basis here, which the maps must be seen through.
        frame = MeasuredFrame.from_samples(index, calibration.compress(kspace), traj, scan.shape)
        if calibration.update(frame.coil_images):
            physical = torch.einsum("vc,vyx->cyx", calibration.matrix.conj(), calibration.csm)
            found.append(float((physical.conj() * scan.maps).sum(0).abs()[body].mean()))
    assert found[-1] > 0.99
    assert found[-1] > found[0]
