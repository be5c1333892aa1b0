"""check: how a scan would be understood, what would run, and what would stop it."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from typer.testing import CliRunner

from inr_core.errors import DataError
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.check import CheckResult, check_scan
from inr_gadgets.cli import app
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.simulate import simulate
from scans import header, header_xml, readout


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("check") / "scan.h5", matrix=24, frames=3, spokes=8, coils=2).scan


def copy(scan: Path, to: Path, n: int, header: tuple[str, str] = ("", "")) -> Path:
    """Write the first readouts of a scan, with something replaced in its header."""
    with ScanFile(scan) as source:
        xml = source.header_xml.decode()
        assert header[0] in xml
        with ScanWriter(to, xml.replace(*header).encode()) as writer:
            for i, readout in enumerate(source.acquisitions()):
                if i < n:
                    writer.append(readout)
    return to


def the_problem(result: CheckResult) -> str:
    assert not result.can_run
    (problem,) = result.problems
    assert f"would fail: {problem}" in result.lines
    return problem


def test_a_good_scan(scan: Path) -> None:
    result = check_scan(scan, "nufft", {"buffer.spokes_per_frame": "12"})
    assert result.can_run
    assert result.lines[0] == f"{scan}: 24 readouts, 0 waveforms"
    assert result.lines[1] == "runs nufft: buffer -> recon -> image"
    assert result.lines[2].startswith("understood as: radial scan, matrix 24 x 24")
    assert "12 spokes a frame (as set)" in result.lines[2]
    assert "  buffer.spokes_per_frame = 12  (set; default 0)" in result.lines
    assert "  buffer.stride = 0" in result.lines
    assert any(line.startswith("  recon.method = nufft") for line in result.lines)


def test_too_few_spokes_for_a_frame(scan: Path, tmp_path: Path) -> None:
    few = copy(scan, tmp_path / "few.h5", 3)
    problem = the_problem(check_scan(few, "nufft", {"buffer.spokes_per_frame": "20"}))
    assert problem == (
        "a scan of 3 spokes; expected at least the 20 spokes of one frame (as set); "
        "set buffer.spokes_per_frame to fewer, or acquire longer"
    )


@pytest.mark.parametrize(("slices", "spokes", "enough"), [(1, 19, False), (1, 20, True), (2, 20, False), (2, 40, True)])
def test_check_and_replay_agree_on_what_is_too_short(slices: int, spokes: int, enough: bool, tmp_path: Path) -> None:
    settings = {"buffer.spokes_per_frame": "20"}
    items = [readout(i, slice=i % slices, data=np.ones((1, 64), np.complex64)) for i in range(spokes)]
    with ScanWriter(tmp_path / "scan.h5", header_xml().encode()) as writer:
        for item in items:
            writer.append(item)
    assert check_scan(tmp_path / "scan.h5", "nufft", settings).can_run == enough
    gadget = BufferGadget(header(), BufferParameters(spokes_per_frame=20))
    if enough:
        assert len(list(gadget.process(items))) == slices
    else:
        with pytest.raises(DataError, match=f"a scan of {spokes} spokes; expected at least the 20 spokes"):
            list(gadget.process(items))


def test_no_readouts(scan: Path, tmp_path: Path) -> None:
    empty = copy(scan, tmp_path / "empty.h5", 0)
    assert the_problem(check_scan(empty, "nufft", {})).startswith("a scan without a single readout; expected")


def test_a_cartesian_scan(scan: Path, tmp_path: Path) -> None:
    cartesian = copy(scan, tmp_path / "cartesian.h5", 24, (">radial<", ">cartesian<"))
    result = check_scan(cartesian, "nufft", {})
    assert not result.can_run
    assert any("cartesian" in problem for problem in result.problems)


def test_a_header_that_is_none(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "bad.h5", b"<header>") as writer:
        writer.append(ismrmrd.Acquisition())
    assert "a malformed header" in the_problem(check_scan(tmp_path / "bad.h5", "nufft", {}))


def test_wrong_names_and_the_scan_is_looked_at_all_the_same(scan: Path) -> None:
    result = check_scan(scan, "nonsense", {})
    assert the_problem(result).startswith("configuration 'nonsense'; expected one of")
    assert any(line.startswith("understood as") for line in result.lines)
    assert "recon.colour" in the_problem(check_scan(scan, "nufft", {"recon.colour": "red"}))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5 is not there"):
        check_scan(tmp_path / "none.h5", "nufft", {})


@pytest.mark.parametrize(("config", "code"), [("nufft", 0), ("nonsense", 1)])
def test_exit_codes(scan: Path, config: str, code: int) -> None:
    result = CliRunner().invoke(app, ["check", str(scan), "-c", config])
    assert result.exit_code == code, result.output
    assert "understood as" in result.stdout
