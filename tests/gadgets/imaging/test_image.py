"""The image gadget and the geometry of its images: values, scale, orientation, header fields, attributes."""

from __future__ import annotations

import time
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.clock import DAY_TICKS
from inr_gadgets.frame import Frame
from inr_gadgets.imaging.geometry import LIVE_SERIES, MOTION_SERIES, REFINED_SERIES, Between, ImageNumbers, image_for
from inr_gadgets.imaging.image import ImageGadget, ImageParameters
from inr_gadgets.imaging.physiology import Physiology
from scans import readout

NX, NY = 6, 4


def frame(index: int = 0, spokes: int = 5, **fields: Any) -> Frame:
    """A frame of 6 x 4 pixels whose readouts differ in what an image could take from them."""
    headers = [
        readout(
            i,
            acquisition_time_stamp=1000 + i,
            physiology_time_stamp=(10 * i, 0, 0),
            measurement_uid=77,
            slice=3,
            contrast=1,
            set=2,
            phase=i,
            average=4,
            patient_table_position=(0, 0, -1200),
            **fields,
        ).getHead()
        for i in range(spokes)
    ]
    kspace, traj = np.ones((2, spokes, 8), np.complex64), np.zeros((spokes, 8, 2), np.float32)
    return Frame.from_readouts(kspace, traj, headers, matrix=(NX, NY), fov_mm=(300.0, 200.0, 8.0), index=index)


def complex_image(value: complex | np.ndarray = 1.0, index: int = 0, series: int = LIVE_SERIES, **meta: object) -> Any:
    array = np.broadcast_to(np.asarray(value, np.complex64), (NY, NX))
    return image_for(frame(index), array, series, index, meta)


def finish(images: list[Any], **parameters: Any) -> tuple[list[Any], list[str]]:
    gadget = ImageGadget(None, ImageParameters(**parameters))
    lines: list[str] = []
    gadget.announce = lines.append
    return list(gadget.process(images)), lines


def test_a_marked_quadrant_stays_where_it_is() -> None:
    """x runs along the last axis, in the array, in the image and over the wire."""
    array = np.zeros((NY, NX), np.complex64)
    array[0, NX - 1] = 5j
    image = image_for(frame(), array, 1, 0)
    assert image.matrix_size == (NX, NY, 1)
    assert np.array_equal(image.data, array[None, None])
    finished, _ = finish([image], scale=1.0)
    there = ismrmrd.Image.from_bytes(finished[0].to_bytes())
    assert there.matrix_size == (NX, NY, 1)
    assert np.argwhere(there.data[0, 0]).tolist() == [[0, NX - 1]]


def test_geometry_and_time_are_those_of_the_middle_readout() -> None:
    image = image_for(
        frame(spokes=5, read_dir=(0, 1, 0), phase_dir=(0, 0, 1), slice_dir=(1, 0, 0)), np.ones((4, 6)), 2, 8
    )
    assert image.acquisition_time_stamp == 1002
    assert list(image.physiology_time_stamp) == [20, 0, 0]
    assert list(image.position) == [10, -20, 30]
    assert (list(image.read_dir), list(image.phase_dir), list(image.slice_dir)) == ([0, 1, 0], [0, 0, 1], [1, 0, 0])
    assert (image.slice, image.contrast, image.set, image.phase, image.measurement_uid) == (3, 1, 2, 2, 77)
    assert (image.average, list(image.patient_table_position)) == (4, [0, 0, -1200])
    assert list(image.field_of_view) == [300, 200, 8]
    assert (image.image_series_index, image.repetition) == (2, 8)


@pytest.mark.parametrize(("index", "repetition"), [(0, 0), (65535, 65535), (65536, 0), (200_000, 3392)])
def test_the_frame_counter_wraps_knowingly(index: int, repetition: int) -> None:
    assert image_for(frame(), np.ones((NY, NX), np.complex64), 1, index).repetition == repetition


def test_images_are_numbered_within_their_series() -> None:
    """Whatever slice they are of: two images of one series never share a number."""
    numbers = ImageNumbers()
    first = [image_for(frame(), np.ones((NY, NX)), series, 7) for series in (1, 1, 2, 1)]
    assert [image.image_index for image in numbers.give(first)] == [1, 2, 1, 3]
    (again,) = numbers.give([first[2]])
    assert again.image_index == 2


