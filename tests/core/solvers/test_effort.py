"""The work on a frame fits the time, by what was measured."""

from __future__ import annotations

import itertools
import math

import pytest

from inr_core.solvers.effort import Effort, EffortPlan, ladder, times_of

MOST = Effort(8, 10, 8)
FIRST_S, SECOND_S = 8 * 0.003, (10 + 2) * 0.009  # with 1 ms an iteration and 1 ms a coil


def plan(per_iteration_s: float = 0.001, per_coil_s: float = 0.001) -> EffortPlan:
    """A plan that has measured one frame of the most effort."""
    made = EffortPlan(ladder(MOST), first_coils=2, products=2)
    first, second = (per_iteration_s + coils * per_coil_s for coils in (2, 8))
    made.measured(MOST, 8 * first, (10 + 2) * second)
    return made


def test_each_step_is_less_work_down_to_less_than_a_third() -> None:
    steps = ladder(MOST)
    assert steps[0] == MOST
    assert steps[-1] == Effort(2, 3, 2)
    for more, less in itertools.pairwise(steps):
        assert less.first <= more.first
        assert less.second <= more.second
        assert less.coils <= more.coils
    # What was measured as the best for its time.
    assert [(s.first, s.second, s.coils) for s in steps[1:5]] == [(8, 10, 6), (6, 8, 6), (6, 8, 5), (6, 8, 4)]


@pytest.mark.parametrize("most", [Effort(1, 1, 1), Effort(1, 2, 3), Effort(6, 7, 4)])
def test_few_iterations_or_coils_stay_possible(most: Effort) -> None:
    for step in ladder(most):
        assert step.first >= 1
        assert step.second >= 1
        assert 1 <= step.coils <= most.coils


def test_without_measurements_nothing_is_held_back() -> None:
    assert EffortPlan(ladder(MOST), 2, 2).choose(1e-9) == MOST


def test_expected_seconds_are_those_of_both_parts() -> None:
    assert plan().expected_s(MOST) == pytest.approx(FIRST_S + SECOND_S)
    assert plan().expected_s(Effort(2, 2, 4)) == pytest.approx(2 * 0.003 + 4 * 0.005)


def test_the_most_that_fits_is_chosen() -> None:
    made = plan()
    for effort in made.steps:
        assert made.choose(made.expected_s(effort) * 1.0001) == effort
    assert made.choose(math.inf) == MOST
    assert made.choose(-1.0) == made.steps[-1]


def test_a_slower_machine_gets_less() -> None:
    made = plan()
    budget = 1.01 * made.expected_s(MOST)
    for _ in range(20):
        made.measured(MOST, 2 * FIRST_S, 2 * SECOND_S)
    assert made.choose(budget).coils < 8
    assert made.expected_s(MOST) == pytest.approx(2 * (FIRST_S + SECOND_S), rel=0.01)


def test_a_single_slow_frame_counts_little() -> None:
    made = plan()
    usual = made.expected_s(MOST)
    made.measured(MOST, 10 * FIRST_S, 10 * SECOND_S)
    assert made.expected_s(MOST) == pytest.approx((0.7 + 0.3 * 1.25) * usual)


def test_slices_and_scans_share_their_times() -> None:
    shared = times_of((17, 19), 2, "cpu")
    one, other = (EffortPlan(ladder(MOST), 2, 2, times_of((17, 19), 2, "cpu")) for _ in range(2))
    one.measured(MOST, 0.08, 0.24)
    assert other.expected_s(MOST) == pytest.approx(0.32)
    assert shared.first_s == pytest.approx(0.01)
    assert math.isnan(times_of((17, 20), 2, "cpu").first_s)


def test_a_frame_with_as_many_coils_in_both_parts_says_nothing_of_further_ones() -> None:
    made = plan()
    before = made.times.per_coil_s
    made.measured(Effort(6, 7, 2), 0.018, 0.027)
    assert made.times.per_coil_s == before


def test_as_many_coils_in_both_parts() -> None:
    made = EffortPlan(ladder(Effort(3, 3, 2)), first_coils=2, products=2)
    made.measured(Effort(3, 3, 2), 0.03, 0.05)
    assert made.expected_s(Effort(3, 3, 2)) == pytest.approx(0.03 + 0.05)
