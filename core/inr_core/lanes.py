"""Independent pieces of work on the CPU's cores at once, a core each.

A frame's products are thousands of small parallel loops if every one of them is shared among the cores, and at the end
of each all wait for the slowest core. Pieces that need nothing of one another for milliseconds (some of the coils, a
frame) lose less.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

_thread = threading.local()


@cache
def n_lanes() -> int:
    """Pieces that run at once: as many as torch has threads when this is first asked, so OMP_NUM_THREADS counts."""
    return torch.get_num_threads()


def in_lanes(work: Sequence[Callable[[], T]]) -> list[T]:
    """The results of all pieces of work, in their order; each runs on one thread.

    The caller's thread takes pieces as the others do: where no other core is free it does all of them, and waits for
    nobody. An error of a piece is raised when all have ended. A piece must not use lanes itself.
    """
    with one_thread():
        pieces = _Pieces(work)
        n_helpers = min(n_lanes(), len(work)) - 1
        helpers = [_pool().submit(pieces.take) for _ in range(n_helpers)]
        pieces.take()
        for helper in helpers:
            if not helper.cancel():  # one that has not begun finds nothing to do
                helper.result()
    return pieces.results()


def beside(work: Callable[[], T]) -> Future[T]:
    """Begin work that nobody waits for yet, on one thread and without gradients; its result or error is in the future.

    All such work of a process takes its turn on a single thread.
    """
    return _background().submit(torch.no_grad()(work))


@contextmanager
def one_thread() -> Iterator[None]:
    """Do this thread's own operations on one core; it may still use lanes.

    Sharing each small operation of a live frame among the cores makes it wait at the end of each of them: measured on
    two cores with a paced scan, server and client, the latency is twice that on a single one.
    """
    depth = getattr(_thread, "depth", 0)
    if depth == 0:
        n_lanes()  # before it is changed
        torch.set_num_threads(1)
    _thread.depth = depth + 1
    try:
        yield
    finally:
        _thread.depth = depth
        if depth == 0:
            # Not what it was: a thread that began while another was in here has one, and would keep it.
            torch.set_num_threads(n_lanes())


class _Pieces(Generic[T]):
    """Pieces of work that several threads take one after the other, with the caller's way to treat gradients."""

    def __init__(self, work: Sequence[Callable[[], T]]) -> None:
        self._todo = deque(enumerate(work))
        self._done: dict[int, T] = {}
        self._failed: dict[int, Exception] = {}
        self._grad = torch.is_grad_enabled()

    def take(self) -> None:
        with torch.set_grad_enabled(self._grad):
            while self._todo:
                try:
                    number, piece = self._todo.popleft()
                except IndexError:  # another thread was quicker
                    return
                try:
                    self._done[number] = piece()
                except Exception as error:  # noqa: BLE001 - it is raised by results()
                    self._failed[number] = error

    def results(self) -> list[T]:
        if self._failed:
            raise self._failed[min(self._failed)]
        return [self._done[number] for number in sorted(self._done)]


@cache
def _pool() -> ThreadPoolExecutor:
    n_helpers = n_lanes() - 1
    ready = threading.Barrier(n_helpers + 1)
    pool = ThreadPoolExecutor(n_helpers, "lane", initializer=_use_one_thread)
    for _ in range(n_helpers):
        pool.submit(ready.wait)
    ready.wait()
    return pool


@cache
def _background() -> ThreadPoolExecutor:
    n_lanes()  # before its thread exists
    return ThreadPoolExecutor(1, "beside", initializer=_use_one_thread)


def _use_one_thread() -> None:
    torch.get_num_threads()  # only now does a new thread take the number of the others, and then no more
    torch.set_num_threads(1)
