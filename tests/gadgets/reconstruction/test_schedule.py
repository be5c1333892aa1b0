"""The recon gadget's clock."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from inr_gadgets.reconstruction.schedule import Schedule

SPOKES, REPETITION_S = 14, 0.003
DURATION_S = SPOKES * REPETITION_S


def frame(arrived: float, partitions: int = 1) -> Any:
    return SimpleNamespace(arrived=arrived, headers=[None] * SPOKES, partitions=partitions)


def paced(interval_s: float, n: int = 10, **settings: float) -> Schedule:
    """A schedule that has seen frames come at a pace, the last at 0."""
    schedule = Schedule(REPETITION_S, **settings)
    for i in reversed(range(n)):
        schedule.arrived(-i * interval_s)
    return schedule


def test_both_times_are_learnt() -> None:
    schedule = Schedule()
    schedule.arrived(10.0)
    assert schedule.time_for_a_step(1e9)  # nothing is known of the next frame
    schedule.arrived(11.0)
    assert schedule.interval_s == 1.0
    assert schedule.time_for_a_step(11.4)
    assert not schedule.time_for_a_step(11.6)  # it may take long to make the field
    schedule.stepped(0.4)
    assert schedule.time_for_a_step(11.5)
    assert not schedule.time_for_a_step(11.7)
    schedule.stepped(0.2)
    assert 0.2 < schedule.step_s < 0.4
    schedule.arrived(13.0)
    assert 1.0 < schedule.interval_s < 2.0
    assert math.isfinite(schedule.step_s)


def test_frames_outpace_a_display_by_their_own_time_or_by_that_at_which_they_come() -> None:
    assert not paced(DURATION_S).outpaces_display(frame(0.0))  # 42 ms
    short = SimpleNamespace(arrived=0.0, headers=[None] * 5, partitions=1)  # 15 ms
    assert Schedule(REPETITION_S).outpaces_display(short)
    assert paced(0.03).outpaces_display(short)
    assert not paced(0.05).outpaces_display(short)  # of a scanner that sends them more slowly
    assert not paced(0.1).outpaces_display(short)
    assert paced(0.05).outpaces_display(short, by_clock=False)
    assert paced(0.001).outpaces_display(short)  # a file
    assert not Schedule().outpaces_display(short)  # nothing is known
    assert not Schedule(REPETITION_S, latency_s=0.025).outpaces_display(short)
    assert paced(0.05, latency_s=0.1).outpaces_display(short)


def test_one_slow_step_does_not_end_the_training() -> None:
    schedule = paced(DURATION_S)
    schedule.stepped(10 * DURATION_S)
    refused = 0
    while not schedule.time_for_a_step(0.1 * DURATION_S):
        refused += 1
    assert 50 < refused < 100


def test_where_frames_leave_little_time_no_step_is_tried_again() -> None:
    schedule = paced(DURATION_S)
    assert not schedule.time_for_a_step(0.6 * DURATION_S)
    schedule.stepped(0.5 * DURATION_S)
    assert not any(schedule.time_for_a_step(0.6 * DURATION_S) for _ in range(1000))
    assert schedule.step_s == 0.5 * DURATION_S


def test_the_second_frame_of_a_scan_does_not_wait_for_a_step() -> None:
    assert not paced(DURATION_S, n=1).time_for_a_step(0.0)


@pytest.mark.parametrize("slower", [1.0, 2.0, 3.5])
def test_an_image_is_due_before_the_next_frame(slower: float) -> None:
    schedule = paced(slower * DURATION_S)
    assert schedule.due(frame(0.0), 0.0) == pytest.approx(slower * DURATION_S)


def test_images_come_no_faster_than_a_display_shows_them() -> None:
    schedule = Schedule(REPETITION_S / 10)
    for i in range(10):
        schedule.arrived(i * DURATION_S / 10)
    assert schedule.due(frame(0.0), 0.0) == pytest.approx(0.04)
    assert schedule.due(frame(0.0), 0.0, ahead=True) == pytest.approx(0.95 * DURATION_S / 10)  # nor do they wait for it


def test_a_late_frame_has_most_of_the_time_between_frames() -> None:
    schedule = paced(DURATION_S)
    assert schedule.due(frame(0.0), 0.2 * DURATION_S) == pytest.approx(DURATION_S)
    for late in (0.5, 3.0):  # less than the time between frames: the delay becomes less
        assert schedule.due(frame(0.0), late * DURATION_S) == pytest.approx((late + 0.75) * DURATION_S)
        assert schedule.due(frame(0.0), late * DURATION_S, ahead=True) == pytest.approx((late + 0.85) * DURATION_S)
    # What waited for the next one has no more than the time between frames, however early its turn comes.
    assert schedule.due(frame(0.0), 0.0, ahead=True) == pytest.approx(0.95 * DURATION_S)


def test_frames_that_share_the_work_make_up_for_more() -> None:
    schedule = paced(DURATION_S)
    assert schedule.due(frame(0.0), 9 * DURATION_S, together=2) == pytest.approx(10 * DURATION_S)


def test_a_frame_that_waits_in_vain_has_the_time_as_if_the_next_one_had_come() -> None:
    schedule = paced(0.03)
    assert schedule.due_alone(0.02) == pytest.approx(1.95 * 0.03)
    assert schedule.due_alone(0.09) == pytest.approx(0.09 + 0.85 * 0.03)


def test_a_frame_is_too_late_for_its_own_work_after_several() -> None:
    schedule = paced(DURATION_S)
    assert schedule.most_waiting(frame(0.0), 5.9 * DURATION_S) == 0
    assert schedule.most_waiting(frame(0.0), 6.1 * DURATION_S) == 1
    assert Schedule(REPETITION_S).most_waiting(frame(0.0), 1e9) == 0  # nothing is known of the next frame
    # One that waits for data anyway is joined by others sooner, and by more of them.
    most = [schedule.most_waiting(frame(0.0), late * DURATION_S, ahead=True) for late in (1.9, 2.1, 4.9, 5.1, 99)]
    assert most == [0, 2, 2, 3, 3]


def test_a_pause_is_no_interval() -> None:
    schedule = paced(100 * DURATION_S)
    assert schedule.due(frame(0.0), 0.0) == pytest.approx(DURATION_S)


def test_the_latency_that_was_asked_for() -> None:
    assert paced(DURATION_S, latency_s=0.2).due(frame(0.0), 0.0) == pytest.approx(0.2)


def test_nobody_waits_for_a_file() -> None:
    assert paced(0.1 * DURATION_S).due(frame(0.0), 0.0) == math.inf
    assert Schedule(0.0).due(frame(0.0), 0.0) == math.inf  # a header without a repetition time


def test_the_slices_of_a_stack_share_the_time_of_all_partitions() -> None:
    schedule = Schedule(REPETITION_S)
    due = []
    for moment in (0.0, 8 * DURATION_S):
        for _ in range(4):
            schedule.arrived(moment)
            due.append(schedule.due(frame(moment, partitions=4), moment))
    assert schedule.interval_s == 8 * DURATION_S
    elapsed = [at - 8 * DURATION_S for at in due[4:]]
    assert elapsed == pytest.approx([8 * DURATION_S * part for part in (0.25, 0.5, 0.75, 1.0)])
