"""Whose images they are: what the MRD header says of patient, study, scanner and sequence."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inr_gadgets.header import parse_header
from inr_gadgets.image_file import list_series, read_header_xml, read_series
from inr_gadgets.scan_file import ScanFile

_GROUP_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_NO_TIME = dt.datetime(1900, 1, 1)


@dataclass(frozen=True)
class ScanFacts:
    """What is known of a scan beside its images; empty texts and None are unknown.

    Attributes
    ----------
    made
        When the images were made.
    begun
        Date (at midnight) that the images' time stamps count from; the study's, or else of ``made``.
    study_time
        Of the study; None if unknown.
    tr_ms, te_ms, flip_deg
        As lists, one for each contrast or only one.
    field_t, frequency_mhz, weight_kg, height_m
        None if unknown.
    identity
        What distinguishes the scan from every other, for the identifiers that are made here.
    anonymous
        Whether what identifies was removed.
    """

    made: dt.datetime = _NO_TIME
    begun: dt.datetime = _NO_TIME
    identity: str = ""
    anonymous: bool = False
    patient_name: str = ""
    patient_id: str = ""
    birth_date: dt.date | None = None
    sex: str = ""
    weight_kg: float | None = None
    height_m: float | None = None
    study_time: dt.datetime | None = None
    study_id: str = ""
    study_uid: str = ""
    study_description: str = ""
    accession: str = ""
    physician: str = ""
    body_part: str = ""
    frame_of_reference_uid: str = ""
    patient_position: str = ""
    protocol: str = ""
    series_description: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    institution: str = ""
    station: str = ""
    field_t: float | None = None
    frequency_mhz: float | None = None
    sequence: str = ""
    tr_ms: list[float] = field(default_factory=list)
    te_ms: list[float] = field(default_factory=list)
    flip_deg: list[float] = field(default_factory=list)

    def without_identity(self) -> ScanFacts:
        """What may be shown to anybody: the scanner's type and the sequence's numbers; all dates are 1 January 1900."""
        return ScanFacts(
            identity=self.identity,
            anonymous=True,
            study_uid=self.study_uid,
            frame_of_reference_uid=self.frame_of_reference_uid,
            body_part=self.body_part,
            patient_position=self.patient_position,
            manufacturer=self.manufacturer,
            model=self.model,
            field_t=self.field_t,
            frequency_mhz=self.frequency_mhz,
            sequence=self.sequence,
            tr_ms=self.tr_ms,
            te_ms=self.te_ms,
            flip_deg=self.flip_deg,
        )

    def of_contrast(self, values: list[float], contrast: int) -> float | None:
        """The number of a contrast: of the list's only one, if it has one."""
        return values[min(contrast, len(values) - 1)] if values else None


def find_facts(
    images: str | os.PathLike[str],
    group: str,
    scan: str | os.PathLike[str] | None = None,
    *,
    anonymous: bool = False,
    announce: Callable[[str], None],
) -> ScanFacts:
    """What is known of the scan that the images were made of.

    It is in the header of the scan that is named, or else in the one stored beside the images. Without either the
    patient has no name, and dates are those of the images' file.

    Parameters
    ----------
    images, group
        The image file and its group.
    scan
        The .h5 of the scan.
    anonymous
        Leave out what identifies.
    announce
        Takes a line for the operator if nothing is known.

    Raises
    ------
    DataError
        If there is no such scan, or a header is malformed.
    """
    made = _made(Path(images), group)
    if scan is not None:
        with ScanFile(scan) as opened:
            xml: bytes | None = opened.header_xml
    else:
        xml = read_header_xml(images, group)
    if xml is None:
        if not anonymous:
            announce(f"{images} does not say whose images they are: no name, dates of the file; see --scan SCAN.h5")
        facts = ScanFacts(made=made, begun=_midnight(made), identity=_digest(images, group))
    else:
        header = parse_header(xml)
        # A header without a number of the measurement may be that of any scan with this protocol.
        numbered = bool(_text(_get(header.measurementInformation, "measurementID")))
        text = xml.decode(errors="replace")
        facts = facts_of(header, made, text if numbered else text + _digest(images, group))
    return facts.without_identity() if anonymous else facts


