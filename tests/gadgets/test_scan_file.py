"""A scan survives the disk, is read in time order, and a bad file says what is wrong with it."""

from __future__ import annotations

import stat
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from inr_core.errors import DataError
from inr_gadgets import scan_file
from inr_gadgets.scan_file import ScanFile, ScanWriter

XML = b"<?xml version='1.0'?><ismrmrdHeader/>"


def make_acquisition(i: int, coils: int = 2, samples: int = 6, dimensions: int = 2) -> ismrmrd.Acquisition:
    rng = np.random.default_rng(i)
    data = (rng.standard_normal((coils, samples)) + 1j * rng.standard_normal((coils, samples))).astype(np.complex64)
    traj = rng.standard_normal((samples, dimensions)).astype(np.float32)
    acquisition = ismrmrd.Acquisition.from_array(data, traj, scan_counter=i, acquisition_time_stamp=10 * i)
    acquisition.idx.repetition = i
    acquisition.user_float[3] = 0.5 * i
    acquisition.setFlag(ismrmrd.ACQ_FIRST_IN_REPETITION)
    return acquisition


def make_waveform(stamp: int) -> ismrmrd.Waveform:
    waveform = ismrmrd.Waveform.from_array(np.arange(8, dtype=np.uint32).reshape(2, 4) + stamp)
    waveform.time_stamp = stamp
    return waveform


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    with ScanWriter(path, XML) as writer:
        for i in range(5):
            writer.append(make_acquisition(i))
        for stamp in (15, 30, 99):
            writer.append(make_waveform(stamp))
    return path


def test_what_is_written_is_read(scan: Path) -> None:
    with ScanFile(scan) as file:
        assert file.header_xml == XML
        assert (file.n_acquisitions, file.n_waveforms, file.group) == (5, 3, "dataset")
        assert list(file.acquisitions()) == [make_acquisition(i) for i in range(5)]
        assert list(file.waveforms()) == [make_waveform(stamp) for stamp in (15, 30, 99)]


def test_items_come_by_time_stamp_any_number_of_times(scan: Path) -> None:
    with ScanFile(scan) as file:
        for _ in range(2):
            stamps = [i.time_stamp if isinstance(i, ismrmrd.Waveform) else i.acquisition_time_stamp for i in file]
            assert stamps == [0, 10, 15, 20, 30, 30, 40, 99]


def test_acquisitions_are_never_reordered(tmp_path: Path) -> None:
    # A converter may leave all stamps at zero, or let them wrap: the order of the file is the order of the scan.
    order = [4, 0, 3]
    with ScanWriter(tmp_path / "scan.h5", XML) as writer:
        for i in order:
            writer.append(make_acquisition(i))
    with ScanFile(tmp_path / "scan.h5") as file:
        assert [item.scan_counter for item in file] == order


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_file, "READ_BLOCK", 3)
    monkeypatch.setattr(scan_file, "WRITE_BLOCK", 2)
    # Coils and samples may change within a scan: a noise readout is longer than the others.
    items = [make_acquisition(i, coils=1 + i % 2, samples=4 + i, dimensions=i % 3) for i in range(8)]
    with ScanWriter(tmp_path / "scan.h5", XML) as writer:
        for item in items:
            writer.append(item)
    with ScanFile(tmp_path / "scan.h5") as file:
        assert list(file) == items


def test_the_first_blocks_survive_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_file, "WRITE_BLOCK", 2)
    writer = ScanWriter(tmp_path / "scan.h5", XML)
    for i in range(5):
        writer.append(make_acquisition(i))
    copy = tmp_path / "copy.h5"
    copy.write_bytes((tmp_path / "scan.h5").read_bytes())
    writer.close()
    with ScanFile(copy) as file:
        assert file.n_acquisitions == 4


def test_ismrmrd_python_reads_what_we_write(scan: Path) -> None:
    with ismrmrd.Dataset(str(scan), mode="r") as dataset:
        assert dataset.read_xml_header() == XML
        assert dataset.number_of_acquisitions() == 5
        assert dataset.read_acquisition(3) == make_acquisition(3)
        assert dataset.read_waveform(1) == make_waveform(30)


