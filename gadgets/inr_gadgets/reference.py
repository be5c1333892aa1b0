"""The reference of the parameters, printed from the dataclasses that define them: to a terminal, or as a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inr_core.methods import Method
from inr_core.parameters import describe
from inr_gadgets.chain import GADGETS, gadget_class
from inr_gadgets.wire.limits import ServerLimits

COLUMNS = ("parameter", "default", "unit", "allowed", "what it does")
METHOD_COLUMNS = ("method", "what it is", "runs", "presets")


@dataclass(frozen=True)
class Section:
    """The parameters of one gadget, one method or the server.

    Attributes
    ----------
    title
        ``"buffer"``, ``"method inr"``.
    about
        What it is, in a line.
    rows
        One per parameter, as :data:`COLUMNS` says.
    """

    title: str
    about: str
    rows: list[tuple[str, str, str, str, str]]


def gadget_sections() -> list[Section]:
    """Return the sections of the gadgets, in the order of the chain."""
    sections = []
    for target in GADGETS:
        gadget = gadget_class(target)
        sections.append(Section(gadget.name, first_line(gadget), rows(gadget.parameter_type, f"{gadget.name}.")))
    return sections


def server_section() -> Section:
    """Return the section of the server's limits."""
    return Section("server", first_line(ServerLimits), rows(ServerLimits, "server."))


def method_sections() -> list[Section]:
    """Return the sections of the reconstruction methods, in the order of the table."""
    from inr_core.methods import list_methods

    return [
        Section(f"method {method.name}", _about(method), rows(method.parameter_type, "")) for method in list_methods()
    ]


def method_rows() -> list[tuple[str, str, str, str]]:
    """Return one row per method, as :data:`METHOD_COLUMNS` says."""
    from inr_core.methods import list_methods

    return [(m.name, m.summary, _able(m), ", ".join(m.presets)) for m in list_methods()]


def _able(method: Method) -> str:
    """Where a method runs."""
    where = "in the stream" if method.streams else "offline only"
    return f"{where}, between pixels and frames" if method.continuous else where


def _about(method: Method) -> str:
    """What a method is, what it can do, and its presets, in a line."""
    presets = [
        f"preset {name}: " + ", ".join(f"{key}={shown(value)}" for key, value in values.items())
        for name, values in method.presets.items()
    ]
    return "; ".join([f"{method.summary} ({_able(method)})", *presets])


def rows(cls: Any, prefix: str) -> list[tuple[str, str, str, str, str]]:
    """Return one row per parameter of a dataclass.

    Parameters
    ----------
    cls
        A frozen dataclass of parameters; None for none.
    prefix
        Goes before every name: ``"recon."``.
    """
    if cls is None:
        return []
    return [
        (f"{prefix}{row['name']}", shown(row["default"]), str(row["unit"] or ""), _allowed(row), str(row["help"]))
        for row in describe(cls)
    ]


def shown(value: object) -> str:
    """Return a value as it is written in a configuration."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)


def first_line(thing: Any) -> str:
    """Return the first line of a docstring."""
    return (thing.__doc__ or "").strip().split("\n")[0]


def markdown() -> str:
    """Return docs/parameters.md."""
    return "\n".join(_markdown_lines()) + "\n"


def _markdown_lines() -> Iterator[str]:
    yield "# Parameters"
    yield ""
    yield "Printed by `inr-recon methods --markdown`; do not edit. The same names are used in a configuration"
    yield '(`<property name="virtual_coils" value="6"/>` in the gadget\'s `<configuration>`), on the command line'
    yield "(`--set recon.virtual_coils=6`) and in the JSON of vendor platforms, where underscores and case do not"
    yield "matter. Unknown names and values out of range are refused."
    for section in [*gadget_sections(), server_section(), *method_sections()]:
        yield ""
        yield f"## {section.title}"
        yield section.about
        if section.rows:
            yield ""
            yield "| " + " | ".join(COLUMNS) + " |"
            yield "|" + "---|" * len(COLUMNS)
            for name, *rest in section.rows:
                yield "| " + " | ".join([f"`{name}`", *(cell.replace("|", "\\|") for cell in rest)]) + " |"


def _allowed(row: dict[str, Any]) -> str:
    if row["choices"]:
        return ", ".join(f"'{c}'" if c == "" else str(c) for c in row["choices"])
    if row["type"] == "bool":
        return "true, false"
    low, high = row["minimum"], row["maximum"]
    if low is None and high is None:
        return {"int": "whole number", "float": "number"}.get(row["type"], "text")
    if low is None:
        return f"<= {high:g}"
    return f">= {low:g}" if high is None else f"{low:g} to {high:g}"