def test_image_numbers_begin_anew_where_the_header_has_no_more() -> None:
    image = image_for(frame(), np.ones((NY, NX)), 1, 0)
    given = [made.image_index for made in ImageNumbers().give([image] * 65_537)]
    assert given[:2] + given[-3:] == [1, 2, 65535, 1, 2]
    assert len(set(given[:65_535])) == 65_535


def test_a_missing_slice_direction_is_found() -> None:
    tilted = {"read_dir": (0, 1, 0), "phase_dir": (0, 0, 1), "slice_dir": (0, 0, 0)}
    image = image_for(frame(**tilted), np.ones((NY, NX)), 1, 0)
    assert list(image.slice_dir) == [1, 0, 0]


def light(stamps: list[int], physiology: list[int], **settings: Any) -> Frame:
    """A frame without data, of readouts with these stamps."""
    headers = [
        readout(i, acquisition_time_stamp=stamp, physiology_time_stamp=(beat, 0, 0)).getHead()
        for i, (stamp, beat) in enumerate(zip(stamps, physiology, strict=True))
    ]
    n = len(headers)
    kspace, traj = np.ones((2, n, 8), np.complex64), np.zeros((n, 8, 2), np.float32)
    made = Frame.from_readouts(kspace, traj, headers, matrix=(NX, NY), fov_mm=(1, 1, 1), index=0, **settings)
    return made.without_data()


def made_of(frame: Frame, **settings: Any) -> Any:
    return image_for(frame, np.ones((NY, NX)), 1, 0, **settings)


def test_how_long_a_frame_lasted_by_its_stamps() -> None:
    """Five readouts, 8 ticks of 2.5 ms from the first to the last: 25 ms with the last one's own."""
    image = made_of(light([100, 102, 104, 106, 108], [0] * 5))
    assert (image.meta["FrameAcquisitionDuration"], image.meta["TemporalResolution"]) == ("25.000", "25.000")
    assert image.acquisition_time_stamp == 104
    window = made_of(light([100, 102, 104, 106, 108], [0] * 5, stride=2))
    assert (window.meta["FrameAcquisitionDuration"], window.meta["TemporalResolution"]) == ("25.000", "10.000")
    finer = made_of(light([100, 102, 104, 106, 108], [0] * 5), between=Between(0, 4))
    assert finer.meta["TemporalResolution"] == "6.250"


def test_the_repetition_time_is_finer_than_the_stamps_where_they_agree() -> None:
    agreeing, between_slices, standing = (light(stamps, [0] * 3) for stamps in ([0, 1, 2], [0, 12, 24], [7, 7, 7]))
    for one in (agreeing, between_slices, standing):
        one.repetition_ms = 3.0
    assert made_of(agreeing).meta["FrameAcquisitionDuration"] == "9.000"
    assert made_of(between_slices).meta["FrameAcquisitionDuration"] == "90.000"  # two slices' readouts in turn
    assert made_of(standing).meta["FrameAcquisitionDuration"] == "9.000"
    assert "FrameAcquisitionDuration" not in made_of(light([7, 7, 7], [0] * 3)).meta
    stack = light([0, 5, 10], [0] * 3, partitions=4)
    stack.repetition_ms = 3.0
    assert made_of(stack).meta["FrameAcquisitionDuration"] == "36.000"


def test_the_trigger_time_is_that_of_the_middle_readout() -> None:
    assert made_of(light([100, 102, 104], [398, 0, 2])).meta["TriggerTime"] == "0.0"
    assert made_of(light([100, 102, 104], [396, 398, 0])).meta["TriggerTime"] == "995.0"
    assert "TriggerTime" not in made_of(light([100, 102, 104], [0, 0, 0])).meta  # no trigger at all
    assert "TriggerTime" not in made_of(light([100, 102, 104], [10**6] * 3)).meta  # 42 minutes are no heart beat


def test_between_two_frames_stamps_are_interpolated_over_a_beat_and_over_midnight() -> None:
    before, after = light([DAY_TICKS - 20], [390]), light([20], [10])
    image = made_of(before, between=Between(1, 4, after))
    assert (image.acquisition_time_stamp, image.physiology_time_stamp[0]) == (DAY_TICKS - 10, 400)
    image = made_of(before, between=Between(3, 4, after))
    assert (image.acquisition_time_stamp, image.physiology_time_stamp[0]) == (10, 0)
    assert image.meta["TriggerTime"] == "0.0"
    going_back = made_of(after, between=Between(1, 2, before))
    assert (going_back.acquisition_time_stamp, going_back.physiology_time_stamp[0]) == (20, 10)