def test_we_read_what_ismrmrd_python_writes(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with ismrmrd.Dataset(str(path), "other_name") as dataset:
        dataset.write_xml_header(XML)
        for i in range(3):
            dataset.append_acquisition(make_acquisition(i, dimensions=0))
        dataset.append_waveform(make_waveform(7))
    with ScanFile(path) as file:
        assert file.group == "other_name"
        assert list(file) == [make_acquisition(0, dimensions=0), make_waveform(7)] + [
            make_acquisition(i, dimensions=0) for i in (1, 2)
        ]


def test_the_layout_of_the_header_in_the_file_does_not_matter(scan: Path) -> None:
    # C and Java writers pad the structure differently; HDF5 names the fields.
    head = acquisition_dtype["head"]
    padded = np.dtype({"names": head.names[::-1], "formats": [head[name] for name in head.names[::-1]]}, align=True)
    with h5py.File(scan, "r+") as file:
        rows = file["dataset/data"][()]
        other = np.empty(
            len(rows), [("data", acquisition_dtype["data"]), ("traj", acquisition_dtype["traj"]), ("head", padded)]
        )
        for name in ("data", "traj"):
            other[name] = rows[name]
        for name in head.names:
            other["head"][name] = rows["head"][name]
        del file["dataset/data"]
        table = file["dataset"].create_dataset("data", (len(rows),), dtype=other.dtype)
        table[:] = other
    with ScanFile(scan) as file:
        assert list(file.acquisitions()) == [make_acquisition(i) for i in range(5)]


def test_two_readers_and_no_lock(scan: Path) -> None:
    with ScanFile(scan) as one, ScanFile(scan) as two:
        assert len(list(one)) == len(list(two)) == 8


def test_only_the_owner_may_read(scan: Path) -> None:
    assert stat.S_IMODE(scan.stat().st_mode) == 0o600


def test_a_scan_without_a_readout_is_a_scan(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", XML):
        pass
    with ScanFile(tmp_path / "scan.h5") as file:
        assert list(file) == []


def test_existing_files_are_kept(scan: Path) -> None:
    with pytest.raises(
        DataError, match=r"scan.h5 exists already; expected a new file; choose another name or remove it"
    ):
        ScanWriter(scan, XML)
    ScanWriter(scan, XML, overwrite=True).close()
    with ScanFile(scan) as file:
        assert file.n_acquisitions == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"cannot be made \(No such file or directory\); expected a folder that may be written"
    ):
        ScanWriter(tmp_path / "no" / "scan.h5", XML)


def test_append_refuses(tmp_path: Path) -> None:
    writer = ScanWriter(tmp_path / "scan.h5", XML)
    with pytest.raises(DataError, match=r"a str for the scan file .*; expected an acquisition or a waveform"):
        writer.append("text")
    writer.close()
    writer.close()
    with pytest.raises(DataError, match=r"scan.h5 is closed; expected an open scan file"):
        writer.append(make_acquisition(0))


def test_absent_folder_text_and_truncated_files(tmp_path: Path, scan: Path) -> None:
    text, half = tmp_path / "text.h5", tmp_path / "half.h5"
    text.write_text("not HDF5")
    half.write_bytes(scan.read_bytes()[: scan.stat().st_size // 2])
    for path, message in {
        tmp_path / "none.h5": "none.h5 is not there; expected the .h5 file of an ISMRMRD scan; correct the path",
        tmp_path: "is a folder; expected the .h5 file",
        text: r"text.h5 cannot be opened \(file signature not found\); expected an HDF5 file with an ISMRMRD scan",
        half: r"half.h5 cannot be opened \(truncated file.*\); .*; copy it again from where it was made",
    }.items():
        with pytest.raises(DataError, match=message):
            ScanFile(path)


def test_files_without_a_scan(tmp_path: Path, scan: Path) -> None:
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file.create_group("2024-01-01/image_1")
    with pytest.raises(
        DataError, match=r"holds the groups 2024-01-01, none with an ISMRMRD header; expected a group 'dataset'"
    ):
        ScanFile(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(DataError, match=r"holds no group at all"):
        ScanFile(path)
    with h5py.File(path, "w") as file:
        file["a/xml"] = file["b/xml"] = [b"<x/>"]
    with pytest.raises(
        DataError, match=r"holds 2 scans \(a, b\); expected one, or one named 'dataset'; name the group"
    ):
        ScanFile(path)
    with pytest.raises(DataError, match=r"/a holds xml; expected the acquisitions in 'data'"):
        ScanFile(path, "a")
    with pytest.raises(
        DataError, match=r"holds the groups dataset; expected the ISMRMRD scan 'c'; choose from: dataset"
    ):
        ScanFile(scan, "c")


def test_damaged_contents(scan: Path) -> None:
    with h5py.File(scan, "r+") as file:
        table = file["dataset/data"]
        row = table[2]
        row["data"] = row["data"][:10]
        table[2] = row
    with ScanFile(scan) as opened:
        items = opened.acquisitions()
        assert [next(items).scan_counter for _ in range(2)] == [0, 1]
        with pytest.raises(DataError, match=r"acquisition 2 has 10 numbers of samples; expected 24 as its header says"):
            next(items)
    with h5py.File(scan, "r+") as file:
        del file["dataset/data"]
        file["dataset/data"] = np.zeros(3)
    with pytest.raises(DataError, match=r"data is not a list of ISMRMRD items; expected the fields head, traj, data"):
        ScanFile(scan)
    with h5py.File(scan, "r+") as file:
        file["dataset/xml"][0] = b" "
    with pytest.raises(DataError, match=r"/dataset/xml is empty; expected the ISMRMRD header"):
        ScanFile(scan)


def test_a_header_of_another_version(scan: Path) -> None:
    with h5py.File(scan, "r+") as file:
        del file["dataset/data"]
        head = np.dtype([("version", "<u2"), ("flags", "<u8")])
        dtype = np.dtype([("head", head), ("traj", acquisition_dtype["traj"]), ("data", acquisition_dtype["data"])])
        file["dataset"].create_dataset("data", (1,), dtype=dtype)
    with (
        ScanFile(scan) as opened,
        pytest.raises(DataError, match=r"item headers lack measurement_uid, .*; expected ISMRMRD version 1"),
    ):
        list(opened)
