"""The header of MRD version 2 as that of version 1, whose fields have the same names in another spelling."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
from collections.abc import Callable
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ismrmrd import xsd
from xsdata.models.datatype import XmlDate, XmlTime

from inr_core.errors import DataError
from inr_core.parameters import plain_name

_NANOSECONDS = 1_000_000_000


def header_xml(header: Any) -> str:
    """Return a header of version 2 (mrd.Header) as the XML of version 1.

    Raises
    ------
    DataError
        If it has a value that version 1 has no word for.
    """
    text: str = _record(header, xsd.ismrmrdHeader).toXML()
    return text


def _record(value: Any, kind: Any) -> Any:
    """Make a dataclass of version 1; what is None stays away."""
    fields = {plain_name(name): part for name, part in vars(value).items() if part is not None}
    types = get_type_hints(kind)
    given = {}
    for field in dataclasses.fields(kind):
        if plain_name(field.name) in fields:
            given[field.name] = _converted(fields[plain_name(field.name)], types[field.name], field.name)
    return kind(**given)


def _converted(value: Any, kind: Any, name: str) -> Any:
    if isinstance(kind, UnionType):
        (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
    if get_origin(kind) is list:
        (element,) = get_args(kind)
        return [_converted(one, element, name) for one in value]
    if dataclasses.is_dataclass(kind):
        return _record(value, kind)
    if issubclass(kind, Enum):
        return _word(value, kind, name)
    convert = _CONVERTERS.get(kind)
    return value if convert is None else convert(value)


def _word(value: Any, kind: type[Enum], name: str) -> Enum:
    """The word of version 1 for a number of version 2: ``H_FS`` is written ``HFS`` there."""
    words = {plain_name(str(member.value)): member for member in kind}
    found = words.get(plain_name(str(getattr(value, "name", None) or value)))
    if found is None:
        good = ", ".join(str(member.value) for member in kind)
        raise DataError(f"{name} = {value} in an MRD v2 header", f"one of {good}", "correct the sender")
    return found


def _date(value: datetime.date) -> XmlDate:
    return XmlDate(value.year, value.month, value.day)


def _time(value: Any) -> XmlTime:
    seconds, nanoseconds = divmod(int(value.numpy_value.astype("int64")), _NANOSECONDS)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return XmlTime(hour, minute, second, nanoseconds)


def _text(value: Any) -> str:
    return str(value.name) if isinstance(value, Enum) else str(value)  # a gender is an Enum here and M, F, O there


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise DataError(f"a user parameter that is not base64 ({error})", "base64", "correct the sender") from None


_CONVERTERS: dict[type, Callable[[Any], Any]] = {XmlDate: _date, XmlTime: _time, str: _text, bytes: _bytes}
