"""The work on a frame fits the time, by what was measured."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from inr_core.solvers.effort import Effort, EffortPlan, Spent, ladder, times_of

MOST = Effort(8, 10, 8)
SETUP_S, SETUP_SECOND_S, FIRST_S, PER_COIL_S = 0.002, 0.004, 0.003, 0.001


def parts(effort: Effort, slower: float = 1.0) -> list[Spent]:
    """What a frame takes where an iteration on two coils takes 3 ms, and each further coil 1 ms."""
    further_s = (effort.coils - 2) * PER_COIL_S
    first = Spent(SETUP_S, effort.first * FIRST_S)
    # One product with the data's operator is part of the set-up.
    second = Spent(SETUP_SECOND_S + further_s, effort.second * (FIRST_S + further_s))
    return [Spent(*(slower * s for s in part)) for part in ([first, second] if effort.second else [first])]


def seconds(effort: Effort) -> float:
    return sum(map(sum, parts(effort)))


def plan(effort: Effort = MOST, most: Effort = MOST) -> EffortPlan:
    """A plan that has measured one frame."""
    made = EffortPlan(most, first_coils=2, products=1)
    made.measured(effort, *parts(effort))
    return made


@pytest.mark.parametrize("sparse", [False, True])
def test_each_step_is_less_work_down_to_half_of_the_first_part(sparse: bool) -> None:
    steps = ladder(MOST, sparse=sparse)
    assert steps[0] == MOST
    assert steps[-1] == Effort(4, 0, 2)
    for more, less in itertools.pairwise(steps):
        assert seconds(less) < seconds(more)
        assert less.coils <= more.coils
    # What was measured as the best for its time.
    best = [(4, 10, 8), (4, 10, 6), (4, 8, 6), (4, 8, 5)] if sparse else [(5, 10, 8), (5, 8, 6), (5, 8, 5), (5, 8, 4)]
    assert [(s.first, s.second, s.coils) for s in steps[1:5]] == best


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("most", [Effort(1, 1, 1), Effort(1, 2, 3), Effort(6, 7, 4)])
def test_few_iterations_or_coils_stay_possible(most: Effort, sparse: bool) -> None:
    for step in ladder(most, sparse=sparse):
        assert step.first >= 1
        assert step.second >= 0
        assert 1 <= step.coils <= most.coils


def test_without_measurements_nothing_is_held_back() -> None:
    assert EffortPlan(MOST, 2, 1).choose(1e-9) == MOST


@pytest.mark.parametrize("effort", [MOST, Effort(2, 2, 4), Effort(4, 0, 2), Effort(3, 1, 2)])
def test_expected_seconds_are_those_of_what_is_done(effort: Effort) -> None:
    assert plan().expected_s(effort) == pytest.approx(seconds(effort))


def test_a_frame_of_few_iterations_does_not_make_them_seem_slow() -> None:
    made = plan(Effort(1, 1, 8))
    assert made.expected_s(MOST) == pytest.approx(seconds(MOST))


@pytest.mark.parametrize("acceleration", [9.8, 25.6])
def test_the_most_that_fits_is_chosen(acceleration: float) -> None:
    made = plan()
    for effort in ladder(MOST, sparse=acceleration > 16):
        assert made.choose(made.expected_s(effort) * 1.0001, acceleration) == effort
    assert made.choose(math.inf, acceleration) == MOST
    assert made.choose(-1.0, acceleration) == Effort(4, 0, 2)


def test_a_slower_machine_gets_less() -> None:
    made = plan()
    budget = 1.01 * made.expected_s(MOST)
    for _ in range(20):
        made.measured(MOST, *parts(MOST, slower=2))
    assert made.choose(budget).coils < 8
    assert made.expected_s(MOST) == pytest.approx(2 * seconds(MOST), rel=0.01)


def test_a_single_slow_frame_counts_little() -> None:
    made = plan()
    made.measured(MOST, *parts(MOST, slower=10))
    assert made.expected_s(MOST) == pytest.approx((0.7 + 0.3 * 1.25) * seconds(MOST))


def test_slices_and_scans_share_their_times() -> None:
    shared = times_of((17, 19), 2, "cpu")
    one, other = (EffortPlan(MOST, 2, 1, times_of((17, 19), 2, "cpu")) for _ in range(2))
    one.measured(MOST, *parts(MOST))
    assert other.expected_s(MOST) == pytest.approx(seconds(MOST))
    assert shared.first_s == pytest.approx(FIRST_S)
    assert math.isnan(times_of((17, 20), 2, "cpu").first_s)


def test_what_a_frame_did_not_do_is_not_learnt_from_it() -> None:
    made = plan()
    before = replace(made.times)
    made.measured(Effort(6, 7, 2), *parts(Effort(6, 7, 2), slower=1.2))
    assert made.times.per_coil_s == before.per_coil_s
    assert made.times.setup_second_s > before.setup_second_s
    before = replace(made.times)
    made.measured(Effort(6, 0, 2), *parts(Effort(6, 0, 2), slower=1.2))
    assert (made.times.per_coil_s, made.times.setup_second_s) == (before.per_coil_s, before.setup_second_s)
    assert made.times.first_s > before.first_s


def test_as_many_coils_in_both_parts() -> None:
    most = Effort(3, 3, 2)
    assert plan(most, most).expected_s(most) == pytest.approx(seconds(most))
