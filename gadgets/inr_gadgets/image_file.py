"""Image series on disk, as Gadgetron's client lays them out: /<group>/image_<series>/{data, header, attributes}."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import get_hdf5type, image_header_dtype

from inr_core.errors import DataError
from inr_gadgets.disk_room import DiskRoom, give_back, unwritable
from inr_gadgets.hdf5_file import Closing, create_private, open_for_reading, read_header, write_header
from inr_gadgets.heads import head_of
from inr_gadgets.meta_xml import meta_xml

_PREFIX = "image_"
_WHAT = "images, as Gadgetron's client writes them"


class ImageWriter(Closing):
    """Writes images as they come; the file is complete after each of them.

    ``append`` may be called from several threads. One series has one shape and one type.

    Parameters
    ----------
    path
        The .h5 file. A new one is readable only by its owner (mode 0600); to an existing one a new group is added.
    group
        Its name; None for the date and time, as Gadgetron's client does.
    header_xml
        The scan's MRD header, kept as ``/<group>/xml`` as python-ismrmrd-server's client and ``ismrmrd.Dataset`` do;
        None for none.

    Raises
    ------
    DataError
        If the file is no HDF5 file, cannot be written, or has the group already.
    """

    def __init__(self, path: str | os.PathLike[str], group: str | None = None, header_xml: bytes | None = None) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        if self.path.exists():
            open_for_reading(self.path, _WHAT).close()
            try:
                self._file = h5py.File(self.path, "r+")
            except OSError as error:
                raise DataError(
                    f"{self.path} cannot be written ({error})",
                    "a file that no other program has open",
                    "choose another name",
                ) from error
        else:
            self._file = create_private(self.path, overwrite=False)
        if group is None:
            group = self._unused(time.strftime("%Y-%m-%d %H:%M:%S"))
        elif group in self._file:
            self._file.close()
            raise DataError(
                f"{self.path} has a group '{group}' already", "a new group", "choose another or leave it out"
            )
        self.group = group
        self._room = DiskRoom(self.path, self._file)
        try:
            self._room.grow(len(header_xml or b""))
        except DataError:
            self._file.close()
            raise
        self._group = self._file.create_group(group)
        self._series: dict[int, _Series] = {}
        if header_xml is not None:
            write_header(self._group, header_xml)

    def append(self, image: ismrmrd.Image) -> None:
        """Add an image to the series of its header, and flush the file.

        Raises
        ------
        DataError
            If its shape or type is not the series' own, the file is closed, or it cannot be written (a full disk).
        """
        with self._lock:
            if not self._file:
                raise DataError(f"{self.path} is closed", "an open image file", "append before close()")
            try:
                self._append(image)
                self._file.flush()
            except (OSError, RuntimeError) as error:
                raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            if self._file:
                self._file.close()
                give_back(self.path)

    def _append(self, image: ismrmrd.Image) -> None:
        pixels = np.ascontiguousarray(image.data)
        stored = get_hdf5type(image.data_type)
        index = image.image_series_index
        series = self._series.get(index)
        if series is None:
            series = self._series[index] = _Series(self._group, f"{_PREFIX}{index}", pixels.shape, stored)
        if series.shape != pixels.shape or series.stored != stored:
            raise DataError(
                f"an image {pixels.shape} {pixels.dtype} for series {index}",
                f"{series.shape} {_plain(series.stored)} as in its first image",
                "give it another series index",
            )
        attributes = meta_xml(image.meta)
        header = head_of(image)
        header.attribute_string_len = len(attributes)
        self._room.grow(pixels.nbytes + len(attributes))
        series.append(
            pixels.view(stored) if stored.fields else pixels.astype(stored, copy=False),
            np.frombuffer(header, image_header_dtype),
            attributes,
        )

    def _unused(self, group: str) -> str:
        unique, number = group, 1
        while unique in self._file:
            number += 1
            unique = f"{group} {number}"
        return unique


class _Series:
    """The tables of a series: one row an image.

    Rows are written by HDF5's own calls, with types and tables that are looked up once: as assignments of h5py they
    take 4.6 ms an image instead of 1.3, of a core that a scan on the same host wants.
    """

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, ...], stored: np.dtype[Any]) -> None:
        self.shape, self.stored, self._count = shape, stored, 0
        folder, text = group.create_group(name), h5py.special_dtype(vlen=bytes)
        # One image a chunk, as in ISMRMRD's C library, which the client writes with.
        data = folder.create_dataset("data", (0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype=stored)
        header = folder.create_dataset("header", (0,), maxshape=(None,), chunks=(64,), dtype=image_header_dtype)
        attributes = folder.create_dataset("attributes", (0,), maxshape=(None,), chunks=(64,), dtype=text)
        kinds = (header, image_header_dtype, ()), (attributes, text, ()), (data, stored, shape)
        self._tables = [(table.id, h5py.h5t.py_create(kind), row) for table, kind, row in kinds]

    def append(self, pixels: np.ndarray, header: np.ndarray, attributes: bytes) -> None:
        texts = np.empty(1, h5py.special_dtype(vlen=bytes))
        texts[0] = attributes
        for table, _, shape in self._tables:  # all first: what fails then leaves no table with a row more
            table.set_extent((self._count + 1, *shape))
        for (table, kind, shape), row in zip(self._tables, (header, texts, pixels[None]), strict=True):
            place = table.get_space()
            place.select_hyperslab((self._count, *(0 for _ in shape)), (1, *shape))
            table.write(h5py.h5s.create_simple((1, *shape)), place, np.ascontiguousarray(row), kind)
        self._count += 1


class ImageOutput(Closing):
    """An image file that is made with the first image: a reconstruction that fails before leaves nothing behind.

    Parameters
    ----------
    path, group, header_xml
        As for :class:`ImageWriter`; the header may be set until the first image comes.

    Raises
    ------
    DataError
        What can be said before the work: the file is no HDF5 file, or its folder is not there.
    """

    def __init__(self, path: Path, group: str | None = None, header_xml: bytes | None = None) -> None:
        self._path, self._group, self.header_xml = path, group, header_xml
        self._writer: ImageWriter | None = None
        if path.exists():
            open_for_reading(path, "images").close()
        elif not path.absolute().parent.is_dir():
            raise DataError(f"{path.parent} is not a folder", "a folder for the images", "make it or choose another")

    def append(self, image: ismrmrd.Image) -> None:
        """Add an image; see :meth:`ImageWriter.append`."""
        if self._writer is None:
            self._writer = ImageWriter(self._path, self._group, self.header_xml)
        self._writer.append(image)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._writer is not None:
            self._writer.close()


def list_series(path: str | os.PathLike[str]) -> dict[str, dict[int, int]]:
    """The series of an image file: group to series index to number of images; groups in the order of their names.

    Raises
    ------
    DataError
        If the file is absent, not HDF5 or truncated.
    """
    with open_for_reading(Path(path), _WHAT) as file:
        return _list_series(file)


def read_series(
    path: str | os.PathLike[str], series: int, group: str | None = None
) -> tuple[np.ndarray, list[ismrmrd.ImageHeader], list[dict[str, Any]]]:
    """Read one series.

    Parameters
    ----------
    path
        The .h5 file.
    series
        The series index: 1 live, 2 refined, 3 motion, 4 delayed.
    group
        The group; None for the last one (by name, so by date) that holds images.

    Returns
    -------
    data : (n, channels, z, y, x), of the type it was stored in; complex where that was complex
    headers : n of ismrmrd.ImageHeader
    meta : n dicts, name to text (or list of texts)

    Raises
    ------
    DataError
        If the file is absent or damaged, or has no such group or series.
    """
    path = Path(path)
    with open_for_reading(path, _WHAT) as file:
        found = _list_series(file)
        if not found:
            raise DataError(f"{path} holds no images", _WHAT, "give the output of a reconstruction")
        group = list(found)[-1] if group is None else group
        if group not in found:
            raise DataError(f"{path} has no group '{group}'", f"one of: {', '.join(found)}")
        if series not in found[group]:
            have = ", ".join(str(index) for index in found[group])
            raise DataError(f"{path}:/{group} has no series {series}", f"one of: {have}")
        stored = file[f"{group}/{_PREFIX}{series}"]
        try:
            data, heads = stored["data"][()], stored["header"][()]
            # Programs that have nothing to say leave texts empty, or the whole table out.
            texts = stored["attributes"][()] if "attributes" in stored else [b""] * len(heads)
        except (KeyError, OSError) as error:
            raise DataError(
                f"{path}:/{group}/{_PREFIX}{series} cannot be read ({error})", "data, header and attributes"
            ) from error
    if data.dtype.fields:
        data = data.view(np.complex64 if data.dtype["real"].itemsize == 4 else np.complex128)
    packed = np.zeros(len(heads), image_header_dtype)
    for name in image_header_dtype.names:
        packed[name] = heads[name]
    headers = [ismrmrd.ImageHeader.from_buffer_copy(head.tobytes()) for head in packed]
    return data, headers, [dict(ismrmrd.Meta.deserialize(text)) if text.strip(b"\0 ") else {} for text in texts]


def read_header_xml(path: str | os.PathLike[str], group: str) -> bytes | None:
    """The MRD header that is kept beside the images of a group; None if there is none.

    Raises
    ------
    DataError
        If the file is absent or damaged, or has no such group.
    """
    with open_for_reading(Path(path), _WHAT) as file:
        if group not in file:
            raise DataError(f"{path} has no group '{group}'", f"one of: {', '.join(file)}")
        return read_header(file[group]) if "xml" in file[group] else None


def _list_series(file: Any) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for name in sorted(file):
        group = file[name]
        if not isinstance(group, h5py.Group):
            continue
        indices = sorted(
            int(key.removeprefix(_PREFIX))
            for key, value in group.items()
            if key.startswith(_PREFIX) and key.removeprefix(_PREFIX).isdigit() and "data" in value
        )
        if indices:
            found[name] = {index: len(group[f"{_PREFIX}{index}/data"]) for index in indices}
    return found


def _plain(dtype: np.dtype[Any]) -> str:
    if dtype.fields:
        return "complex64" if dtype["real"].itemsize == 4 else "complex128"
    return str(dtype)
