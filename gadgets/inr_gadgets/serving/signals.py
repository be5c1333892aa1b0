"""SIGINT and SIGTERM for programs that end what they are doing before they go."""

from __future__ import annotations

import signal
import socket
from types import FrameType, TracebackType
from typing import Self


class Signals:
    """Waits for SIGINT or SIGTERM, in the main thread; the second one raises KeyboardInterrupt.

    A handler runs when the main thread comes to it: one that waits for a lock does not come to it when the signal was
    taken by another thread, or in the moment before the wait. What the interpreter writes to a socket is not missed.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)
    _END = 0  # not the number of a signal

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._note) for number in self._NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def wait(self) -> str | None:
        """Return the name of the first signal, or None when :meth:`end_waiting` came first."""
        while (number := self._reader.recv(1)[0]) not in (*self._NUMBERS, self._END):
            pass
        return None if number == self._END else signal.Signals(number).name

    def end_waiting(self) -> None:
        """Make :meth:`wait` return; called from any thread."""
        self._writer.send(bytes([self._END]))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt
