"""The images' attributes, read as Gadgetron and FIRE read them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_gadgets.header import parse_header
from inr_gadgets.imaging.attributes import geometry_attributes, scan_attributes
from inr_gadgets.imaging.geometry import LIVE_SERIES, MOTION_SERIES, REFINED_SERIES
from inr_gadgets.imaging.image import ImageGadget, ImageParameters
from scans import header_xml

NX, NY = 5, 3
MEASUREMENT = (
    "<measurementInformation><measurementID>17_4</measurementID><patientPosition>HFS</patientPosition>"
    "<protocolName>cine &amp; more</protocolName></measurementInformation>"
)


def image(series: int = LIVE_SERIES, value: float = 0.5, **fields: Any) -> ismrmrd.Image:
    made = ismrmrd.Image.from_array(np.full((NY, NX), value + 0j, np.complex64), transpose=False)
    made.image_series_index, made.image_index = series, 12
    made.position[:], made.read_dir[:], made.phase_dir[:] = (10, -20.5, 30), (0, 1, 0), (0, 0, 1)
    made.slice_dir[:], made.field_of_view[:] = (1, 0, 0), (250, 150, 8)
    made.patient_table_position[:] = (0, 0, -1200)
    made.acquisition_time_stamp, made.physiology_time_stamp[:] = 1_000_000, (5, 0, 0)
    made.image_type = ismrmrd.IMTYPE_COMPLEX
    for name, field in fields.items():
        getattr(made, name)[:] = field
    return made


def finished(*images: ismrmrd.Image, header: Any = None, **settings: Any) -> tuple[list[ismrmrd.Image], list[str]]:
    gadget, lines = ImageGadget(header, ImageParameters(**settings)), list[str]()
    gadget.announce = lines.append  # type: ignore[method-assign]
    return [ismrmrd.Image.from_bytes(one.to_bytes()) for one in gadget.process(images)], lines


def gadgetrons_view(image: ismrmrd.Image) -> dict[str, list[str]]:
    """As Gadgetron's MetaContainer reads them: each entry has a name and one value or more, and all are text."""
    root = ET.fromstring(image.attribute_string)
    assert root.tag == "ismrmrdMeta"
    found: dict[str, list[str]] = {}
    for entry in root:
        assert entry.tag == "meta"
        (name,), values = entry.findall("name"), entry.findall("value")
        assert name.text
        assert values
        found.setdefault(name.text, []).extend(value.text or "" for value in values)
    return found


def as_long(text: str) -> int:
    """What sscanf's %ld makes of it."""
    number = re.match(r"\s*([+-]?\d+)", text)
    assert number is not None
    return int(number[1])


def test_what_gadgetrons_dicom_writer_reads() -> None:
    header = parse_header(header_xml().replace("<acquisitionSystem", MEASUREMENT + "<acquisitionSystem", 1))
    meta = gadgetrons_view(finished(image(), header=header)[0][0])
    assert meta["GADGETRON_DataRole"] == ["Image"]
    assert as_long(meta["GADGETRON_ImageNumber"][0]) == 12
    assert meta["GADGETRON_ImageComment"] == ["INR live"]
    assert meta["GADGETRON_SeqDescription"] == ["_INR_live"]
    assert meta["GADGETRON_ImageProcessingHistory"] == ["INR"]
    assert [as_long(meta[f"GADGETRON_Window{name}"][0]) for name in ("Center", "Width")] == [500, 1000]
    assert float(meta["GADGETRON_ScaleRatio"][0]) == pytest.approx(2000)
    assert meta["protocolName"] == ["cine & more"]
    assert (meta["measurementID"], meta["patient_position"]) == (["17_4"], ["HFS"])


def test_the_header_is_copied_as_gadgetrons_own_reconstructions_do() -> None:
    meta = gadgetrons_view(finished(image())[0][0])
    expected = {
        "PatientPosition": [10, -20.5, 30],
        "read_dir": [0, 1, 0],
        "phase_dir": [0, 0, 1],
        "slice_dir": [1, 0, 0],
        "patient_table_position": [0, 0, -1200],
        "recon_FOV": [250, 150, 8],
        "recon_matrix": [NX, NY, 1],
        "physiology_time_stamp": [5, 0, 0],
        "acquisition_time_stamp": [1_000_000],
    }
    for name, values in expected.items():
        assert [float(value) for value in meta[name]] == values


