"""The image gadget and the geometry of its images: values, scale, orientation, header fields, attributes."""

from __future__ import annotations

import time
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.frame import Frame
from inr_gadgets.geometry import LIVE_SERIES, MOTION_SERIES, REFINED_SERIES, image_for
from inr_gadgets.image import ImageGadget, ImageParameters
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
    assert list(image.field_of_view) == [300, 200, 8]
    assert (image.image_series_index, image.image_index, image.repetition) == (2, 9, 8)


@pytest.mark.parametrize(
    ("index", "image_index", "repetition"),
    [(0, 1, 0), (65534, 65535, 65534), (65535, 1, 65535), (65536, 2, 0), (200_000, 3396, 3392)],
)
def test_counters_wrap_knowingly(index: int, image_index: int, repetition: int) -> None:
    image = image_for(frame(), np.ones((NY, NX), np.complex64), 1, index)
    assert (image.image_index, image.repetition) == (image_index, repetition)


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


def test_uint16_rounds_clips_and_says_so() -> None:
    finished, lines = finish([complex_image(1.0), complex_image(0.1006, 1), complex_image(9.0, 2)], dtype="uint16")
    assert [int(image.data.max()) for image in finished] == [1000, 101, 4095]
    assert lines == [f"{NX * NY} pixels were brighter than 4095 and were clipped; lower image.level"]


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
