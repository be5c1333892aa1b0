"""For which sizes operators are compiled: what was kept is used, what was not is wanted, and nothing stale is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inr_core.operators import prepared
from inr_core.operators.prepared import can_be_prepared, choose, is_kept, is_prepared, keep, kept, prepare, take_wanted

SHAPE = 96, 120


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is prepared, and what is kept is kept in a folder of the test."""
    monkeypatch.setattr(prepared, "_PREPARED", set())
    monkeypatch.setattr(prepared, "_WANTED", [])
    monkeypatch.setattr(prepared, "folder_of", lambda function: tmp_path)
    yield tmp_path
    monkeypatch.undo()
    prepared._state.cache_clear()


def test_what_is_kept_is_chosen_and_what_is_not_is_wanted_once() -> None:
    assert not choose(SHAPE) and not choose(SHAPE) and not is_prepared(SHAPE)
    assert take_wanted() == [SHAPE] and take_wanted() == []
    keep(SHAPE)
    assert is_kept(SHAPE) and not is_kept(SHAPE[::-1])
    assert choose(SHAPE) and is_prepared(SHAPE) and not is_prepared(SHAPE[::-1])
    assert take_wanted() == []


def test_what_is_prepared_already_is_chosen_without_a_look_at_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(SHAPE)
    monkeypatch.setattr(prepared, "is_kept", lambda shape: pytest.fail("looked"))
    assert choose(SHAPE)


@pytest.mark.parametrize("shape", [(34, 40), (51, 128), (729, 128)], ids=["small", "17", "not twice 729"])
def test_of_small_sizes_and_those_that_nothing_can_be_compiled_for_nothing_is_wanted(shape: tuple[int, int]) -> None:
    assert choose(shape) and not is_prepared(shape)
    assert take_wanted() == []


def test_which_sizes_can_be_compiled_for() -> None:
    assert can_be_prepared((22, 130)) and not can_be_prepared((128, 38))
    assert prepare((22, 130)) and not prepare((128, 38))
    assert is_prepared((22, 130)) and not is_prepared((128, 38))


def test_all_that_is_kept_is_told(folder: Path) -> None:
    assert kept() == []
    for shape in ((192, 160), (96, 96)):
        keep(shape)
    for mark, seconds in zip(sorted(folder.iterdir()), (1, 2), strict=True):
        os.utime(mark, (seconds, seconds))
    assert kept() == [(96, 96), (192, 160)]  # the newest first
    for mark in folder.iterdir():
        mark.unlink()
    assert kept() == []


def test_what_was_compiled_and_lost_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "all_is_kept", lambda: False)
    keep(SHAPE)
    assert not is_kept(SHAPE)


def test_nothing_is_wanted_for_what_is_no_live_series_or_could_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(SHAPE, want=False)
    monkeypatch.setattr(prepared, "folder_of", lambda function: None)
    assert choose(SHAPE)
    assert take_wanted() == [] and not is_prepared(SHAPE)


def test_small_sizes_are_compiled_for_where_somebody_asked_for_it() -> None:
    keep((40, 44))
    assert choose((40, 44)) and is_prepared((40, 44))


@pytest.mark.parametrize("what", ["source", "processor", "numba"])
def test_what_was_kept_for_other_sources_or_another_processor_is_not_found(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    source = package / "__init__.py"
    source.write_text("")
    monkeypatch.setattr(prepared.inr_core, "__file__", str(source))
    (package / "open.py").symlink_to("nowhere")  # as an editor leaves it
    prepared._state.cache_clear()
    keep(SHAPE)
    assert is_kept(SHAPE)
    if what == "source":
        os.utime(source, (1, 1))
    elif what == "setting":
        monkeypatch.setattr(prepared, "_processor", lambda: "another")
    else:
        monkeypatch.setattr(prepared.numba, "__version__", "0.0")
    prepared._state.cache_clear()
    assert not is_kept(SHAPE) and kept() == []


def test_where_nothing_can_be_kept_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "folder_of", lambda function: None)
    keep(SHAPE)
    assert not is_kept(SHAPE) and kept() == [] and prepared.place() is None


def test_a_folder_that_cannot_be_written_to_costs_no_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "folder_of", lambda function: folder / "none")
    keep(SHAPE)
    assert not is_kept(SHAPE)
