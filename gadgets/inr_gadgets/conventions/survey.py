"""What the counters of a scan's first readouts say about its frames: data decide, not flags or encoding limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from inr_core.errors import DataError, ParameterError
from inr_gadgets.clock import TICK_MS
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.framing import Facts, Framing, Positions
from inr_gadgets.conventions.readouts import Group

DEFAULT_SPOKES = 21
LOOK = 55  # spokes of one group that are looked at before a frame is assumed
LOOK_ALL = 8 * LOOK  # the same, of all groups; more where each spoke has more partitions
MOST_PARTITIONS = 64  # that are waited for here, whatever a header claims
SHORTEST = 3  # a counter that changes faster than this marks no frames


class Survey:
    """The first readouts of a scan, looked at until it is clear how to read the rest; bounded.

    Only counters are kept here, never samples.

    Attributes
    ----------
    look_all
        Readouts of all groups that are looked at before a frame is assumed.
    """

    def __init__(self, parameters: BufferParameters, tr_ms: float | None, n_partitions: int = 1) -> None:
        self.parameters = parameters
        self.tr_ms = tr_ms
        self.look_all = max(LOOK_ALL, LOOK * min(n_partitions, MOST_PARTITIONS))
        self.facts: list[Facts] = []
        self._groups: dict[Group, list[Facts]] = {}

    def add(self, facts: Facts) -> bool:
        """Note an imaging readout; True when enough is known."""
        self.facts.append(facts)
        row = self._groups.setdefault(facts.group, [])
        row.append(facts)
        if len(row) >= LOOK or len(self.facts) >= self.look_all:
            return True
        if self.parameters.frame_ms > 0:
            return (len(row) - 1) * self.interval_ms() >= self.parameters.frame_ms
        if self.parameters.spokes_per_frame:
            return len(row) >= self.parameters.spokes_per_frame
        return len(row) > SHORTEST and bool(_marks(row))

    def n_groups(self, stacked: bool = False) -> int:
        """Groups seen so far; the partitions of a stack are one."""
        return len({group._replace(partition=0) for group in self._groups} if stacked else self._groups)

    def interval_ms(self) -> float:
        """Time from spoke to spoke of one group, ms: from the time stamps if they are fine enough, else from TR."""
        row = max(self._groups.values(), key=len)
        ticks = row[-1].stamp - row[0].stamp
        if len(row) > 1 and ticks >= 16:
            measured = ticks * TICK_MS / (len(row) - 1)
            nominal = (self.tr_ms or 0.0) * max(self.stride(), 1)
            # TR is exact where the stamps, 2.5 ms apart, agree with it.
            return nominal if abs(nominal * (len(row) - 1) / (ticks * TICK_MS) - 1) < 2 / ticks else measured
        return (self.tr_ms or 0.0) * max(self.stride(), 1)

    def stride(self) -> int:
        """Usual step of scan_counter from spoke to spoke of one group; 0 if it does not run evenly."""
        ahead = np.diff([f.scan_counter for f in self.facts])
        if ahead.size == 0 or not np.all(ahead > 0):
            return 0
        steps = Counter(b.scan_counter - a.scan_counter for row in self._groups.values() for a, b in _pairs(row))
        if not steps:
            return 0
        usual, count = steps.most_common(1)[0]
        return usual if _most(count, steps.total()) or self._one_after_the_other(usual) else 0

    def steps(self) -> bool:
        """Whether kspace_encode_step_1 counts spokes one by one (and starts again, maybe)."""
        ahead = [b.step_1 - a.step_1 for row in self._groups.values() for a, b in _pairs(row)]
        forward = [step for step in ahead if step > 0]
        return len(forward) >= 0.5 * len(ahead) and _most(forward.count(1), len(forward))

    def framing(self) -> tuple[Framing, str]:
        """Frames, and why."""
        parameters = self.parameters
        spokes, how, marker = parameters.spokes_per_frame, "as set", ""
        if parameters.frame_ms > 0:
            interval = self.interval_ms()
            if interval <= 0:
                raise DataError(
                    f"frame_ms = {parameters.frame_ms:g} for a scan with neither TR nor time stamps",
                    "one of them",
                    "set buffer.spokes_per_frame instead",
                )
            spokes, how = max(1, round(parameters.frame_ms / interval)), f"for {parameters.frame_ms:g} ms"
        elif not spokes:
            spokes, how, marker = self._from_counters()
        if parameters.stride > spokes:
            raise ParameterError(f"buffer.stride = {parameters.stride}", f"at most the {spokes} spokes of a frame")
        return Framing.of(spokes, parameters.stride, marker, parameters.minimum_part), how

    def _from_counters(self) -> tuple[int, str, str]:
        for row in sorted(self._groups.values(), key=len, reverse=True):
            marks = _marks(row)
            if marks:
                marker = min(marks, key=lambda name: marks[name])
                return self._spokes_until(row, marks[marker]), f"{marker} counter", marker
        visits = self._visits()
        if len(visits) > 1 and min(visits[:-1]) >= SHORTEST:
            return visits[0], "spokes of one slice in a row", ""
        return DEFAULT_SPOKES, "default, no counter marks frames", ""

    def _spokes_until(self, row: list[Facts], count: int) -> int:
        """Spokes of the first frame of a group, lost ones included, when ``count`` of them came."""
        positions = Positions(self.stride(), self.steps())
        number = 0
        for facts in self.facts:
            position, _ = positions.next(facts)
            if facts is row[count - 1]:
                number = position + 1
        run = [f.step_1 for f in row[:count]]
        return max(number, run[-1] + 1 if self.steps() and run[0] < count else number)

    def _visits(self) -> list[int]:
        """How many readouts of one group came in a row, each time."""
        visits: list[int] = []
        previous: Group | None = None
        for facts in self.facts:
            if facts.group == previous:
                visits[-1] += 1
            else:
                visits.append(1)
            previous = facts.group
        return visits

    def _one_after_the_other(self, usual: int) -> bool:
        return usual == 1 and len(self._groups) > 1 and min(self._visits()[:-1], default=0) >= SHORTEST


def _most(count: int, total: int) -> bool:
    """All but one in ten, and of a few all but one: a readout may be lost while one looks."""
    return count >= 2 and count >= total - max(1.0, 0.1 * total)


def _pairs(row: list[Facts]) -> Iterable[tuple[Facts, Facts]]:
    return pairwise(row)


def _marks(row: list[Facts]) -> dict[str, int]:
    """Counters that mark frames in the readouts of one group, and after how many readouts they first do."""
    marks: dict[str, int] = {}
    for name in ("repetition", "phase"):
        values = [getattr(f, name) for f in row]
        length = next((i for i, value in enumerate(values) if value != values[0]), 0)
        if length >= SHORTEST:
            marks[name] = length
    ahead = np.diff([f.step_1 for f in row])
    falls = np.flatnonzero(ahead <= 0)
    if falls.size and falls[0] + 1 >= SHORTEST and row[0].step_1 == 0 and np.all(ahead[: falls[0]] > 0):
        marks["step_1"] = int(falls[0]) + 1
    return marks
