"""Arrows between the folders of the stream point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gadgets" / "inr_gadgets"
MAY_USE = {
    "wire": set(),
    "conventions": set(),
    "imaging": set(),
    "simulation": set(),
    "buffering": {"conventions"},
    "reconstruction": {"buffering", "conventions", "imaging"},
    "serving": {"wire", "conventions", "reconstruction"},
    "mrd2": {"wire"},
    "export": set(),
    "packaging": {"conventions", "reconstruction", "imaging"},  # the parameters on the card
    "checkup": {"serving"},
}


def imported(source: str) -> Iterator[str]:
    """Every module of this package that a source imports, at its head or in a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("inr_gadgets"):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("inr_gadgets."))


def used_folders(folder: str) -> set[str]:
    """Other folders that the modules of one import from."""
    names = (name for path in (ROOT / folder).rglob("*.py") for name in imported(path.read_text()))
    return {name.split(".")[1] for name in names if name.count(".") > 0} & set(MAY_USE) - {folder}


@pytest.mark.parametrize("folder", MAY_USE)
def test_a_folder_uses_no_other_than_it_may(folder: str) -> None:
    assert used_folders(folder) <= MAY_USE[folder]


def test_every_folder_of_the_stream_is_looked_at() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == MAY_USE.keys() | {"commands", "bench"}  # these two use everything


def test_imports_in_every_form_are_seen() -> None:
    source = (
        "def f():\n    import inr_gadgets.wire.client\n    from inr_gadgets import lines\n"
        "from inr_gadgets.serving import server"
    )
    assert {name.split(".")[1] for name in imported(source) if "." in name} == {"wire", "lines", "serving"}
