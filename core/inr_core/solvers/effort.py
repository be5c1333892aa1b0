"""How much work a live frame gets: as much as fits the time that is left for it, by measured times."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SMOOTHING = 0.3  # weight of the newest measurement in running means


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


def ladder(most: Effort, least_coils: int) -> list[Effort]:
    """Efforts from ``most`` down to a third of its iterations, on half of its coils.

    Coils go first: on a real cine at 13 spokes half of eight coils cost 0.15 dB, half of the iterations 0.6 dB, and
    an iteration takes about as long as its coils are many.
    """
    half = min(most.coils, max(least_coils, -(-most.coils // 2)))
    steps = [most]
    for part, coils in ((1.0, -(-3 * most.coils // 4)), (1.0, half), (0.7, half), (0.5, half), (0.34, half)):
        step = Effort(max(1, round(part * most.first)), max(1, round(part * most.second)), max(half, coils))
        if step != steps[-1]:
            steps.append(step)
    return steps


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

    def __init__(self, steps: list[Effort], first_coils: int, products: int) -> None:
        self.steps, self.first_coils, self.products = steps, first_coils, products
        self._first_s = self._per_coil_s = (
            math.nan
        )  # of an iteration of the first part, and what each further coil adds

    def choose(self, remaining_s: float) -> Effort:
        """The most that is expected to take no more than ``remaining_s``; the least if nothing does."""
        for effort in self.steps:
            if not self.expected_s(effort) > remaining_s:  # nothing measured yet is nan: no reason to hold back
                return effort
        return self.steps[-1]

    def expected_s(self, effort: Effort) -> float:
        """Seconds that an effort is expected to take; nan before anything was measured."""
        second_s = self._first_s + self._per_coil_s * max(0, effort.coils - self.first_coils)
        return effort.first * self._first_s + (effort.second + self.products) * second_s

    def measured(self, effort: Effort, first_s: float, second_s: float) -> None:
        """Take in how long the two parts of a frame took."""
        each = first_s / effort.first
        more = effort.coils - self.first_coils
        per_coil = max(0.0, second_s / (effort.second + self.products) - each) / more if more > 0 else 0.0
        self._first_s, self._per_coil_s = _mean(self._first_s, each), _mean(self._per_coil_s, per_coil)


def _mean(old: float, new: float) -> float:
    return new if math.isnan(old) else (1 - _SMOOTHING) * old + _SMOOTHING * new