def facts_of(header: Any, made: dt.datetime, identity: str) -> ScanFacts:
    """What a parsed MRD header says."""
    patient, study = header.subjectInformation, header.studyInformation
    measurement, system = header.measurementInformation, header.acquisitionSystemInformation
    sequence, conditions = header.sequenceParameters, header.experimentalConditions
    study_date = _date(_get(study, "studyDate")) or _date(_get(measurement, "seriesDate"))
    clock = _time(_get(study, "studyTime"))
    series_date = _date(_get(measurement, "seriesDate")) or study_date
    frequency = _number(_get(conditions, "H1resonanceFrequency_Hz"))
    return ScanFacts(
        made=made,
        begun=dt.datetime.combine(series_date, dt.time()) if series_date else _midnight(made),
        identity=identity,
        patient_name=_text(_get(patient, "patientName")),
        patient_id=_text(_get(patient, "patientID")),
        birth_date=_date(_get(patient, "patientBirthdate")),
        sex=_text(_get(patient, "patientGender")).upper()[:1],
        weight_kg=_number(_get(patient, "patientWeight_kg")),
        height_m=_number(_get(patient, "patientHeight_m")),
        study_time=dt.datetime.combine(study_date, clock or dt.time()) if study_date else None,
        study_id=_text(_get(study, "studyID")),
        study_uid=_text(_get(study, "studyInstanceUID")),
        study_description=_text(_get(study, "studyDescription")),
        accession=_text(_get(study, "accessionNumber")),
        physician=_text(_get(study, "referringPhysicianName")),
        body_part=_text(_get(study, "bodyPartExamined")).upper(),
        frame_of_reference_uid=_text(_get(measurement, "frameOfReferenceUID")),
        patient_position=_text(_get(measurement, "patientPosition")).upper(),
        protocol=_text(_get(measurement, "protocolName")),
        series_description=_text(_get(measurement, "seriesDescription")),
        manufacturer=_text(_get(system, "systemVendor")),
        model=_text(_get(system, "systemModel")),
        serial_number=_text(_get(system, "deviceSerialNumber")),
        institution=_text(_get(system, "institutionName")),
        station=_text(_get(system, "stationName")),
        field_t=_number(_get(system, "systemFieldStrength_T")),
        frequency_mhz=None if frequency is None else frequency / 1e6,
        sequence=_text(_get(sequence, "sequence_type")),
        tr_ms=_numbers(_get(sequence, "TR")),
        te_ms=_numbers(_get(sequence, "TE")),
        flip_deg=_numbers(_get(sequence, "flipAngle_deg")),
    )


def _made(path: Path, group: str) -> dt.datetime:
    """When images were made: their group is called after it, or else the file is from then."""
    found = _GROUP_TIME.match(group)
    if found:
        try:
            return dt.datetime.fromisoformat(found.group())
        except ValueError:
            pass
    return dt.datetime.fromtimestamp(int(path.stat().st_mtime))


def _digest(images: str | os.PathLike[str], group: str) -> str:
    """A number of the images' own: of their first series."""
    data, headers, _ = read_series(images, next(iter(list_series(images)[group])), group)
    return hashlib.sha256(b"".join([bytes(header) for header in headers]) + data.tobytes()).hexdigest()


def _midnight(time: dt.datetime) -> dt.datetime:
    return dt.datetime.combine(time.date(), dt.time())


def _get(part: Any, name: str) -> Any:
    return None if part is None else getattr(part, name, None)


def _text(value: Any) -> str:
    value = getattr(value, "value", value)
    # What DICOM's texts must not contain: control characters, and the separator of values.
    return "" if value is None else re.sub(r"[\x00-\x1f\x7f\\]+", " ", str(value)).strip()


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and math.isfinite(value) and value > 0
    return float(value) if good else None


def _numbers(values: Any) -> list[float]:
    return [number for number in map(_number, values or []) if number is not None]


def _date(value: Any) -> dt.date | None:
    """An xsd date; one that the header's parser could not convert stays a text, and is unknown."""
    try:
        return dt.date(value.year, value.month, value.day)
    except (AttributeError, ValueError):
        return None


def _time(value: Any) -> dt.time | None:
    try:
        return dt.time(value.hour, value.minute, value.second)
    except (AttributeError, ValueError):
        return None
