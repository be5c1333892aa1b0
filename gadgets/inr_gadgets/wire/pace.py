"""When a readout is due: a scan is sent as fast as it goes, or at the scanner's own pace."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from inr_core.errors import DataError, ParameterError
from inr_gadgets.clock import TICK_MS
from inr_gadgets.header import repetition_time_ms
from inr_gadgets.lines import operator_line

PACES = ("max", "scan")
LATE_S = 0.5  # less than that is made up for, and the scan's pace was kept


class Pace:
    """The times at which a scan's items are due, against one absolute clock, so that errors do not add up.

    Readouts are due one TR after the other; where the header has no TR, at their time stamps (2.5 ms ticks).
    Everything else, a waveform say, is due with the readout before it.

    Parameters
    ----------
    pace
        ``"max"``: everything is due at once. ``"scan"``: at the scan's own pace.
    speed
        Factor on the scan's pace: at 0.5 everything takes twice as long as at the scanner, a frame of 39 ms 78 ms.
    header : ismrmrd.xsd.ismrmrdHeader
        The scan's header; its TR is looked up here.

    Raises
    ------
    ParameterError
        For an unknown pace, a speed that is not a positive number, or a speed where nothing is paced.
    """

    def __init__(self, pace: str, speed: float, header: Any) -> None:
        if pace not in PACES:
            raise ParameterError(f"pace {pace!r}", f"one of {', '.join(PACES)}")
        if not (math.isfinite(speed) and speed > 0):
            raise ParameterError(f"speed {speed}", "a number above 0", "1 is the scan's own pace, 0.5 half of it")
        if pace == "max" and speed != 1:
            raise ParameterError(f"speed {speed} at pace 'max'", "pace 'scan', which it is a factor on")
        self.pace, self.speed = pace, speed
        self.tr_ms = repetition_time_ms(header)
        self._late_s = 0.0

    @property
    def warning(self) -> str:
        """A line for the operator when whoever took the items could not keep up with the scan's pace; else empty."""
        if self.pace != "scan" or self._late_s < LATE_S:
            return ""
        return operator_line(
            "WARNING",
            f"the readouts were sent up to {self._late_s:.1f} s late, as they were not taken in time; "
            "the latencies are those of a slower scan",
        )

    def due_s(self, items: Iterable[Any]) -> Iterator[tuple[Any, float]]:
        """Pair every item with the seconds from the first readout at which it is due.

        Raises
        ------
        DataError
            At the scan's own pace, when there is neither a TR nor running time stamps.
        """
        due, n_readouts, first = 0.0, 0, None
        for item in items:
            if self.pace == "scan" and is_readout(item):
                if self.tr_ms is not None:
                    due = n_readouts * self.tr_ms / 1e3
                else:
                    stamp = item.acquisition_time_stamp
                    first = stamp if first is None else first
                    # A stamp before its neighbour's (reordered or wrapped) is due with it.
                    due = max(due, (stamp - first) * TICK_MS / 1e3)
                    if n_readouts == 1000 and due == 0:
                        raise DataError(
                            "the scan's header has no TR and its time stamps do not run",
                            "one of the two for --pace scan",
                            "replay with --pace max",
                        )
                n_readouts += 1
            yield item, due / self.speed

    def paced(self, items: Iterable[Any], stopped: threading.Event | None = None) -> Iterator[Any]:
        """Yield the items, each no earlier than it is due, and with ``arrived`` set as if it had just been read.

        The clock starts with the first item. Once ``stopped`` is set the iteration ends.
        """
        wait: Callable[[float], object] = time.sleep if stopped is None else stopped.wait
        start: float | None = None
        for item, due in self.due_s(items):
            start = time.monotonic() if start is None else start
            late = time.monotonic() - start - due
            if late < 0:
                wait(-late)
            self._late_s = max(self._late_s, late)
            if stopped is not None and stopped.is_set():
                return
            item.arrived = time.monotonic()
            yield item


def is_readout(item: Any) -> bool:
    """Tell a readout (ismrmrd.Acquisition) from a waveform."""
    return hasattr(item, "acquisition_time_stamp")
