"""The buffer gadget: which readouts make which frame, at which angles, and what becomes of the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_core.trajectory import GOLDEN_ANGLE_DEG, radial_trajectory, spoke_angles
from inr_gadgets.buffering import buffer as module
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.conventions.understanding import MOST_HELD
from inr_gadgets.frame import Frame
from inr_gadgets.header import parse_header
from scans import COILS, SPOKES, N, embedded, golden_scan, header, noise_readout, readout


def gather(
    scan: Iterable[Any], parameters: dict[str, Any] | None = None, **changes: Any
) -> tuple[list[Frame], list[str]]:
    """Frames and announcements of a scan."""
    gadget = BufferGadget(header(**changes), BufferParameters(**(parameters or {})))
    lines: list[str] = []
    gadget.announce = lines.append
    return list(gadget.process(scan)), lines


def numbers(frames: list[Frame]) -> list[list[int]]:
    """Which readouts (by their constant samples) each frame holds."""
    return [[round(float(value.real)) - 1 for value in frame.kspace[0, :, 0]] for frame in frames]


def golden(index: Iterable[int]) -> np.ndarray:
    return radial_trajectory(spoke_angles(list(index)), 2 * N)


def test_frames_of_a_plain_scan() -> None:
    frames, lines = gather(golden_scan(3))
    assert numbers(frames) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[1].kspace.shape == (COILS, SPOKES, 2 * N)
    assert frames[1].traj == pytest.approx(golden(range(5, 10)), abs=1e-6)
    assert (frames[0].matrix, frames[0].fov_mm) == ((N, N), (300.0, 300.0, 8.0))
    assert [h.scan_counter for h in frames[2].headers] == [10, 11, 12, 13, 14]
    assert lines[1:] == ["gradient delays not corrected: 15 spokes do not tell them", "3 frames of 15 spokes"]


@pytest.mark.parametrize("scale", [1.0, 2 * np.pi, N, 2 * N])
def test_embedded_trajectories_of_any_scale_become_cycles_per_pixel(scale: float) -> None:
    scan = [readout(i, repetition=i // 5, trajectory=embedded(i, scale)) for i in range(10)]
    frames, _ = gather(scan, trajectory="other")
    assert np.concatenate([f.traj for f in frames]) == pytest.approx(golden(range(10)), abs=1e-6)


def test_a_frame_leaves_with_its_last_readout_and_carries_its_time() -> None:
    taken: list[int] = []

    def source() -> Iterator[Any]:
        for i, acquisition in enumerate(golden_scan(4)):
            taken.append(i)
            acquisition.arrived = 100.0 + i
            yield acquisition

    gadget = BufferGadget(header(), BufferParameters(spokes_per_frame=5))
    for number, frame in enumerate(gadget.process(source())):
        assert taken[-1] == 5 * number + 4
        assert frame.arrived == 104.0 + 5 * number


def test_frames_known_from_counters_leave_with_their_last_readout_after_the_first() -> None:
    taken: list[int] = []

    def source() -> Iterator[Any]:
        for i, acquisition in enumerate(golden_scan(4)):
            taken.append(i)
            yield acquisition

    last = [taken[-1] for _ in BufferGadget(header()).process(source())]
    assert last == [5, 9, 14, 19]


def test_other_items_pass_in_place() -> None:
    scan: list[Any] = golden_scan(2)
    scan.insert(3, "a waveform")
    scan.append("a text")
    items = list(BufferGadget(header()).process(scan))
    assert [type(item).__name__ for item in items] == ["str", "Frame", "Frame", "str"]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        (ismrmrd.ACQ_IS_NAVIGATION_DATA, "navigator"),
        (ismrmrd.ACQ_IS_PHASECORR_DATA, "phase-correction"),
        (ismrmrd.ACQ_IS_DUMMYSCAN_DATA, "dummy"),
        (ismrmrd.ACQ_IS_RTFEEDBACK_DATA, "RT-feedback"),
        (ismrmrd.ACQ_IS_HPFEEDBACK_DATA, "HP-feedback"),
        (ismrmrd.ACQ_IS_PHASE_STABILIZATION, "phase-stabilisation"),
        (ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE, "phase-stabilisation"),
        (ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA, "coil-correction"),
        (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, "calibration"),
        (ismrmrd.ACQ_IS_NOISE_MEASUREMENT, "noise"),
    ],
)
def test_readouts_that_are_no_imaging_are_dropped_and_counted(flag: int, name: str) -> None:
    """Whatever their shape, and whether they use the imaging's counters or not."""
    scan = golden_scan(3)
    for place in (12, 7, 3):
        scan.insert(place, readout(99, coils=2, samples=20, flags=[flag], repetition=7))
    frames, lines = gather(scan)
    assert numbers(frames) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert frames[2].traj == pytest.approx(golden(range(10, 15)), abs=1e-6)
    assert f"dropped: 3 {name}" in lines[-1]


