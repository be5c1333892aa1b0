"""How much work a live frame gets: as much as fits the time that is left for it, by measured times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

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
        Iterations of the second part, on ``coils``.
    coils
        Strongest virtual coils of the second part.
    """

    first: int
    second: int
    coils: int


_LADDER = (
    (1, 3 / 4),
    (0.78, 3 / 4),
    (0.78, 5 / 8),
    (0.78, 1 / 2),
    (0.7, 1 / 2),
    (0.6, 1 / 2),
    (0.5, 1 / 2),
    (0.5, 3 / 8),
    (0.5, 1 / 4),
    (0.4, 1 / 4),
    (0.3, 1 / 4),
)
"""Parts of the iterations, and of the coils."""


def ladder(most: Effort) -> list[Effort]:
    """Efforts from ``most`` down to three tenths of its iterations, on a quarter of its coils.

    Each is the best that its time buys, among 24 of 2 to 8 and 3 to 10 iterations on 2 to 8 coils that were measured on
    a real cine: 37.16, 37.11, 37.04, 36.96, 36.87, 36.82, 36.69, 36.45, 36.25, 36.05, 35.54 and 34.52 dB at 13 spokes.
    """
    steps = [most]
    for part, of_coils in _LADDER:
        first, second = (max(1, round(part * n)) for n in (most.first, most.second))
        step = Effort(first, second, math.ceil(of_coils * most.coils - 1e-9))
        if step != steps[-1]:
            steps.append(step)
    return steps


@dataclass
class Times:
    """Running means of measured times; nan before anything was measured.

    Attributes
    ----------
    first_s
        Seconds of an iteration of the first part.
    per_coil_s
        What each further coil adds to it.
    """

    first_s: float = math.nan
    per_coil_s: float = math.nan


@cache
def times_of(shape: tuple[int, int], first_coils: int, device: str) -> Times:
    """The times that all slices and scans of a process share: the first frames of a scan are planned by the last's."""
    return Times()


class EffortPlan:
    """Chooses the most that fits the time left, from the measured seconds of an iteration.

    An iteration takes a + b times its coils; the two parts of a frame, on different coils, tell a and b apart.

    Parameters
    ----------
    steps
        Efforts, the most first.
    first_coils
        Of the first part.
    products
        Applications of the data's operator on the second part's coils that are no iterations.
    """

    def __init__(self, steps: list[Effort], first_coils: int, products: int, times: Times | None = None) -> None:
        self.steps, self.first_coils, self.products = steps, first_coils, products
        self.times = times or Times()

    def choose(self, remaining_s: float) -> Effort:
        """The most that is expected to take no more than ``remaining_s``; the least if nothing does."""
        for effort in self.steps:
            if not self.expected_s(effort) > remaining_s:  # nothing measured yet is nan: no reason to hold back
                return effort
        return self.steps[-1]

    def expected_s(self, effort: Effort) -> float:
        """Seconds that an effort is expected to take; nan before anything was measured."""
        more = max(0, effort.coils - self.first_coils)
        second_s = self.times.first_s + (self.times.per_coil_s * more if more else 0.0)
        return effort.first * self.times.first_s + (effort.second + self.products) * second_s

    def measured(self, effort: Effort, first_s: float, second_s: float) -> None:
        """Take in how long the two parts of a frame took.

        What held a single frame up, another program on its core, is made up for by the next ones, which have less time
        left, and is no reason for less work in them than fits: in a paced stream of 13 spokes worth 0.1 dB.
        """
        outlier = (first_s + second_s) / (_SLOWER * self.expected_s(effort))
        if outlier > 1:  # nan before anything was measured
            first_s, second_s = first_s / outlier, second_s / outlier
        each = first_s / effort.first
        more = effort.coils - self.first_coils
        times = self.times
        times.first_s = running_mean(times.first_s, each)
        if more > 0:
            per_coil = max(0.0, second_s / (effort.second + self.products) - each) / more
            times.per_coil_s = running_mean(times.per_coil_s, per_coil)
