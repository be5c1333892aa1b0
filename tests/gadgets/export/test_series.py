"""Series of a file as image sets: what is left out, told apart, put in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError, ParameterError
from inr_gadgets.export.facts import find_facts
from inr_gadgets.export.series import ImageSet, load_sets, newest_group
from inr_gadgets.image_file import ImageWriter
from stored import FULL_HEADER, slab, stored_image


def load(path: Path, *series: int, said: list[str] | None = None, **options: Any) -> list[ImageSet]:
    lines = [] if said is None else said
    return load_sets(path, newest_group(path), series or None, announce=lines.append, **options)


def write(path: Path, *images: ismrmrd.Image, group: str = "run") -> Path:
    with ImageWriter(path, group) as writer:
        for image in images:
            writer.append(image)
    return path


def test_a_stack_in_order_of_time_and_place(tmp_path: Path) -> None:
    values = slab(tmp_path / "out.h5", frames=2, slices=3)
    (found,) = load(tmp_path / "out.h5")
    assert (found.number, found.label, found.component, found.contrast) == (1, "INR live", "M", 0)
    assert (found.n_frames, found.n_stacks, found.frame_ms) == (2, 1, 40)
    assert [(image.frame, image.position) for image in found.images] == [(t, z) for t in (0, 1) for z in (0, 1, 2)]
    np.testing.assert_array_equal([image.pixels for image in found.images], values.reshape(6, 9, 14))
    assert [image.time_ms for image in found.images] == [36_000_000.0] * 3 + [36_000_040.0] * 3
    assert found.images[0].grid.location_mm == pytest.approx(22.5)


def test_volumes_have_planes(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 1, 3, 4, 5)
    images = [
        stored_image(v, fov=(50, 40, 9), repetition=i, acquisition_time_stamp=8 * i) for i, v in enumerate(values)
    ]
    (found,) = load(write(tmp_path / "out.h5", *images))
    assert [(image.frame, image.position) for image in found.images] == [(t, z) for t in (0, 1) for z in (0, 1, 2)]
    np.testing.assert_array_equal([image.pixels for image in found.images], values.reshape(6, 4, 5))
    assert [image.grid.location_mm for image in found.images[:3]] == [27, 30, 33]


def test_contrasts_are_sets_of_their_own(tmp_path: Path) -> None:
    images = [stored_image(np.full((4, 4), echo, np.float32), series=5, contrast=echo) for echo in (1, 0)]
    found = load(write(tmp_path / "out.h5", *images))
    assert [(one.number, one.label, one.contrast) for one in found] == [
        (501, "series 5 contrast 0", 0),
        (502, "series 5 contrast 1", 1),
    ]
    assert [one.images[0].pixels[0, 0] for one in found] == [0, 1]


def test_complex_images(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", stored_image(np.full((4, 4), 3 - 4j, np.complex64)))
    (magnitude,), (phase,) = load(path), load(path, phase=True)
    assert (magnitude.component, phase.component, phase.label) == ("M", "P", "series 1 phase")
    np.testing.assert_allclose(magnitude.images[0].pixels, 5)
    np.testing.assert_allclose(phase.images[0].pixels, np.arctan2(-4, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "letter"),
    [(ismrmrd.IMTYPE_PHASE, "P"), (ismrmrd.IMTYPE_REAL, "R"), (ismrmrd.IMTYPE_IMAG, "I"), (0, "M")],
)
def test_component_of_real_images(tmp_path: Path, kind: int, letter: str) -> None:
    (found,) = load(write(tmp_path / "out.h5", stored_image(np.zeros((4, 4), np.float32), image_type=kind)))
    assert found.component == letter


def test_motion_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    flow = np.stack([np.full((1, 4, 4), 0.5), np.full((1, 4, 4), -2)]).astype(np.float32)
    meta = {"inr_method": "flow_inr", "ImageComments": "FLOW_INR motion"}
    images = [stored_image(np.ones((4, 4), np.float32)), stored_image(flow, series=3, meta=meta)]
    path, said = write(tmp_path / "out.h5", *images), list[str]()
    assert [one.number for one in load(path, said=said)] == [1]
    assert said == [f"series 3 of {path} (motion) is left out: ask by --series"]
    found = load(path, 3)
    assert [(one.number, one.label, one.component) for one in found] == [
        (301, "FLOW_INR motion x", "R"),
        (302, "FLOW_INR motion y", "R"),
    ]
    assert [one.images[0].pixels[0, 0] for one in found] == [0.5, -2]


def test_coils_and_colours_are_refused(tmp_path: Path) -> None:
    images = [stored_image(np.zeros((4, 4), np.float32)), stored_image(np.zeros((3, 1, 4, 4), np.uint16), series=2)]
    path, said = write(tmp_path / "out.h5", *images), list[str]()
    assert len(load(path, said=said)) == 1
    assert said == [f"series 2 of {path} (3 channels) is left out: ask by --series"]
    with pytest.raises(
        DataError, match=r"series 2 of .* has images of 3 channels; expected one, or the two of a motion"
    ):
        load(path, 2)


def test_anonymous_labels_are_ours_or_numbers(tmp_path: Path) -> None:
    theirs = stored_image(np.zeros((4, 4), np.float32), meta={"GADGETRON_SeqDescription": "Mr_Smith"}, series=2)
    ours = stored_image(np.zeros((4, 4), np.float32), meta={"ImageComments": "INR live", "inr_method": "inr"})
    path = write(tmp_path / "out.h5", theirs, ours)
    assert [one.label for one in load(path)] == ["INR live", "Mr_Smith"]
    assert [one.label for one in load(path, anonymous=True)] == ["INR live", "series 2"]


def test_what_has_to_be_assumed_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", stored_image(np.zeros((4, 4), np.float32), directions=np.zeros((3, 3))))
    said: list[str] = []
    load(path, said=said)
    assert said == [f"WRN: series 1 of {path} does not say how its images lie: taken as axial"]


def test_trigger_and_duration(tmp_path: Path) -> None:
    meta = {"TriggerTime": "312.5", "FrameAcquisitionDuration": "39.0"}
    (found,) = load(write(tmp_path / "out.h5", stored_image(np.zeros((4, 4), np.float32), meta=meta)))
    assert (found.images[0].trigger_ms, found.images[0].duration_ms) == (312.5, 39)


def test_groups(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    for group in ("2026-01-02 10:00:00", "2026-01-01 10:00:00"):
        write(path, stored_image(np.zeros((4, 4), np.float32)), group=group)
    assert newest_group(path) == "2026-01-02 10:00:00"
    assert newest_group(path, "2026-01-01 10:00:00") == "2026-01-01 10:00:00"
    with pytest.raises(DataError, match=r"has no group 'x'; expected one of: 2026-01-01 10:00:00, 2026"):
        newest_group(path, "x")
    ImageWriter(tmp_path / "empty.h5", "g").close()
    with pytest.raises(DataError, match=r"empty.h5 holds no images; expected the output of a reconstruction"):
        newest_group(tmp_path / "empty.h5")


def test_refuses(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", stored_image(np.zeros((2, 1, 4, 4), np.float32), series=3))
    with pytest.raises(DataError, match=r"/run holds no pictures; expected a series of one channel"):
        load(path)
    with pytest.raises(ParameterError, match=r"a frame of 0 ms; expected more than 0 ms"):
        load(path, frame_time_ms=0)
    real = write(tmp_path / "real.h5", stored_image(np.zeros((4, 4), np.float32)))
    with pytest.raises(ParameterError, match=r"the phase of .* which is float32; expected complex images; reconstruct"):
        load(real, phase=True)
    still = [stored_image(np.zeros((4, 4), np.float32), repetition=i) for i in range(2)]
    path = write(tmp_path / "still.h5", *still)
    with pytest.raises(DataError, match=r"time stamps of series 1 of .* do not grow"):
        load(path)
    assert load(path, frame_time_ms=30)[0].frame_ms == 30


def gadgetrons(phase: int, slice_number: int, value: int) -> ismrmrd.Image:
    """As Gadgetron sends a gated cine: whole numbers, counted by phase, with attributes of its own."""
    meta = {
        "GADGETRON_DataRole": "Image",
        "GADGETRON_SeqDescription": ["_GT", "RETRO"],
        "GADGETRON_WindowCenter": "900",
        "GADGETRON_WindowWidth": "1800",
    }
    return stored_image(
        np.full((4, 5), value, np.uint16),
        series=0,
        meta=meta,
        position=(0, 0, 10 * slice_number),
        slice=slice_number,
        phase=phase,
        image_index=phase + 1,
        acquisition_time_stamp=1000,
        physiology_time_stamp=(12 * phase, 0, 0),
        image_type=ismrmrd.IMTYPE_MAGNITUDE,
    )


def test_images_of_gadgetron(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", stored_image(np.zeros((4, 4), np.float32)), group="2026-01-01 09:00:00")
    cine = [gadgetrons(phase, z, 10 * phase + z) for z in (1, 0) for phase in (2, 0, 1)]
    write(path, *cine, group="2026-01-01 10:00:00")
    (found,) = load(path)
    assert (found.number, found.label, found.window) == (0, "GT_RETRO", (900, 1800))
    assert (found.n_frames, found.n_stacks, found.frame_ms) == (3, 1, 30)
    assert [image.pixels[0, 0] for image in found.images] == [0, 1, 10, 11, 20, 21]
    assert [image.trigger_ms for image in found.images] == [None, None, 30, 30, 60, 60]


def test_a_file_of_ismrmrd_datasets(tmp_path: Path) -> None:
    """As python-ismrmrd-server's client writes it, through the library: images one by one, then the header."""
    path = tmp_path / "out.h5"
    with ismrmrd.Dataset(str(path), "dataset") as dataset:
        for index in (2, 1):
            image = stored_image(np.full((4, 5), index, np.int16), series=0, image_index=index)
            image.image_index, image.acquisition_time_stamp = index, 40 * index
            dataset.append_image("image_0", image)
        dataset.write_xml_header(FULL_HEADER)
    (found,) = load(path)
    assert [image.pixels[0, 0] for image in found.images] == [1, 2]
    assert found.frame_ms == 100
    assert find_facts(path, "dataset", announce=print).patient_id == "PID 7"
