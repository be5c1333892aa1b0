"""HDF5 files as scans and images are kept in: opened without a lock, made for their owner alone, with an MRD header."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py

from inr_core.errors import DataError
from inr_gadgets.disk_room import probe
from inr_gadgets.private_file import new_private_file


class Closing(ABC):
    """A file that a ``with`` block closes."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_for_reading(path: Path, what: str) -> Any:
    """Open an HDF5 file for reading, without a lock.

    Parameters
    ----------
    path
        The file.
    what
        What it should hold, for the message.

    Raises
    ------
    DataError
        If there is no such file, or it is no HDF5 file or a truncated one.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}", f"the .h5 file of {what}", "correct the path"
        )
    try:
        # HDF5 locks a file even for reading, and two readers of one scan (or a read-only network drive) then fail.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        advice = (
            "copy it again from where it was made"
            if "truncated" in str(error)
            else "give an .h5 file that is complete and may be read"
        )
        raise DataError(f"{path} cannot be opened ({_reason(error)})", f"an HDF5 file with {what}", advice) from error


def create_private(path: Path, *, overwrite: bool) -> Any:
    """Create an HDF5 file that only its owner may read.

    Raises
    ------
    DataError
        If it exists and must not be replaced, or its folder cannot be written.
    """
    try:
        if overwrite:
            path.unlink(missing_ok=True)
        descriptor = new_private_file(path, os.O_RDWR)
        try:
            probe(descriptor)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return h5py.File(path, "w")
    except FileExistsError:
        raise DataError(f"{path} exists already", "a new file", "choose another name or remove it") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be made ({_reason(error)})", "a folder that may be written", "choose another folder"
        ) from error


def read_header(group: Any) -> bytes:
    """The MRD header in a group's ``xml``, as it is."""
    xml = group["xml"]
    value = xml[()] if xml.shape == () else (xml[0] if xml.shape[0] else b"")
    return value.encode() if isinstance(value, str) else bytes(value)


def write_header(group: Any, header_xml: bytes) -> None:
    """Put an MRD header into a group, where every ISMRMRD library looks for it."""
    xml = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
    xml[0] = header_xml


def _reason(error: OSError) -> str:
    """The cause in the system's words, or in HDF5's without its function names."""
    if error.errno:
        return os.strerror(error.errno)
    text = str(error)
    return text.partition("(")[2].rstrip(")") or text
