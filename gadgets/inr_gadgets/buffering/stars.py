"""The partitions of a stack of stars, put together angle by angle while they come in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.conventions.framing import Facts
from inr_gadgets.conventions.stack import Stack
from inr_gadgets.planes import PlaneWatch

# Angles that may wait for some of their partitions: two frames, and never fewer than this.
_FEWEST_WAITING = 110
_MOST_NAMED = 8  # partitions, in a line for the operator
_ESCAPE = "correct the header's limits of kspace_encoding_step_2, or set buffer.partitions=single"


class Spoke(Protocol):
    """What is gathered: a readout with its trajectory."""

    @property
    def traj(self) -> np.ndarray:
        """(samples, 2), cycles per pixel."""


@dataclass(frozen=True)
class Gathered:
    """One angle with all its partitions.

    Attributes
    ----------
    spokes
        One of each partition; None if the samples of one are unusable.
    facts
        Counters of the reference partition's readout; its group has no partition any more.
    lost
        Angles right before it that lack a partition.
    """

    spokes: tuple[Any, ...] | None
    facts: Facts
    lost: int


class Stars:
    """The readouts of one stack; holds what waits for its other partitions, at most two frames.

    An angle leaves with the last of its partitions. One that a partition was lost of is left out: it has no transform
    along z; and so is one whose partitions are of two planes.

    Parameters
    ----------
    stack
        Which partitions there are.
    marker
        The counter that marks frames, if one does: it must be the same in all partitions of an angle.
    frame_spokes
        Spokes of a frame.
    tolerance
        By how much the trajectories of the partitions of an angle may differ, cycles per pixel.
    watch
        Notices a change of the slab's plane; None to look at none.
    """

    def __init__(
        self, stack: Stack, marker: str, frame_spokes: int, tolerance: float, watch: PlaneWatch | None = None
    ) -> None:
        self.stack, self.marker, self.tolerance, self._watch = stack, marker, tolerance, watch
        self.dropped = 0  # angles that lacked a partition
        self._most = max(2 * frame_spokes, _FEWEST_WAITING)
        self._waiting: dict[int, dict[int, tuple[Any, Facts]]] = {}
        self._came: Counter[int] = Counter()
        self._last: int | None = None

    def add(self, spoke: Spoke | None, facts: Facts, position: int) -> Gathered | None:
        """Take a readout, None for an unusable one, at its position in its partition; the angle that it completes.

        Raises
        ------
        DataError
            If it is of a partition that the header has not, a partition does not come or has fewer spokes than the
            others, or the partitions of an angle go in different directions.
        """
        stack, partition = self.stack, facts.group.partition
        if not stack.first <= partition <= stack.last:
            raise DataError(
                f"a readout of partition {partition} of a stack of stars",
                f"partitions {stack.first} to {stack.last}",
                _ESCAPE,
            )
        self._came[partition] += 1
        if self._watch is not None and facts.plane is not None and self._watch.moved(facts.plane):
            self.finish()
        angle = self._waiting.setdefault(position, {})
        angle[partition] = spoke, facts
        if len(angle) < stack.n_partitions:
            if len(self._waiting) > self._most:
                raise self.trouble()
            return None
        return self._complete(position, angle)

    @property
    def pending(self) -> int:
        """Readouts that wait for the other partitions of their angle."""
        return sum(map(len, self._waiting.values()))

    def finish(self) -> None:
        """Count and forget the angles that the end of the scan, or a change of the plane, cut short."""
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def trouble(self) -> DataError:
        """Say why no angle becomes complete."""
        stack = self.stack
        missing = [str(p) for p in range(stack.first, stack.last + 1) if not self._came[p]]
        if missing:
            more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
            which = f"partition{'s' if len(missing) > 1 else ''} {', '.join(missing[:_MOST_NAMED])}{more}"
            return DataError(
                f"{which} of a stack of stars did not come within {max(self._came.values(), default=0)} spokes",
                f"every partition from {stack.first} to {stack.last}, the same spokes in each",
                _ESCAPE,
            )
        (most, n_most), *_, (fewest, n_fewest) = self._came.most_common()
        return DataError(
            f"{n_fewest} spokes of partition {fewest} of a stack of stars, but {n_most} of partition {most}",
            "the same spokes in every partition, those of a frame one after the other",
            "set buffer.partitions=single",
        )

    def _complete(self, position: int, angle: dict[int, tuple[Any, Facts]]) -> Gathered:
        # The partitions that an earlier angle lacks have gone on without it.
        dead = [earlier for earlier in self._waiting if earlier < position]
        for number in (*dead, position):
            del self._waiting[number]
        lost = len(dead) if self._last is None else position - self._last - 1
        self.dropped += len(dead)
        self._last = position
        rows = [angle[partition] for partition in sorted(angle)]
        facts = rows[self.stack.reference][1]
        self._check_marker([row[1] for row in rows])
        spokes = [row[0] for row in rows if row[0] is not None]
        whole = None
        if len(spokes) == len(rows):
            self._check_direction(spokes)
            whole = tuple(spokes)
        else:
            self.dropped += 1
        return Gathered(whole, facts._replace(group=facts.group._replace(partition=0)), lost)

    def _check_marker(self, rows: list[Facts]) -> None:
        values = [int(getattr(facts, self.marker)) for facts in rows] if self.marker else []
        other = next((i for i, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            name = "kspace_encode_step_1" if self.marker == "step_1" else self.marker
            raise DataError(
                f"unequal spokes in the partitions of a stack of stars: the same spoke has {name} {values[0]} in "
                f"partition {rows[0].group.partition} and {values[other]} in partition {rows[other].group.partition}",
                "the same spokes of a frame in every partition",
                "set buffer.partitions=single",
            )

    def _check_direction(self, spokes: list[Any]) -> None:
        apart = max(float(np.abs(spoke.traj - spokes[0].traj).max()) for spoke in spokes)
        if apart > self.tolerance:
            raise DataError(
                f"partitions of a stack of stars whose spokes lie {apart:.2g} cycles per pixel apart at one angle",
                "spokes of one direction in all partitions of an angle (no rotated stack)",
                "set buffer.partitions=single",
            )
