"""Room on the disk, reserved before it is written to: HDF5 does not survive a disk that fills up under it.

After a write that fails the library's caches can be neither written nor forgotten, and closing the file, or the end of
the process, is a segmentation fault. Where the blocks are reserved the refusal comes first, and the file stays whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

from inr_core.errors import DataError

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE: blocks beyond the end of the file, which does not grow
_SPARE = 64 << 20  # bytes that must be free where nothing can be reserved (some network drives)
_OVERHEAD = 1 << 20  # bytes of HDF5's own tables for a block, and more
_STEP = 4 << 20  # bytes that are reserved at once


class DiskRoom:
    """Blocks that a growing HDF5 file has for itself.

    Parameters
    ----------
    path
        The file, for messages.
    file : h5py.File
        The same, open for writing.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._end = 0  # up to here the file has its blocks

    def grow(self, nbytes: int) -> None:
        """Find room for so many bytes more than the file has, and for what HDF5 adds to them.

        Raises
        ------
        DataError
            When the disk is full, or the user's share of it.
        """
        end = self._file.id.get_filesize() + nbytes + nbytes // 8 + _OVERHEAD
        if end <= self._end:
            return
        length = end - self._end + _STEP
        try:
            _reserve(self._file.id.get_vfd_handle(), self._end, length)
        except OSError as error:
            raise unwritable(self._path, error.strerror) from None
        self._end += length


def probe(descriptor: int) -> None:
    """Raise OSError when there is no room for even a small file."""
    _reserve(descriptor, 0, _OVERHEAD)


def give_back(path: Path) -> None:
    """Free what was reserved beyond the end of a file that is finished."""
    os.truncate(path, path.stat().st_size)


def unwritable(path: Path, reason: object) -> DataError:
    """Return the error for a file that cannot be written any more."""
    return DataError(f"{path} cannot be written ({reason})", advice="free space on the disk, or choose another folder")


def _reserve(descriptor: int, start: int, length: int) -> None:
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    while fallocate is not None:
        if not fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(length)):
            return
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS):
            break
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    free = os.fstatvfs(descriptor)
    if free.f_bavail * free.f_frsize < length + _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
