"""Notices that a client has gone while it is being worked for and nobody reads its socket."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

_PROBE_S = 1.0  # from the end of the client's side to the probe; a reconstruction that ends sooner needs none
_DISCARD_BYTES = 1 << 16
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Watch(ABC):
    """A light thread that looks at one side of a client from its CLOSE to the end of the block.

    Parameters
    ----------
    gone
        Called at most once, from the watching thread.
    """

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._begun = False
        self._waker, self._wake = socket.socketpair()

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Watch from now on; called in any thread, within the block."""
        self._begun = True
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        if self._begun:
            self._thread.join()
        self._waker.close()

    @abstractmethod
    def _run(self) -> None:
        """Look, until ``self._waker`` can be read."""


class PeerWatch(Watch):
    """Looks at a socket.

    A reset says that the client is gone. An end of its side does not: the client may have no more to send, and still
    read. Only something sent to it tells: a socket that nobody owns answers with a reset.

    Parameters
    ----------
    sock
        The client's. What it sends after CLOSE is read and forgotten.
    probe
        Sends something harmless; called once, a second after the client's side has ended.
    gone
        As of :class:`Watch`.
    """

    def __init__(self, sock: socket.socket, probe: Callable[[], None], gone: Callable[[], None]) -> None:
        super().__init__(gone)
        self._sock, self._probe = sock, probe

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.register(self._sock, select.POLLIN)
        probe_at: float | None = None
        while True:
            wait_s = None if probe_at is None else max(0.0, probe_at - time.monotonic())
            events = dict(poll.poll(None if wait_s is None else 1000 * wait_s))
            if self._waker.fileno() in events:
                return
            event = events.get(self._sock.fileno(), 0)
            if event & _GONE:
                self._gone()
                return
            if event and self._at_end():
                poll.modify(self._sock, 0)  # errors and resets are reported nevertheless
                probe_at = time.monotonic() + _PROBE_S
            elif not event and probe_at is not None:
                probe_at = None
                self._probe()

    def _at_end(self) -> bool:
        """Read what is there; True when nothing more can come."""
        with contextlib.suppress(OSError):  # nothing to read; or a reset, which the poll reports next
            return not self._sock.recv(_DISCARD_BYTES, socket.MSG_DONTWAIT)
        return False


class SinkWatch(Watch):
    """Looks at the writing end of a pipe, which tells by itself that nobody reads it any more.

    Parameters
    ----------
    sink
        Its descriptor; that of a file never tells.
    gone
        As of :class:`Watch`.
    """

    def __init__(self, sink: int, gone: Callable[[], None]) -> None:
        super().__init__(gone)
        self._sink = sink

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.register(self._sink, 0)
        events = dict(poll.poll())
        if self._waker.fileno() not in events:
            self._gone()
