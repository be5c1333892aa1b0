"""What one scan takes of the server, against what it may."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from inr_core.errors import InrError
from inr_gadgets.wire.limits import GIB, ServerLimits, resident_bytes

_STEP_BYTES = 16 << 20  # of the scan, from one look at the memory to the next


class LimitError(InrError):
    """A scan asks for more than the server grants."""


class BusyError(InrError):
    """As many scans as the server takes are being reconstructed already."""


class Allowance:
    """Watches a scan while it comes.

    Parameters
    ----------
    limits
        The server's; None for none.
    """

    def __init__(self, limits: ServerLimits | None) -> None:
        self._limits = limits
        self._next_look = 0

    def check(self, bytes_read: int) -> None:
        """Refuse to go on with a scan of that many bytes so far.

        Raises
        ------
        LimitError
            If they are too many, or the server's memory is full.
        """
        if self._limits is None:
            return
        most_gib = self._limits.scan_gib
        if bytes_read > most_gib * GIB:
            raise LimitError(
                f"a scan of more than {most_gib:g} GiB", "a shorter one", "or inr-recon serve --set server.scan_gib=GIB"
            )
        if bytes_read >= self._next_look:
            self._next_look = bytes_read + _STEP_BYTES
            check_memory(self._limits)


def check_memory(limits: ServerLimits | None) -> None:
    """Raise LimitError when the server takes more memory than it may."""
    if limits is None:
        return
    used = resident_bytes()
    if used > limits.memory_bytes:
        raise LimitError(
            f"the server's memory is full: {used / GIB:.3g} GiB",
            f"at most {limits.memory_bytes / GIB:.3g}",
            "send fewer scans at once, shorter ones, or inr-recon serve --set server.memory_gib=GIB",
        )


@contextlib.contextmanager
def slot(slots: threading.Semaphore) -> Iterator[None]:
    """Take a place among the scans that are reconstructed at once; BusyError when there is none."""
    if not slots.acquire(blocking=False):
        raise BusyError(
            "one scan too many: this server is reconstructing as many as it takes at once",
            "one of them to end first",
            "send the scan again later",
        )
    try:
        yield
    finally:
        slots.release()
