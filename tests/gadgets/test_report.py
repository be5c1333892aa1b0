"""The report: from meta attributes alone, gaps found, numbers checked."""

from __future__ import annotations

import json

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.report import Report, report_of


def image(series: int, meta: dict[str, object], slice_: int = 0) -> ismrmrd.Image:
    made = ismrmrd.Image.from_array(np.zeros((4, 4), np.float32), transpose=False)
    made.image_series_index, made.slice = series, slice_
    made.attribute_string = ismrmrd.Meta(meta).serialize()
    return made


def live(frame: int, latency: float = 10.0, **more: object) -> dict[str, object]:
    return {"inr_frame": frame, "inr_latency_ms": latency, "inr_steps": 3, **more}


def test_numbers_of_a_scan() -> None:
    images = [image(1, live(i, 10.0 * (i + 1), inr_device="cpu", inr_peak_memory_mib=100 + i)) for i in range(5)]
    images += [
        image(2, {"inr_frame": i, "inr_refine_s": 2.5 + i, "inr_steps": 40, "inr_device": "cpu"}) for i in range(5)
    ]
    report = report_of(images).as_dict()
    scan = report["scan"]
    assert [row["latency_ms"] for row in report["frames"]] == [10, 20, 30, 40, 50]
    assert scan["latency_ms"] == {"median": 30, "p95": 48, "max": 50}
    assert (scan["live_frames"], scan["refined_frames"], scan["dropped_frames"]) == (5, 5, 0)
    assert scan["refine_s"] == 6.5
    assert scan["peak_memory_mib"] == 104
    assert (scan["live_steps"], scan["refine_steps"]) == (15, 40)
    assert scan["device"] == "cpu"
    assert scan["versions"] is None


def test_gaps_are_dropped_frames() -> None:
    report = report_of([image(1, live(i)) for i in (0, 1, 4)]).as_dict()["scan"]
    assert report["dropped_frames"] == 2
    assert [row["frame"] for row in report["dropped"]] == [2, 3]


def test_a_last_frame_that_only_the_refined_series_has_was_dropped() -> None:
    images = [image(1, live(i)) for i in range(3)] + [image(2, {"inr_frame": i}) for i in range(4)]
    assert [row["frame"] for row in report_of(images).as_dict()["scan"]["dropped"]] == [3]


def test_frames_are_numbered_within_a_slice() -> None:
    images = [image(1, live(i), slice_=s) for i in range(3) for s in range(2)] + [image(1, live(4), slice_=1)]
    (dropped,) = report_of(images).as_dict()["scan"]["dropped"]
    assert dropped == {"frame": 3, "slice": 1, "set": 0, "contrast": 0, "group": 0}


def test_averages_and_partitions_are_groups_of_their_own() -> None:
    images = [image(1, live(frame, inr_group=group)) for group, frame in ((0, 0), (0, 1), (1, 1))]
    report = report_of(images).as_dict()
    assert [(row["group"], row["frame"]) for row in report["frames"]] == [(0, 0), (0, 1), (1, 1)]
    assert [(row["group"], row["frame"]) for row in report["scan"]["dropped"]] == [(1, 0)]


def test_a_method_without_live_series_drops_nothing() -> None:
    scan = report_of([image(2, {"inr_frame": i}) for i in range(3)]).as_dict()["scan"]
    assert (scan["live_frames"], scan["dropped_frames"]) == (0, 0)
    assert scan["latency_ms"] == {"median": None, "p95": None, "max": None}


def test_images_of_another_program_are_counted() -> None:
    report = report_of([image(7, {})])
    assert report.as_dict()["scan"]["other_images"] == 1
    assert report.sentence() == "0 live frames, 1 other images"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("soon", "image attribute inr_latency_ms = 'soon'; expected a number; these images are not ours"),
        (["1", "2"], "image attribute inr_latency_ms = '1, 2'; expected a number; these images are not ours"),
        ("nan", "image attribute inr_latency_ms = nan; expected a finite number; these images are not ours"),
    ],
)
def test_bad_attributes(value: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Report().add_meta(1, {"inr_frame": "0", "inr_latency_ms": value})
    assert str(caught.value) == message


def test_written_as_json(tmp_path) -> None:
    report = report_of([image(1, live(0, inr_versions="inr-recon 0.1.0"))])
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report.as_dict()


def test_sentence() -> None:
    report = report_of([image(1, live(0)), image(1, live(2)), image(2, {"inr_frame": 2, "inr_refine_s": 1.26})])
    assert report.sentence() == (
        "2 live frames, 1 refined; latency 10 ms median, 10 ms p95; refined 1.3 s after the last readout; "
        "1 frames dropped"
    )
