"""The command that compiles before a scan, and the scan that finds what it left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from inr_core import function_cache
from inr_core.operators import prepared
from inr_gadgets.cli import app
from inr_gadgets.header import parse_header
from inr_gadgets.reconstruction import warming
from inr_gadgets.reconstruction.compile_apart import CompilingError
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is prepared, and what is kept is kept in a folder of the test."""
    monkeypatch.setattr(prepared, "_PREPARED", set())
    monkeypatch.setattr(prepared, "_WANTED", [])
    monkeypatch.setattr(prepared, "folder_of", lambda function: tmp_path)


@pytest.fixture
def compiled_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """In place of a minute of compiling: for which sizes it was asked."""
    asked = list[tuple[int, int]]()

    def make_ready(shape: tuple[int, int], device: object) -> bool:
        assert str(device) == "cpu"
        asked.append(shape)
        prepared.keep(shape)
        return True

    monkeypatch.setattr(warming, "make_ready", make_ready)
    monkeypatch.setattr(warming, "compile_common", lambda: None)
    return asked


def test_sizes_are_compiled_for_and_the_next_time_found(compiled_for: list[tuple[int, int]], tmp_path: Path) -> None:
    said = run(app, ["prepare", "192", "160x96", "192"])
    assert said.exit_code == 0
    assert compiled_for == [(192, 192), (96, 160)]
    lines = said.output.splitlines()
    assert lines[1] == f"inr-recon: 160 x 96: compiled in 0 s, kept in {tmp_path}"
    assert lines[2] == f"inr-recon: 192 x 192: compiled before, in {tmp_path}"


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("big", "a size of 'big'; expected N or NXxNY; give the matrix: 192, or 192x160"),
        ("192x4", "a size of 192 x 4; expected 8 to 1024 pixels each way"),
        ("2048", "a size of 2048 x 2048; expected 8 to 1024 pixels each way"),
        ("129x136", "no prime factor above 13; such images are computed by libraries"),
    ],
)
def test_sizes_that_make_no_sense(size: str, reason: str, compiled_for: list[tuple[int, int]]) -> None:
    said = run(app, ["prepare", "192", size])
    assert said.exit_code != 0 and compiled_for == []
    assert reason in said.output


def test_where_nothing_can_be_kept_nothing_is_compiled(
    compiled_for: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "folder_of", lambda function: None)
    said = run(app, ["prepare", "192"])
    assert said.exit_code != 0 and compiled_for == []
    assert (
        "what is compiled cannot be kept; expected a folder that can be written to and locked; set NUMBA_CACHE_DIR"
        in (str(said.exception) + said.output)
    )


