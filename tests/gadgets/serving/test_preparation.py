"""Compiling between scans, by a process that may be slow, fail, or have to end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inr_core.operators import prepared
from inr_gadgets.serving.preparation import Preparation, Shape, take_wanted


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def ready() -> list[Shape]:
    """Sizes that the process was made ready for."""
    return []


@pytest.fixture
def make(ready: list[Shape]) -> Iterator[Callable[..., Preparation]]:
    """Makes preparations of the sizes of each scan by a program in place of the command; closed after the test."""
    made = []

    def one(program: str, *of_scans: list[Shape]) -> Preparation:
        scans = iter([*of_scans])
        command = [sys.executable, "-S", "-c", program]
        made.append(Preparation(lambda: next(scans, []), command, lambda shape, stopped: ready.append(shape)))
        return made[-1]

    yield one
    for preparation in made:
        preparation.close()


def test_sizes_are_compiled_for_one_after_the_other(
    make: Callable[..., Preparation], ready: list[Shape], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = tmp_path / "done"
    program = (
        f"import sys; _, how, size = sys.argv; assert how == '--gently'; open({str(done)!r}, 'a').write(size + ' ')"
    )
    preparation = make(program, [(192, 160), (96, 96)], [], [(64, 64)])
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            preparation.look()
        until(lambda: caplog.text.count("the next scan of that size is faster") == 3)
    assert done.read_text().split() == ["160x192", "96x96", "64x64"]
    assert "compiling for 160 x 192, at the lowest priority" in caplog.text
    until(lambda: ready == [(192, 160), (96, 96), (64, 64)])


def test_while_a_scan_runs_the_process_is_not_made_ready(
    make: Callable[..., Preparation], ready: list[Shape], caplog: pytest.LogCaptureFixture
) -> None:
    preparation = make("pass", [(192, 160)], [(96, 96)])
    preparation.busy = lambda: not caplog.text.count("compiled for 96")
    with caplog.at_level(logging.INFO):
        preparation.look()
        preparation.look()
        until(lambda: ready == [(96, 96)])
    assert "compiled for 160 x 192" in caplog.text


def test_a_failure_is_told_and_not_repeated_after_each_scan(
    make: Callable[..., Preparation], caplog: pytest.LogCaptureFixture
) -> None:
    preparation = make("raise SystemExit('no room\\nfor it')", [(192, 160)], [(192, 160), (96, 96)])
    for n in (1, 2):
        preparation.look()
        until(lambda n=n: caplog.text.count("nothing is compiled for") == n)  # type: ignore[misc]
    assert "nothing is compiled for 160 x 192: for it" in caplog.text
    assert "nothing is compiled for 96 x 96: for it" in caplog.text


def test_a_command_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    preparation = Preparation(lambda: [(192, 192)], ["no-such-command"])
    preparation.look()
    until(lambda: "nothing is compiled for 192 x 192: [Errno 2]" in caplog.text)
    preparation.close()


def test_what_fails_after_compiling_costs_the_server_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fails(shape: Shape, stopped: Callable[[], bool]) -> None:
        raise RuntimeError(f"out of memory for {shape}")

    sizes = iter([[(192, 160)], [(96, 96)]])
    preparation = Preparation(lambda: next(sizes), [sys.executable, "-S", "-c", "pass"], fails)
    for shape in ((192, 160), (96, 96)):
        preparation.look()
        until(lambda shape=shape: f"out of memory for {shape}" in caplog.text)  # type: ignore[misc]
    assert "compiling for 160 x 192 failed; the server goes on as it did" in caplog.text
    preparation.close()


def test_closing_ends_what_is_under_way_and_nothing_begins_after_it(
    make: Callable[..., Preparation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = tmp_path / "begun"
    program = f"import time; open({str(begun)!r}, 'a').write('x'); time.sleep(60)"
    preparation = make(program, [(192, 160), (96, 96)], [(64, 64)])
    preparation.look()
    until(lambda: begun.exists() and begun.read_text() == "x")
    began = time.monotonic()
    preparation.close()
    assert time.monotonic() - began < 30
    preparation.look()
    time.sleep(0.1)
    assert begun.read_text() == "x"
    assert "nothing is compiled" not in caplog.text


def test_the_wanted_sizes_are_those_of_the_scans_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_WANTED", [(192, 160)])
    assert take_wanted() == [(192, 160)] and take_wanted() == []
    monkeypatch.delitem(sys.modules, "inr_core.operators.prepared")
    assert take_wanted() == []
