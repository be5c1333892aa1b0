"""A trajectory in a file of its own gives what the same trajectory in the readouts gives, to the bit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest

import scans
from inr_core.errors import DataError, InrError, ParameterError
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.check import check_scan
from inr_gadgets.configs import parse_config
from inr_gadgets.conventions.side_file import SideTrajectory, side_trajectory
from inr_gadgets.frame import Frame
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.request import Request
from inr_gadgets.wire.messages import ConfigText, Text
from scans import COILS, N

SAMPLES, SPOKES = 2 * N, 15


def spokes(number: int = SPOKES, samples: int = SAMPLES, seed: int = 3) -> np.ndarray:
    """Spokes at random angles, which no formula has: (spokes, samples, 2) float32, cycles per pixel."""
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, number)
    radius = (np.arange(samples) - samples // 2) / samples
    along = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.asarray(radius[:, None] * along[:, None, :], np.float32)


TRAJ = spokes()
KSPACE = np.random.default_rng(4).normal(size=(SPOKES, COILS, SAMPLES, 2)).view(np.complex128)[..., 0]


def scan(traj: np.ndarray | None) -> list[ismrmrd.Acquisition]:
    """A scan with its trajectory in the readouts, or without any."""
    return [
        scans.readout(
            number, data=KSPACE[number].astype(np.complex64), trajectory=None if traj is None else traj[number]
        )
        for number in range(SPOKES)
    ]


def frames(readouts: Iterable[Any], lines: list[str] | None = None, **parameters: Any) -> list[Frame]:
    """The frames of a scan, five spokes each."""
    gadget = BufferGadget(scans.header(), BufferParameters(spokes_per_frame=5, delays="off", **parameters))
    gadget.announce = (lines if lines is not None else []).append
    return list(gadget.process(readouts))


def expect_the_same(ours: list[Frame], theirs: list[Frame]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.traj, other.traj)
        np.testing.assert_array_equal(one.kspace, other.kspace)


def write_ismrmrd(path: Path, entries: Iterable[ismrmrd.Acquisition]) -> None:
    with ScanWriter(path, scans.header_xml().encode()) as writer:
        for entry in entries:
            writer.append(entry)


def entry(traj: np.ndarray, coils: int = 0, *flags: int) -> ismrmrd.Acquisition:
    """A readout of a side file: a trajectory, and no samples or samples of nought."""
    made = ismrmrd.Acquisition.from_array(np.zeros((coils, len(traj)), np.complex64), traj)
    for flag in flags:
        made.set_flag(flag)
    return made


def write(path: Path, layout: str, traj: np.ndarray = TRAJ) -> Path:
    """Write a trajectory as one of its makers does."""
    flat = traj.reshape(-1, traj.shape[-1]).T
    third = np.full((*traj.shape[:2], 1), 0.25, np.float32)
    noise = np.zeros_like(traj[0])
    name = path / f"side{'.npy' if layout.startswith('npy') else '.mat' if layout == 'matlab' else '.h5'}"
    if layout == "ismrmrd":  # mrseq: one coil, noise as zeros without a flag
        write_ismrmrd(name, [entry(noise, 1), *(entry(one, 1) for one in traj)])
        return name
    if layout == "ismrmrd flags":  # as for FIRE: no coils, what is no imaging has flags and may have coordinates
        navigator = entry(traj[3], 0, ismrmrd.ACQ_IS_NAVIGATION_DATA)
        write_ismrmrd(name, [entry(noise, 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT), navigator, *map(entry, traj)])
        return name
    values: dict[str, np.ndarray] = {
        "npy": traj,
        "npy double": traj.astype(np.float64),
        "npy kz": np.concatenate([traj, third], axis=2),
        "npy flat": flat,
        "npy flat transposed": flat.T,
        "h5 traj": traj,
        "h5 group": traj,
        "h5 only": traj,
        "k_traj_adc": np.concatenate([flat, np.zeros_like(flat[:1])]),
        "matlab": traj.T,
    }
    if layout.startswith("npy"):
        np.save(name, values[layout])
        return name
    names = {"h5 traj": "traj", "h5 group": "pulseq/k_traj_adc", "h5 only": "whatever", "matlab": "ktraj"}
    with h5py.File(name, "w") as file:
        file[names.get(layout, layout)] = values[layout]
        file["version"] = np.arange(3)
    return name


LAYOUTS = ("npy", "npy double", "npy kz", "npy flat", "npy flat transposed", "h5 traj", "h5 group", "h5 only")
LAYOUTS += ("k_traj_adc", "matlab", "ismrmrd", "ismrmrd flags")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_what_an_embedded_trajectory_gives(tmp_path: Path, layout: str) -> None:
    expected = frames(scan(TRAJ))
    found = frames(scan(None), trajectory_file=str(write(tmp_path, layout)))
    expect_the_same(found, expected)
    golden = frames(scan(None))
    assert not np.array_equal(golden[0].traj, expected[0].traj)  # a formula would not have done


def test_only_imaging_readouts_count(tmp_path: Path) -> None:
    """Noise, navigators and dummies have no spoke; what was lost or cannot be used keeps its own."""
    side = str(write(tmp_path, "npy"))

    noise = np.random.default_rng(9).normal(size=(COILS, 4 * SAMPLES)).astype(np.complex64)

    def disturbed(readouts: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        readouts[6].data[0, 0] = np.nan
        shifted = [scans.readout(0, flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT], data=noise), *readouts]
        shifted.insert(8, scans.readout(0, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA]))
        del shifted[11]  # lost on the way
        return shifted

    lines: list[str] = []
    found = frames(disturbed(scan(None)), lines, trajectory_file=side)
    expect_the_same(found, frames(disturbed(scan(TRAJ))))
    assert [len(frame.traj) for frame in found] == [5, 3, 5]
    assert "1 readouts lost on the way" in lines[-1]
    assert "unused" not in lines[-1]


def test_slices_in_turn_share_the_file(tmp_path: Path) -> None:
    def sliced(readouts: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        for number, readout in enumerate(readouts):
            readout.idx.slice = number % 3
        return readouts

    found = frames(sliced(scan(None)), trajectory_file=str(write(tmp_path, "npy")))
    expect_the_same(found, frames(sliced(scan(TRAJ))))
    assert [frame.group for frame in found] == [0, 1, 2]


@pytest.mark.parametrize("whole", [True, False])
def test_discarded_samples_may_have_coordinates_or_not(tmp_path: Path, whole: bool) -> None:
    def discarding(readouts: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        for readout in readouts:
            readout.discard_pre, readout.discard_post = 6, 2
        return readouts

    traj = np.pad(spokes(samples=SAMPLES - 8), ((0, 0), (6, 2), (0, 0)))
    side = str(write(tmp_path, "npy flat", traj if whole else traj[:, 6:-2]))
    expect_the_same(frames(discarding(scan(None)), trajectory_file=side), frames(discarding(scan(traj))))


def test_an_off_centre_readout(tmp_path: Path) -> None:
    """The centre is where the trajectory has it, not in the middle."""
    angles = np.arange(SPOKES)[:, None, None]
    traj = (np.arange(SAMPLES) - 20)[:, None] / 88 * np.concatenate([np.cos(angles), np.sin(angles)], axis=2)
    side = str(write(tmp_path, "npy", traj.astype(np.float32)))
    expect_the_same(frames(scan(None), trajectory_file=side), frames(scan(traj)))


# The header's field of view is 300 mm, its matrix 32.
UNITS = {"radian": 2 * np.pi, "fov": N, "sampled_fov": 2 * N, "metre": N / 0.3, "radian_metre": 2 * np.pi * N / 0.3}


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_recognised(tmp_path: Path, unit: str) -> None:
    lines: list[str] = []
    found = frames(scan(None), lines, trajectory_file=str(write(tmp_path, "npy", TRAJ * np.float32(UNITS[unit]))))
    for ours, theirs in zip(found, frames(scan(TRAJ)), strict=True):
        np.testing.assert_allclose(ours.traj, theirs.traj, atol=1e-6)
    assert "angles: 15 spokes of side.npy in " in lines[0]
    told = frames(scan(None), trajectory_file=str(tmp_path / "side.npy"), trajectory_unit=unit)
    expect_the_same(told, found)


def test_the_unit_per_metre_follows_the_field_of_view(tmp_path: Path) -> None:
    """500 mm make cycles per metre and cycles per oversampled field of view the same: so is what they say."""
    gadget = BufferGadget(
        scans.header(fov=(500, 500, 8), encoded_fov=(1000, 500, 8)),
        BufferParameters(spokes_per_frame=5, trajectory_file=str(write(tmp_path, "npy", TRAJ * np.float32(N / 0.5)))),
    )
    (first, *_) = gadget.process(scan(None))
    np.testing.assert_allclose(first.traj, TRAJ[:5], atol=1e-6)


def test_a_scan_that_repeats_the_file(tmp_path: Path) -> None:
    side = str(write(tmp_path, "npy", TRAJ[:4]))
    lines: list[str] = []
    found = frames(scan(None), lines, trajectory_file=side, trajectory_repeat=True)
    expect_the_same(found, frames(scan(TRAJ[np.arange(SPOKES) % 4])))
    assert "angles: 4 spokes of side.npy, repeated in +-0.5" in lines[0]


def test_a_scan_that_is_longer_than_the_file_ends_where_the_file_ends(tmp_path: Path) -> None:
    side = str(write(tmp_path, "npy", TRAJ[:12]))
    gadget = BufferGadget(scans.header(), BufferParameters(spokes_per_frame=5, trajectory_file=side))
    made = gadget.process(scan(None))
    assert [frame.index for frame in (next(made), next(made))] == [0, 1]
    with pytest.raises(
        DataError,
        match=r"imaging readout 13, but side.npy holds 12 spokes; expected a spoke for each imaging readout; give the "
        r"file of this scan, or set buffer.trajectory_repeat=true",
    ):
        next(made)


def test_a_scan_that_is_shorter_than_the_file_is_told(tmp_path: Path) -> None:
    lines: list[str] = []
    frames(scan(None), lines, trajectory_file=str(write(tmp_path, "npy", spokes(17))))
    assert "2 spokes at the end of side.npy unused: is it the file of this scan?" in lines[-1]


def test_the_readouts_own_trajectory_gives_way(tmp_path: Path) -> None:
    lines: list[str] = []
    noisy = np.concatenate([np.zeros_like(TRAJ[:1]), TRAJ])
    found = frames(scan(spokes(seed=8)), lines, trajectory_file=str(write(tmp_path, "npy", noisy)))
    expect_the_same(found, frames(scan(TRAJ)))
    assert "angles: 15 spokes of side.npy, 1 of zeros left out, in place of the readouts' own in +-0.5" in lines[0]


def test_readouts_keep_their_header_and_the_time_of_their_arrival(tmp_path: Path) -> None:
    side = SideTrajectory(write(tmp_path, "npy"))
    readout = scan(None)[2]
    readout.arrived = 12.5
    made = side.attach(readout, 2)
    np.testing.assert_array_equal(made.traj, TRAJ[2])
    assert (made.arrived, made.scan_counter, made.trajectory_dimensions) == (12.5, 2, 2)
    assert readout.trajectory_dimensions == 0
    assert made.data is readout.data or np.shares_memory(made.data, readout.data)


NAN = TRAJ.copy()
NAN[4, 7, 1] = np.nan


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (TRAJ[:, :50], r"side.npy holds an array \(15, 50, 2\) for readouts of 64 samples; expected a trajectory"),
        (TRAJ[..., :1], r"side.npy holds an array \(15, 64, 1\)"),
        (TRAJ[0, 0], r"side.npy holds an array \(2,\)"),
        (
            TRAJ.reshape(-1, 2)[:-1],
            r"side.npy holds an array \(959, 2\) .*; expected a trajectory \(spokes, samples, 2",
        ),
        (NAN, "side.npy: spoke 5 holds NaN or infinity; expected finite coordinates"),
        (np.zeros_like(TRAJ), "side.npy holds nothing but zeros"),
        (TRAJ.astype(np.complex64), "side.npy holds complex64 values; expected real numbers"),
        (np.array([{"traj": 1}]), r"side.npy cannot be read \(Object arrays cannot be loaded"),
        (TRAJ * 40, r"a trajectory that reaches \|k\| = 20.*; expected one of .*metre"),
    ],
)
def test_arrays_that_are_no_trajectory_of_the_scan(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "side.npy", values)
    with pytest.raises(DataError, match=message):
        frames(scan(None), trajectory_file=str(tmp_path / "side.npy"))


def test_hdf5_files_that_hold_no_trajectory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"] = TRAJ, TRAJ
    with pytest.raises(
        DataError, match=r"holds one \(15, 64, 2\), two \(15, 64, 2\); expected one dataset .* traj, tr"
    ):
        SideTrajectory(tmp_path / "a.h5")
    h5py.File(tmp_path / "b.h5", "w").close()
    with pytest.raises(DataError, match=r"b.h5 holds nothing; expected one dataset"):
        SideTrajectory(tmp_path / "b.h5")
    write_ismrmrd(tmp_path / "c.h5", scan(None))
    with pytest.raises(DataError, match=r"c.h5 holds no readout with a trajectory; expected imaging readouts that all"):
        SideTrajectory(tmp_path / "c.h5")
    write_ismrmrd(tmp_path / "d.h5", [entry(TRAJ[0]), entry(TRAJ[1, :9])])
    with pytest.raises(DataError, match=r"d.h5 holds trajectories of shapes \(9, 2\) and \(64, 2\)"):
        SideTrajectory(tmp_path / "d.h5")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.npy cannot be read \(No such file or directory\)"):
        SideTrajectory(tmp_path / "none.npy")
    with pytest.raises(DataError, match=r"none.h5 is not there; expected the .h5 file of a trajectory"):
        SideTrajectory(tmp_path / "none.h5")
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"old.mat cannot be opened"):
        SideTrajectory(tmp_path / "old.mat")
    with pytest.raises(DataError, match=r"side.txt as a trajectory; expected a file that ends with .npy, .h5"):
        SideTrajectory(tmp_path / "side.txt")


def test_readouts_that_change_their_length(tmp_path: Path) -> None:
    side = SideTrajectory(write(tmp_path, "npy"))
    side.attach(scan(None)[0], 0)
    with pytest.raises(
        DataError, match=r"a readout of 60 samples, 0 \+ 0 of them .*; expected as many as .* have \(64\)"
    ):
        side.attach(scans.readout(1, samples=60), 1)


def test_parameters_that_contradict_each_other(tmp_path: Path) -> None:
    side = str(write(tmp_path, "npy"))
    with pytest.raises(
        ParameterError, match=r"buffer.trajectory_file with buffer.angles = 'golden'; expected one of th"
    ):
        side_trajectory(BufferParameters(trajectory_file=side, angles="golden"))
    with pytest.raises(
        ParameterError, match=r"buffer.trajectory_repeat = true; expected buffer.trajectory_file with it"
    ):
        side_trajectory(BufferParameters(trajectory_repeat=True))
    assert side_trajectory(BufferParameters()) is None
    assert side_trajectory(BufferParameters(trajectory_file=side, angles="trajectory")) is not None


@pytest.mark.parametrize("name", ["trajectoryfile", "buffer.trajectory_file", "buffertrajectoryfile"])
def test_a_client_cannot_name_the_file(name: str) -> None:
    request = Request()
    request.take(Text(f'{{"parameters": {{"{name}": "/etc/passwd"}}}}'))
    message = f"parameter {name} from a client; expected files to be named where the server runs; .*buffer.trajectory_f"
    with pytest.raises(ParameterError, match=message):
        request.settings()
    inner = '<property name="trajectory_file" value="/etc/passwd"/>'
    execute = '<execute name="inr_gadgets.external" target="buffer" type="python"/>'
    stream = f"<stream><external>{execute}<configuration>{inner}</configuration></external></stream>"
    text = f"<configuration><version>2</version>{stream}</configuration>"
    assert parse_config(text).gadgets[0].properties == {"trajectory_file": "/etc/passwd"}
    with pytest.raises(ParameterError, match="parameter trajectory_file from a client"):
        Request(config=ConfigText(text)).chain_config(parse_config(text).table)


def replayed(folder: Path, name: str, readouts: list[ismrmrd.Acquisition], **settings: str) -> np.ndarray:
    write_ismrmrd(folder / f"{name}.h5", readouts)
    chosen = {"buffer.spokes_per_frame": "5", "recon.deterministic": "true", **settings}
    with ScanFile(folder / f"{name}.h5") as opened:
        replay_to_file(Replay("nufft", chosen), opened, folder / f"{name}.out.h5", on_text=[].append)
    return read_series(folder / f"{name}.out.h5", 1)[0]


def test_replay_gives_the_same_images_to_the_bit(tmp_path: Path) -> None:
    side = {"buffer.trajectory_file": str(write(tmp_path, "ismrmrd"))}
    images = replayed(tmp_path, "beside", scan(None), **side)
    assert images.shape[0] == 3
    np.testing.assert_array_equal(images, replayed(tmp_path, "embedded", scan(TRAJ)))


def test_check_says_what_would_happen(tmp_path: Path) -> None:
    write_ismrmrd(tmp_path / "scan.h5", scan(None))
    for number, expected, can_run in (
        (15, "angles: 15 spokes of side.npy in +-0.5", True),
        (16, "1 spokes at the end of side.npy unused", True),
        (14, "would fail: imaging readout 15, but side.npy holds 14 spokes", False),
    ):
        side = {"buffer.trajectory_file": str(write(tmp_path, "npy", spokes(number)))}
        result = check_scan(tmp_path / "scan.h5", "nufft", {"buffer.spokes_per_frame": "5", **side})
        assert result.can_run == can_run
        assert expected in "\n".join(result.lines)


def test_errors_of_the_file_come_before_the_scan(tmp_path: Path) -> None:
    with pytest.raises(InrError, match=r"none.npy cannot be read"):
        BufferGadget(scans.header(), BufferParameters(trajectory_file=str(tmp_path / "none.npy")))
