"""What classic and enhanced MR images share in DICOM: patient, study, series, equipment, identifiers."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from inr_gadgets.export.facts import ScanFacts
from inr_gadgets.export.kinds import positive
from inr_gadgets.export.pixels import PixelScale
from inr_gadgets.export.series import ImageSet, PlacedImage

_NAMESPACE = uuid.UUID("5b0a5cf0-3a9c-4c5e-9a55-6c8d6f1b2f4e")
_VALID_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*")
_ANONYMOUS = "ANONYMOUS"
_POSITIONS = ("HFP", "HFS", "HFDR", "HFDL", "FFDR", "FFDL", "FFP", "FFS")


@dataclass(frozen=True)
class Identifiers:
    """UIDs of an image set: the same whenever the same images are exported, and of no other images.

    Attributes
    ----------
    study, frame_of_reference, series
        Those of the scan where its header has them, else made of what identifies the scan.
    """

    study: str
    frame_of_reference: str
    series: str

    @classmethod
    def of(cls, images: ImageSet, facts: ScanFacts, kind: str) -> Identifiers:
        """The identifiers of a set that is written as ``kind`` of file."""
        given = _uid(facts.study_uid, facts.anonymous)
        study = given or made_uid("study", facts.identity, facts.anonymous)
        place = _uid(facts.frame_of_reference_uid, facts.anonymous) or made_uid("frame of reference", study)
        return cls(study, place, made_uid("series", study, kind, images.number, images.label, _digest(images)))

    def instance(self, number: int) -> str:
        """Of the file with that number in the series."""
        return made_uid("instance", self.series, number)


def made_uid(*parts: object) -> str:
    """A UID of a name (PS3.5 B.2: 2.25 and a UUID, here of version 5)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(map(str, parts))).int}"


def common_modules(images: ImageSet, facts: ScanFacts, ids: Identifiers, first: dt.datetime) -> Dataset:
    """Patient, study, series, frame of reference and equipment; ``first`` is when the series begins."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    _patient(data, facts)
    _study(data, facts, ids, first)
    _series(data, images, facts, ids, first)
    data.FrameOfReferenceUID = ids.frame_of_reference
    data.PositionReferenceIndicator = ""
    _equipment(data, images, facts)
    return data


def _patient(data: Dataset, facts: ScanFacts) -> None:
    data.PatientName = facts.patient_name[:64] or f"{_ANONYMOUS}^"
    # Programs take patients of one number, or of none, for one person.
    data.PatientID = facts.patient_id[:64] or f"{_ANONYMOUS}-{hashlib.sha256(facts.identity.encode()).hexdigest()[:12]}"
    data.PatientBirthDate = date(facts.birth_date) if facts.birth_date else ""
    data.PatientSex = facts.sex if facts.sex in ("M", "F", "O") else ""
    if facts.weight_kg is not None:
        data.PatientWeight = number(facts.weight_kg)
    if facts.height_m is not None:
        data.PatientSize = number(facts.height_m)
    if facts.anonymous:
        data.PatientIdentityRemoved = "YES"
        data.DeidentificationMethod = "inr-recon: only the types of scanner and sequence are kept"
        data.LongitudinalTemporalInformationModified = "MODIFIED"


def _study(data: Dataset, facts: ScanFacts, ids: Identifiers, first: dt.datetime) -> None:
    data.StudyInstanceUID = ids.study
    studied = facts.study_time or first
    data.StudyDate, data.StudyTime = ("", "") if facts.anonymous else (date(studied), clock(studied))
    data.ReferringPhysicianName = facts.physician[:64]
    data.StudyID = facts.study_id[:16]
    data.AccessionNumber = facts.accession[:16]
    if facts.study_description:
        data.StudyDescription = facts.study_description[:64]


def _series(data: Dataset, images: ImageSet, facts: ScanFacts, ids: Identifiers, first: dt.datetime) -> None:
    data.Modality = "MR"
    data.SeriesInstanceUID = ids.series
    data.SeriesNumber = images.number
    data.SeriesDate, data.SeriesTime = date(first), clock(first)
    data.SeriesDescription = f"{facts.series_description or facts.protocol} {images.label}".strip()[:64]
    if facts.protocol:
        data.ProtocolName = facts.protocol[:64]
    body_part = re.sub(r"[^A-Z0-9_ ]", "", facts.body_part)[:16].strip()
    if body_part:
        data.BodyPartExamined = body_part
    data.PatientPosition = facts.patient_position if facts.patient_position in _POSITIONS else ""


def _equipment(data: Dataset, images: ImageSet, facts: ScanFacts) -> None:
    data.Manufacturer = facts.manufacturer[:64]
    if facts.institution:
        data.InstitutionName = facts.institution[:64]
    if facts.station:
        data.StationName = facts.station[:16]
    if facts.model:
        data.ManufacturerModelName = facts.model[:64]
    if facts.serial_number:
        data.DeviceSerialNumber = facts.serial_number[:64]
    data.SoftwareVersions = str(images.meta.get("inr_versions", "unknown")).split(",")[0][:64]
    if not facts.anonymous:
        data.InstanceCreationDate, data.InstanceCreationTime = date(facts.made), clock(facts.made)


def image_time(image: PlacedImage, facts: ScanFacts, start_ms: float) -> dt.datetime:
    """When an image's middle readout was acquired; the first of an anonymous scan was at midnight on 1 January 1900."""
    since = image.time_ms - (start_ms if facts.anonymous else 0.0)
    return facts.begun + dt.timedelta(milliseconds=since)


def echo_time(images: ImageSet, facts: ScanFacts) -> float | None:
    """In ms: the header's, or else the images' own; None if unknown."""
    known = facts.of_contrast(facts.te_ms, images.contrast)
    return positive(images.meta.get("EchoTime", images.meta.get("GADGETRON_TE"))) if known is None else known


def number(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return str(format_number_as_ds(float(value) + 0.0))  # + 0.0: not -0


def date(value: dt.date) -> str:
    """``"20261120"``."""
    return f"{value:%Y%m%d}" if value.year >= 1000 else ""


def clock(value: dt.datetime) -> str:
    """``"134501.250000"``."""
    return f"{value:%H%M%S.%f}"


def windowed(data: Dataset, scale: PixelScale) -> None:
    """The window of a series."""
    data.WindowCenter, data.WindowWidth = number(scale.centre), number(scale.width)
    if scale.width < 1:
        data.VOILUTFunction = "LINEAR_EXACT"  # the usual function is that of whole numbers


def _uid(text: str, anonymous: bool) -> str:
    """A UID of the header as it is, or what stands for it; nothing if it is none."""
    if len(text) > 64 or not _VALID_UID.fullmatch(text):
        return ""
    return made_uid("anonymous", text) if anonymous else text


def _digest(images: ImageSet) -> str:
    parts: Any = hashlib.sha256()
    for image in images.images:
        parts.update(repr((image.grid.first.tolist(), image.time_ms, image.frame)).encode())
        parts.update(image.pixels.tobytes())
    return str(parts.hexdigest())
