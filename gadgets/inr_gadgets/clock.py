"""The scanner's clock: time stamps count ticks of 2.5 ms, and begin anew at midnight."""

from __future__ import annotations

TICK_MS = 2.5
DAY_TICKS = 34_560_000


def elapsed(before: int, after: int) -> int:
    """Ticks from one time stamp to another, below 0 if ``after`` is the earlier; midnight may lie between them."""
    return (after - before + DAY_TICKS // 2) % DAY_TICKS - DAY_TICKS // 2


def later(stamp: int, ticks: float) -> int:
    """The time stamp so many ticks after another, which may be that of the next day."""
    moved = stamp + round(ticks)
    return moved if stamp >= DAY_TICKS else moved % DAY_TICKS


def beat_between(before: int, after: int, lasting: int, part: float) -> int:
    """A stamp that counts from the last heart beat (or breath), at a moment between two of which it is known.

    Parameters
    ----------
    before, after
        At the two moments, ticks.
    lasting
        Ticks from the one to the other; 0 or less if unknown.
    part
        Of the way from the one to the other, 0 to 1.

    Returns
    -------
    Ticks since the last beat: it goes on from ``before`` until the beat that ``after`` counts from. A clock that is 0
    at both moments does not run.
    """
    if lasting <= 0 or before == after == 0:
        return before
    passed = part * lasting
    beat = lasting - after  # if it lies between the two moments
    return round(passed - beat if 0 < beat <= passed else before + passed)
