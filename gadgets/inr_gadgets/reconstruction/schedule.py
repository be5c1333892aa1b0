"""The recon gadget's clock: when a frame's image is due, and whether there is time for anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inr_core.solvers.effort import running_mean
from inr_gadgets.frame import Frame

_DISPLAY_S = 0.04  # sooner than this nobody sees an image
_DISPLAY_AHEAD_S = 0.05  # the same of one that has waited for the next frame: worth 0.15 dB at 5 spokes
_TOO_LATE = 6.0  # times the time between frames that a frame has waited: a slow beginning is made up for without
_TOO_LATE_AHEAD = (2.0, 5.0)  # the same where images wait for the next frame's data: for one more, for two
_TOGETHER = 0.5  # of the time between frames that each frame gets which is reconstructed with others
_LATE = 0.75  # of the time between frames that a late one gets
_LATE_AHEAD = 0.85  # the same of one that has waited for the next frame: it is late anyway, and needs more work
_MOST_AHEAD = 0.95  # what such a one has at most: work that makes one image better makes the next one worse by more
_FORGIVEN = 0.97  # part of a step's time that is remembered when there was none for it


@dataclass
class Schedule:
    """Deadlines of frames, and how long a training step takes: running means of what was measured.

    The image of a frame is due before the next frame is complete (where frames come faster than a display shows them,
    when that can show it), or ``latency_s`` after its last readout. When the chain is behind, training steps are left
    out first (no step begins while a frame waits), then iterations (the method's, by the time it is given), and never a
    frame.

    Attributes
    ----------
    repetition_s
        The sequence's repetition time; 0 if the header has none.
    latency_s
        From a frame's last readout to its image; 0 for the time from frame to frame.
    """

    repetition_s: float = 0.0
    latency_s: float = 0.0

    interval_s: float = math.inf
    step_s: float = 0.0
    last_arrival: float = -math.inf
    together: int = 0  # frames before this one that arrived with it: slices of a stack of stars share their time

    def arrived(self, moment: float, *, after_pause: bool = False) -> None:
        """A frame arrived; what went by before it is no usual interval if it was a pause."""
        elapsed = moment - self.last_arrival
        self.together = self.together + 1 if elapsed == 0 else 0
        if elapsed == 0:
            return
        if math.isfinite(elapsed) and not after_pause:
            self.interval_s = running_mean(self.interval_s, elapsed)
        self.last_arrival = moment

    def stepped(self, seconds: float) -> None:
        """A training step took so long."""
        self.step_s = running_mean(self.step_s or math.inf, seconds)

    def most_waiting(self, frame: Frame, now: float, *, ahead: bool = False) -> int:
        """How many frames may wait for the next one, because this one has come too late for work on each.

        Parameters
        ----------
        ahead
            Whether one waits anyway, for the next one's data. With these two or three that share the work are better
            than each with the least of it.
        """
        late = [now - frame.arrived > times * self.interval_s for times in (_TOO_LATE_AHEAD if ahead else (_TOO_LATE,))]
        return sum(late) + ahead if any(late) else 0

    def due(self, frame: Frame, now: float, together: int = 1, *, ahead: bool = False) -> float:
        """When the image of the frame that arrived last should be ready, on the monotonic clock.

        Infinity where nobody waits for it. A frame has most of the time between frames from when its turn comes, even
        where that is late: a delay is made up for in a few frames, and not by the work on one of them. Of frames that
        are reconstructed ``together`` each has half of it. ``ahead`` says that the frame was waited for: what is due is
        the image of the one before it.

        A frame that was waited for has no more than the time between frames either, however early it is.

        Frames that come much faster than the sequence can play them are a file's: nobody waits for those.
        """
        duration_s = self.repetition_s * len(frame.headers) * frame.partitions
        if not self.interval_s > 0.5 * duration_s > 0:
            return math.inf
        interval_s = self._usual_interval(duration_s)
        time_s = self.latency_s or max(duration_s, interval_s, _DISPLAY_AHEAD_S if ahead else _DISPLAY_S)
        on_time = frame.arrived + time_s * min(1.0, (self.together + 1) / frame.partitions)
        part = _TOGETHER * together if together > 1 else (_LATE_AHEAD if ahead else _LATE)
        due = max(on_time, now + part * interval_s / frame.partitions)
        return min(due, now + _MOST_AHEAD * together * interval_s / frame.partitions) if ahead else due

    def due_alone(self, now: float) -> float:
        """When the image of a frame is due that has waited for a next one which does not come.

        As if that had come when it should: nothing else is to be done meanwhile.
        """
        on_time = self.last_arrival + (1 + _MOST_AHEAD) * self.interval_s
        return max(on_time, now + _LATE_AHEAD * self.interval_s)

    def outpaces_display(self, frame: Frame, *, by_clock: bool = True) -> bool:
        """Whether frames come so fast that an image can wait for the next one before anybody could see it.

        By the time that they take, and, where the clock may be asked, by that at which they come.
        """
        interval_s = self.repetition_s * len(frame.headers) * frame.partitions
        if by_clock and math.isfinite(self.interval_s):
            interval_s = max(interval_s, self.interval_s)
        return 0 < interval_s <= (self.latency_s / 2 or _DISPLAY_S)

    def time_for_a_step(self, now: float) -> bool:
        """Whether a step now ends before the next frame is due.

        The first step makes the field, which takes longer than any other: it is tried where half of the time between
        frames is left. Where that much is left and a step was too slow for it, its time is taken to be a little
        shorter: a single slow one would otherwise be the last of the scan.
        """
        if not math.isfinite(self.interval_s):
            return self.repetition_s == 0  # nothing is known of the next frame
        half = self.time_for(0.5 * self.interval_s, now)
        if self.step_s == 0:
            return half
        enough = self.time_for(self.step_s, now)
        if half and not enough:
            self.step_s *= _FORGIVEN
        return enough

    def time_for(self, seconds: float, now: float) -> bool:
        """The same of work that takes so many seconds."""
        return now + seconds < self.last_arrival + self.interval_s

    def _usual_interval(self, duration_s: float) -> float:
        """Time from frame to frame; where none was measured, or a pause was, the time that a frame takes."""
        return self.interval_s if self.interval_s < 4 * duration_s else duration_s
