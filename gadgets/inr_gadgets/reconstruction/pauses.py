"""Pauses of a scan: times without readouts, far longer than from frame to frame."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from inr_gadgets.clock import TICK_MS
from inr_gadgets.frame import Frame

_FRAMES = 10.0  # frame intervals, or
_SECONDS, _FRAMES_THEN = 2.0, 3.0  # so long, if it is also so many intervals
_MEMORY = 0.7  # weight of the past in the running interval


class PauseWatch:
    """Says before which frames the scan paused.

    A pause is longer than ten frame intervals, or than 2 s and three intervals; it may lie between two readouts of a
    frame. Time is that of the readouts' stamps, as a frame may be late on its way though the scan went on. Where the
    stamps never advance it is when frames arrived, if ``by_arrival``. Stamps that go back (clocks that begin anew at
    each heart beat or at midnight) say nothing.

    Parameters
    ----------
    by_arrival
        Whether arrival may be looked at.
    """

    def __init__(self, by_arrival: bool = True) -> None:
        self._by_arrival = by_arrival
        self._stamped = False
        self._stamps, self._arrivals = _Intervals(), _Intervals()

    def before(self, frame: Frame) -> float:
        """Seconds of the pause that the frame ended, 0 without one; for every frame, of whatever slice, in order."""
        by_stamp = self._stamps.gap([header.acquisition_time_stamp * TICK_MS / 1e3 for header in frame.headers])
        by_arrival = self._arrivals.gap([frame.arrived])
        self._stamped = self._stamped or self._stamps.advanced
        if self._stamped:
            return by_stamp
        return by_arrival if self._by_arrival else 0.0


class _Intervals:
    """Running interval of one clock, from the beginning of a frame to that of the next.

    Attributes
    ----------
    advanced
        Whether the clock has ever gone on.
    """

    def __init__(self) -> None:
        self.advanced = False
        self._mean: float | None = None
        self._last: tuple[float, float] | None = None

    def gap(self, moments: Sequence[float]) -> float:
        """Seconds of a pause between the frame before and the end of this one; 0 if there is none.

        Parameters
        ----------
        moments
            Of the frame's readouts, or the one that stands for all.
        """
        begin, end, last = moments[0], moments[-1], self._last
        if last is not None and begin == last[0]:
            return 0.0  # another slice of the same stack, or a clock that stands still
        self._last = begin, end
        if last is None or begin < last[0]:
            return 0.0
        self.advanced = True
        usual = self._mean or last[1] - last[0]
        longest = max((b - a, b) for a, b in itertools.pairwise([last[1], *moments]))
        if usual > 0 and longest[0] > min(_FRAMES * usual, max(_SECONDS, _FRAMES_THEN * usual)):
            self._last = max(begin, longest[1]), end
            return longest[0]
        elapsed = begin - last[0]
        self._mean = elapsed if self._mean is None else _MEMORY * self._mean + (1 - _MEMORY) * elapsed
        return 0.0
