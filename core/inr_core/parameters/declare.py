"""Parameters: fields of frozen dataclasses with a default, a unit and a line of help, parsed from text in one place.

The same names are used in the XML ``<property>``, on the command line (``--set recon.virtual_coils=6``) and in the
JSON of the vendor platforms, which allow only letters and digits: there ``virtual_coils`` is written ``virtualcoils``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar, get_type_hints

from inr_core.errors import ParameterError


class DataclassInstance(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=DataclassInstance)

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    path: bool = False,
) -> Any:
    """Declare one parameter of a frozen dataclass.

    Parameters
    ----------
    default : bool, int, float or str
        The value that is used when nobody sets it; its annotation is the type.
    help
        One line for ``inr-recon methods`` and docs/parameters.md.
    unit
        Printed beside the default, e.g. ``"ms"``.
    minimum, maximum
        Inclusive range of a number.
    choices
        The legal values of a string.
    path
        Whether it names a file of this machine, which no client from elsewhere may choose.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "path": path,
    }
    return dataclasses.field(default=default, metadata=metadata)


def parse(cls: type[T], values: Mapping[str, object], owner: str) -> T:
    """Make ``cls`` from text (or already typed) values.

    Parameters
    ----------
    cls
        A frozen dataclass whose fields were declared by :func:`parameter`.
    values
        Name to value; underscores and case of the name do not matter.
    owner
        What the parameters belong to, for messages: ``"recon"``, ``"method inr"``.

    Raises
    ------
    ParameterError
        For an unknown name, a value that is not of the field's type, or one out of its range.
    """
    fields = {plain_name(f.name): f for f in dataclasses.fields(cls)}
    types = get_type_hints(cls)
    parsed: dict[str, object] = {}
    for name, value in values.items():
        field = fields.get(plain_name(name))
        if field is None:
            names = [f.name for f in fields.values()]
            close = difflib.get_close_matches(name, names, n=1)
            advice = f"did you mean {close[0]}?" if close else "remove it or correct its name"
            raise ParameterError(f"{owner} has no parameter '{name}'", f"one of {', '.join(names) or '(none)'}", advice)
        parsed[field.name] = _convert(value, types[field.name], field, owner)
    return cls(**parsed)


def describe(cls: type[DataclassInstance]) -> list[dict[str, object]]:
    """One row per parameter: name, type, default, unit, minimum, maximum, choices, help."""
    types = get_type_hints(cls)
    return [
        {"name": f.name, "type": types[f.name].__name__, "default": f.default, **f.metadata}
        for f in dataclasses.fields(cls)
    ]


def plain_name(name: str) -> str:
    """A parameter's name without underscores and case, which do not matter."""
    return name.replace("_", "").lower()


def _convert(value: object, kind: type, field: dataclasses.Field[Any], owner: str) -> object:
    text = str(value).strip()
    metadata = field.metadata
    wrong = f"{owner}.{field.name} = {text!r}"
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ParameterError(wrong, "true or false")
    if kind is str:
        choices = metadata.get("choices")
        if choices and text not in choices:
            raise ParameterError(wrong, f"one of {', '.join(choices)}")
        return text
    try:
        number = int(text) if kind is int else float(text)
    except ValueError:
        raise ParameterError(wrong, "a whole number" if kind is int else "a number") from None
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        raise ParameterError(wrong, f"a number {_range(low, high)}")
    return number


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    if low is not None:
        return f"of at least {low:g}"
    if high is not None:
        return f"of at most {high:g}"
    return "that is finite"
