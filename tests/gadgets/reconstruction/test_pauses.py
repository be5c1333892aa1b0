"""Pauses of a scan, by the readouts' stamps or by when frames arrived."""

from __future__ import annotations

import pytest

from inr_gadgets.frame import Frame
from inr_gadgets.reconstruction.pauses import PauseWatch
from radial import cine_scan
from scans import readout


def frame(stamps: list[int], arrived: float = 0.0) -> Frame:
    """A frame whose readouts have these time stamps, in ticks of 2.5 ms."""
    scan = cine_scan(frames=10, coils=3, matrix=(24, 20))
    headers = [readout(i, acquisition_time_stamp=stamps[i * len(stamps) // 5]).getHead() for i in range(5)]
    return Frame.from_readouts(
        scan.kspace[0].numpy(),
        scan.traj[0].numpy(),
        headers,
        matrix=(24, 20),
        fov_mm=(300, 250, 8),
        index=0,
        arrived=arrived,
    )


def spread(begin: int, spacing: float = 2.5) -> list[int]:
    """The stamps of five readouts: in 10 of the 12 ticks that a frame lasts here."""
    return [round(begin + spacing * i) for i in range(5)]


def pauses(begins: list[int], watch: PauseWatch | None = None, spacing: float = 2.5) -> list[float]:
    watch = watch or PauseWatch()
    return [watch.before(frame(spread(begin, spacing))) for begin in begins]


def test_a_steady_scan_has_none() -> None:
    assert pauses([*range(0, 240, 12)]) == [0.0] * 20


def test_more_than_ten_frames_are_a_pause() -> None:
    assert pauses([0, 12, 24, 152, 164]) == [0.0] * 5
    assert pauses([0, 12, 24, 158, 170]) == pytest.approx([0, 0, 0, 124 * 2.5e-3, 0])


def test_the_second_frame_is_judged_by_the_first_ones_own_duration() -> None:
    assert pauses([0, 200]) == pytest.approx([0, 190 * 2.5e-3])


def test_two_seconds_are_a_pause_only_if_they_are_several_frames() -> None:
    slow = [0, 400, 800]  # a frame a second
    assert pauses([*slow, 1200 + 700], spacing=80) == [0.0] * 4
    assert pauses([*slow, 1200 + 1300], spacing=80) == pytest.approx([0, 0, 0, (1700 - 320) * 2.5e-3])


def test_the_interval_is_not_spoiled_by_a_pause() -> None:
    assert pauses([0, 12, 24, 1024, 1036, 2036])[3::2] == pytest.approx([990 * 2.5e-3] * 2)


def test_a_pause_within_a_frame_is_one() -> None:
    watch = PauseWatch()
    pauses([0, 12, 24], watch)
    assert watch.before(frame([36, 38, 41, 543, 546])) == pytest.approx(502 * 2.5e-3)
    assert pauses([558, 570], watch) == [0.0, 0.0]


def test_slices_of_a_stack_and_clocks_that_begin_anew_are_none() -> None:
    assert pauses([0, 0, 12, 12, 24, 24]) == [0.0] * 6
    assert pauses([100, 112, 124, 0, 12, 24, 0, 12]) == [0.0] * 8


def arrivals(moments: list[float], **settings: bool) -> list[float]:
    watch = PauseWatch(**settings)
    return [watch.before(frame([0], arrived=moment)) for moment in moments]


def test_without_stamps_it_is_when_frames_arrived() -> None:
    moments = [5.0, 5.1, 5.2, 9.2, 9.3]
    assert arrivals(moments) == pytest.approx([0, 0, 0, 4.0, 0])
    assert arrivals(moments, by_arrival=False) == [0.0] * 5


def test_frames_that_were_late_on_their_way_are_no_pause() -> None:
    watch = PauseWatch()
    found = [watch.before(frame(spread(12 * i), arrived=0.03 * i + (8 if i > 5 else 0))) for i in range(9)]
    assert found == [0.0] * 9
