"""How much work a live frame gets: as much as fits the time that is left for it, by measured times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

_SMOOTHING = 0.3  # weight of the newest measurement in running means
_SLOWER = 1.25  # times the expected that a frame's time counts at most


def running_mean(old: float, new: float) -> float:
    """The mean with a new measurement; that alone where there is no finite mean yet."""
    return new if not math.isfinite(old) else (1 - _SMOOTHING) * old + _SMOOTHING * new


@dataclass(frozen=True)
class Effort:
    """Work on a live frame.

    Attributes
    ----------
    first
        Iterations of the first part, on few coils, which finds where the frame differs and how it moved.
    second
        Iterations of the second part, on ``coils``; 0 for none.
    coils
        Strongest virtual coils of the second part.
    """

    first: int
    second: int
    coils: int


_LADDER = (
    (5 / 8, 1, 1),
    (5 / 8, 0.8, 3 / 4),
    (5 / 8, 0.8, 5 / 8),
    (5 / 8, 0.8, 1 / 2),
    (3 / 4, 1 / 2, 1 / 2),
    (5 / 8, 1 / 2, 1 / 2),
    (1 / 2, 1 / 2, 1 / 2),
    (3 / 4, 0.3, 1 / 2),
    (5 / 8, 1 / 2, 1 / 4),
    (1 / 2, 1 / 2, 1 / 4),
    (5 / 8, 0.3, 1 / 4),
    (1 / 2, 0.3, 1 / 4),
    (1, 0, 1 / 4),
    (3 / 4, 0, 1 / 4),
    (5 / 8, 0, 1 / 4),
    (1 / 2, 0, 1 / 4),
)
_SPARSE_LADDER = (
    (1 / 2, 1, 1),
    (1 / 2, 1, 3 / 4),
    (1 / 2, 0.8, 3 / 4),
    (1 / 2, 0.8, 5 / 8),
    (1 / 2, 0.7, 5 / 8),
    (1 / 2, 0.6, 5 / 8),
    (1 / 2, 1 / 2, 5 / 8),
    (1 / 2, 1 / 2, 1 / 2),
    (1 / 2, 0.4, 1 / 2),
    (1 / 2, 0.3, 1 / 2),
    (1 / 2, 0.3, 3 / 8),
    (1, 0, 1 / 4),
    (3 / 4, 0, 1 / 4),
    (1 / 2, 0, 1 / 4),
)
"""Parts of the iterations of both parts, and of the coils: many spokes want more of the first part."""

SPARSE = 16.0
"""Acceleration from which few spokes are few."""


def ladder(most: Effort, *, sparse: bool = False) -> list[Effort]:
    """Efforts from ``most`` down to half of the first part's iterations alone.

    Each is the best that its time buys, among 40 to 60 of 2 to 8 and 0 to 10 iterations on 2 to 8 coils that were
    measured on a real cine.

    Parameters
    ----------
    most
        The first one.
    sparse
        Whether frames are few spokes, an acceleration of ``SPARSE`` or more.
    """
    steps = [most]
    for of_first, of_second, of_coils in _SPARSE_LADDER if sparse else _LADDER:
        coils = math.ceil(of_coils * most.coils - 1e-9)
        step = Effort(max(1, round(of_first * most.first)), round(of_second * most.second), coils)
        if step != steps[-1]:
            steps.append(step)
    return steps


@dataclass
class Times:
    """Running means of measured times; nan before anything was measured.

    Attributes
    ----------
    setup_s
        Seconds that the first part takes beside its iterations.
    setup_second_s
        The same of the second part, on as many coils.
    first_s
        Seconds of an iteration of the first part.
    per_coil_s
        What each further coil adds to it.
    """

    setup_s: float = math.nan
    setup_second_s: float = math.nan
    first_s: float = math.nan
    per_coil_s: float = math.nan


class Spent(NamedTuple):
    """Seconds that a part of a frame took for its set-up and for its iterations, with what is one call with these."""

    setup_s: float
    iterations_s: float


@cache
def times_of(shape: tuple[int, int], first_coils: int, device: str) -> Times:
    """The times that all slices and scans of a process share: the first frames of a scan are planned by the last's."""
    return Times()


class EffortPlan:
    """Chooses the most that fits the time left, from measured seconds.

    A part of a frame takes a set-up, and an iteration a + b times its coils; the two parts, on different coils, tell a
    and b apart. Without the set-up, a frame of few iterations would seem to say that these are slow, and the next one
    would get few, too.

    Parameters
    ----------
    most
        The most effort.
    first_coils
        Of the first part.
    products
        Applications of the data's operator in the second part's set-up.
    """

    def __init__(self, most: Effort, first_coils: int, products: int, times: Times | None = None) -> None:
        self._ladders = {sparse: ladder(most, sparse=sparse) for sparse in (False, True)}
        self.first_coils, self.products = first_coils, products
        self.times = times or Times()

    def choose(self, remaining_s: float, acceleration: float = 1.0) -> Effort:
        """The most that is expected to take no more than ``remaining_s``; the least if nothing does."""
        steps = self._ladders[acceleration >= SPARSE]
        for effort in steps:
            if not self.expected_s(effort) > remaining_s:  # nothing measured yet is nan: no reason to hold back
                return effort
        return steps[-1]

    def expected_s(self, effort: Effort) -> float:
        """Seconds that an effort is expected to take; nan before anything was measured."""
        times = self.times
        first_s = times.setup_s + effort.first * times.first_s
        if effort.second == 0:
            return first_s
        more = effort.coils - self.first_coils
        further_s = more * times.per_coil_s if more > 0 else 0.0
        return (
            first_s + times.setup_second_s + effort.second * times.first_s + (effort.second + self.products) * further_s
        )

    def measured(self, effort: Effort, *parts: Spent) -> None:
        """Take in how long the parts of a frame took.

        What held a single frame up, another program on its core, is made up for by the next ones, which have less time
        left, and is no reason for less work in them than fits: in a paced stream of 13 spokes worth 0.1 dB.
        """
        outlier = sum(map(sum, parts)) / (_SLOWER * self.expected_s(effort))
        if outlier > 1:  # nan before anything was measured
            parts = tuple(Spent(*(seconds / outlier for seconds in part)) for part in parts)
        times, each = self.times, parts[0].iterations_s / effort.first
        times.setup_s = running_mean(times.setup_s, parts[0].setup_s)
        times.first_s = running_mean(times.first_s, each)
        if effort.second == 0:
            return
        more, further_s = effort.coils - self.first_coils, 0.0
        if more > 0:
            further_s = max(0.0, parts[1].iterations_s / effort.second - each)
            times.per_coil_s = running_mean(times.per_coil_s, further_s / more)
        setup_s = max(0.0, parts[1].setup_s - self.products * further_s)
        times.setup_second_s = running_mean(times.setup_second_s, setup_s)
