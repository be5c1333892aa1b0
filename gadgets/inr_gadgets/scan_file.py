"""ISMRMRD scans on disk: read in bulk, written in blocks.

ismrmrd-python walks through the HDF5 file for every single acquisition, which is about 20 times slower than whole
blocks through h5py. The layout of the file is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import (
    acquisition_dtype,
    acquisition_header_dtype,
    waveform_dtype,
    waveform_header_dtype,
)

from inr_core.errors import DataError
from inr_gadgets.disk_room import DiskRoom, give_back, unwritable
from inr_gadgets.hdf5_file import Closing, create_private, open_for_reading, read_header, write_header
from inr_gadgets.heads import head_of

# Acquisitions per read: some 10 MiB of a 16-channel scan, so hours of it pass through a bounded memory.
READ_BLOCK = 256
# Items per write: a crash loses at most a fraction of a second of a scan, and a write takes a few milliseconds.
WRITE_BLOCK = 64

# ismrmrd.Acquisition or ismrmrd.Waveform; the library is untyped.
Item: TypeAlias = Any


class ScanFile(Closing):
    """An ISMRMRD acquisition file, open for reading.

    Iterating gives its acquisitions and waveforms by time stamp, as Gadgetron's client sends them: each kind in the
    order of the file, a waveform before the first acquisition that is later than it. It can be iterated repeatedly.

    Parameters
    ----------
    path
        The .h5 file. It is opened without a lock, so that several programs can read one scan at once.
    group
        The HDF5 group of the scan; None for ``dataset``, or else the only group that holds one.

    Attributes
    ----------
    header_xml : bytes
        The ISMRMRD header as it is in the file.
    n_acquisitions, n_waveforms : int
        How many of each the file holds.

    Raises
    ------
    DataError
        If the file is absent, not HDF5, truncated, or holds no scan; while iterating, if an item is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], group: str | None = None) -> None:
        self.path = Path(path)
        self._file = open_for_reading(self.path, "an ISMRMRD scan")
        try:
            self.group = self._find_group(group)
            dataset = self._file[self.group]
            self.header_xml = self._read_header(dataset)
            self._acquisitions = self._table(dataset, "data", required=True)
            self._waveforms = self._table(dataset, "waveforms", required=False)
        except BaseException:
            self._file.close()
            raise
        self.n_acquisitions: int = len(self._acquisitions)
        self.n_waveforms: int = 0 if self._waveforms is None else len(self._waveforms)

    def close(self) -> None:
        """Close the file; what was read before stays valid."""
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        waveforms = self.waveforms()
        waveform = next(waveforms, None)
        for acquisition in self.acquisitions():
            while waveform is not None and waveform.time_stamp < acquisition.acquisition_time_stamp:
                yield waveform
                waveform = next(waveforms, None)
            yield acquisition
        if waveform is not None:
            yield waveform
            yield from waveforms

    def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
        """The acquisitions alone, in the order of the file."""
        for first, block in self._blocks(self._acquisitions):
            heads = _packed(block["head"], acquisition_header_dtype, self.path)
            for offset, (head, samples, trajectory) in enumerate(zip(heads, block["data"], block["traj"], strict=True)):
                header = ismrmrd.AcquisitionHeader.from_buffer_copy(head.tobytes())
                channels, n, dimensions = header.active_channels, header.number_of_samples, header.trajectory_dimensions
                where = f"{self.path}: acquisition {first + offset}"
                data = _exactly(samples, 2 * channels * n, np.float32, f"{where} has", "of samples").view(np.complex64)
                traj = _exactly(trajectory, dimensions * n, np.float32, f"{where} has", "of trajectory")
                yield ismrmrd.Acquisition(header, data.reshape(channels, n), traj.reshape(n, dimensions))

    def waveforms(self) -> Iterator[ismrmrd.Waveform]:
        """The waveforms alone, in the order of the file."""
        if self._waveforms is None:
            return
        for first, block in self._blocks(self._waveforms):
            heads = _packed(block["head"], waveform_header_dtype, self.path)
            for offset, (head, samples) in enumerate(zip(heads, block["data"], strict=True)):
                header = ismrmrd.WaveformHeader.from_buffer_copy(head.tobytes())
                where = f"{self.path}: waveform {first + offset} has"
                data = _exactly(samples, header.channels * header.number_of_samples, np.uint32, where, "of samples")
                yield ismrmrd.Waveform(header, data)

    def _blocks(self, table: Any) -> Iterator[tuple[int, np.ndarray]]:
        for first in range(0, len(table), READ_BLOCK):
            try:
                block = table[first : first + READ_BLOCK]
            except (OSError, RuntimeError, ValueError) as error:
                raise DataError(
                    f"{self.path}: items {first} to {min(first + READ_BLOCK, len(table)) - 1} cannot be read ({error})",
                    advice="the file is damaged or still being written; copy it again from where it was made",
                ) from error
            yield first, block

    def _find_group(self, group: str | None) -> str:
        names: list[str] = [name for name in self._file if isinstance(self._file.get(name), h5py.Group)]
        scans = [name for name in names if "xml" in self._file[name] and not _holds_images(self._file[name])]
        found = f"the groups {', '.join(names)}" if names else "no group at all"
        if group is not None:
            if group in scans:
                return group
            raise DataError(
                f"{self.path} holds {found}",
                f"the ISMRMRD scan '{group}'",
                f"choose from: {', '.join(scans) or 'none'}",
            )
        if "dataset" in scans:
            return "dataset"
        if len(scans) == 1:
            return scans[0]
        if scans:
            raise DataError(
                f"{self.path} holds {len(scans)} scans ({', '.join(scans)})",
                "one, or one named 'dataset'",
                "name the group",
            )
        raise DataError(
            f"{self.path} holds {found}, none with an ISMRMRD header",
            "a group 'dataset' with 'xml' and 'data'",
            "give a scan of raw data, not a file of images",
        )

    def _read_header(self, dataset: Any) -> bytes:
        header = read_header(dataset)
        if not header.strip():
            raise DataError(
                f"{self.path}:/{self.group}/xml is empty", "the ISMRMRD header", "write the scan again with its header"
            )
        return header

    def _table(self, dataset: Any, name: str, *, required: bool) -> Any:
        table = dataset.get(name)
        if table is None:
            if not required:
                return None
            names = ", ".join(dataset)
            raise DataError(
                f"{self.path}:/{self.group} holds {names}",
                "the acquisitions in 'data'",
                "the scan was never finished, or holds no raw data",
            )
        wanted = acquisition_dtype.names if name == "data" else waveform_dtype.names
        if not isinstance(table, h5py.Dataset) or table.ndim != 1 or not set(wanted) <= set(table.dtype.names or ()):
            raise DataError(
                f"{self.path}:/{self.group}/{name} is not a list of ISMRMRD items",
                f"the fields {', '.join(wanted)}",
                "write the scan with an ISMRMRD library",
            )
        return table


