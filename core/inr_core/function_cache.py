"""Where compiled functions are kept on disk between processes."""

from __future__ import annotations

import atexit
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
from numba.core.caching import FunctionCache

logger = logging.getLogger(__name__)

_PATIENCE_S = 20.0  # a function is read or written in milliseconds; who waits longer waits for a process that hangs


class SharedCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache of a function, read and written by one process at a time.

    numba numbers what is kept of a function, and an index says which number is for which size. Of two processes that
    keep their first sizes at once both take the same number: the next process would be given the function of another
    size for its own, and would write beyond its arrays.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is kept for a signature, or None: then it is compiled."""
        target_context.refresh()  # takes long when it is the first: before the others have to wait
        with self._alone("not looked for") as alone:
            return super().load_overload(sig, target_context) if alone else None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature."""
        with self._alone("not kept") as alone:
            if alone:
                super().save_overload(sig, data)

    @contextmanager
    def _alone(self, otherwise: str) -> Iterator[bool]:
        lock = FileLock(Path(self.cache_path) / "inr-recon.lock", timeout=_PATIENCE_S)
        try:
            lock.acquire()
        except (OSError, NotImplementedError, Timeout) as error:
            # Frames go on: this process compiles for itself.
            logger.warning("compiled functions are %s in %s: %s", otherwise, self.cache_path, error)
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def folder_of(function: Any) -> Path | None:
    """Where a compiled function is kept; None where it is compiled anew in each process."""
    kept = function._cache
    return Path(kept.cache_path) if isinstance(kept, SharedCache) else None


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
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = copy  # for processes of this one, too


_open_closed_folder()  # before the first function asks
