"""How long a computation may go on, and whom it tells of its progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Control:
    """What the host says to a computation of many steps.

    Attributes
    ----------
    limit_s
        Seconds from ``begin``; inf for exactly the steps that were asked for.
    stopped
        Asked before each step; True ends the computation at once.
    progress
        Told the finished part, 0 to 1.
    begin
        Moment on the monotonic clock.
    """

    limit_s: float = math.inf
    stopped: Callable[[], bool] = lambda: False
    progress: Callable[[float], None] = lambda part: None
    begin: float = field(default_factory=time.monotonic)

    def part(self, steps: int, total: int) -> float:
        """The finished part of ``total`` steps; the time limit shortens what is left."""
        done = steps / total if total > 0 else 1.0
        if math.isfinite(self.limit_s):
            done = max(done, (time.monotonic() - self.begin) / self.limit_s if self.limit_s > 0 else 1.0)
        return min(done, 1.0)

    def within(self, start: float, end: float) -> Control:
        """The control of a stage that begins now: progress from ``start`` to ``end``, time until ``end``."""
        now = time.monotonic()
        left = max(self.begin + end * self.limit_s - now, 0.0) if math.isfinite(self.limit_s) else math.inf
        return replace(self.telling(start, end), limit_s=left, begin=now)

    def telling(self, start: float, end: float) -> Control:
        """The control of a stage that may take all the time there is: progress from ``start`` to ``end``."""
        return replace(self, progress=lambda part: self.progress(start + (end - start) * part))
