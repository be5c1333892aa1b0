"""Images survive the disk, in the layout of Gadgetron's client."""

from __future__ import annotations

import stat
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.image_file import ImageWriter, list_series, read_header_xml, read_series
from inr_gadgets.scan_file import ScanFile


def make_image(i: int, series: int = 1, dtype: str = "float32", shape: tuple[int, ...] = (1, 1, 5, 7)) -> ismrmrd.Image:
    rng = np.random.default_rng(i)
    data = (100 * rng.standard_normal(shape)).astype(dtype)
    if np.iscomplexobj(data):
        data += (1j * rng.standard_normal(shape)).astype(dtype)
    image = ismrmrd.Image.from_array(data, transpose=False, image_index=i + 1, image_series_index=series)
    image.meta = {"inr_frame": str(i), "ImageRowDir": ["1.0", "0.0", "0.0"], "Name": "süß"}
    return image


@pytest.mark.parametrize("dtype", ["float32", "complex64", "uint16", "int16", "float64"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    images = [make_image(i, dtype=dtype) for i in range(3)]
    with ImageWriter(tmp_path / "out.h5", "run") as writer:
        for image in images:
            writer.append(image)
    data, headers, meta = read_series(tmp_path / "out.h5", 1)
    assert data.dtype == dtype
    np.testing.assert_array_equal(data, np.stack([image.data for image in images]))
    assert [header.image_index for header in headers] == [1, 2, 3]
    assert tuple(headers[0].matrix_size) == (7, 5, 1)
    assert meta == [dict(image.meta) for image in images]


@pytest.mark.parametrize("dtype", ["float32", "complex64", "uint16"])
def test_ismrmrd_python_reads_it(tmp_path: Path, dtype: str) -> None:
    images = [make_image(i, series=2, dtype=dtype) for i in range(2)]
    with ImageWriter(tmp_path / "out.h5", "run") as writer:
        for image in images:
            writer.append(image)
    with ismrmrd.Dataset(str(tmp_path / "out.h5"), "run", mode="r") as dataset:
        assert dataset.number_of_images("image_2") == 2
        for i, image in enumerate(images):
            read = dataset.read_image("image_2", i)
            np.testing.assert_array_equal(read.data, image.data)
            assert read.meta == image.meta
            assert read.getHead().attribute_string_len == len(image.attribute_string.encode())


def test_the_layout_of_the_client(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "run") as writer:
        writer.append(make_image(0, dtype="complex64"))
    with h5py.File(tmp_path / "out.h5") as file:
        series = file["run/image_1"]
        assert set(series) == {"data", "header", "attributes"}
        assert series["data"].shape == (1, 1, 1, 5, 7)
        assert series["data"].dtype.names == ("real", "imag")
        assert tuple(h5py.check_string_dtype(series["attributes"].dtype)) == ("ascii", None)


def test_we_read_what_ismrmrd_python_writes(tmp_path: Path) -> None:
    image = make_image(4, dtype="complex64")
    with ismrmrd.Dataset(str(tmp_path / "out.h5"), "other") as dataset:
        dataset.append_image("image_1", image)
    data, headers, meta = read_series(tmp_path / "out.h5", 1)
    np.testing.assert_array_equal(data[0], image.data)
    assert headers[0].image_index == 5
    assert meta == [dict(image.meta)]


def test_series_lie_side_by_side_and_a_second_run_is_a_second_group(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    for group, counts in (("2024-01-01 10:00:00", (3, 1)), ("2024-01-02 10:00:00", (1, 2))):
        with ImageWriter(path, group) as writer:
            for series, count in enumerate(counts, 1):
                for i in range(count):
                    writer.append(make_image(i, series))
    assert list_series(path) == {"2024-01-01 10:00:00": {1: 3, 2: 1}, "2024-01-02 10:00:00": {1: 1, 2: 2}}
    assert len(read_series(path, 1)[0]) == 1
    assert len(read_series(path, 1, "2024-01-01 10:00:00")[0]) == 3


def test_groups_are_named_by_the_time_and_never_shared(tmp_path: Path) -> None:
    groups = []
    for _ in range(3):
        with ImageWriter(tmp_path / "out.h5") as writer:
            writer.append(make_image(0))
        groups.append(writer.group)
    assert len(set(groups)) == 3
    assert groups == sorted(groups) == list(list_series(tmp_path / "out.h5"))


def test_the_file_is_complete_after_each_image(tmp_path: Path) -> None:
    writer = ImageWriter(tmp_path / "out.h5", "run")
    writer.append(make_image(0))
    (tmp_path / "copy.h5").write_bytes((tmp_path / "out.h5").read_bytes())
    writer.close()
    writer.close()
    assert len(read_series(tmp_path / "copy.h5", 1)[0]) == 1


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    ImageWriter(tmp_path / "out.h5").close()
    assert stat.S_IMODE((tmp_path / "out.h5").stat().st_mode) == 0o600


def test_an_image_without_attributes(tmp_path: Path) -> None:
    image = make_image(0)
    image.meta = {}
    with ImageWriter(tmp_path / "out.h5") as writer:
        writer.append(image)
    assert read_series(tmp_path / "out.h5", 1)[2] == [{}]


def test_one_series_has_one_shape_and_one_type(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5") as writer:
        writer.append(make_image(0))
        expected = r"expected \(1, 1, 5, 7\) float32 as in its first image; give it another series index"
        with pytest.raises(DataError, match=rf"an image \(1, 1, 5, 7\) complex64 for series 1; {expected}"):
            writer.append(make_image(1, dtype="complex64"))
        with pytest.raises(DataError, match=rf"an image \(1, 1, 5, 8\) float32 for series 1; {expected}"):
            writer.append(make_image(1, shape=(1, 1, 5, 8)))
    assert len(read_series(tmp_path / "out.h5", 1)[0]) == 1


def test_writer_refuses(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    writer = ImageWriter(path, "run")
    writer.close()
    with pytest.raises(DataError, match=r"out.h5 is closed; expected an open image file"):
        writer.append(make_image(0))
    with pytest.raises(
        DataError, match=r"has a group 'run' already; expected a new group; choose another or leave it out"
    ):
        ImageWriter(path, "run")
    path.write_text("text")
    with pytest.raises(DataError, match=r"cannot be opened .*; expected an HDF5 file with images"):
        ImageWriter(path)
    with pytest.raises(DataError, match=r"cannot be made"):
        ImageWriter(tmp_path / "no" / "out.h5")


def test_reader_refuses(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    with pytest.raises(DataError, match=r"out.h5 is not there; expected the .h5 file of images"):
        read_series(path, 1)
    with h5py.File(path, "w") as file:
        file.create_group("dataset")
    with pytest.raises(DataError, match=r"holds no images; expected images, .*; give the output of a reconstruction"):
        read_series(path, 1)
    with ImageWriter(path, "run") as writer:
        writer.append(make_image(0, series=2))
    with pytest.raises(DataError, match=r"/run has no series 1; expected one of: 2"):
        read_series(path, 1)
    with pytest.raises(DataError, match=r"has no group 'walk'; expected one of: run"):
        read_series(path, 2, "walk")
    with h5py.File(path, "r+") as file:
        del file["run/image_2/header"]
    with pytest.raises(DataError, match=r"/run/image_2 cannot be read .*; expected data, header and attributes"):
        read_series(path, 2)


def test_the_header_is_kept_beside_the_images(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "run", b"<ismrmrdHeader/>") as writer:
        writer.append(make_image(0))
    with ImageWriter(tmp_path / "out.h5", "without") as writer:
        writer.append(make_image(0))
    assert read_header_xml(tmp_path / "out.h5", "run") == b"<ismrmrdHeader/>"
    assert read_header_xml(tmp_path / "out.h5", "without") is None
    with ismrmrd.Dataset(str(tmp_path / "out.h5"), "run", mode="r") as dataset:
        assert dataset.read_xml_header() == b"<ismrmrdHeader/>"
    with pytest.raises(DataError, match=r"has no group 'x'; expected one of: run, without"):
        read_header_xml(tmp_path / "out.h5", "x")


def test_images_with_a_header_are_no_scan(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "run", b"<ismrmrdHeader/>") as writer:
        writer.append(make_image(0))
    with pytest.raises(DataError, match=r"none with an ISMRMRD header; .*not a file of images"):
        ScanFile(tmp_path / "out.h5")


def test_images_without_attributes_are_read(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "run") as writer:
        writer.append(make_image(0))
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        file["run/image_1/attributes"][0] = b""
    assert read_series(tmp_path / "out.h5", 1)[2] == [{}]
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        del file["run/image_1/attributes"]
    assert read_series(tmp_path / "out.h5", 1)[2] == [{}]
