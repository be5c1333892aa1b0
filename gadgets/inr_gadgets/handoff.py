"""A bounded queue between two stages that run in two threads."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_JOIN_S = 30.0  # how long close() waits for a producer that computes; one that waits for data ends at once


class Handoff(Generic[T]):
    """Runs an iterable in a thread of its own, ahead of whoever iterates over this object.

    At most ``depth`` items wait, so memory is bounded and a slow consumer holds the producer up. An error of the
    iterable is raised to the consumer after everything that was produced before it.
    """

    def __init__(
        self,
        iterable: Iterable[T],
        depth: int = 32,
        *,
        interrupt: Callable[[], None] | None = None,
        prepare: Callable[[T], None] | None = None,
        name: str = "handoff",
    ) -> None:
        """Start to produce.

        Parameters
        ----------
        iterable
            Is iterated over, and closed if it has ``close()``, in the new thread only.
        depth
            How many items may wait.
        interrupt
            Makes an iterable that waits for input come back; called by :meth:`close`.
        prepare
            Called with each item before it is queued, in the new thread.
        name
            Of the thread.
        """
        if depth < 1:
            raise ValueError(f"depth = {depth}, expected at least 1")
        self._iterable, self._depth, self._interrupt, self._prepare = iterable, depth, interrupt, prepare
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = False  # the producer will add nothing more
        self._closed = False  # the consumer will take nothing more
        self._thread = threading.Thread(target=self._produce, name=name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._closed)
            if self._closed:
                raise StopIteration
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: the two would keep each other, and all that the scan had

    def pending(self) -> bool:
        """Tell whether ``next()`` would return, or raise, at once: an item, the end or an error is there."""
        return bool(self._items) or self._ended or self._closed

    def wait(self, seconds: float) -> bool:
        """Wait for :meth:`pending`, so many seconds at most (infinity: as long as it takes), and say what it says."""
        with self._changed:
            self._changed.wait_for(self.pending, None if seconds == math.inf else max(seconds, 0.0))
            return self.pending()

    def close(self) -> None:
        """Stop the producer and forget what waits. Called by the consumer; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
        if self._interrupt is not None and self._thread.is_alive():
            self._interrupt()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            logger.warning("the thread %s is still at work %g s after it was told to stop", self._thread.name, _JOIN_S)

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._iterable:
                if self._prepare is not None:
                    self._prepare(item)
                if not self._put(item):
                    break
        except BaseException as caught:  # noqa: BLE001 - it is raised in the consumer's thread
            error = caught
        try:
            close = getattr(self._iterable, "close", None)
            if close is not None:
                close()
        except Exception as caught:
            logger.exception("the end of %s failed", self._thread.name)
            error = error or caught
        finally:
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()
            error = None  # as in __next__

    def _put(self, item: T) -> bool:
        """Queue an item once there is room; False when the consumer has left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True
