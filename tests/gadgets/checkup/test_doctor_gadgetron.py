"""The doctor about the real Gadgetron: each way to install it wrongly, with programs that play its part."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

import inr_core
import inr_gadgets
from inr_gadgets.checkup.doctor_gadgetron import examine_gadgetron
from inr_gadgets.checkup.findings import Finding
from inr_gadgets.configs import find_config

INFO = 'echo "  -- Version            : 4.7.2"'


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Gadgetron that is installed as it should be."""
    home = tmp_path / "prefix"
    script(home / "bin" / "gadgetron", INFO)
    script(home / "bin" / "gadgetron_ismrmrd_client", 'echo "-f [ --filename ] arg"')
    script(home / "bin" / "mrd-storage-server", "")
    script(home / "bin" / "python", 'case "$*" in *-c*) echo external.py;; *) echo Python 3.12.1;; esac')
    configs = home / "share" / "gadgetron" / "config"
    configs.mkdir(parents=True)
    (configs / "inr_dynamic.xml").write_bytes(find_config("inr_dynamic").read_bytes())
    roots = [str(Path(module.__path__[0]).parent) for module in (inr_core, inr_gadgets)]
    monkeypatch.setenv("PYTHONPATH", ":".join(roots))
    monkeypatch.setenv("GADGETRON_HOME", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")
    return home


def only_trouble() -> Finding:
    (finding,) = [finding for finding in examine_gadgetron() if finding.state != "ok"]
    return finding


def test_all_is_well(prefix: Path) -> None:
    script(prefix / "bin" / "python", f'exec {sys.executable} "$@"')
    findings = {finding.subject: finding for finding in examine_gadgetron()}
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert findings["gadgetron"].text == f"4.7.2, {prefix}/bin/gadgetron"
    assert findings["python for Gadgetron"].text == f"{prefix}/bin/python, with {inr_gadgets.__path__[0]}/external.py"


def test_none_here(prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GADGETRON_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only_trouble() == Finding(
        "gadgetron",
        "missing",
        "not here (GADGETRON_HOME is not set, no gadgetron on the PATH); inr-recon serve does without it",
    )


def test_its_own_prefix_is_its_home(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GADGETRON_HOME")
    assert examine_gadgetron()[0].text == f"not set; Gadgetron takes its own prefix, {prefix}"


def test_a_home_that_is_no_folder(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GADGETRON_HOME", "/no/such")
    first = examine_gadgetron()[0]
    assert (first.state, first.text) == ("bad", "/no/such is no folder; set it to Gadgetron's prefix, or not at all")


def test_a_home_that_is_empty(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GADGETRON_HOME", "")
    assert only_trouble().text == "set and empty, so Gadgetron finds no configuration: unset it"


def test_a_home_without_gadgetron_s_files(prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    assert "has no share/gadgetron; set it to the prefix" in examine_gadgetron()[0].text


def test_no_server(prefix: Path) -> None:
    (prefix / "bin" / "gadgetron").unlink()
    trouble = only_trouble()
    assert trouble.state == "bad"
    assert trouble.text.startswith(f"no program gadgetron in {prefix}/bin or on the PATH; is {prefix} the right")


@pytest.mark.parametrize("name", ["gadgetron", "gadgetron_ismrmrd_client"])
def test_a_program_whose_libraries_are_not_found(prefix: Path, name: str) -> None:
    script(prefix / "bin" / name, "echo 'libismrmrd.so.1.14: cannot open shared object file' >&2; exit 127")
    assert (
        only_trouble().text == f"{prefix}/bin/{name} does not run: libismrmrd.so.1.14: cannot open shared object file"
    )


def test_no_client(prefix: Path) -> None:
    (prefix / "bin" / "gadgetron_ismrmrd_client").unlink()
    assert only_trouble().text == "not on the PATH; any other MRD client does: inr-recon replay --address"


def test_no_storage_server(prefix: Path) -> None:
    (prefix / "bin" / "mrd-storage-server").unlink()
    assert "start Gadgetron with --disable_storage 1" in only_trouble().text


def test_a_configuration_that_was_not_installed(prefix: Path) -> None:
    (prefix / "share" / "gadgetron" / "config" / "inr_dynamic.xml").unlink()
    trouble = only_trouble()
    assert trouble.state == "bad"
    cure = f"{sys.executable} -m pip install --prefix {prefix} --no-deps --ignore-installed inr-recon"
    assert trouble.text.endswith(f"config has no inr_dynamic.xml: {cure}")


def test_a_configuration_of_another_version(prefix: Path) -> None:
    (prefix / "share" / "gadgetron" / "config" / "inr_dynamic.xml").write_text("<configuration/>")
    trouble = only_trouble()
    assert trouble.state == "missing"
    assert f"is not the same as {find_config('inr_dynamic')}: another version, or changed by hand" in trouble.text


@pytest.mark.parametrize(("version", "installable"), [("3.11.2", True), ("3.10.13", False)])
def test_another_python_first_on_the_path(
    prefix: Path, version: str, installable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gadgetron's conda environment has 3.10, into which inr-recon cannot be installed."""
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.11"})
    fails = 'echo "No module named gadgetron" >&2; exit 1'
    script(prefix / "bin" / "python", f'case "$*" in *-c*) {fails};; *) echo Python {version};; esac')
    trouble = only_trouble()
    assert trouble.state == "bad"
    assert trouble.text == (
        f"{prefix}/bin/python is the first on the PATH and has not our gadgets (No module named gadgetron); "
        f"start Gadgetron with {Path(sys.executable).parent} first on the PATH"
        + (f", or: {prefix}/bin/python -m pip install inr-recon" if installable else "")
    )


def test_no_python_at_all(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prefix / "bin" / "python").unlink()
    monkeypatch.setenv("PATH", str(prefix / "bin"))
    assert only_trouble().text == "neither python nor python3 on the PATH: Gadgetron can start no gadget"
