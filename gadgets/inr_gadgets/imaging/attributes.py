"""The attributes of images (ISMRMRD's MetaContainer): the union of what Gadgetron and FIRE read, and what DICOM needs.

What each of them means is told in docs/images.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inr_gadgets.coordinates import slice_direction


@dataclass(frozen=True)
class Display:
    """How an image's values are to be shown.

    Attributes
    ----------
    window
        Width of the grey window that begins at 0; the same for all images of a scan.
    scale
        Factor by which the values were multiplied.
    """

    window: float
    scale: float

    def attributes(self) -> dict[str, object]:
        """Window and scale, under the names of both."""
        # Viewers expect whole numbers; a scale of one's own may leave so little that they would all be zero.
        digits = 0 if self.window >= 100 else 6
        centre, width = f"{self.window / 2:.{digits}f}", f"{self.window:.{digits}f}"
        return {
            "WindowCenter": centre,
            "WindowWidth": width,
            "GADGETRON_WindowCenter": centre,
            "GADGETRON_WindowWidth": width,
            "GADGETRON_ScaleRatio": f"{self.scale:.9g}",
        }


def geometry_attributes(header: Any) -> dict[str, object]:
    """Where an image lies, as FIRE wants it: directions of the image's axes, its position, and not to turn it.

    Nothing for a header without directions: a host is not told to keep what is not there.
    """
    directions = {
        "ImageRowDir": header.read_dir,
        "ImageColumnDir": header.phase_dir,
        "ImageSliceNormDir": slice_direction(header),
        "SlicePosLightMarker": header.position,
    }
    vectors = [tuple(map(float, vector)) for vector in directions.values()]
    if not (all(math.isfinite(x) for vector in vectors for x in vector) and all(map(any, vectors[:3]))):
        return {}
    return {"Keep_image_geometry": 1, **dict(zip(directions, map(_numbers, vectors), strict=True))}


def header_attributes(header: Any) -> dict[str, object]:
    """Copies of an image's header fields under the names that Gadgetron's own reconstructions give them."""
    return {
        "GADGETRON_ImageNumber": int(header.image_index),
        "PatientPosition": _numbers(header.position),
        "read_dir": _numbers(header.read_dir),
        "phase_dir": _numbers(header.phase_dir),
        "slice_dir": _numbers(header.slice_dir),
        "patient_table_position": _numbers(header.patient_table_position),
        "recon_matrix": [int(size) for size in header.matrix_size],
        "recon_FOV": _numbers(header.field_of_view),
        "acquisition_time_stamp": int(header.acquisition_time_stamp),
        "physiology_time_stamp": [int(stamp) for stamp in header.physiology_time_stamp],
    }


def naming_attributes(method: str, label: str, role: str = "Image") -> dict[str, object]:
    """What the image is and who made it.

    Parameters
    ----------
    method
        That made it, ``INR``.
    label
        Of its series, ``INR live``.
    role
        ``Image``, or ``Quantitative`` for values that a host must not normalise.
    """
    name = label.replace(" ", "_")
    return {
        "DataRole": role,
        "ImageProcessingHistory": method,
        "ImageComments": label,
        "SequenceDescriptionAdditional": name,
        "SeriesDescriptionAdditional": name,
        "GADGETRON_DataRole": role,
        "GADGETRON_ImageProcessingHistory": method,
        "GADGETRON_ImageComment": label,
        # Gadgetron's are appended to the protocol's name as they are.
        "GADGETRON_SeqDescription": f"_{name}",
    }


def scan_attributes(scan: Any, contrast: int) -> dict[str, object]:
    """What the scan's header says of all its images: echo time, names of protocol and measurement.

    Parameters
    ----------
    scan : ismrmrd.xsd.ismrmrdHeader or None
    contrast
        Number of the echo.
    """
    found: dict[str, object] = {}
    times = getattr(getattr(scan, "sequenceParameters", None), "TE", None) or []
    # A text that the header's parser could not convert stays a text.
    if contrast < len(times) and isinstance(times[contrast], int | float) and math.isfinite(times[contrast]):
        found["EchoTime"] = found["GADGETRON_TE"] = f"{times[contrast]:g}"
    measurement = getattr(scan, "measurementInformation", None)
    names = {
        "measurementID": getattr(measurement, "measurementID", None),
        "protocolName": getattr(measurement, "protocolName", None),
        "patient_position": getattr(measurement, "patientPosition", None),
    }
    return found | {name: str(getattr(value, "value", value)) for name, value in names.items() if value}


def _numbers(vector: Sequence[float]) -> list[str]:
    return list(_written(tuple(vector)))


@lru_cache(maxsize=256)  # most images of a scan lie where the one before lay
def _written(vector: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(f"{value + 0.0:.18f}" for value in vector)  # a zero with a sign is the same key as one without
