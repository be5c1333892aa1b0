"""DICOM files: place, time, names and values, read back by pydicom; identifiers; what must not be in them."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inr_core.errors import DataError, MissingDependencyError
from inr_gadgets.export.dicom import write_dicom
from inr_gadgets.export.facts import find_facts
from inr_gadgets.export.series import load_sets
from inr_gadgets.image_file import ImageWriter
from stored import FULL_HEADER, rotation, slab, stored_image

pydicom = pytest.importorskip("pydicom")

GROUP = "2026-11-20 12:30:00"
SAID: list[str] = []
TURNED = rotation(35, -20, 110)


def export(path: Path, folder: Path, *, enhanced: bool = False, anonymous: bool = False, **options: Any) -> list[Any]:
    """The files, in the order of their names."""
    sets = load_sets(path, GROUP, announce=print, anonymous=anonymous, **options)
    facts = find_facts(path, GROUP, anonymous=anonymous, announce=lambda _: None)
    written = write_dicom(folder, sets, facts, enhanced=enhanced, announce=SAID.append)
    return [pydicom.dcmread(file) for target in written for file in (sorted(target.glob("*")) or [target])]


@pytest.fixture
def oblique(tmp_path: Path) -> tuple[Path, np.ndarray]:
    path = tmp_path / "out.h5"
    return path, slab(path, directions=TURNED, centre=(-60, 45, -120), header_xml=FULL_HEADER)


def values_of(data: Any, frame: int | None = None) -> np.ndarray:
    """What a viewer shows, before its window."""
    scale = data if frame is None else data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    pixels = data.pixel_array if frame is None else data.pixel_array[frame]
    return pixels * float(scale.get("RescaleSlope", 1)) + float(scale.get("RescaleIntercept", 0))


def first_pixel(place: int) -> np.ndarray:
    """By hand: the centre of the stack, along the slices, and back by 7 columns of 20 mm and 4 rows of 22 mm."""
    return np.array([-60, 45, -120]) + (place - 1.5) * 7.5 * TURNED[2] - 7 * 20 * TURNED[0] - 4 * 22 * TURNED[1]


def test_classic_images(tmp_path: Path, oblique: tuple[Path, np.ndarray]) -> None:
    path, values = oblique
    files = export(path, tmp_path / "d")
    assert len(files) == 3 * 4
    for number, data in enumerate(files):
        frame, place = divmod(number, 4)
        assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
        assert (data.InstanceNumber, data.TemporalPositionIdentifier, data.NumberOfTemporalPositions) == (
            number + 1,
            frame + 1,
            3,
        )
        np.testing.assert_allclose(data.ImagePositionPatient, first_pixel(place), atol=1e-4)
        np.testing.assert_allclose(data.ImageOrientationPatient, TURNED[:2].ravel(), atol=1e-6)
        # Rows are 22 mm apart and columns 20: DICOM's order is that.
        assert data.PixelSpacing == [22, 20]
        assert (data.SliceThickness, data.SpacingBetweenSlices) == (6, 7.5)
        assert float(data.SliceLocation) == pytest.approx(first_pixel(place) @ TURNED[2], abs=1e-4)
        assert (data.AcquisitionTime, data.AcquisitionDate) == (f"100000.{40000 * frame:06d}", "20261119")
        assert float(data.TemporalResolution) == 40
        np.testing.assert_allclose(values_of(data), values[frame, place], atol=0.5)
    assert len({data.SOPInstanceUID for data in files}) == 12
    assert len({data.SeriesInstanceUID for data in files}) == 1


def test_enhanced_image(tmp_path: Path, oblique: tuple[Path, np.ndarray]) -> None:
    path, values = oblique
    (data,) = export(path, tmp_path / "d", enhanced=True)
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert data.NumberOfFrames == 12
    for number, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        frame, place = divmod(number, 4)
        content = groups.FrameContentSequence[0]
        assert list(content.DimensionIndexValues) == [1, place + 1, frame + 1]
        assert content.FrameAcquisitionDateTime == f"20261119100000.{40000 * frame:06d}"
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, first_pixel(place), atol=1e-4)
        orientation = groups.PlaneOrientationSequence[0].ImageOrientationPatient
        np.testing.assert_allclose(orientation, TURNED[:2].ravel(), atol=1e-6)
        assert groups.PixelMeasuresSequence[0].PixelSpacing == [22, 20]
        np.testing.assert_allclose(values_of(data, number), values[frame, place], atol=0.08)
    shared = data.SharedFunctionalGroupsSequence[0]
    assert shared.MREchoSequence[0].EffectiveEchoTime == 1.5
    assert shared.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeMeaning == "Heart"
    pointers = [index.DimensionIndexPointer for index in data.DimensionIndexSequence]
    assert pointers == [0x00209056, 0x00209057, 0x00209128]


@pytest.mark.parametrize("enhanced", [False, True])
def test_names_and_numbers_of_the_scan(tmp_path: Path, oblique: tuple[Path, np.ndarray], enhanced: bool) -> None:
    data = export(oblique[0], tmp_path / "d", enhanced=enhanced)[0]
    assert data.PatientName == "Müller^Käthe"
    assert (data.PatientID, data.PatientBirthDate, data.PatientSex) == ("PID 7", "19700228", "F")
    assert (data.PatientWeight, data.PatientSize, data.PatientPosition) == (61.5, 1.68, "HFS")
    assert (data.StudyInstanceUID, data.StudyID, data.AccessionNumber) == ("1.2.840.99.1", "S1", "4711")
    assert (data.StudyDate, data.StudyTime, data.SeriesDate) == ("20261118", "090507.000000", "20261119")
    assert data.FrameOfReferenceUID == "1.2.840.99.2"
    assert (data.SeriesDescription, data.ProtocolName, data.SeriesNumber) == ("cine_sax INR live", "cine_sax", 1)
    assert (data.Manufacturer, data.ManufacturerModelName, data.DeviceSerialNumber) == ("SIEMENS", "Sola", "4242")
    assert (data.InstitutionName, data.StationName, data.BodyPartExamined) == ("Klinik", "MR1", "HEART")
    assert data.ReferringPhysicianName == "Curie^Marie"
    assert (data.MagneticFieldStrength, data.Modality) == (1.5, "MR")
    assert list(data.ImageType[:2]) == ["DERIVED", "PRIMARY"]
    if not enhanced:
        assert (data.RepetitionTime, data.EchoTime, data.FlipAngle) == (3, 1.5, 50)
        assert (data.ScanningSequence, data.ImagingFrequency, data.EchoNumbers) == ("GR", 63.6, 1)


@pytest.mark.parametrize("enhanced", [False, True])
def test_no_private_element(tmp_path: Path, oblique: tuple[Path, np.ndarray], enhanced: bool) -> None:
    for data in export(oblique[0], tmp_path / "d", enhanced=enhanced):
        assert not [element.tag for element in data.iterall() if element.tag.is_private]


@pytest.mark.parametrize("enhanced", [False, True])
def test_only_the_owner_may_read(tmp_path: Path, oblique: tuple[Path, np.ndarray], enhanced: bool) -> None:
    export(oblique[0], tmp_path / "a" / "d", enhanced=enhanced)
    for path in (tmp_path / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("enhanced", [False, True])
def test_nothing_identifies_an_anonymous_patient(
    tmp_path: Path, oblique: tuple[Path, np.ndarray], enhanced: bool
) -> None:
    files = export(oblique[0], tmp_path / "d", enhanced=enhanced, anonymous=True)
    named = export(oblique[0], tmp_path / "named", enhanced=enhanced)
    for data, other in zip(files, named, strict=True):
        text = repr(data) + repr(data.file_meta)
        for secret in ("ller", "PID 7", "1970", "2026", "Curie", "4711", "4242", "Klinik", "MR1", "sax", "1.2.840.99"):
            assert secret not in text
        assert (data.PatientIdentityRemoved, data.PatientName) == ("YES", "ANONYMOUS^")
        for uid in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            assert data[uid].value != other[uid].value
        assert data.SeriesDescription == "INR live"
    # Times since the beginning are kept.
    if not enhanced:
        assert [files[i].AcquisitionTime for i in (0, 4)] == ["000000.000000", "000000.040000"]
        assert files[0].AcquisitionDate == "19000101"


def test_identifiers_are_those_of_the_images(tmp_path: Path) -> None:
    uids = []
    for name, ticks in (("a", 16), ("b", 16), ("c", 17)):
        slab(tmp_path / f"{name}.h5", frame_ticks=ticks, header_xml=FULL_HEADER)
        uids.append([data.SOPInstanceUID for data in export(tmp_path / f"{name}.h5", tmp_path / name)])
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])
    enhanced = export(tmp_path / "a.h5", tmp_path / "e", enhanced=True)[0]
    assert enhanced.SOPInstanceUID not in uids[0]
    assert all(pydicom.uid.UID(uid).is_valid for uid in [*uids[0], enhanced.SeriesInstanceUID])


def test_without_a_header_nothing_is_invented(tmp_path: Path) -> None:
    slab(tmp_path / "out.h5", frames=1, slices=1)
    (data,) = export(tmp_path / "out.h5", tmp_path / "d")
    assert data.PatientName == "ANONYMOUS^"
    assert data.PatientID.startswith("ANONYMOUS-")
    assert (data.PatientBirthDate, data.PatientSex, data.Manufacturer, data.AccessionNumber) == ("", "", "", "")
    assert (data.StudyDate, data.AcquisitionDate, data.AcquisitionTime) == ("20261120", "20261120", "100000.000000")
    assert "MagneticFieldStrength" not in data
    assert data.RepetitionTime is data.EchoTime is None
    assert data.ScanningSequence == "RM"
    assert data.StudyInstanceUID.startswith("2.25.")
    assert "PatientIdentityRemoved" not in data


@pytest.mark.parametrize("text", ["not a UID", "1." * 40, "1.02.3"])
def test_a_bad_study_uid_is_replaced(tmp_path: Path, text: str) -> None:
    slab(tmp_path / "out.h5", frames=1, header_xml=FULL_HEADER.replace(b"1.2.840.99.1", text.encode()))
    uid = export(tmp_path / "out.h5", tmp_path / "d")[0].StudyInstanceUID
    assert uid.startswith("2.25.") and len(uid) <= 64


def test_long_texts_are_cut(tmp_path: Path) -> None:
    header = FULL_HEADER.replace(b">S1<", b">" + 30 * b"S" + b"<").replace(b"cine_sax", 90 * b"p")
    slab(tmp_path / "out.h5", frames=1, header_xml=header.replace(b">PID 7<", b">" + 90 * b"7" + b"<"))
    data = export(tmp_path / "out.h5", tmp_path / "d")[0]
    assert (data.StudyID, data.PatientID) == (16 * "S", 64 * "7")
    assert len(data.SeriesDescription) == len(data.ProtocolName) == 64


def test_times_since_the_trigger(tmp_path: Path) -> None:
    slab(tmp_path / "out.h5", physiology_time_stamp=(40, 0, 0))
    classic = export(tmp_path / "out.h5", tmp_path / "c")[0]
    assert (classic.TriggerTime, classic.ScanOptions) == (100, "CG")
    enhanced = export(tmp_path / "out.h5", tmp_path / "e", enhanced=True)[0]
    groups = enhanced.PerFrameFunctionalGroupsSequence[0]
    assert groups.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime == 100
    assert enhanced.CardiacSynchronizationTechnique == "REALTIME"


@pytest.mark.parametrize("enhanced", [False, True])
def test_small_magnitudes_are_multiplied_by_one_power_of_ten(tmp_path: Path, enhanced: bool) -> None:
    window = {"WindowCenter": "0.3", "WindowWidth": "0.6"}
    with ImageWriter(tmp_path / "out.h5", GROUP) as writer:
        for series, value in ((1, 0.75), (2, 0.25)):
            writer.append(stored_image(np.full((4, 4), value, np.float32), series=series, meta=window))
        writer.append(stored_image(np.full((4, 4), 7, np.uint16), series=4))
    SAID.clear()
    files = export(tmp_path / "out.h5", tmp_path / "d", enhanced=enhanced)
    assert SAID == ["magnitudes are multiplied by 10000 in DICOM, where viewers expect whole numbers"]
    for data, value in zip(files, (7500, 2500, 7), strict=True):
        shown = values_of(data, 0 if enhanced else None)
        np.testing.assert_allclose(shown[0] if shown.ndim == 3 else shown, value, atol=0.1)
    shown = files[0].SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0] if enhanced else files[0]
    assert (shown.WindowCenter, shown.WindowWidth) == (3000, 6000)


def test_scale_is_of_the_series(tmp_path: Path) -> None:
    values = np.stack([np.full((4, 4), 250_000.25), np.full((4, 4), 750_000.75)]).astype(np.float32)
    with ImageWriter(tmp_path / "out.h5", GROUP) as writer:
        for i, value in enumerate(values):
            writer.append(stored_image(value, repetition=i, acquisition_time_stamp=8 * i))
    files = export(tmp_path / "out.h5", tmp_path / "d")
    assert len({(float(data.RescaleSlope), float(data.WindowWidth)) for data in files}) == 1
    for data, value in zip(files, values, strict=True):
        np.testing.assert_allclose(values_of(data), value, atol=0.51 * 750_001 / 65535)


def test_pixels_that_are_not_finite_are_black(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf], [800, 1]], np.float32)
    with ImageWriter(tmp_path / "out.h5", GROUP) as writer:
        writer.append(stored_image(values))
        writer.append(stored_image(np.full((2, 2), np.nan, np.float32), series=2))
    first, second = export(tmp_path / "out.h5", tmp_path / "d")
    np.testing.assert_array_equal(first.pixel_array, [[0, 0], [800, 1]])
    assert not second.pixel_array.any()


def test_motion_keeps_its_values(tmp_path: Path) -> None:
    flow = np.stack([np.linspace(-0.4, 0.2, 20), np.linspace(0.1, -0.3, 20)]).reshape(2, 1, 4, 5).astype(np.float32)
    with ImageWriter(tmp_path / "out.h5", GROUP) as writer:
        writer.append(stored_image(flow, series=3, image_type=3))
    files = export(tmp_path / "out.h5", tmp_path / "d", series=[3])
    for data, values in zip(files, flow[:, 0], strict=True):
        np.testing.assert_allclose(values_of(data), values, atol=1e-5)
        assert (data.ImageType[3], data.VOILUTFunction) == ("R", "LINEAR_EXACT")


def test_phase_images(tmp_path: Path) -> None:
    angles = np.linspace(-3.1, 3.1, 20).reshape(4, 5)
    with ImageWriter(tmp_path / "out.h5", GROUP) as writer:
        writer.append(stored_image((7 * np.exp(1j * angles)).astype(np.complex64)))
    (data,) = export(tmp_path / "out.h5", tmp_path / "d", phase=True)
    assert list(data.ImageType) == ["DERIVED", "PRIMARY", "PHASE MAP", "P"]
    np.testing.assert_allclose(values_of(data), angles, atol=1e-4)
    (data,) = export(tmp_path / "out.h5", tmp_path / "e", phase=True, enhanced=True)
    assert data.ComplexImageComponent == "PHASE"


@pytest.mark.parametrize("enhanced", [False, True])
def test_nothing_is_overwritten(tmp_path: Path, oblique: tuple[Path, np.ndarray], enhanced: bool) -> None:
    export(oblique[0], tmp_path / "d", enhanced=enhanced)
    with pytest.raises(DataError, match=r"series_1(.dcm)? exists already; expected a new one; choose another folder"):
        export(oblique[0], tmp_path / "d", enhanced=enhanced)


def test_too_many_pixels_for_one_file(
    tmp_path: Path, oblique: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from inr_gadgets.export import dicom_enhanced

    monkeypatch.setattr(dicom_enhanced, "_LARGEST", 3000)
    with pytest.raises(
        DataError, match=r"an enhanced image of 0.0 GiB \(series 1\); expected less than 4 GiB.*classic"
    ):
        export(oblique[0], tmp_path / "d", enhanced=True)


def test_refuses(tmp_path: Path, oblique: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file cannot be written \(.*exists.*; expected a folder that may be written"):
        export(oblique[0], tmp_path / "file")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        MissingDependencyError, match=r"DICOM needs pydicom .*; expected the extra 'dicom'; pip install"
    ):
        export(oblique[0], tmp_path / "d")
