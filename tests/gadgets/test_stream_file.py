"""A stored MRD stream is a scan as the same readouts in HDF5 are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import scans
import wire
from inr_core.errors import DataError
from inr_gadgets.cli import app
from inr_gadgets.image_file import list_series, read_header_xml, read_series
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.stream_file import StreamFile, open_scan
from inr_gadgets.wire.messages import Close, ConfigFile, Header, Text
from inr_gadgets.wire.wire_format import serialise

READOUTS = scans.golden_scan(3)
ITEMS = [*READOUTS[:4], wire.waveform(), *READOUTS[4:]]
V1 = b"".join([Header(scans.header_xml()).pack(), *map(serialise, ITEMS), Close().pack()])


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def version_2() -> bytes:
    pytest.importorskip("mrd", reason="mrd-python, the extra 'mrd2', is not installed")
    import mrd_two

    return mrd_two.stream(scans.header(), ITEMS)


def expect_the_scan(found: StreamFile) -> None:
    assert (found.n_acquisitions, found.n_waveforms) == (len(READOUTS), 1)
    for _ in range(2):  # again and again
        assert [type(item) for item in found] == [type(item) for item in ITEMS]
        for ours, theirs in zip(found.acquisitions(), READOUTS, strict=True):
            assert ours.scan_counter == theirs.scan_counter
            np.testing.assert_array_equal(ours.data, theirs.data)
            np.testing.assert_array_equal(ours.traj, theirs.traj)
    assert [waveform.waveform_id for waveform in found.waveforms()] == [1]


def test_version_1(tmp_path: Path) -> None:
    with open_scan(write(tmp_path / "scan.mrd", V1)) as found:
        assert isinstance(found, StreamFile)
        assert found.header_xml == scans.header_xml().encode()
        expect_the_scan(found)


def test_version_2(tmp_path: Path) -> None:
    with open_scan(write(tmp_path / "scan.mrd", version_2())) as found:
        assert isinstance(found, StreamFile)
        assert b"goldenangle" in found.header_xml
        expect_the_scan(found)


def test_a_configuration_and_parameters_in_it_do_not_matter(tmp_path: Path) -> None:
    first, second = ConfigFile("whatever").pack(), Text('{"parameters": {}}').pack()
    for number, raw in enumerate((first + V1, second + V1)):
        with open_scan(write(tmp_path / f"{number}.mrd", raw)) as found:
            expect_the_scan(found)  # type: ignore[arg-type]


def test_hdf5_is_hdf5_whatever_its_name(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.mrd", scans.header_xml().encode()) as writer:
        for item in ITEMS:
            writer.append(item)
    with open_scan(tmp_path / "scan.mrd") as found:
        assert isinstance(found, ScanFile)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (V1[:-2], r"scan.mrd: .* after 16 items; expected CLOSE \(id 4\) .*; copy the file again, or convert it again"),
        (V1[:-50], r"scan.mrd: ACQUISITION message \(id 1008\) cut short"),
        (
            Header("x").pack() + serialise(wire.image()) + Close().pack(),
            "scan.mrd holds images; expected a scan of raw",
        ),
        (
            ConfigFile("nufft").pack() + Close().pack(),
            "scan.mrd holds no header; expected a stream with the header bef",
        ),
        (b"not a scan", r"scan.mrd cannot be opened .*; expected an HDF5 file with an ISMRMRD scan"),
    ],
)
def test_files_that_are_no_whole_scan(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_scan(write(tmp_path / "scan.mrd", raw))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scan.mrd is not there"):
        open_scan(tmp_path / "scan.mrd")


def test_commands_take_streams(tmp_path: Path) -> None:
    """The same images to the bit, from HDF5, version 1 and version 2."""
    with ScanWriter(tmp_path / "h5", scans.header_xml().encode()) as writer:
        for item in ITEMS:
            writer.append(item)
    write(tmp_path / "v1", V1)
    write(tmp_path / "v2", version_2())
    images = {}
    for name in ("h5", "v1", "v2"):
        out = tmp_path / f"{name}.out.h5"
        result = CliRunner().invoke(app, ["replay", str(tmp_path / name), "-o", str(out), "-c", "nufft"])
        assert result.exit_code == 0, result.output
        images[name] = read_series(out, 1)[0]
        (group,) = list_series(out)
        assert b"goldenangle" in (read_header_xml(out, group) or b"")
    assert images["h5"].shape[0] == 3
    np.testing.assert_array_equal(images["v1"], images["h5"])
    np.testing.assert_array_equal(images["v2"], images["h5"])
    result = CliRunner().invoke(app, ["check", str(tmp_path / "v1"), "-c", "nufft"])
    assert result.exit_code == 0
    assert f"{len(READOUTS)} readouts, 1 waveforms" in result.output
