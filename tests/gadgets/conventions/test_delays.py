"""Gradient delays in the stream: estimated from the first spokes, then settled; applied only where it is worth it."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from inr_core.gradient_delays import GradientDelays, corrected
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.frame import Frame
from inr_gadgets.header import parse_header
from inr_gadgets.imaging.geometry import image_for
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate

DELAYS = (0.4, -0.6, 0.1)


@cache
def scan(delays: str = "0.4:-0.6:0.1", **options: Any) -> tuple[Any, list[Any]]:
    """Header and readouts of the beating heart."""
    options = {"matrix": 32, "coils": 4, "frames": 4, "spokes": 13, **options}
    with TemporaryDirectory() as folder:
        made = simulate(Path(folder) / "scan.h5", delays=delays, **options)
        with ScanFile(made.scan) as file:
            return parse_header(file.header_xml), list(file.acquisitions())


def frames_of(header: Any, readouts: list[Any], **parameters: Any) -> tuple[list[Frame], list[str]]:
    gadget, lines = BufferGadget(header, BufferParameters(**parameters)), list[str]()
    gadget.announce = lines.append
    frames = list(gadget.process(readouts))
    return frames, [line for line in lines if "gradient delays" in line]


def meant(frames: list[Frame], readouts: list[Any]) -> list[np.ndarray]:
    """The trajectories that the readouts brought."""
    spokes = iter(readouts)
    return [np.stack([next(spokes).traj for _ in frame.headers]) for frame in frames]


def played(traj: np.ndarray) -> np.ndarray:
    return corrected(traj, GradientDelays(*DELAYS))


def test_frames_lie_where_the_gradients_played_them() -> None:
    header, readouts = scan()
    frames, lines = frames_of(header, readouts)
    for frame, traj in zip(frames, meant(frames, readouts), strict=True):
        assert frame.traj == pytest.approx(played(traj), abs=0.01 / 64)
        assert frame.traj != pytest.approx(traj, abs=0.3 / 64)
        assert frame.delays == pytest.approx(DELAYS, abs=0.01)
    assert len({frame.delays for frame in frames}) == 1
    (line,) = lines
    numbers = r"Sx \+0\.[34]\d\d, Sy -0\.[56]\d\d, Sxy \+0\.\d\d\d samples \(\+-0\.00\d\)"
    assert re.fullmatch(f"gradient delays corrected: {numbers}, from 13 spokes", line)


def test_angles_by_formula_are_corrected_alike() -> None:
    frames, _ = frames_of(*scan(trajectory="none"))
    expected, _ = frames_of(*scan())
    assert frames[2].traj == pytest.approx(expected[2].traj, abs=1e-4)


def test_without_delays_the_trajectory_is_left_alone() -> None:
    header, readouts = scan("0:0:0")
    frames, lines = frames_of(header, readouts)
    for frame, traj in zip(frames, meant(frames, readouts), strict=True):
        np.testing.assert_array_equal(frame.traj, traj)
        assert frame.delays == (0, 0, 0)
    assert lines[0].startswith("no gradient delays worth a correction: Sx ")


def test_off_is_off() -> None:
    header, readouts = scan()
    frames, lines = frames_of(header, readouts, delays="off")
    np.testing.assert_array_equal(frames[0].traj, meant(frames, readouts)[0])
    assert lines == []


def test_noise_and_few_spokes_are_waited_for_and_then_it_is_settled() -> None:
    header, readouts = scan(spokes=5, frames=12, noise=0.02)
    frames, (line,) = frames_of(header, readouts)
    estimates = [frame.delays for frame in frames]
    assert len(set(estimates[:7])) > 1
    assert len(set(estimates[6:])) == 1
    assert estimates[-1] == pytest.approx(DELAYS, abs=0.1)
    assert line.endswith("from 35 spokes")


def test_a_sliding_window_brings_only_its_new_spokes() -> None:
    frames, (line,) = frames_of(*scan(noise=0.02), spokes_per_frame=12, stride=6)
    assert len(frames) == 7
    assert line.endswith("from 36 spokes")
    assert frames[-1].delays == pytest.approx(DELAYS, abs=0.1)


def test_a_scan_that_ends_early_says_what_it_knew() -> None:
    header, readouts = scan()
    _, (line,) = frames_of(header, readouts[:8], spokes_per_frame=4)
    assert line.startswith("gradient delays corrected:")
    assert line.endswith("from 8 spokes")


def test_slices_have_delays_of_their_own() -> None:
    """Slices of other directions see the same gradients differently."""
    header, delayed = scan(frames=3)
    _, plain = scan("0:0:0", frames=3)
    both = []
    for pair in zip(delayed, plain, strict=True):
        for number, readout in enumerate(pair):
            copy = type(readout).from_array(readout.data, readout.traj)
            copy.idx.repetition, copy.idx.kspace_encode_step_1 = (
                readout.idx.repetition,
                readout.idx.kspace_encode_step_1,
            )
            copy.idx.slice, copy.scan_counter = number, len(both)
            copy.center_sample = readout.center_sample
            both.append(copy)
    frames, lines = frames_of(header, both)
    assert [frame.delays == (0, 0, 0) for frame in frames] == [frame.group == 1 for frame in frames]
    assert sorted(line.split(":")[0] for line in lines) == ["group 0", "group 1"]


@pytest.mark.parametrize(("stride", "counted"), [(0, 13), (4, 10)])
def test_a_plane_that_turns_has_its_delays_found_anew(stride: int, counted: int) -> None:
    """Turned by a quarter, x and y change places; a shift of the slice changes nothing."""
    header, before = scan()
    _, after = scan("-0.6:0.4:-0.1")
    readouts = deepcopy([*before[:26], *after[26:]])
    for i, readout in enumerate(readouts):
        readout.position[:] = (0, 0, 20 * (i // 13))
        if i >= 26:
            readout.read_dir[:], readout.phase_dir[:] = (0, 1, 0), (-1, 0, 0)
    parameters = {"spokes_per_frame": 12, "stride": stride} if stride else {}
    frames, lines = frames_of(header, readouts, **parameters)
    assert frames[0].delays == pytest.approx(DELAYS, abs=0.02)
    assert frames[-1].delays == pytest.approx((-0.6, 0.4, -0.1), abs=0.02)
    if not stride:
        assert frames[1].delays == frames[0].delays
    assert len(lines) == 2
    assert lines[1].startswith("gradient delays corrected: Sx -0.")
    assert lines[1].endswith(f"from {counted} spokes")


def test_a_stack_of_stars_has_one_estimate_for_all_its_slices() -> None:
    header, readouts = scan(phantom="dce", partitions=4, frames=2, matrix=28, fov_mm=380, slice_mm=20)
    frames, (line,) = frames_of(header, readouts)
    assert len(frames) == 8
    for index in range(2):
        assert len({frame.delays for frame in frames if frame.index == index}) == 1
    assert frames[0].delays == pytest.approx(DELAYS, abs=0.01)
    assert line.startswith("gradient delays corrected: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data, traj: (data[:, 32:], traj[32:]), "gradient delays not estimated: spokes with 0 samples before"),
        (lambda data, traj: (np.ones_like(data), traj), "gradient delays not corrected: 13 spokes do not tell them"),
        (
            lambda data, traj: (data + 2 * np.abs(data).max() * np.exp(1e3j * np.abs(data)), traj),
            "gradient delays not corrected: spokes differ by",
        ),
    ],
)
def test_what_cannot_be_estimated_is_said_and_left(change: Callable[..., tuple[Any, Any]], said: str) -> None:
    header, readouts = scan()
    changed = []
    for number, readout in enumerate(readouts[:13]):
        copy = type(readout).from_array(*change(readout.data, readout.traj))
        copy.scan_counter = number
        changed.append(copy)
    frames, (line,) = frames_of(header, changed, spokes_per_frame=13)
    assert line.startswith(said)
    assert frames[0].delays == (0, 0, 0)


def test_images_tell_what_was_corrected() -> None:
    frames, _ = frames_of(*scan())
    gadget = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "grasp_iterations": 2, "device": "cpu"}))
    images = list(gadget.process(frames))
    assert {image.image_series_index for image in images} == {1, 2}
    for image in images:
        assert [float(value) for value in image.meta["inr_delays"]] == pytest.approx(DELAYS, abs=0.01)
        assert list(image.user_float) == [0] * 8  # the scanner's own
    plain, _ = frames_of(*scan("0:0:0"))
    assert "inr_delays" not in image_for(plain[0], np.zeros((32, 32)), 1, 0).meta
