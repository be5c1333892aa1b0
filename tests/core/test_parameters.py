"""Parameters: text to values, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from inr_core.errors import ParameterError
from inr_core.parameters import describe, parameter, parse


@dataclass(frozen=True)
class Some:
    virtual_coils: int = parameter(8, "virtual coils", minimum=1, maximum=64)
    weight: float = parameter(0.5, "a weight", unit="1/s", minimum=0)
    most: float = parameter(0.5, "at most", maximum=1)
    free: float = parameter(0.0, "anything finite")
    refine: bool = parameter(True, "whether")
    method: str = parameter("inr", "which", choices=("inr", "nufft"))
    label: str = parameter("", "any text")


@dataclass(frozen=True)
class Nothing:
    """A gadget without parameters."""


def test_defaults_are_used() -> None:
    assert parse(Some, {}, "recon") == Some()


@pytest.mark.parametrize("name", ["virtual_coils", "virtualcoils", "VirtualCoils"])
def test_underscores_and_case_do_not_matter(name: str) -> None:
    assert parse(Some, {name: " 6 "}, "recon").virtual_coils == 6


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("on", True), ("no", False), (False, False)]
)
def test_booleans_in_every_spelling(text: object, value: bool) -> None:
    assert parse(Some, {"refine": text}, "recon").refine is value


def test_values_have_their_types() -> None:
    made = parse(Some, {"weight": "1e-3", "method": "nufft", "label": 7, "virtual_coils": 3}, "recon")
    assert (made.weight, made.method, made.label, made.virtual_coils) == (1e-3, "nufft", "7", 3)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"virtual_coils": "six"}, "recon.virtual_coils = 'six'; expected a whole number"),
        ({"virtual_coils": "2.5"}, "recon.virtual_coils = '2.5'; expected a whole number"),
        ({"virtual_coils": True}, "recon.virtual_coils = 'True'; expected a whole number"),
        ({"virtual_coils": 0}, "recon.virtual_coils = '0'; expected a number from 1 to 64"),
        ({"virtual_coils": 65}, "recon.virtual_coils = '65'; expected a number from 1 to 64"),
        ({"weight": "much"}, "recon.weight = 'much'; expected a number"),
        ({"weight": "-1"}, "recon.weight = '-1'; expected a number of at least 0"),
        ({"weight": "nan"}, "recon.weight = 'nan'; expected a number of at least 0"),
        ({"most": "2"}, "recon.most = '2'; expected a number of at most 1"),
        ({"free": "inf"}, "recon.free = 'inf'; expected a number that is finite"),
        ({"refine": "maybe"}, "recon.refine = 'maybe'; expected true or false"),
        ({"method": "grasp"}, "recon.method = 'grasp'; expected one of inr, nufft"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], line: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse(Some, values, "recon")
    assert str(caught.value) == line


def test_unknown_names_are_refused_with_the_good_ones() -> None:
    good = ", ".join(f.name for f in fields(Some))
    with pytest.raises(ParameterError) as caught:
        parse(Some, {"virtual_coil": 3}, "recon")
    assert str(caught.value) == (
        f"recon has no parameter 'virtual_coil'; expected one of {good}; did you mean virtual_coils?"
    )
    with pytest.raises(ParameterError, match=r"; remove it or correct its name$"):
        parse(Some, {"zzz": 3}, "recon")
    with pytest.raises(ParameterError, match=r"^image has no parameter 'x'; expected one of \(none\); remove it"):
        parse(Nothing, {"x": 3}, "image")


def test_describe_tells_everything() -> None:
    rows = {row["name"]: row for row in describe(Some)}
    assert list(rows) == [f.name for f in fields(Some)]
    assert rows["weight"] == {
        "name": "weight",
        "type": "float",
        "default": 0.5,
        "help": "a weight",
        "unit": "1/s",
        "minimum": 0,
        "maximum": None,
        "choices": None,
        "path": False,
    }
