"""Frames and clocks of images, of whatever program."""

from __future__ import annotations

from typing import Any

import ismrmrd
import pytest

from inr_core.errors import DataError
from inr_gadgets.export.kinds import common_window, image_kinds, kind_label, positive, series_label
from inr_gadgets.export.timing import frame_ms, frame_numbers, stamps_ms, step, trigger_ms

DAY = 34_560_000


def headers(field: str, *values: int) -> list[Any]:
    found = []
    for value in values:
        head = ismrmrd.ImageHeader()
        setattr(head, field, value)
        found.append(head)
    return found


def with_trigger(*ticks: int) -> list[Any]:
    heads = headers("slice", *[0] * len(ticks))
    for head, tick in zip(heads, ticks, strict=True):
        head.physiology_time_stamp[0] = tick
    return heads


def test_frames_are_numbered_by_our_attribute() -> None:
    numbers = frame_numbers([0, 0], headers("repetition", 7, 7), [{"inr_frame": "3"}, {"inr_frame": "3.333333"}])
    assert numbers == [3, 3.333333]


def test_frames_are_numbered_by_repetition_and_phase() -> None:
    heads = headers("repetition", 0, 0, 1, 1)
    for head, phase in zip(heads, (0, 1, 0, 1), strict=True):
        head.phase = phase
    assert frame_numbers([0] * 4, heads, [{}] * 4) == [0, 1, 2, 3]


def test_frames_are_numbered_by_image_index_and_then_by_order() -> None:
    assert frame_numbers(["a", "b", "a", "b"], headers("image_index", 4, 3, 2, 1), [{}] * 4) == [1, 1, 0, 0]
    assert frame_numbers(["a", "b", "a", "b"], headers("image_index", 0, 0, 0, 0), [{}] * 4) == [0, 0, 1, 1]


def test_clock_runs_on_beyond_midnight() -> None:
    stamps = headers("acquisition_time_stamp", 4, DAY - 4, 0)
    assert stamps_ms(stamps) == [(DAY + 4) * 2.5, (DAY - 4) * 2.5, DAY * 2.5]


def test_whole_days_of_other_clocks_are_left_out() -> None:
    assert stamps_ms(headers("acquisition_time_stamp", 3 * DAY + 400, 3 * DAY + 800)) == [1000, 2000]


def test_trigger() -> None:
    assert [trigger_ms(head, {}) for head in with_trigger(0, 40, 24_001)] == [None, 100, None]
    assert trigger_ms(with_trigger(40)[0], {"TriggerTime": "12.5"}) == 12.5


def test_frame_time() -> None:
    stamps = headers("acquisition_time_stamp", 0, 15, 31, 47)
    # One tick is coarse beside one frame: the mean of 47 ticks over 3 frames, for the finest step.
    assert frame_ms([0, 1, 2, 3], stamps, [{}] * 4, "it") == pytest.approx(47 * 2.5 / 3)
    assert frame_ms([4, 5, 6, 7.5], stamps, [{}] * 4, "it") == pytest.approx(47 * 2.5 / 3.5 * 3.5 / 4)
    assert frame_ms([5], stamps[:1], [{}], "it") == 100
    assert frame_ms([0, 1], headers("acquisition_time_stamp", DAY - 8, 8), [{}] * 2, "it") == 40


def test_frame_time_of_a_gated_cine_is_by_the_trigger() -> None:
    assert frame_ms([0, 1, 2], with_trigger(10, 20, 30), [{}] * 3, "it") == 25


def test_frame_time_that_nobody_knows() -> None:
    with pytest.raises(DataError, match=r"time stamps of it do not grow; expected 2.5 ms ticks .*--frame-ms"):
        frame_ms([0, 1], headers("acquisition_time_stamp", 8, 8), [{}] * 2, "it")


def test_step() -> None:
    assert step([2, 2.333333, 3]) == pytest.approx(1 / 3)
    assert step([4]) == 1


def test_kinds() -> None:
    heads = headers("contrast", 0, 1, 0, 0)
    heads[3].average = 1
    kinds = image_kinds(heads, [{"inr_group": "0"}, {"inr_group": "1"}, {"inr_group": "3"}, {}])
    assert kinds == [(0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0)]
    assert kind_label(kinds[1], kinds) == "contrast 1 average 0 group 0"
    assert kind_label((1, 0, 0, 0), [(1, 0, 0, 0)]) == ""


@pytest.mark.parametrize(
    ("meta", "label"),
    [
        ({"ImageComments": "INR live", "GADGETRON_SeqDescription": "_INR_live"}, "INR live"),
        ({"GADGETRON_SeqDescription": ["_cine", "moco"]}, "cine_moco"),
        ({"SequenceDescriptionAdditional": "invert"}, "invert"),
        ({"ImageComments": " "}, "series 5"),
        ({"inr_method": "nufft"}, "NUFFT series 5"),
    ],
)
def test_label(meta: dict[str, Any], label: str) -> None:
    assert series_label(5, meta) == label


def test_window() -> None:
    ours = {"WindowCenter": "500", "WindowWidth": "1000"}
    assert common_window([ours, ours]) == (500, 1000)
    assert common_window([ours, ours | {"WindowWidth": "900"}]) is None
    assert common_window([{"GADGETRON_WindowCenter": "64", "GADGETRON_WindowWidth": "128"}]) == (64, 128)
    assert common_window([{"WindowCenter": "a", "WindowWidth": "b"}]) is None
    assert common_window([{"WindowCenter": "1", "WindowWidth": "0"}]) is None


def test_positive() -> None:
    assert [positive(value) for value in ("2.5", "0", "-1", "nan", None, ["1"])] == [2.5, None, None, None, None, None]
