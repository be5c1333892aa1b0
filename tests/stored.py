"""Images as programs store them, for the tests of what reads them: any plane, many slices and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from inr_gadgets.image_file import ImageWriter

Vector = tuple[float, float, float]


def rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """Rows are the row, column and slice direction after turns about x, then y, then z; right-handed."""
    turns = []
    for axis, angle in enumerate(np.radians([x_deg, y_deg, z_deg])):
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        turns.append(turn)
    return (turns[2] @ turns[1] @ turns[0]).T


def stored_image(
    pixels: np.ndarray,
    *,
    directions: np.ndarray | None = None,
    position: Any = (10.0, -20.0, 30.0),
    fov: Vector = (300.0, 300.0, 8.0),
    series: int = 1,
    meta: dict[str, Any] | None = None,
    **fields: Any,
) -> ismrmrd.Image:
    """An image [y, x] or (channels, z, y, x); ``fields`` are of its header, ``directions`` read, phase, slice."""
    image = ismrmrd.Image.from_array(np.ascontiguousarray(pixels), transpose=False, image_series_index=series, **fields)
    head = image.getHead()
    directions = np.eye(3) if directions is None else directions
    head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = directions
    head.position[:], head.field_of_view[:] = position, fov
    stored = ismrmrd.Image(head=head, data=image.data)
    stored.meta = ismrmrd.Meta(meta or {})
    return stored


def slab(
    path: Path,
    *,
    frames: int = 3,
    slices: int = 4,
    shape: tuple[int, int] = (9, 14),
    directions: np.ndarray | None = None,
    centre: Any = (10.0, -20.0, 30.0),
    fov: Vector = (280.0, 198.0, 6.0),
    distance: float = 7.5,
    frame_ticks: float = 16,
    series: int = 1,
    dtype: str = "float32",
    header_xml: bytes | None = None,
    group: str = "2026-11-20 12:30:00",
    **fields: Any,
) -> np.ndarray:
    """Write a stack of planes in the order of scanners: odd planes first; no pixel has the value of another.

    Returns the values (frames, slices, y, x), slices along the slice direction.
    """
    directions = np.eye(3) if directions is None else directions
    values = np.arange(frames * slices * shape[0] * shape[1]).reshape(frames, slices, *shape) * 6.25 + 3
    values = values.astype(dtype)
    with ImageWriter(path, group, header_xml) as writer:
        for frame in range(frames):
            for place in [*range(1, slices, 2), *range(0, slices, 2)]:
                image = stored_image(
                    values[frame, place],
                    directions=directions,
                    position=np.asarray(centre) + (place - (slices - 1) / 2) * distance * directions[2],
                    fov=fov,
                    series=series,
                    meta={"inr_frame": str(frame), "inr_method": "inr", "ImageComments": "INR live"},
                    repetition=frame,
                    slice=place,
                    image_index=frame * slices + place + 1,
                    acquisition_time_stamp=round(14_400_000 + frame * frame_ticks),  # from 10:00
                    image_type=ismrmrd.IMTYPE_MAGNITUDE,
                    **fields,
                )
                writer.append(image)
    return values


FULL_HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <subjectInformation><patientName>Müller^Käthe</patientName><patientWeight_kg>61.5</patientWeight_kg>
    <patientHeight_m>1.68</patientHeight_m><patientID>PID 7</patientID>
    <patientBirthdate>1970-02-28</patientBirthdate><patientGender>F</patientGender></subjectInformation>
  <studyInformation><studyDate>2026-11-18</studyDate><studyTime>09:05:07</studyTime><studyID>S1</studyID>
    <accessionNumber>4711</accessionNumber><referringPhysicianName>Curie^Marie</referringPhysicianName>
    <studyDescription>heart in motion</studyDescription><studyInstanceUID>1.2.840.99.1</studyInstanceUID>
    <bodyPartExamined>heart</bodyPartExamined></studyInformation>
  <measurementInformation><measurementID>m_1</measurementID><seriesDate>2026-11-19</seriesDate>
    <patientPosition>HFS</patientPosition><protocolName>cine_sax</protocolName>
    <frameOfReferenceUID>1.2.840.99.2</frameOfReferenceUID></measurementInformation>
  <acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor><systemModel>Sola</systemModel>
    <systemFieldStrength_T>1.5</systemFieldStrength_T><institutionName>Klinik</institutionName>
    <stationName>MR1</stationName><deviceSerialNumber>4242</deviceSerialNumber></acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63600000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>64</x><y>32</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>600</x><y>300</y><z>8</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></reconSpace>
    <encodingLimits/><trajectory>radial</trajectory>
  </encoding>
  <sequenceParameters><TR>3.0</TR><TE>1.5</TE><TE>3.5</TE><TI>200</TI><flipAngle_deg>50</flipAngle_deg>
    <sequence_type>TrueFISP</sequence_type></sequenceParameters>
</ismrmrdHeader>
""".encode()
