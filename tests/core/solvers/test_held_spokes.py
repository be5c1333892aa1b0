"""Spokes held out of gridded frames."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from inr_core.solvers.frames import FrameHistory, MeasuredFrame, density_weights
from inr_core.solvers.held_spokes import HeldSpokes
from radial import RadialScan, cine_scan


def collected(
    scan: RadialScan, limit: int = 64, exponent: float = 1.0, spokes: Sequence[int] = ()
) -> tuple[HeldSpokes, FrameHistory]:
    """What is held of a scan, of which the frames may be given fewer spokes."""
    held, history = HeldSpokes(scan.shape, exponent, limit), FrameHistory(limit)
    for i, (kspace, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        n = spokes[i] if spokes else len(traj)
        held.take(i, kspace[:, :n], traj[:n])
        history.append(MeasuredFrame.from_samples(i, kspace[:, :n], traj[:n], scan.shape, exponent))
    return held, history


def test_it_is_the_last_spoke_of_each_fourth_frame() -> None:
    scan = cine_scan(frames=14, spokes=9)
    held, history = collected(scan)
    found = held.of(history)
    assert [len(samples.traj) for samples, _ in found] == [int(i % 4 == 1) for i in range(14)]
    samples, ramp = found[5]
    assert torch.equal(samples.kspace, scan.kspace[5][:, -1:])
    assert torch.equal(samples.traj, scan.traj[5][-1:])
    torch.testing.assert_close(ramp, density_weights(scan.traj[5], scan.shape)[-1:])
    samples, ramp = found[4]
    assert (samples.kspace.shape, ramp.shape) == ((6, 0, 60), (0, 60))


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_the_frames_are_those_of_the_other_spokes(exponent: float) -> None:
    scan = cine_scan(frames=14, spokes=9)
    held, history = collected(scan, exponent=exponent)
    for frame, full in zip(held.without(history), history, strict=True):
        if frame.index % 4 != 1:
            assert frame is full
            continue
        kspace, traj = scan.kspace[frame.index][:, :-1], scan.traj[frame.index][:-1]
        rest = MeasuredFrame.from_samples(frame.index, kspace, traj, scan.shape, exponent)
        assert frame.n_spokes == 8
        assert frame.strength == pytest.approx(rest.strength, rel=1e-4)
        for name in ("coil_images", "kernel"):
            mine, theirs, all_spokes = (getattr(of, name) for of in (frame, rest, full))
            assert float((mine - theirs).norm()) < 1e-3 * float((all_spokes - theirs).norm())


def test_frames_of_a_sliding_window_hold_out_nothing() -> None:
    scan = cine_scan(frames=14, spokes=9)
    spokes, points = torch.cat(scan.kspace, 1), torch.cat(scan.traj)
    held, history = HeldSpokes(scan.shape, 1.0, 64), FrameHistory(64)
    for i in range(20):
        window = slice(6 * i, 6 * i + 9)
        held.take(i, spokes[:, window], points[window])
        history.append(MeasuredFrame.from_samples(i, spokes[:, window], points[window], scan.shape))
    assert held.of(history) == []


def test_short_frames_and_short_scans_hold_out_nothing() -> None:
    held, history = collected(cine_scan(frames=14, spokes=9), spokes=[9, 7] * 7)
    assert held.of(history) == []
    held, history = collected(cine_scan(frames=8, spokes=9))
    assert held.of(history) == []


def test_what_is_kept_is_bounded() -> None:
    held, history = collected(cine_scan(spokes=9), limit=12)
    assert [len(samples.traj) for samples, _ in held.of(history)] == [int(i % 4 == 1) for i in range(12, 24)]
    assert len(vars(held)["_held"]) == 3