def test_what_fire_reads() -> None:
    meta = finished(image())[0][0].meta
    assert meta["Keep_image_geometry"] == "1"
    for name, vector in {
        "ImageRowDir": [0, 1, 0],
        "ImageColumnDir": [0, 0, 1],
        "ImageSliceNormDir": [1, 0, 0],
        "SlicePosLightMarker": [10, -20.5, 30],
    }.items():
        assert [float(value) for value in meta[name]] == vector
        assert all(re.fullmatch(r"-?\d+\.\d{18}", value) for value in meta[name])
    assert (meta["DataRole"], meta["ImageProcessingHistory"]) == ("Image", "INR")
    assert meta["SequenceDescriptionAdditional"] == meta["SeriesDescriptionAdditional"] == "INR_live"
    assert (meta["WindowCenter"], meta["WindowWidth"]) == ("500", "1000")


def test_a_quantity_is_not_to_be_normalised() -> None:
    motion = image(MOTION_SERIES)
    motion = ismrmrd.Image(head=motion.getHead(), data=np.ones((2, 1, NY, NX), np.float32))
    motion.image_type = ismrmrd.IMTYPE_REAL
    magnitude = ismrmrd.Image(head=image().getHead(), data=np.ones((1, 1, NY, NX), np.float32))
    magnitude.image_type, magnitude.image_series_index = ismrmrd.IMTYPE_MAGNITUDE, 9
    images, _ = finished(motion, magnitude)
    assert [one.meta["DataRole"] for one in images] == ["Quantitative", "Image"]
    assert all("WindowWidth" not in one.meta for one in images)


def test_one_window_and_scale_for_all_series() -> None:
    images, _ = finished(image(value=0.5), image(REFINED_SERIES, 0.7), image(value=0.1), dtype="int16")
    names = ("WindowCenter", "WindowWidth", "GADGETRON_WindowCenter", "GADGETRON_WindowWidth", "GADGETRON_ScaleRatio")
    assert len({tuple(one.meta[name] for name in names) for one in images}) == 1
    assert [int(one.data.max()) for one in images] == [1000, 1400, 200]
    assert {one.data.dtype for one in images} == {np.dtype("int16")}


@pytest.mark.parametrize(("contrast", "expected"), [(0, "1.5"), (1, None), (2, "4.25"), (3, None)])
def test_the_echo_time_is_that_of_the_contrast(contrast: int, expected: str | None) -> None:
    # An echo time that is no number stays a text in ismrmrd's parser.
    times = "<TE>1.5</TE><TE>soon</TE><TE>4.25</TE>"
    header = parse_header(header_xml().replace("</TR>", "</TR>" + times))
    found = scan_attributes(header, contrast)
    assert (found.get("EchoTime"), found.get("GADGETRON_TE")) == (expected, expected)


def test_nothing_is_to_be_kept_where_there_are_no_directions() -> None:
    lost = image(read_dir=(0, 0, 0))
    assert geometry_attributes(lost) == {}
    images, lines = finished(lost, image(REFINED_SERIES, read_dir=(0, 0, 0)))
    assert "Keep_image_geometry" not in images[0].meta
    assert lines == ["WRN: the images' directions: read_dir or phase_dir is missing: where the images lie is not known"]


def test_left_handed_directions_are_kept_and_told_once() -> None:
    images, lines = finished(*(image(slice_dir=(-1, 0, 0)) for _ in range(3)))
    assert all(list(one.slice_dir) == [-1, 0, 0] for one in images)
    assert lines == ["the images' directions are left-handed (slice_dir opposite to read_dir x phase_dir): kept"]


def test_lines_about_directions_are_few() -> None:
    _, lines = finished(*(image(read_dir=(0, 1 + 0.1 * i, 0)) for i in range(1, 30)))
    assert len(lines) == 8
    assert lines[0] == "WRN: the images' directions: read_dir has the length 1.1, not 1"