def test_what_was_lost_on_the_way_is_not_said_to_be_kept(
    compiled_for: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(function_cache, "all_is_kept", lambda: next(answers))
    said = run(app, ["prepare", "192"])
    assert said.exit_code != 0 and compiled_for == [(192, 192)]
    assert "what is compiled cannot be kept" in said.output


def test_at_the_lowest_priority() -> None:
    program = (
        "import os; from inr_gadgets.commands import prepare as p\n"
        "try:\n    p.prepare(['129'], gently=True)\nfinally:\n    print(os.nice(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "19" and "prime factor" in done.stderr


def lines_before(shape: tuple[int, int], method: str = "grasp") -> list[str]:
    """What a scan of that size says before it begins."""
    made, lines = ReconGadget(None, ReconGadget.read_parameters({"method": method})), list[str]()
    made.announce = lines.append
    for _ in range(2):  # as for slices
        made._choose_operators(shape)
    return lines


def test_a_scan_uses_what_is_kept_and_says_what_would_help() -> None:
    lines = lines_before((96, 160))
    assert lines == ["nothing has been compiled for 160 x 96 pixels: inr-recon prepare 160x96 makes live frames faster"]
    assert not prepared.is_prepared((96, 160))
    prepared.keep((96, 160))
    assert lines_before((96, 160)) == [] and prepared.is_prepared((96, 160))


def test_nothing_is_compiled_for_what_is_no_live_series() -> None:
    assert lines_before((96, 160), "nufft") == [] and prepared.take_wanted() == []


def test_a_gpu_needs_nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = list[tuple[int, int]]()
    monkeypatch.setattr(prepared, "choose", lambda shape, want: chosen.append(shape) is None)
    made = ReconGadget(None, ReconGadget.read_parameters({"method": "nufft"}))
    for device in ("meta", "cpu"):
        made._method((96, 160), torch.device(device))
    assert chosen == [(96, 160)]


def test_what_was_stopped_is_not_noted_as_compiled() -> None:
    shape, calls = (8, 6), iter(range(10**6))
    assert not warming.make_ready(shape, torch.device("cpu"), lambda: next(calls) > 2)
    assert not prepared.is_kept(shape)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int]]]:
    """In place of a minute of warming up: what would be done."""
    done = list[tuple[str, tuple[int, int]]]()

    def here(shape: tuple[int, int], device: object, stopped: Callable[[], bool]) -> bool:
        done.append(("here", shape))
        return True

    def apart(shape: tuple[int, int], stopped: Callable[[], bool]) -> bool:
        done.append(("apart", shape))
        return not stopped()

    monkeypatch.setattr(warming, "make_ready", here)
    monkeypatch.setattr(warming, "compile_apart", apart)
    monkeypatch.setattr(warming, "compile_common", lambda: None)
    return done


def test_a_process_never_compiles_what_a_scan_could_wait_for(steps: list[tuple[str, tuple[int, int]]]) -> None:
    warming.warm_up()
    assert steps == [("apart", (128, 128)), ("here", (128, 128))]
    steps.clear()
    prepared.keep((128, 128))
    warming.warm_up()
    assert steps == [("here", (128, 128))]


def test_a_scan_that_comes_while_it_is_compiled_is_computed_by_libraries(
    steps: list[tuple[str, tuple[int, int]]],
) -> None:
    warming.warm_up(lambda: True)
    assert steps == [("apart", (128, 128))]
    assert not prepared.is_prepared((128, 128))


def test_what_cannot_be_kept_or_compiled_apart_is_compiled_in_the_process(
    steps: list[tuple[str, tuple[int, int]]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(shape: tuple[int, int], stopped: Callable[[], bool]) -> bool:
        raise CompilingError("no memory")

    monkeypatch.setattr(warming, "compile_apart", fails)
    warming.warm_up()
    assert "compiling for 128 x 128 failed, and is done in this process: no memory" in caplog.text
    monkeypatch.setattr(prepared, "folder_of", lambda function: None)
    warming.warm_up()
    assert steps == [("here", (128, 128))] * 2


@pytest.mark.parametrize("others", [None, [], [(96, 96)]])
def test_a_warm_process_is_so_for_what_was_compiled(
    others: list[tuple[int, int]] | None, steps: list[tuple[str, tuple[int, int]]]
) -> None:
    for shape in ((128, 128), (96, 160), (96, 96)):
        prepared.keep(shape)
    warming.warm_up(others=others)
    then = [(96, 96), (96, 160)] if others is None else others
    assert sorted(shape for _, shape in steps) == sorted([(128, 128), *then])


def test_the_sizes_of_a_scan_are_those_of_its_header_that_are_kept(tmp_path: Path) -> None:
    made = simulate(tmp_path / "scan.h5", matrix=20, frames=1, spokes=5, coils=2)
    with ScanFile(made.scan) as scan:
        header = parse_header(scan.header_xml)
    assert warming.compiled_for(header) == []
    prepared.keep((20, 20))
    assert warming.compiled_for(header) == [(20, 20)]
    header.encoding[0].reconSpace.matrixSize.x = -1
    assert warming.compiled_for(header) == []
