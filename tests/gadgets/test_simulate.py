"""A simulated scan is a scan, and its truth is what it shows."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import ismrmrd.xsd
import numpy as np
import pytest

from inr_core.errors import DataError, ParameterError
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import (
    SimulationParameters,
    angle_step_deg,
    gradient_delays,
    simulate,
    simulation_parameters,
)

SMALL = {"matrix": 24, "frames": 3, "spokes": 5, "coils": 2}


def readouts(path: Path) -> list[ismrmrd.Acquisition]:
    with ScanFile(path) as scan:
        return list(scan.acquisitions())


def test_the_scan_and_its_truth(tmp_path: Path) -> None:
    shares: list[float] = []
    made = simulate(tmp_path / "scan.h5", progress=shares.append, tr_ms=4, **SMALL)
    assert (made.scan, made.truth) == (tmp_path / "scan.h5", tmp_path / "scan.truth.npz")
    assert made.duration_ms == 60
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.h5", "scan.truth.npz"]
    items = readouts(made.scan)
    assert [item.scan_counter for item in items] == list(range(15))
    assert [item.idx.repetition for item in items] == [0] * 5 + [1] * 5 + [2] * 5
    assert [item.acquisition_time_stamp for item in items[:4]] == [0, 2, 3, 5]
    assert items[0].data.shape == (2, 48)
    np.testing.assert_allclose(np.hypot(*items[1].traj.T)[[0, 24, 47]], [0.5, 0, 23 / 48], atol=1e-6)
    first, last = (ismrmrd.ACQ_FIRST_IN_REPETITION, ismrmrd.ACQ_LAST_IN_REPETITION)
    assert [item.isFlagSet(first) for item in items[:6]] == [1, 0, 0, 0, 0, 1]
    assert [item.isFlagSet(last) for item in items[3:6]] == [0, 1, 0]
    assert items[-1].isFlagSet(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    truth = np.load(made.truth)
    assert truth["truth"].shape == (3, 24, 24)
    assert truth["truth"].dtype == truth["coils"].dtype == np.complex64
    np.testing.assert_allclose((np.abs(truth["coils"]) ** 2).sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(truth["times_ms"], [8, 28, 48])
    assert truth["spokes"] == 5
    assert truth["angle_deg"] == pytest.approx(111.246, abs=1e-3)


def test_gradient_delays_move_the_samples_and_not_the_trajectory(tmp_path: Path) -> None:
    delayed = readouts(simulate(tmp_path / "delayed.h5", noise=0, delays="2:-1:1", **SMALL).scan)
    plain = readouts(simulate(tmp_path / "plain.h5", noise=0, **SMALL).scan)
    np.testing.assert_array_equal(delayed[3].traj, plain[3].traj)
    # The first spoke goes along x: shifted by Sx along itself, and by Sxy to its side.
    assert not np.allclose(delayed[0].data[:, :-2], plain[0].data[:, 2:], rtol=0.02)
    aside = readouts(simulate(tmp_path / "aside.h5", noise=0, delays="0:0:1", **SMALL).scan)
    np.testing.assert_allclose(delayed[0].data[:, :-2], aside[0].data[:, 2:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:4", "a:0:0", "nan:0:0"])
def test_gradient_delays_that_are_none(text: str) -> None:
    with pytest.raises(ParameterError, match=f"simulate.delays = '{text}'; expected Sx:Sy:Sxy in samples"):
        gradient_delays(text)


def test_the_data_are_the_transform_of_the_truth(tmp_path: Path) -> None:
    # truth[x, y]: the explicit sum would not fit if the axes were exchanged, or the scale were another.
    made = simulate(tmp_path / "scan.h5", noise=0, tr_ms=0.1, matrix_y=20, **SMALL)
    truth = np.load(made.truth)
    images = truth["coils"] * truth["truth"][0]
    x, y = (np.arange(n) - n // 2 for n in images.shape[1:])
    for item in readouts(made.scan)[:5]:
        inner = np.abs(np.arange(48) - 24) < 12  # further out, the band limit of the truth shows
        kx, ky = item.traj[inner].T.astype(float)
        waves = np.exp(-2j * np.pi * (kx[:, None, None] * x[:, None] + ky[:, None, None] * y)) / np.sqrt(
            len(x) * len(y)
        )
        expected = np.einsum("cxy,kxy->ck", images, waves)
        error = np.linalg.norm(item.data[:, inner] - expected) / np.linalg.norm(expected)
        assert error < 0.04


def test_header(tmp_path: Path) -> None:
    made = simulate(tmp_path / "scan.h5", matrix_y=20, **SMALL)
    with ScanFile(made.scan) as scan:
        header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    encoding = header.encoding[0]
    assert encoding.trajectory.value == "radial"
    assert (encoding.encodedSpace.matrixSize.x, encoding.reconSpace.matrixSize.x, encoding.reconSpace.matrixSize.y) == (
        48,
        24,
        20,
    )
    assert encoding.encodedSpace.fieldOfView_mm.x == 2 * encoding.reconSpace.fieldOfView_mm.x == 600
    assert encoding.reconSpace.fieldOfView_mm.y == 250
    assert encoding.encodingLimits.repetition.maximum == 2
    assert header.sequenceParameters.TR == [3.0]
    assert header.acquisitionSystemInformation.receiverChannels == 2


def test_without_trajectory(tmp_path: Path) -> None:
    embedded = readouts(simulate(tmp_path / "a.h5", **SMALL).scan)
    made = simulate(tmp_path / "b.h5", trajectory="none", **SMALL)
    bare = readouts(made.scan)
    assert {item.traj.shape for item in bare} == {(48, 0)}
    np.testing.assert_array_equal(bare[7].data, embedded[7].data)
    with ScanFile(made.scan) as scan:
        assert b"<trajectory>goldenangle</trajectory>" in scan.header_xml


def test_noise(tmp_path: Path) -> None:
    quiet = readouts(simulate(tmp_path / "a.h5", noise=0, **SMALL).scan)
    made = simulate(tmp_path / "b.h5", noise=0.01, noise_scan=True, noise_correlation=0.5, **SMALL)
    noisy = readouts(made.scan)
    assert noisy[0].isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    assert made.sigma == pytest.approx(0.01 * max(np.abs(item.data).max() for item in quiet), rel=1e-3)
    difference = np.concatenate([b.data - a.data for a, b in zip(quiet, noisy[1:], strict=True)], axis=1)
    np.testing.assert_allclose([difference.real.std(), difference.imag.std()], made.sigma, rtol=0.1)
    correlation = np.abs(np.vdot(difference[0], difference[1])) / np.prod(np.linalg.norm(difference, axis=1))
    assert correlation == pytest.approx(0.5, abs=0.1)


def test_seed_makes_the_scan(tmp_path: Path) -> None:
    one, same, other = (
        readouts(simulate(tmp_path / f"{i}.h5", seed=seed, **SMALL).scan) for i, seed in enumerate((1, 1, 2))
    )
    assert one == same
    assert one != other


def test_physiology(tmp_path: Path) -> None:
    made = simulate(
        tmp_path / "scan.h5", ecg=True, period_ms=150, respiration_ms=200, tr_ms=10, **{**SMALL, "frames": 6}
    )
    with ScanFile(made.scan) as scan:
        items = list(scan)
        waveforms = list(scan.waveforms())
        header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    since_r = [item.physiology_time_stamp[0] * 2.5 for item in items if isinstance(item, ismrmrd.Acquisition)]
    assert since_r == [10.0 * i % 150 for i in range(30)]
    assert [(waveform.waveform_id, waveform.time_stamp) for waveform in waveforms] == [
        (kind, stamp) for stamp in (0, 40, 80) for kind in (0, 2)
    ]
    voltage, triggers = np.concatenate([waveform.data for waveform in waveforms[::2]], axis=1)
    assert len(voltage) == 120  # 300 ms, 2.5 ms each
    assert voltage[[0, 60]] == pytest.approx(voltage.max(), abs=1)  # the R waves, 150 ms apart
    assert np.flatnonzero(triggers).tolist() == [0, 60]
    breath, triggers = np.concatenate([waveform.data for waveform in waveforms[1::2]], axis=1)
    assert breath.tolist() == [int(2048 - 1000 * np.cos(2 * np.pi * i / 10)) for i in range(15)]  # 20 of 200 ms
    assert np.flatnonzero(triggers).tolist() == [0, 10]
    kinds = [information.waveformType.value for information in header.waveformInformation]
    assert kinds == ["ecg", "respiratory"]
    # Between the readouts, where their time is: after the 1st, the 11th and the 21st.
    assert [i for i, item in enumerate(items) if isinstance(item, ismrmrd.Waveform)] == [1, 2, 13, 14, 25, 26]


@pytest.mark.parametrize(
    ("angle", "base", "degrees"),
    [
        ("golden", "pi", 111.2461),
        ("golden", "2pi", 222.4922),
        ("tiny7", "pi", 23.6281),
        ("raga21", "pi", 180 * 13 / 21),
        ("68.754", "pi", 68.754),
        ("-12", "2pi", -12),
    ],
)
def test_angles(angle: str, base: str, degrees: float) -> None:
    assert angle_step_deg(angle, base) == pytest.approx(degrees, abs=1e-3)


def test_first_angle(tmp_path: Path) -> None:
    items = readouts(simulate(tmp_path / "scan.h5", angle="10", first_angle_deg=30, **SMALL).scan)
    angles = [np.rad2deg(np.arctan2(*(item.traj[-1] - item.traj[0])[::-1])) for item in items[:3]]
    np.testing.assert_allclose(angles, [30, 40, 50], atol=1e-3)


def test_only_simulated_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    simulate(path, **SMALL)
    simulate(path, **{**SMALL, "frames": 1})
    assert len(readouts(path)) == 5
    (tmp_path / "scan.truth.npz").unlink()
    with pytest.raises(
        DataError, match=r"scan.h5 exists and is not a simulated scan; expected a new file; choose another"
    ):
        simulate(path, **SMALL)


def test_a_simulation_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "scan.h5", progress=interrupt, **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phantom": "shoe"}, r"simulate.phantom = 'shoe'; expected one of cine, dce"),
        ({"colis": 4}, r"simulate has no parameter 'colis'; expected one of phantom, .*; did you mean coils\?"),
        ({"angle": "silver"}, r"simulate.angle = 'silver'; expected golden, tinyN, ragaN or a number of degrees"),
        ({"angle": "nan"}, r"simulate.angle = 'nan'"),
        (
            {"fov_mm": 250},
            r"a field of view of 250 x 250 mm; expected at least the object's 276 x 212 mm; raise fov_mm",
        ),
        ({"matrix_y": 16}, r"a field of view of 300 x 200 mm"),
        ({"spokes": 0}, r"simulate.spokes = '0'; expected a number of at least 1"),
    ],
)
def test_refuses(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        simulate(tmp_path / "scan.h5", **{**SMALL, **options})
    assert list(tmp_path.iterdir()) == []


def test_parameters_or_options(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"simulate got parameters and the options seed; expected the one or the other"
    ):
        simulate(tmp_path / "scan.h5", SimulationParameters(), seed=1)
    with pytest.raises(ParameterError, match=r"simulate.base = '3pi'; expected one of pi, 2pi"):
        angle_step_deg("golden", "3pi")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scan.h5.part cannot be made \(No such file or directory\)"):
        simulate(tmp_path / "no" / "scan.h5", **SMALL)


LIVER = {"phantom": "dce", "matrix": 40, "frames": 4, "spokes": 5, "coils": 2}


def test_a_liver_has_its_usual_scan_and_its_regions(tmp_path: Path) -> None:
    parameters = simulation_parameters({"phantom": "dce"})
    assert (parameters.fov_mm, parameters.spokes, parameters.tr_ms, parameters.matrix) == (380.0, 34, 60.0, 96)
    assert parameters.duration_ms == 81600
    made = simulate(tmp_path / "scan.h5", **LIVER)
    assert made.duration_ms == 4 * 5 * 60
    truth = np.load(made.truth)
    assert truth["truth"].shape == (4, 40, 40)
    for name in ("aorta", "portal_vein", "liver", "lesion"):
        assert truth[f"roi_{name}"].shape == (40, 40)
        assert truth[f"roi_{name}"].any()
    with ScanFile(made.scan) as scan:
        header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    assert header.sequenceParameters.TR == [60.0]
    assert header.sequenceParameters.flipAngle_deg == [12]


def test_the_contrast_passes_in_the_scan_or_in_its_own_time(tmp_path: Path) -> None:
    def aorta(**changes: object) -> np.ndarray:
        truth = np.load(simulate(tmp_path / "scan.h5", **{**LIVER, "frames": 20, "coils": 1, **changes}).truth)
        return np.abs(truth["truth"])[:, truth["roi_aorta"]].mean(1)

    stretched = aorta()
    # Arrival 12 s, peak 10.4 s later, of 90 s; the frames stand for 4.5 s each.
    assert stretched.argmax() == 5
    assert stretched.max() > 5 * stretched[0]
    np.testing.assert_allclose(aorta(tr_ms=4), stretched, rtol=1e-3)
    # 6 s of a patient's 90 s: hardly anything has arrived yet.
    own = aorta(contrast_s=90)
    np.testing.assert_allclose(own, own[0], rtol=0.02)


def test_a_stack_of_stars(tmp_path: Path) -> None:
    made = simulate(tmp_path / "scan.h5", partitions=4, slice_mm=15, **LIVER)
    with ScanFile(made.scan) as scan:
        items = list(scan.acquisitions())
        header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    assert [item.idx.kspace_encode_step_2 for item in items] == [0, 1, 2, 3] * 20
    assert [item.idx.kspace_encode_step_1 for item in items[::4]] == [0, 1, 2, 3, 4] * 4
    assert [item.scan_counter for item in items] == list(range(80))
    assert [item.acquisition_time_stamp for item in items[:6]] == [0, 6, 12, 18, 24, 30]
    np.testing.assert_array_equal(items[4].traj, items[7].traj)
    last = ismrmrd.ACQ_LAST_IN_REPETITION
    assert [number for number, item in enumerate(items) if item.isFlagSet(last)] == [19, 39, 59, 79]
    encoding = header.encoding[0]
    for space in (encoding.encodedSpace, encoding.reconSpace):
        assert (space.matrixSize.z, space.fieldOfView_mm.z) == (4, 60)
    limits = encoding.encodingLimits.kspace_encoding_step_2
    assert (limits.minimum, limits.maximum, limits.center) == (0, 3, 2)
    assert header.sequenceParameters.TR == [15.0]
    truth = np.load(made.truth)
    assert truth["truth"].shape == (4, 4, 40, 40)
    assert truth["roi_liver"].shape == (4, 40, 40)
    np.testing.assert_allclose(truth["times_ms"], 300 * np.arange(4) + 142.5)


def test_the_data_of_a_stack_are_the_transform_of_its_truth(tmp_path: Path) -> None:
    # Explicitly over (z, x, y); with contrast that stands still, so that a frame is one moment.
    options = {**LIVER, "frames": 1, "contrast_s": 1e6, "noise": 0.0}
    made = simulate(tmp_path / "scan.h5", partitions=3, slice_mm=20, **options)
    truth = np.load(made.truth)
    images = truth["coils"][:, None] * truth["truth"][0]
    z = np.arange(3) - 1
    x, y = (np.arange(n) - n // 2 for n in images.shape[2:])
    for item in readouts(made.scan)[:6]:
        inner = np.abs(np.arange(80) - 40) < 20
        kx, ky = item.traj[inner].T.astype(float)
        plane = np.exp(-2j * np.pi * (kx[:, None, None] * x[:, None] + ky[:, None, None] * y))
        along = np.exp(-2j * np.pi * (item.idx.kspace_encode_step_2 - 1) * z / 3)
        expected = np.einsum("czxy,kxy,z->ck", images, plane, along) / np.sqrt(images[0].size)
        assert np.linalg.norm(item.data[:, inner] - expected) < 0.06 * np.linalg.norm(expected)


def test_only_the_liver_has_partitions() -> None:
    with pytest.raises(ParameterError, match=r"simulate.partitions = 4 of the phantom cine; expected 1, a slice"):
        simulation_parameters({"partitions": 4})


def test_the_slice_lies_where_it_is_prescribed(tmp_path: Path) -> None:
    given = {"position": "5:-60:70", "orientation": "C:T30", "rotation_deg": 90.0}
    made = simulate(tmp_path / "scan.h5", phantom="quadrants", **given, **SMALL)
    first = readouts(made.scan)[0]
    assert list(first.position) == [5, -60, 70]
    assert list(first.slice_dir) == pytest.approx([0, 0.75**0.5, 0.5], abs=1e-6)
    # Turned by 90 degrees: along what was the phase direction, from head to feet and a little to the back.
    assert list(first.read_dir) == pytest.approx([0, 0.5, -(0.75**0.5)], abs=1e-6)
    assert list(first.phase_dir) == pytest.approx([-1, 0, 0], abs=1e-6)
    marks = np.load(made.truth)["marks_mm"]
    assert marks.shape == (4, 3)
    assert marks[0] == pytest.approx([5 - 31, -60 + 0.5 * 58, 70 - 0.75**0.5 * 58])
    assert "marks_mm" not in np.load(simulate(tmp_path / "cine.h5", **SMALL).truth)
