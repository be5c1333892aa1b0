"""How much is computed at once: a compromise of speed and memory, which a device that is short of memory moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_part: ContextVar[float] = ContextVar("part", default=1.0)


def at_once(usual: int) -> int:
    """How many of something are computed together where ``usual`` are best; 1 at least."""
    return max(1, int(usual * _part.get()))


@contextmanager
def smaller_batches(part: float) -> Iterator[None]:
    """Within it :func:`at_once` is ``part`` (0 to 1) of what it was; in this thread only."""
    token = _part.set(_part.get() * part)
    try:
        yield
    finally:
        _part.reset(token)
