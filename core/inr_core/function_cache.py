"""Where compiled functions are kept on disk between processes."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock, Timeout
from numba.core.caching import FunctionCache, IndexDataCacheFile

logger = logging.getLogger(__name__)

_PATIENCE_S = 20.0  # files are read or written in milliseconds; who waits longer waits for a process that hangs


class SharedCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache of a function, whose files one process at a time reads or writes."""

    _cache_file: Any

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, self._cache_file._source_stamp)


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """The files of a function: an index that says which number is for which size, and a file for each number.

    numba takes the first free number without asking others. Of two processes that keep their first sizes at once both
    take the same one: the next process would be given the function of another size for its own, and would write beyond
    its arrays. So it would where a process dies after the index and before the file, if there is one of that name from
    sources of before.
    """

    lost = False  # whether this process could not keep something
    patience_s = _PATIENCE_S

    def load(self, key: Any) -> Any:
        """What is kept under a key, or None: then it is compiled."""
        with self._alone("not looked for") as alone:
            return super().load(key) if alone else None

    def save(self, key: Any, data: Any) -> None:
        """Keep something under a key."""
        with self._alone("not kept") as alone:
            if not alone:
                _Files.lost = True
                return
            try:
                taken = self._load_index()
                if key not in taken:
                    free = next(name for n in itertools.count(1) if (name := self._data_name(n)) not in taken.values())
                    Path(self._data_path(free)).unlink(missing_ok=True)
                super().save(key, data)
            except OSError as error:  # no room: frames go on
                _Files.lost = True
                logger.warning("what was compiled is not kept in %s: %s", self._cache_path, error)

    @contextmanager
    def _alone(self, otherwise: str) -> Iterator[bool]:
        lock = FileLock(Path(self._cache_path) / "inr-recon.lock", timeout=_Files.patience_s)
        try:
            lock.acquire()
        except (OSError, NotImplementedError, Timeout) as error:
            # Frames go on: this process compiles for itself, and waits no second time.
            _Files.patience_s = 0.0
            logger.warning("compiled functions are %s in %s: %s", otherwise, self._cache_path, error)
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def all_is_kept() -> bool:
    """Whether everything that this process has compiled is on disk, and stays there when it ends."""
    return not _Files.lost and not _copies


def folder_of(function: Any) -> Path | None:
    """Where a compiled function is kept; None where it is compiled anew in each process."""
    kept = function._cache
    return Path(kept.cache_path) if isinstance(kept, SharedCache) else None


_copies: list[str] = []  # made by this process, and gone with it


def _open_closed_folder() -> None:
    """Use ``NUMBA_CACHE_DIR`` from a copy where it cannot be written to: numba does not even read it then.

    So it is in a container whose root is read-only. What is compiled besides is kept as long as this process lasts.
    """
    folder = numba.config.CACHE_DIR
    if not folder or not Path(folder).is_dir() or os.access(folder, os.W_OK):
        return
    try:
        copy = tempfile.mkdtemp(prefix="inr-recon-compiled-")
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    except OSError as error:  # shutil.Error is one
        logger.warning("%s cannot be written to, nor copied: %s", folder, error)
        return
    _copies.append(copy)
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = copy  # for processes of this one, too


_open_closed_folder()  # before the first function asks