def test_waveforms_reach_the_image_at_its_own_time() -> None:
    """R waves at tick 40 and 360; frames at 100 and 140, and an image in the middle between them."""
    data = np.zeros((2, 800), np.uint32)
    data[0], data[1, [40, 360]] = np.arange(800), 1
    wave = ismrmrd.Waveform.from_array(data, waveform_id=0, sample_time_us=2500.0)
    frames = light([98, 100, 102], [0] * 3), light([138, 140, 142], [0] * 3)
    physiology = Physiology()
    for one in frames:
        one.physiology = physiology
    assert "inr_ecg" not in made_of(frames[0]).meta
    physiology.add(wave)  # a block may come after the frame
    meta = made_of(frames[0]).meta
    assert (meta["TriggerTime"], meta["inr_rr_ms"], meta["inr_cardiac_phase"]) == ("150.0", "800.0", "0.1875")
    assert meta["inr_ecg"] == ["98", "99", "100", "101", "102", "103"]
    meta = made_of(frames[0], between=Between(1, 2, frames[1])).meta
    assert (meta["TriggerTime"], meta["inr_ecg"][0]) == ("200.0", "118")
    unstamped = light([0, 0, 0], [0] * 3)
    unstamped.physiology = physiology
    assert "inr_trigger_ms" not in made_of(unstamped).meta


@pytest.mark.parametrize("shape", [(NX, NY), (NY, NX, 1), (NY * NX,)])
def test_an_image_of_another_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"an image of shape \(.*\); expected \(\.\.\., y, x\) = \(\.\., 4, 6\)"):
        image_for(frame(), np.ones(shape, np.complex64), 1, 0)


@pytest.mark.parametrize(
    ("dtype", "expected", "kind"),
    [
        ("float32", 10.0, ismrmrd.IMTYPE_MAGNITUDE),
        ("uint16", 10, ismrmrd.IMTYPE_MAGNITUDE),
        ("complex64", 6 + 8j, ismrmrd.IMTYPE_COMPLEX),
    ],
)
def test_data_types(dtype: str, expected: complex, kind: int) -> None:
    finished, _ = finish([complex_image(3 + 4j)], dtype=dtype, scale=2.0)
    assert finished[0].data.dtype == dtype
    assert finished[0].data.shape == (1, 1, NY, NX)
    assert np.allclose(finished[0].data, expected)
    assert finished[0].image_type == kind
    assert ismrmrd.Image.from_bytes(finished[0].to_bytes()).data.dtype == dtype


def test_one_scale_for_the_scan_from_its_first_image() -> None:
    images = [complex_image(0.02), complex_image(0.01, 1), complex_image(0.04, 0, REFINED_SERIES)]
    finished, _ = finish(images)
    assert [image.data.max() for image in finished] == pytest.approx([1000, 500, 2000])
    assert {image.meta["WindowCenter"] for image in finished} == {"500"}
    assert {image.meta["WindowWidth"] for image in finished} == {"1000"}


def test_an_outlier_does_not_set_the_scale() -> None:
    array = np.full((64, 64), 0.1, np.complex64)
    array[3, 3] = 50
    image = ismrmrd.Image.from_array(array, transpose=False)
    finished, _ = finish([image], level=200.0)
    assert np.median(finished[0].data) == pytest.approx(200)


def test_an_empty_first_image_leaves_the_scale_open() -> None:
    finished, _ = finish([complex_image(0.0), complex_image(0.5, 1), complex_image(1.0, 2)])
    assert [image.data.max() for image in finished] == pytest.approx([0, 1000, 2000])


def test_a_scale_of_ones_own_has_a_window_that_fits() -> None:
    finished, _ = finish([complex_image(0.2)], scale=1.0)
    assert finished[0].data.max() == pytest.approx(0.2)
    assert float(finished[0].meta["WindowWidth"]) == pytest.approx(0.2)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_no_two_windows_in_a_scan_that_begins_with_an_empty_image(scale: float) -> None:
    finished, _ = finish([complex_image(0.0), complex_image(300.0, 1), complex_image(150.0, 2)], scale=scale)
    windows = {image.meta["WindowWidth"] for image in finished if "WindowWidth" in image.meta}
    assert windows == {"1000" if scale == 0 else "600"}


