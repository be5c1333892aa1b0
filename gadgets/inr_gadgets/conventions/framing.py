"""From a row of spokes to frames: how many readouts were lost on the way, and where a frame ends."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from inr_gadgets.conventions.readouts import Group, group_of
from inr_gadgets.planes import Plane, PlaneWatch


class Facts(NamedTuple):
    """The counters of one readout, and where its plane lies."""

    group: Group
    repetition: int
    phase: int
    step_1: int
    scan_counter: int
    stamp: int
    plane: Plane | None = None

    @property
    def stream(self) -> Group:
        """The readouts whose spokes are numbered together: averages go on where the one before ended."""
        return self.group._replace(average=0)


def facts_of(acquisition: Any) -> Facts:
    """Read the counters of a readout."""
    idx = acquisition.idx
    return Facts(
        group_of(acquisition),
        idx.repetition,
        idx.phase,
        idx.kspace_encode_step_1,
        acquisition.scan_counter,
        acquisition.acquisition_time_stamp,
        Plane.of(acquisition),
    )


@dataclass
class _Last:
    """The last readout of a stream of spokes."""

    facts: Facts
    position: int
    seen: int  # readouts of any group and kind, up to and with it
    skipped: int  # readouts that were no imaging, up to and with it


@dataclass
class Positions:
    """Number of each spoke in its slice and set, those that were lost on the way counted in.

    Attributes
    ----------
    stride
        Steps of scan_counter from spoke to spoke of one group (the number of interleaved groups); 0 if scan_counter
        cannot be trusted.
    steps
        Whether kspace_encode_step_1 counts the spokes one by one.
    """

    stride: int
    steps: bool
    lost: int = 0
    _last: dict[Group, _Last] = field(default_factory=dict)
    _scan_counter: int = -1
    _seen: int = 0
    _skipped: int = 0

    def skip(self, scan_counter: int) -> None:
        """Note a readout that is no imaging; those that share the imaging's counter leave no gap in it."""
        if scan_counter > self._scan_counter >= 0:
            self._scan_counter = scan_counter
            self._seen += 1
            self._skipped += 1

    def next(self, facts: Facts) -> tuple[int, int]:
        """Position of a spoke, and how many of its own group were lost right before it."""
        last = self._last.get(facts.stream)
        lost = 0 if last is None else self._lost(facts, last)
        position = 0 if last is None else last.position + 1 + lost
        self.lost += lost
        self._seen += 1
        self._last[facts.stream] = _Last(facts, position, self._seen, self._skipped)
        self._scan_counter = facts.scan_counter
        return position, lost

    def _lost(self, facts: Facts, last: _Last) -> int:
        ahead = facts.step_1 - last.facts.step_1
        if self.steps and ahead == 1:
            return 0
        if not self.stride:
            return ahead - 1 if self.steps and ahead > 1 else 0
        if self.stride == 1:
            return max(facts.scan_counter - self._scan_counter - 1, 0)
        # Interleaved groups: a gap may be another group's. Ours is what our own step is too long by.
        advance = facts.scan_counter - last.facts.scan_counter
        missing = advance - 1 - (self._seen - last.seen)
        own = round((advance - (self._skipped - last.skipped)) / self.stride) - 1
        return max(min(missing, own), 0)


@dataclass(frozen=True)
class Framing:
    """Where frames end.

    Attributes
    ----------
    spokes
        Spokes of a complete frame.
    stride
        New spokes from frame to frame; fewer than ``spokes`` for a sliding window.
    marker
        The counter that changes from frame to frame: ``repetition``, ``phase``, ``step_1`` (it starts again), or empty:
        then spokes are counted.
    minimum
        Spokes below which a frame is dropped.
    """

    spokes: int
    stride: int
    marker: str
    minimum: int

    @classmethod
    def of(cls, spokes: int, stride: int, marker: str, minimum_part: float) -> Framing:
        """A framing with the minimum from its part of the spokes."""
        return cls(spokes, stride or spokes, marker, max(1, math.ceil(minimum_part * spokes)))


class Framer:
    """Frames of one group. It holds the spokes of one frame, or of one window, and nothing else.

    No frame has spokes of two planes: where the plane changes a frame ends, if it has enough spokes, and the next one
    begins.

    Parameters
    ----------
    framing
        Where frames end otherwise.
    watch
        Notices a change of the plane; None to look at none.
    """

    def __init__(self, framing: Framing, watch: PlaneWatch | None = None) -> None:
        self.framing = framing
        self._watch = watch
        self.n_frames = 0
        self.dropped = 0  # spokes of frames that were too short
        self._spokes: deque[tuple[int, Any]] = deque()
        self._run = 0
        self._position = -1
        self._marker: int | None = None
        self._longer = 0

    def add(self, readout: Any | None, facts: Facts, lost: int) -> list[list[Any]]:
        """Add one spoke, None for one whose samples are unusable; returns the frames that it completes."""
        moved = self._watch is not None and facts.plane is not None and bool(self._watch.moved(facts.plane))
        if self.framing.stride < self.framing.spokes:
            if moved:
                self._spokes.clear()
            return self._slide(readout, lost)
        frames: list[list[Any]] = []
        before = (self._run, self._position // self.framing.spokes)
        if self._starts_anew(facts):
            self._learn()
            self._run += 1
            self._position = 0
        elif moved:
            self._run += 1
            self._position = self._longer = 0
        else:
            self._position += 1 + lost
        if (self._run, self._position // self.framing.spokes) != before:
            frames += self._close()
        if readout is not None:
            self._spokes.append((self._position, readout))
        if self._position % self.framing.spokes == self.framing.spokes - 1:
            frames += self._close()
        return frames

    def flush(self) -> list[list[Any]]:
        """The frame that the end of the scan cut short, if it has enough spokes."""
        return [] if self.framing.stride < self.framing.spokes else self._close()

    @property
    def pending(self) -> int:
        """Spokes that wait for their frame to be complete."""
        return len(self._spokes)

    def _starts_anew(self, facts: Facts) -> bool:
        if not self.framing.marker:
            return False
        value = int(getattr(facts, self.framing.marker))
        previous, self._marker = self._marker, value
        if previous is None:
            return False
        return value <= previous if self.framing.marker == "step_1" else value != previous

    def _learn(self) -> None:
        """The first frame may have been short of spokes: two longer ones in a row set the number right."""
        run = self._position + 1
        if run > self.framing.spokes and run == self._longer:
            part = self.framing.minimum / self.framing.spokes
            self.framing = Framing.of(run, 0, self.framing.marker, part)
        self._longer = run

    def _close(self) -> list[list[Any]]:
        spokes = [readout for _, readout in self._spokes]
        self._spokes.clear()
        if len(spokes) < self.framing.minimum:
            self.dropped += len(spokes)
            return []
        self.n_frames += 1
        return [spokes]

    def _slide(self, readout: Any | None, lost: int) -> list[list[Any]]:
        window, stride = self.framing.spokes, self.framing.stride
        before = (self._position + 1 - window) // stride
        self._position += 1 + lost
        if readout is not None:
            self._spokes.append((self._position, readout))
        while self._spokes and self._spokes[0][0] <= self._position - window:
            self._spokes.popleft()
        now = (self._position + 1 - window) // stride
        if now < 0 or now == before or len(self._spokes) < self.framing.minimum:
            return []
        self.n_frames += 1
        return [[kept for _, kept in self._spokes]]
