"""Sizes of images whose operators are compiled; those of all others are computed by libraries.

Compiling takes a minute for a size, so it is done before a scan and not in it, and what was compiled is kept on disk
for all processes that follow. Which sizes that was done for is noted beside it.
"""

from __future__ import annotations

import contextlib
import platform
from functools import cache
from hashlib import sha256
from pathlib import Path

import numba

import inr_core
from inr_core.function_cache import all_is_kept, folder_of
from inr_core.operators.column_blocks import to_blocks
from inr_core.operators.column_transform import radices

_LEAST, _MOST = 8, 1024  # pixels each way that can be prepared for
_WORTH_IT = 64 * 64  # pixels: what is smaller is fast enough by libraries
_PREPARED = set[tuple[int, int]]()
_WANTED: list[tuple[int, int]] = []


def can_be_prepared(shape: tuple[int, int]) -> bool:
    """Whether there are compiled operators for images of (ny, nx): 8 to 1024 each way, no prime factor above 13."""
    # Transfer functions are made on a doubled grid.
    return all(_LEAST <= n <= _MOST and radices(n) and radices(2 * n) for n in shape)


def prepare(shape: tuple[int, int]) -> bool:
    """From now on compute images of (ny, nx) with what is compiled for them; False if there is no such thing.

    What is not kept on disk is compiled where something is first computed, see :func:`is_kept`.
    """
    if not can_be_prepared(shape):
        return False
    _PREPARED.add(shape)
    return True


def is_prepared(shape: tuple[int, int]) -> bool:
    """Whether images of (ny, nx) are to be computed with what is compiled for them."""
    return shape in _PREPARED


def choose(shape: tuple[int, int], *, want: bool = True) -> bool:
    """Before a scan of (ny, nx): compute with what is compiled for that size if it is on disk, else by libraries.

    Parameters
    ----------
    want
        Whether such scans are to be faster the next time.

    Returns
    -------
    False where compiling would help: the size is then among those that :func:`take_wanted` gives.
    """
    ny, nx = shape
    if is_prepared(shape) or not can_be_prepared(shape):
        return True
    if is_kept(shape):
        return prepare(shape)
    if not want or ny * nx < _WORTH_IT or place() is None:
        return True
    if shape not in _WANTED:
        _WANTED.append(shape)
    return False


def take_wanted() -> list[tuple[int, int]]:
    """Sizes (ny, nx) that scans had and nothing was compiled for, each once."""
    taken = []
    while _WANTED:
        taken.append(_WANTED.pop(0))
    return taken


def is_kept(shape: tuple[int, int]) -> bool:
    """Whether all that is compiled for images of (ny, nx) is on disk: by these sources, for this processor."""
    mark = _mark(shape)
    return mark is not None and mark.exists()


def keep(shape: tuple[int, int]) -> None:
    """Note that all that is compiled for images of (ny, nx) has been; nothing where it was not kept."""
    mark = _mark(shape)
    if mark is not None and all_is_kept():
        with contextlib.suppress(OSError):
            mark.touch()


def kept() -> list[tuple[int, int]]:
    """All sizes (ny, nx) for which :func:`is_kept`, the newest first."""
    folder = place()
    marks = [] if folder is None else list(folder.glob(f"prepared_*_{_state()}"))
    marks.sort(key=lambda mark: mark.stat().st_mtime, reverse=True)
    sizes = (mark.name.split("_")[1:3] for mark in marks)
    return [(int(ny), int(nx)) for ny, nx in sizes]


def place() -> Path | None:
    """The folder of what is kept; None where nothing can be."""
    return folder_of(to_blocks)


def _mark(shape: tuple[int, int]) -> Path | None:
    folder = place()
    return None if folder is None else folder / f"prepared_{shape[0]}_{shape[1]}_{_state()}"


@cache
def _state() -> str:
    """A name for what compiled functions depend on: at least numba's own conditions for using what is kept."""
    root = Path(inr_core.__file__).parent
    # Whole seconds: neither an image's layers nor every file system keep fractions.
    found = [(path, path.stat()) for path in sorted(root.rglob("*.py")) if path.is_file()]
    sources = [(str(path), int(stat.st_mtime), stat.st_size) for path, stat in found]
    described = numba.__version__, platform.python_version(), _processor(), sources
    return sha256(repr(described).encode()).hexdigest()[:16]


def _processor() -> object:
    """What numba compiles for, whether it was told or has looked."""
    target: object = to_blocks.targetctx.codegen().magic_tuple()  # type: ignore[attr-defined]
    return target