def test_navigators_that_share_the_scan_counter_are_not_lost_spokes() -> None:
    scan, counter = [], 0
    for i in range(20):
        if i % 4 == 3:
            scan.append(readout(counter, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA]))
            counter += 1
        scan.append(readout(i, scan_counter=counter, repetition=i // 5))
        counter += 1
    frames, lines = gather(scan)
    assert np.concatenate([f.traj for f in frames]) == pytest.approx(golden(range(20)), abs=1e-6)
    assert "lost" not in lines[-1]


@pytest.mark.parametrize("counters", ["scan_counter", "step_1", "both"])
def test_a_lost_readout_keeps_the_angles_of_the_others(counters: str) -> None:
    scan = golden_scan(4)
    for acquisition in scan:
        if counters == "step_1":
            acquisition.scan_counter = 0
        if counters == "scan_counter":
            acquisition.idx.kspace_encode_step_1 = 0
    del scan[12]
    frames, lines = gather(scan)
    assert numbers(frames) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 13, 14], [15, 16, 17, 18, 19]]
    assert frames[2].traj == pytest.approx(golden([10, 11, 13, 14]), abs=1e-6)
    assert frames[3].traj == pytest.approx(golden(range(15, 20)), abs=1e-6)
    assert "1 readouts lost on the way" in lines[-1]


@pytest.mark.parametrize("gone", [[9], [10], [9, 10, 11], [5, 6]], ids=str)
def test_lost_readouts_at_the_edge_of_counted_frames(gone: list[int]) -> None:
    scan = [readout(i) for i in range(20) if i not in gone]
    frames, _ = gather(scan, {"spokes_per_frame": 5})
    rows = [[i for i in range(5 * f, 5 * f + 5) if i not in gone] for f in range(4)]
    assert numbers(frames) == rows
    for frame, row in zip(frames, rows, strict=True):
        assert frame.traj == pytest.approx(golden(row), abs=1e-6)


