"""The scan's XML header: parsed in this one place, and read into what a radial reconstruction needs of it."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import Any

from ismrmrd import xsd

from inr_core.errors import DataError
from inr_gadgets.wire.plain_xml import check_xml

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_MATRIX = 4096
FOV_MM = (1e-3, 1e5)  # of a microscope, and of more than any magnet
RADIAL = ("radial", "goldenangle", "other")
_LARGEST = 1 << 31  # of a matrix that is not even looked at
_LONGEST_TR_MS = 1e6
_parsing = threading.Lock()


@dataclass(frozen=True)
class Encoding:
    """One encoding space of the header, in pixels and mm.

    Attributes
    ----------
    index
        Its number, ``encoding_space_ref`` of the readouts.
    trajectory
        ``radial``, ``goldenangle`` or ``other``; something else where the user knew better than the header.
    encoded_matrix, recon_matrix
        (x, y, z) of the encoded and of the reconstructed space. Converters write what they like into the encoded one.
    encoded_fov_mm, recon_fov_mm
        (x, y, z) mm.
    tr_ms
        Repetition time of a readout, ms; None if the header does not say.
    """

    index: int
    trajectory: str
    encoded_matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    encoded_fov_mm: tuple[float, float, float]
    recon_fov_mm: tuple[float, float, float]
    tr_ms: float | None

    @property
    def matrix(self) -> tuple[int, int]:
        """(x, y) of the reconstructed image."""
        return self.recon_matrix[:2]

    @property
    def aspect(self) -> float:
        """Height of a reconstructed pixel over its width."""
        (nx, ny), (fx, fy) = self.matrix, self.recon_fov_mm[:2]
        return (fy / ny) / (fx / nx)


def parse_header(xml: bytes | str) -> Any:
    """Parse the scan's header.

    Parameters
    ----------
    xml
        The ISMRMRD header; the NUL that FIRE appends is ignored.

    Returns
    -------
    ismrmrd.xsd.ismrmrdHeader

    Raises
    ------
    DataError
        If it is too long, not UTF-8, has a DOCTYPE or too many elements, is not well-formed, or is no ISMRMRD header.
    """
    if len(xml) > MAX_HEADER_BYTES:
        raise DataError(f"a header of {len(xml)} bytes", f"at most {MAX_HEADER_BYTES}")
    try:
        text = (xml.decode("utf-8-sig") if isinstance(xml, bytes) else xml).rstrip("\0 \t\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"a header that is not UTF-8 ({error})", "an ISMRMRD header in UTF-8") from None
    if not text:
        raise DataError("an empty header", "an ISMRMRD header", "send the header before the data")
    # A declared encoding is that of the bytes, which are decoded by now.
    text = re.sub(r"^\ufeff?\s*<\?xml[^>]*\?>", "", text)
    check_xml(text, "a header", DataError)
    try:
        # The filters of warnings are the process's: two scans that change them at once would leave them changed, and a
        # warning would show the value that did not convert, which may be the patient's.
        with _parsing, warnings.catch_warnings():
            # A field that does not convert keeps its text; those that matter here are checked in encoding().
            warnings.simplefilter("ignore")
            return xsd.CreateFromDocument(f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())
    except (ValueError, TypeError, SyntaxError, LookupError) as error:
        # xsdata reports the XML's own faults as ParserError (a ValueError) and missing elements as TypeError.
        absent = re.findall(r"'(\w+)'", str(error)) if isinstance(error, TypeError) else []
        reason = f"it lacks {', '.join(absent)}" if absent else error
        raise DataError(f"a malformed header ({reason})", "an ISMRMRD header", "check it with ismrmrd.xsd") from None


def encoding(header: Any, index: int = 0, *, told_radial: bool = False) -> Encoding:
    """Read one encoding space of a header.

    Parameters
    ----------
    header : ismrmrd.xsd.ismrmrdHeader
    index
        Which.
    told_radial
        Whether the user has said that the scan is radial. It is believed where the header calls no encoding radial:
        converters write ``cartesian`` whatever it is.

    Raises
    ------
    DataError
        If there is no such encoding, it is not radial, or its matrix or field of view make no sense.
    """
    spaces = header.encoding or []
    if index >= len(spaces):
        found = f"{len(spaces)} encoding space{'' if len(spaces) == 1 else 's'}"
        raise DataError(f"readouts of encoding space {index}, but the header has {found}", "an <encoding> for each")
    space = spaces[index]
    trajectory = str(getattr(space.trajectory, "value", space.trajectory))
    if trajectory not in RADIAL and not (told_radial and not _has_radial(header)):
        raise DataError(
            f"a scan with trajectory '{trajectory}' (encoding space {index})",
            f"radial readouts: {', '.join(RADIAL)}",
            "if it is radial all the same, say how: buffer.angles or buffer.trajectory_file",
        )
    recon = _matrix(space.reconSpace, f"reconSpace of encoding {index}")
    encoded_fov = _fov(space.encodedSpace)
    recon_fov = _fov(space.reconSpace)
    if not FOV_MM[0] <= min(recon_fov[:2]) <= max(recon_fov[:2]) <= FOV_MM[1]:
        raise DataError(
            f"a reconstructed field of view of {recon_fov[0]:g} x {recon_fov[1]:g} mm",
            f"{FOV_MM[0]:g} to {FOV_MM[1]:g} mm each way",
        )
    return Encoding(
        index=index,
        trajectory=trajectory,
        encoded_matrix=_integers(space.encodedSpace),
        recon_matrix=recon,
        encoded_fov_mm=encoded_fov,
        recon_fov_mm=recon_fov,
        tr_ms=repetition_time_ms(header),
    )


def refuse_without_radial(header: Any, *, told_radial: bool = False) -> None:
    """Refuse a header in which no encoding space is radial, before any data has come.

    Parameters
    ----------
    header, told_radial
        See :func:`encoding`.

    Raises
    ------
    DataError
        The error of its first encoding space.
    """
    if not _has_radial(header):
        encoding(header, 0, told_radial=told_radial)


def _has_radial(header: Any) -> bool:
    return any(str(getattr(s.trajectory, "value", s.trajectory)) in RADIAL for s in header.encoding or [])


def refuse_large(header: Any, most: int) -> None:
    """Refuse a header that asks for images of more than ``most`` pixels along an axis.

    Raises
    ------
    DataError
        When one of its encoding spaces does.
    """
    for space in header.encoding or []:
        x, y, _ = _integers(space.reconSpace)
        if max(x, y) > most:
            raise DataError(
                f"a reconstructed matrix of {x} x {y}",
                f"at most {most} pixels each way on this server",
                "inr-recon serve --set server.matrix=PIXELS",
            )


def noise_bandwidth(header: Any) -> float:
    """Relative receiver noise bandwidth; 1 if the header does not say, or nothing that a receiver could have."""
    system = header.acquisitionSystemInformation
    value: Any = system.relativeReceiverNoiseBandwidth if system is not None else None
    return float(value) if _is_number(value) and 1e-3 <= value <= 1e3 else 1.0


def _integers(space: Any) -> tuple[int, int, int]:
    size = space.matrixSize
    x, y, z = (value if isinstance(value, int) and abs(value) <= _LARGEST else 0 for value in (size.x, size.y, size.z))
    return x, y, z


def _matrix(space: Any, name: str) -> tuple[int, int, int]:
    x, y, z = _integers(space)
    if not (2 <= x <= MAX_MATRIX and 2 <= y <= MAX_MATRIX and 0 <= z <= MAX_MATRIX):
        size = space.matrixSize
        raise DataError(f"a matrix of {size.x} x {size.y} x {size.z} in {name}", f"2 to {MAX_MATRIX} pixels each way")
    return x, y, max(z, 1)


def _fov(space: Any) -> tuple[float, float, float]:
    size = space.fieldOfView_mm
    x, y, z = (float(v) if _is_number(v) else 0.0 for v in (size.x, size.y, size.z))
    return x, y, z


def _is_number(value: object) -> bool:
    # Not isfinite(): an integer may have more digits than a float holds. A NaN compares false.
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def repetition_time_ms(header: Any) -> float | None:
    """TR of the first encoding, ms; None when the header has none that makes sense."""
    sequence = getattr(header, "sequenceParameters", None)
    times = list(getattr(sequence, "TR", None) or [])
    # A text that the header's parser could not convert stays a text.
    return float(times[0]) if times and _is_number(times[0]) and 0 < times[0] <= _LONGEST_TR_MS else None