class ScanWriter(Closing):
    """Writes an ISMRMRD acquisition file while the scan runs.

    Items are gathered into blocks, and every block is flushed: a process that dies leaves all but the last fraction
    of a second. Patient data: only the owner may read the file (mode 0600). ``ismrmrd.Dataset`` reads it too.

    Parameters
    ----------
    path
        The .h5 file to make. An existing one is replaced only with ``overwrite``.
    header_xml
        The ISMRMRD header.
    group
        The HDF5 group of the scan.

    Raises
    ------
    DataError
        If the file exists already or cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], header_xml: bytes, group: str = "dataset", *, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self._file = create_private(self.path, overwrite=overwrite)
        self._room = DiskRoom(self.path, self._file)
        try:
            self._room.grow(len(header_xml))
        except DataError:
            self._file.close()
            self.path.unlink()
            raise
        self._group = self._file.create_group(group)
        write_header(self._group, header_xml)
        self._acquisitions: list[ismrmrd.Acquisition] = []
        self._waveforms: list[ismrmrd.Waveform] = []
        # Present from the start, so that a scan without a readout is still a scan, for readers to say so.
        self._group.create_dataset("data", (0,), maxshape=(None,), chunks=(WRITE_BLOCK,), dtype=acquisition_dtype)
        self._file.flush()

    def append(self, item: Item) -> None:
        """Add an acquisition or a waveform. It must not be changed afterwards.

        Raises
        ------
        DataError
            If it is something else, the file is closed, or the block cannot be written (a full disk).
        """
        if not self._file:
            raise DataError(f"{self.path} is closed", "an open scan file", "append before close()")
        if isinstance(item, ismrmrd.Acquisition):
            self._acquisitions.append(item)
            if len(self._acquisitions) >= WRITE_BLOCK:
                self._write_acquisitions()
        elif isinstance(item, ismrmrd.Waveform):
            self._waveforms.append(item)
            if len(self._waveforms) >= WRITE_BLOCK:
                self._write_waveforms()
        else:
            raise DataError(f"a {type(item).__name__} for the scan file {self.path}", "an acquisition or a waveform")

    def close(self) -> None:
        """Write what is gathered and close the file. A second call does nothing."""
        if not self._file:
            return
        try:
            self._write_acquisitions()
            self._write_waveforms()
        finally:
            self._file.close()
            give_back(self.path)

    def _write_acquisitions(self) -> None:
        items, self._acquisitions = self._acquisitions, []

        def fill(rows: np.ndarray) -> None:
            rows["head"] = np.frombuffer(b"".join(bytes(head_of(item)) for item in items), acquisition_header_dtype)
            for row, item in enumerate(items):
                rows["traj"][row] = np.ascontiguousarray(item.traj, np.float32).ravel()
                rows["data"][row] = np.ascontiguousarray(item.data, np.complex64).view(np.float32).ravel()

        self._extend("data", acquisition_dtype, len(items), fill)

    def _write_waveforms(self) -> None:
        items, self._waveforms = self._waveforms, []

        def fill(rows: np.ndarray) -> None:
            rows["head"] = np.frombuffer(b"".join(bytes(head_of(item)) for item in items), waveform_header_dtype)
            for row, item in enumerate(items):
                rows["data"][row] = np.ascontiguousarray(item.data, np.uint32).ravel()

        self._extend("waveforms", waveform_dtype, len(items), fill)

    def _extend(self, name: str, dtype: np.dtype[Any], count: int, fill: Callable[[np.ndarray], None]) -> None:
        if not count:
            return
        rows = np.empty(count, dtype)
        fill(rows)
        lists = [values for field in (dtype.names or ())[1:] for values in rows[field]]
        self._room.grow(rows.nbytes + sum(values.nbytes for values in lists))
        try:
            if name not in self._group:
                self._group.create_dataset(name, (0,), maxshape=(None,), chunks=(WRITE_BLOCK,), dtype=dtype)
            table = self._group[name]
            first = len(table)
            table.resize(first + count, axis=0)
            table[first:] = rows
            self._file.flush()
        except (OSError, RuntimeError) as error:
            raise unwritable(self.path, error) from error


def _holds_images(group: Any) -> bool:
    """Whether a group is one of images, which may have a header too."""
    return "data" not in group and any(name.startswith("image_") for name in group)


def _packed(heads: np.ndarray, wanted: np.dtype[Any], path: Path) -> np.ndarray:
    """The headers in the memory layout of the ISMRMRD structure, whatever order or padding the file has."""
    if heads.dtype == wanted:
        return heads
    missing = [name for name in wanted.names or () if name not in (heads.dtype.names or ())]
    if missing:
        raise DataError(
            f"{path}: its item headers lack {', '.join(missing)}",
            "ISMRMRD version 1",
            "convert the file with a current ISMRMRD",
        )
    packed = np.zeros(len(heads), wanted)
    for name in wanted.names or ():
        if packed.dtype[name].names:
            packed[name] = _packed(heads[name], packed.dtype[name], path)
        else:
            packed[name] = heads[name]
    return packed


def _exactly(values: Any, count: int, dtype: Any, where: str, what: str) -> np.ndarray:
    array = np.asarray(values, dtype)
    if array.size != count:
        raise DataError(
            f"{where} {array.size} numbers {what}", f"{count} as its header says", "the file is damaged or compressed"
        )
    return array