def test_lost_readouts_of_interleaved_slices_are_their_own_slices() -> None:
    scan = [readout(i, slice=i % 3, repetition=i // 15) for i in range(60)]
    del scan[31]  # spoke 10 of slice 1
    frames, lines = gather(scan)
    for number in range(3):
        found = [frame.traj for frame in frames if frame.headers[0].idx.slice == number]
        spokes = [i for i in range(20) if (number, i) != (1, 10)]
        assert np.concatenate(found) == pytest.approx(golden(spokes), abs=1e-6)
    assert "12 frames of 59 spokes in 3 groups; 1 readouts lost on the way" in lines[-1]


def test_interleaved_slices_have_frames_of_their_own() -> None:
    frames, _ = gather([readout(i, slice=i % 2, repetition=i // 10) for i in range(40)])
    assert numbers(frames)[:2] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert [(f.group, f.index) for f in frames] == [(s, t) for t in range(4) for s in range(2)]
    assert frames[0].traj == pytest.approx(golden(range(5)), abs=1e-6)
    assert frames[1].traj == pytest.approx(golden(range(5)), abs=1e-6)


@pytest.mark.parametrize("counter", ["slice", "set", "contrast", "average", "kspace_encode_step_2"])
def test_every_counter_that_names_what_is_imaged_separates(counter: str) -> None:
    scan = [readout(i, **{counter: (i // 5) % 2}) for i in range(40)]
    frames, _ = gather(scan, {"spokes_per_frame": 10})
    assert numbers(frames)[0] == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert len(frames) == 4


def test_spokes_go_on_being_numbered_over_averages() -> None:
    frames, _ = gather([readout(i, average=i // 10) for i in range(20)], {"spokes_per_frame": 5})
    assert np.concatenate([f.traj for f in frames]) == pytest.approx(golden(range(20)), abs=1e-6)


def test_two_encoding_spaces_are_read_each_in_its_way() -> None:
    scan = []
    for i in range(10):
        scan.append(readout(i, trajectory=embedded(i)))
        scan.append(readout(i, samples=48, center_sample=16, encoding_space_ref=1))
    frames, _ = gather(scan, {"spokes_per_frame": 5}, trajectory=["other", "goldenangle"])
    assert [frame.kspace.shape[2] for frame in frames] == [64, 48, 64, 48]
    want = radial_trajectory(spoke_angles(range(5)), 48, 16, spacing=1 / 64)
    assert frames[1].traj == pytest.approx(want, abs=1e-6)


def test_a_cartesian_scan_is_refused_before_any_data() -> None:
    with pytest.raises(DataError, match="a scan with trajectory 'cartesian'"):
        BufferGadget(header(trajectory="cartesian"))


@pytest.mark.parametrize("angles", ["golden", "trajectory"])
def test_a_scan_that_a_converter_calls_cartesian(angles: str) -> None:
    """Converters for GE and Philips write ``cartesian`` whatever it is; who says how the spokes lie is believed."""
    parameters = {"spokes_per_frame": 5, "angles": angles}
    k = (np.arange(2 * N) - N) / (2 * N)
    turns = np.deg2rad(np.arange(10) * GOLDEN_ANGLE_DEG)
    scan = [readout(i, trajectory=np.outer(k, (np.cos(turn), np.sin(turn)))) for i, turn in enumerate(turns)]
    found, lines = gather(scan, parameters, trajectory="cartesian")
    expected, _ = gather(scan, parameters)
    assert len(found) == len(expected) == 2
    np.testing.assert_array_equal(found[1].traj, expected[1].traj)
    assert "radial scan (its header says cartesian), matrix 32 x 32" in lines[0]


def test_odd_lines_may_be_negated_back() -> None:
    """What converters do to lines of alternating phase, they do to spokes, too."""
    scan = [readout(number, kspace_encode_step_1=number % 5) for number in range(10)]
    expected, _ = gather(scan, {"spokes_per_frame": 5})
    kspace = [frame.kspace.copy() for frame in expected]
    for one in scan:
        one.data[:] *= 1 - 2 * (one.idx.kspace_encode_step_1 % 2)
    found, _ = gather(scan, {"spokes_per_frame": 5, "negate_odd": True})
    for ours, theirs in zip(found, kspace, strict=True):
        np.testing.assert_array_equal(ours.kspace, theirs)
    wrong, _ = gather(scan, {"spokes_per_frame": 5})
    assert not np.array_equal(wrong[0].kspace, kspace[0])


def test_a_cartesian_encoding_is_refused_at_its_first_readout() -> None:
    gadget = BufferGadget(header(trajectory=["radial", "cartesian"]), BufferParameters(spokes_per_frame=5))
    scan = [*golden_scan(1), readout(5, encoding_space_ref=1)]
    items = gadget.process(scan)
    assert isinstance(next(items), Frame)
    with pytest.raises(DataError, match=r"a scan with trajectory 'cartesian' \(encoding space 1\)"):
        next(items)


def test_discarded_samples_are_gone_from_data_trajectory_and_header() -> None:
    data = np.tile(np.arange(70, dtype=np.complex64), (COILS, 1))
    scan = [readout(i, data=data, center_sample=36, discard_pre=4, discard_post=2) for i in range(5)]
    frames, _ = gather(scan, {"spokes_per_frame": 5})
    assert frames[0].kspace[0, 0].real == pytest.approx(np.arange(4, 68))
    assert frames[0].traj == pytest.approx(golden(range(5)), abs=1e-6)
    head = frames[0].headers[0]
    assert (head.number_of_samples, head.discard_pre, head.discard_post, head.center_sample) == (64, 0, 0, 32)


def test_frames_by_milliseconds() -> None:
    frames, _ = gather([readout(i) for i in range(20)], {"frame_ms": 12.0})
    assert [len(row) for row in numbers(frames)] == [4] * 5


def test_a_sliding_window() -> None:
    frames, _ = gather([readout(i) for i in range(13)], {"spokes_per_frame": 6, "stride": 2})
    assert numbers(frames) == [list(range(first, first + 6)) for first in (0, 2, 4, 6)]
    assert frames[2].traj == pytest.approx(golden(range(4, 10)), abs=1e-6)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_a_sliding_window_over_lost_readouts() -> None:
    frames, _ = gather([readout(i) for i in range(14) if i not in (7, 9)], {"spokes_per_frame": 6, "stride": 2})
    rows = numbers(frames)
    assert rows[0] == [0, 1, 2, 3, 4, 5]
    assert rows[-1] == [8, 10, 11, 12, 13]
    assert all(frame.traj == pytest.approx(golden(row), abs=1e-6) for frame, row in zip(frames, rows, strict=True))


def test_an_incomplete_last_frame_with_enough_spokes_is_kept() -> None:
    frames, _ = gather([readout(i) for i in range(12)], {"spokes_per_frame": 5})
    assert numbers(frames)[-1] == [10, 11]


def test_an_incomplete_last_frame_with_too_few_spokes_is_dropped_and_said() -> None:
    frames, lines = gather([readout(i) for i in range(12)], {"spokes_per_frame": 5, "minimum_part": 0.5})
    assert len(frames) == 2
    assert "2 spokes of frames with too few of them left out (buffer.minimum_part)" in lines[-1]


def test_a_first_frame_that_is_short_does_not_shorten_the_rest() -> None:
    """Without scan_counter and step_1 nobody can tell that the first frame lacks a spoke; the third does."""
    scan = [readout(i, scan_counter=0, repetition=(i + 1) // 6) for i in range(41)]
    frames, _ = gather(scan, trajectory="other")
    assert [len(row) for row in numbers(frames)] == [5, 5, 5, 6, 6, 6, 6]


def test_non_finite_readouts_are_dropped_said_and_counted() -> None:
    scan = golden_scan(4)
    scan[7].data[1, 3] = np.nan
    scan[16].data[0, 0] = -2e15j
    frames, lines = gather(scan)
    assert numbers(frames) == [[0, 1, 2, 3, 4], [5, 6, 8, 9], [10, 11, 12, 13, 14], [15, 17, 18, 19]]
    assert all(np.isfinite(frame.kspace).all() for frame in frames)
    assert frames[3].traj == pytest.approx(golden([15, 17, 18, 19]), abs=1e-6)
    assert [line for line in lines if "NaN" in line] == [
        "WRN: the readout with scan_counter 7 holds NaN, infinity or samples beyond 1e+15; such readouts are dropped"
    ]
    assert "dropped: 2 non-finite" in lines[-1]


@pytest.mark.parametrize("first", [0, 4])
def test_a_non_finite_first_or_last_spoke_of_a_frame(first: int) -> None:
    scan = golden_scan(3)
    scan[first].data[:] = np.nan
    frames, _ = gather(scan)
    assert [len(row) for row in numbers(frames)] == [4, 5, 5]
    assert frames[2].traj == pytest.approx(golden(range(10, 15)), abs=1e-6)


def test_a_non_finite_trajectory_is_dropped() -> None:
    scan = [readout(i, repetition=i // 5, trajectory=embedded(i)) for i in range(15)]
    scan[6].traj[4, 0] = np.nan
    frames, _ = gather(scan, trajectory="other")
    assert numbers(frames)[1] == [5, 7, 8, 9]


@pytest.mark.parametrize(("change", "at"), [({"coils": 4}, 12), ({"samples": 60}, 12), ({"coils": 4}, 5)])
def test_a_change_of_shape_comes_after_the_frames_before_it(change: dict[str, int], at: int) -> None:
    scan = golden_scan(4)
    scan[at] = readout(at, repetition=at // 5, **change)
    items = BufferGadget(header()).process(scan)
    frames: list[Frame] = []
    coils, samples = change.get("coils", COILS), change.get("samples", 2 * N)
    message = f"a readout of {coils} coils x {samples} samples in mid-scan; expected 3 x 64 as before"
    with pytest.raises(DataError, match=message):
        frames.extend(items)
    # Of a scan that breaks off before its frames are known, nothing is a complete frame yet.
    assert numbers(frames) == ([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]] if at == 12 else [])


def test_a_readout_without_the_trajectory_of_the_others_is_refused() -> None:
    scan = [readout(i, trajectory=embedded(i) if i < 7 else None) for i in range(10)]
    with pytest.raises(DataError, match=r"64 samples with a trajectory of 64 x 0; expected \(kx, ky\)"):
        gather(scan, {"spokes_per_frame": 5})


def test_compressed_readouts_are_refused() -> None:
    with pytest.raises(DataError, match=r"compressed readouts \(flags 53 to 56\); expected .*; send them without -P"):
        gather([readout(flags=[ismrmrd.ACQ_COMPRESSION2])])


def test_scans_with_nothing_in_them_are_refused() -> None:
    with pytest.raises(DataError, match="a scan without a single readout"):
        gather([])
    with pytest.raises(DataError, match=r"without usable imaging readouts \(3 non-finite\)"):
        gather([readout(i, data=np.full((1, 64), np.nan, np.complex64)) for i in range(3)])


def test_a_scan_that_never_becomes_usable_ends_before_it_fills_the_memory() -> None:
    taken = []

    def broken() -> Iterator[Any]:
        for i in range(MOST_HELD + 100):
            taken.append(i)
            yield readout(i, data=np.full((1, 4), np.nan, np.complex64))

    with pytest.raises(DataError, match=rf"without usable imaging readouts \({MOST_HELD} non-finite\)"):
        gather(broken())
    assert len(taken) == MOST_HELD


def test_readouts_that_are_no_imaging_do_not_hold_the_scan_back_for_ever() -> None:
    others = [readout(i, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA]) for i in range(5, MOST_HELD + 50)]
    gadget = BufferGadget(header(), BufferParameters(spokes_per_frame=6))
    last = readout(MOST_HELD + 50)
    frames = list(gadget.process([*(readout(i) for i in range(5)), *others, last]))
    assert len(frames) == 1
    assert gadget.understanding is not None
    assert gadget.understanding.dropped == {"navigator": MOST_HELD - 5}


def test_fewer_spokes_than_a_frame_are_refused() -> None:
    with pytest.raises(DataError, match=r"a scan of 4 spokes; expected at least the 5 spokes of one frame \(as set"):
        gather([readout(i) for i in range(4)], {"spokes_per_frame": 5})


def test_too_many_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUPS", 3)
    with pytest.raises(DataError, match="more than 3 slices, sets, contrasts, averages and partitions"):
        gather([readout(i, set=i // 5) for i in range(30)], {"spokes_per_frame": 5})


def test_readouts_that_wait_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a frame that never ends, and before it is clear how to read the scan."""
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 80 * readout().data.nbytes)
    with pytest.raises(
        DataError, match=r"95 readouts of 0.00154 MB that wait for their frames; expected at most 0.123"
    ):
        gather([readout(i) for i in range(200)], {"spokes_per_frame": 1000})
    assert len(gather([readout(i) for i in range(200)], {"spokes_per_frame": 60})[0]) == 4
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 20 * readout().data.nbytes)
    with pytest.raises(DataError, match=r"31 readouts of 0.00154 MB that wait for their frames"):
        gather([readout(i) for i in range(200)])


def test_an_error_of_the_source_is_its_own_and_nothing_is_flushed() -> None:
    def broken() -> Iterator[Any]:
        yield from [readout(i) for i in range(8)]
        raise ConnectionError("the client vanished")

    items = BufferGadget(header(), BufferParameters(spokes_per_frame=5)).process(broken())
    assert isinstance(next(items), Frame)
    with pytest.raises(ConnectionError, match="the client vanished"):
        next(items)


def test_conjugate_samples() -> None:
    scan = [readout(i, data=np.full((1, 64), 1 + 2j, np.complex64)) for i in range(5)]
    frames, _ = gather(scan, {"spokes_per_frame": 5, "conjugate": True})
    assert np.all(frames[0].kspace == 1 - 2j)
    assert np.all(scan[0].data == 1 + 2j), "the sender's data stay as they are"


def test_a_noise_scan_whitens_the_coils() -> None:
    rng = np.random.default_rng(1)
    mixing = np.array([[2.0, 0, 0], [1, 3, 0], [0, 1j, 1]])
    scan = [noise_readout(rng, mixing) for _ in range(20)]
    scan += [readout(i, data=noise_readout(rng, mixing, 64).data) for i in range(400)]
    frames, lines = gather(scan, {"spokes_per_frame": 40})
    noise = np.concatenate([f.kspace.reshape(COILS, -1) for f in frames], axis=1)
    assert noise @ noise.conj().T / noise.shape[1] == pytest.approx(np.eye(COILS), abs=0.05)
    assert "coils whitened from 20 noise readouts" in lines[0]


def test_the_noise_is_scaled_by_dwell_time_and_bandwidth() -> None:
    rng = np.random.default_rng(2)
    scan = [noise_readout(rng, 3 * np.eye(3), 4096, sample_time_us=8.0)]
    scan += [readout(i, sample_time_us=2.0) for i in range(5)]
    frames, _ = gather(scan, {"spokes_per_frame": 5}, bandwidth=0.8)
    # Imaging samples four times as fast, so its noise is four times as strong; and the noise scan saw 0.8 of its band.
    assert np.abs(frames[0].kspace[0, 0, 0]) == pytest.approx(1 / (3 * np.sqrt(4 / 0.8)), rel=0.05)


@pytest.mark.parametrize("dwell", [0.0, -1.0, np.inf, np.nan, 1e-30, 1e30])
def test_a_dwell_time_that_no_receiver_has_does_not_scale_the_noise(dwell: float) -> None:
    rng = np.random.default_rng(5)
    scan = [noise_readout(rng, 3 * np.eye(3), 4096, sample_time_us=dwell), *(readout(i) for i in range(5))]
    frames, _ = gather(scan, {"spokes_per_frame": 5})
    assert np.abs(frames[0].kspace[0, 0, 0]) == pytest.approx(1 / 3, rel=0.05)


@pytest.mark.parametrize("level", [1.0, np.sqrt(2)])
def test_data_that_are_white_already_are_left_alone(level: float) -> None:
    rng = np.random.default_rng(3)
    scan = [noise_readout(rng, level * np.eye(3), 8192), *(readout(i) for i in range(5))]
    frames, lines = gather(scan, {"spokes_per_frame": 5})
    assert frames[0].kspace[:, 2, 7] == pytest.approx([3, 3, 3])
    assert "1 noise readout, coils white already" in lines[0]


def test_whitening_may_be_off_and_needs_the_same_coils() -> None:
    rng = np.random.default_rng(4)
    scan = [noise_readout(rng, 5 * np.eye(3)), *(readout(i) for i in range(5))]
    frames, lines = gather(scan, {"spokes_per_frame": 5, "whiten": "off"})
    assert frames[0].kspace[0, 0, 0] == 1
    assert "1 noise readout not used (whiten=off)" in lines[0]
    scan[0] = noise_readout(rng, np.eye(5))
    frames, lines = gather(scan, {"spokes_per_frame": 5})
    assert frames[0].kspace[0, 0, 0] == 1
    assert "1 noise readout of 5 coils, not 3: coils not whitened" in lines[0]


def test_a_dead_coil_in_the_noise_scan_is_refused() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(DataError, match=r"the noise covariance of 3 coils is singular .* look at coil 1"):
        gather([noise_readout(rng, np.diag([1.0, 0, 1])), *golden_scan(2)])


def test_hours_of_scan_do_not_grow_the_gadget() -> None:
    gadget = BufferGadget(header(), BufferParameters(spokes_per_frame=5, stride=1))
    template = [readout(0, coils=1, samples=16, slice=s) for s in range(2)]

    def endless() -> Iterator[Any]:
        for i in range(12_000):
            acquisition = template[i % 2]
            acquisition.scan_counter = i
            yield acquisition

    frames = sum(1 for _ in gadget.process(endless()))
    assert frames == 2 * (6000 - 4)
    assert len(gadget._framers) == 2
    assert all(framer.pending <= 5 for framer in gadget._framers.values())
    assert len(gadget._positions._last) == 2
    assert not gadget._opening.held


REPOSITORY = Path(__file__).parents[3]
SHARED = REPOSITORY.parent / "shared"


@pytest.mark.skipif(not (SHARED / "tools/simulate_scan.py").exists(), reason="the measuring tools are not here")
@pytest.mark.parametrize("trajectory", ["embedded", "goldenangle"])
def test_a_simulated_cine_scan(tmp_path: Path, trajectory: str) -> None:
    """The two ways of telling angles give the same frames."""
    scan = tmp_path / "scan.h5"
    tool = [sys.executable, str(SHARED / "tools/simulate_scan.py"), str(SHARED / "data/cine_sax.npz"), "-o", str(scan)]
    options = ["--matrix", "64", "--frames", "3", "--spokes", "8", "--coils", "2", "--noise-scan"]
    run([*tool, *options, "--trajectory", trajectory], check=True, capture_output=True)
    with ismrmrd.Dataset(str(scan), "dataset", create_if_needed=False) as dataset:
        gadget = BufferGadget(parse_header(dataset.read_xml_header()))
        acquisitions = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    frames = list(gadget.process(acquisitions))
    assert [frame.kspace.shape for frame in frames] == [(2, 8, 128)] * 3
    want = radial_trajectory(spoke_angles(np.arange(24), GOLDEN_ANGLE_DEG), 128)
    assert np.concatenate([frame.traj for frame in frames]) == pytest.approx(want, abs=2e-6)
