"""Independent pieces of work on the CPU's cores at once, a core each.

A frame's products are thousands of small parallel loops if every one of them is shared among the cores, and at the end
of each all wait for the slowest core. Pieces that need nothing of one another for milliseconds (half of the coils, a
frame) lose less: measured on two cores, a live frame took 75 ms on one thread, 115 ms with shared loops while another
program wanted a core now and then, and 45 ms in two lanes.
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


@cache
def n_lanes() -> int:
    """As many as torch has threads when this is asked for the first time: OMP_NUM_THREADS counts here, too."""
    return torch.get_num_threads()


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
def one_thread() -> Iterator[None]:
    """The caller's own small operations on one thread; lanes stay as they are."""
    before, _ = torch.get_num_threads(), n_lanes()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool() -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    ready = threading.Barrier(n_lanes() + 1)
    pool = ThreadPoolExecutor(n_lanes(), "lane", initializer=torch.set_num_threads, initargs=(1,))
    for _ in range(n_lanes()):
        pool.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(before)  # what torch gives to new threads is what was last set by any thread
    return pool


def _with_grad(grad: bool, piece: Callable[[], T]) -> T:
    with torch.set_grad_enabled(grad):
        return piece()
