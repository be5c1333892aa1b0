"""Independent pieces of work on the CPU's cores at once, a core each.

A frame's products are thousands of small parallel loops if every one of them is shared among the cores, and at the end
of each all wait for the slowest core. Pieces that need nothing of one another for milliseconds (some of the coils, a
frame) lose less.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")

_thread = threading.local()


@cache
def _cores() -> int:
    """As many as torch has threads when this is asked for the first time: OMP_NUM_THREADS counts here, too."""
    return torch.get_num_threads()


def n_lanes() -> int:
    """Pieces that run at once: one a core; within :func:`leave_a_core` one less."""
    return max(1, _cores() - getattr(_thread, "left", 0))


def in_lanes(work: Sequence[Callable[[], T]]) -> list[T]:
    """The results of all pieces of work, in their order; each runs on one thread.

    An error of a piece is raised when all have ended. A piece must not use lanes itself.
    """
    if n_lanes() < 2 or len(work) < 2:
        return [piece() for piece in work]
    grad = torch.is_grad_enabled()
    futures = [_pool().submit(_with_grad, grad, piece) for piece in work]
    failures = [future.exception() for future in futures]
    for failure in failures:
        if failure is not None:
            raise failure
    return [future.result() for future in futures]


@contextmanager
def leave_a_core() -> Iterator[None]:
    """Leave a core to those who read and send while a scan runs, and do this thread's small operations on one.

    Measured on two cores with a paced scan, server and client: a live frame that takes both of them waits for the
    reader at the end of each loop, and its latency is twice that on a single one.
    """
    before, left = torch.get_num_threads(), getattr(_thread, "left", 0)
    _cores()
    torch.set_num_threads(1)
    _thread.left = 1
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _thread.left = left


@cache
def _pool() -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    ready = threading.Barrier(_cores() + 1)
    pool = ThreadPoolExecutor(_cores(), "lane", initializer=_use_one_thread)
    for _ in range(_cores()):
        pool.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(before)  # what torch gives to new threads is what was last set by any thread
    return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # only now does a new thread take the number of the others, and then no more
    torch.set_num_threads(1)


def _with_grad(grad: bool, piece: Callable[[], T]) -> T:
    with torch.set_grad_enabled(grad):
        return piece()