def test_uint16_rounds_clips_and_says_so() -> None:
    finished, lines = finish([complex_image(1.0), complex_image(0.1006, 1), complex_image(9.0, 2)], dtype="uint16")
    assert [int(image.data.max()) for image in finished] == [1000, 101, 4095]
    assert lines == [f"{NX * NY} pixels were brighter than 4095 and were clipped; lower image.level"]


def test_an_image_of_rounding_is_empty_and_one_that_overflows_is_broken() -> None:
    images, lines = finish([complex_image(1e-40), complex_image(2.0), complex_image(1e38)])
    assert [float(image.data.max()) for image in images] == [pytest.approx(1e-40, rel=0.01), pytest.approx(1000), 0.0]
    assert lines == [f"WRN: {NX * NY} pixels were NaN or infinite and were set to zero"]


def test_broken_pixels_become_zero_and_are_counted() -> None:
    array = np.ones((NY, NX), np.complex64)
    array[1, 2], array[0, 0] = np.nan, np.inf
    finished, lines = finish([complex_image(array)])
    assert np.isfinite(finished[0].data).all()
    assert finished[0].data[0, 0, 1, 2] == 0
    assert lines == ["WRN: 2 pixels were NaN or infinite and were set to zero"]


def test_a_motion_field_keeps_its_values() -> None:
    field = np.stack([np.full((1, NY, NX), v, np.float32) for v in (-1.5, 2.0)])
    motion = image_for(frame(), field, MOTION_SERIES, 0)
    finished, _ = finish([complex_image(), motion], dtype="uint16")
    assert np.array_equal(finished[1].data, field)
    assert "WindowWidth" not in finished[1].meta


def test_a_change_within_a_series_is_refused() -> None:
    other = ismrmrd.Image.from_array(np.ones((5, 6), np.complex64), transpose=False, image_series_index=1)
    with pytest.raises(
        DataError, match=r"\(1, 1, 5, 6\) float32 in series 1; expected \(1, 1, 4, 6\) float32 as before"
    ):
        finish([complex_image(), other])
    finish([complex_image(), ismrmrd.Image.from_array(np.ones((5, 6), np.complex64), transpose=False)])


def test_attributes() -> None:
    finished, _ = finish([complex_image(inr_frame=4, ImageComments="mine"), complex_image(series=REFINED_SERIES)])
    meta = finished[0].meta
    assert (meta["DataRole"], meta["ImageProcessingHistory"], meta["Keep_image_geometry"]) == ("Image", "INR", 1)
    assert [float(v) for v in meta["ImageRowDir"]] == [1, 0, 0]
    assert [float(v) for v in meta["ImageColumnDir"]] == [0, 1, 0]
    assert (meta["inr_frame"], meta["ImageComments"]) == (4, "mine")
    assert meta["SequenceDescriptionAdditional"] == "INR_live"
    assert finished[1].meta["SequenceDescriptionAdditional"] == "INR_refined"
    assert ismrmrd.Image.from_bytes(finished[0].to_bytes()).meta["inr_frame"] == "4"


@pytest.mark.parametrize(
    ("method", "history", "label"),
    [("inr", "INR", "INR live"), ("nufft", "NUFFT", "NUFFT live"), ("cg_sense", "CG_SENSE", "CG_SENSE live")],
)
def test_an_image_is_named_after_the_method_that_made_it(method: str, history: str, label: str) -> None:
    finished, _ = finish([complex_image(inr_method=method)])
    meta = finished[0].meta
    assert (meta["ImageProcessingHistory"], meta["ImageComments"]) == (history, label)
    assert meta["SequenceDescriptionAdditional"] == label.replace(" ", "_")


def test_latency_replaces_arrival_in_the_live_series() -> None:
    arrived = time.monotonic() - 0.25
    images = [complex_image(inr_arrived=arrived), complex_image(series=REFINED_SERIES, inr_arrived=arrived)]
    finished, _ = finish(images)
    assert 250 <= float(finished[0].meta["inr_latency_ms"]) < 60_000
    assert "inr_latency_ms" not in finished[1].meta
    assert all("inr_arrived" not in image.meta for image in finished)


def test_other_items_pass_and_images_are_not_held_back() -> None:
    def source() -> Any:
        yield complex_image()
        raise ConnectionError("nothing may be taken before the first image has left")

    gadget = ImageGadget(None)
    assert isinstance(next(gadget.process(source())), ismrmrd.Image)
    assert list(gadget.process(["text"])) == ["text"]
