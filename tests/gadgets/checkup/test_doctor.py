"""The doctor: what it finds, and that what is amiss is named with its cure."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from inr_core.errors import ConfigError
from inr_gadgets import configs
from inr_gadgets.checkup import doctor, requirements
from inr_gadgets.checkup.doctor import examine, usable
from inr_gadgets.checkup.findings import Finding
from inr_gadgets.checkup.listeners import who_listens


@pytest.fixture(autouse=True)
def no_gadgetron(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is one must not matter here."""
    monkeypatch.setattr(doctor, "examine_gadgetron", list)


def found(subject: str, findings: list[Finding]) -> Finding:
    (finding,) = [f for f in findings if f.subject == subject]
    return finding


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_this_machine_is_usable() -> None:
    findings = examine([free_port()])
    assert usable(findings), [f for f in findings if f.state == "bad"]
    for name in ("python", "torch", "ismrmrd", "nufft finufft", "nufft torchkbnufft"):
        assert found(name, findings).state == "ok"
    assert found("torch devices", findings).text.startswith("cpu")
    assert "inr_dynamic" in found("configurations", findings).text


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = found(f"port {port}", examine([port]))
    comm = Path("/proc/self/comm").read_text().strip()
    assert finding.state == "missing"
    assert finding.text == (
        f"Address already in use by {comm} (process {os.getpid()}); "
        f"stop that, or take another: inr-recon serve --port {port + 1}"
    )


def test_missing_packages_and_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    absent = {"h5py", "matplotlib"}
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    findings = examine([free_port()])
    assert found("h5py", findings).text == "not installed; reinstall inr-recon: pip install inr-recon"
    assert found("extra pictures", findings).text == "matplotlib not installed: pip install 'inr-recon[pictures]'"
    assert found("extra pictures", findings).state == "missing"
    assert not usable(findings)


def test_a_package_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    findings = examine([free_port()])
    assert found("nufft finufft", findings).state == "bad"
    assert "does not run" in found("nufft finufft", findings).text
    assert not usable(findings)


def test_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "config_folders", list)
    finding = found("configurations", examine([free_port()]))
    with pytest.raises(ConfigError) as caught:
        configs.find_config("inr_dynamic")
    assert (finding.state, finding.text) == ("bad", str(caught.value))


def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=99.1", "rich", "h5py>=3"])
    findings = examine([free_port()])
    version = importlib.metadata.version("numpy")
    assert found("numpy", findings) == Finding("numpy", "bad", f"{version} is too old: pip install 'numpy>=99.1'")
    assert found("h5py", findings).state == "ok"


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.11"})
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.2")
    finding = found("python", examine([free_port()]))
    assert finding.state == "bad"
    assert finding.text.endswith("inr-recon needs 3.11 or later: make an environment with it")


def test_from_a_bare_source_no_version_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    for question in ("metadata", "requires"):
        monkeypatch.setattr(importlib.metadata, question, not_installed)
    assert requirements.oldest_python() == ()
    assert requirements.oldest_versions() == {}


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: set())
    finding = found("threads", examine([free_port()]))
    assert finding.state == "missing"
    assert "set OMP_NUM_THREADS to the number of cores, or not at all" in finding.text


def test_folders_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    findings = examine([free_port()])
    assert found("current folder", findings).text == (
        f"{tmp_path} cannot be written (Permission denied); "
        "give outputs a path of their own, or change to a folder of yours"
    )
    assert found("temporary files", findings).text.endswith("set TMPDIR to a folder that can")
    assert usable(findings)


def test_a_c_library_without_mallopt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: object())
    assert found("memory", examine([free_port()])).state == "missing"


def test_who_listens_is_not_always_to_be_seen(tmp_path: Path) -> None:
    assert who_listens(80, tmp_path) == ""
    (tmp_path / "net").mkdir()
    row = "0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1"
    rows = [row.format(port=80, state="0A", inode=7), row.format(port=81, state="01", inode=8)]
    (tmp_path / "net" / "tcp").write_text("\n".join(["header", *rows]) + "\n")
    assert who_listens(80, tmp_path) == "", "another user's"
    (tmp_path / "12" / "fd").mkdir(parents=True)
    (tmp_path / "12" / "fd" / "3").symlink_to("socket:[7]")
    (tmp_path / "12" / "fd" / "4").symlink_to("socket:[8]")
    (tmp_path / "12" / "comm").write_text("httpd\n")
    assert who_listens(80, tmp_path) == "httpd (process 12)"
    assert who_listens(81, tmp_path) == "", "connected, not listening"
