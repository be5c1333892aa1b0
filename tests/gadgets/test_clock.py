"""Time stamps: across midnight, and of clocks that begin anew at each heart beat."""

from __future__ import annotations

import pytest

from inr_gadgets.clock import DAY_TICKS, TICK_MS, beat_between, elapsed, later


def test_a_day_has_so_many_ticks() -> None:
    assert DAY_TICKS * TICK_MS == 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("before", "after", "ticks"),
    [
        (10, 14, 4),
        (14, 10, -4),
        (DAY_TICKS - 3, 5, 8),
        (5, DAY_TICKS - 3, -8),
        # A clock that does not begin anew.
        (DAY_TICKS - 3, DAY_TICKS + 5, 8),
    ],
)
def test_elapsed(before: int, after: int, ticks: int) -> None:
    assert elapsed(before, after) == ticks


@pytest.mark.parametrize(
    ("stamp", "ticks", "expected"),
    [(10, 2.4, 12), (DAY_TICKS - 2, 5, 3), (DAY_TICKS + 7, 5, DAY_TICKS + 12), (3, -5, DAY_TICKS - 2)],
)
def test_later(stamp: int, ticks: float, expected: int) -> None:
    assert later(stamp, ticks) == expected
    assert elapsed(stamp, later(stamp, ticks)) == round(ticks)


@pytest.mark.parametrize(
    ("before", "after", "lasting", "part", "expected"),
    [
        (100, 140, 40, 0.25, 110),  # within a beat
        (390, 10, 40, 0.5, 410),  # the beat is 30 ticks after the first moment: not yet
        (390, 10, 40, 0.75, 0),  # at the beat
        (390, 10, 40, 0.875, 5),  # after it
        (10, 0, 40, 0.5, 30),  # at the second moment
        (0, 0, 40, 0.5, 0),  # nothing is counted
        (390, 10, 0, 0.5, 390),  # how long it lasted is not known
        (390, 10, -400, 0.5, 390),
    ],
)
def test_a_clock_of_beats_goes_on_until_the_next(
    before: int, after: int, lasting: int, part: float, expected: int
) -> None:
    assert beat_between(before, after, lasting, part) == expected
