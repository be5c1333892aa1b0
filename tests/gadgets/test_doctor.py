"""The doctor: what it finds, and that what is amiss is named with its cure."""

from __future__ import annotations

import importlib.util
import socket
import sys

import pytest

from inr_core.errors import ConfigError
from inr_gadgets import configs, doctor
from inr_gadgets.doctor import Finding, examine, usable


def found(subject: str, findings: list[Finding]) -> Finding:
    (finding,) = [f for f in findings if f.subject == subject]
    return finding


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_this_machine_is_usable() -> None:
    findings = examine(free_port())
    assert usable(findings), [f for f in findings if f.state == "bad"]
    for name in ("python", "torch", "ismrmrd", "nufft finufft", "nufft torchkbnufft"):
        assert found(name, findings).state == "ok"
    assert found("torch devices", findings).text.startswith("cpu")
    assert "inr_dynamic" in found("configurations", findings).text


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = found(f"port {port}", examine(port))
    assert finding.state == "missing"
    assert finding.text == (
        f"Address already in use; stop what listens there or serve on another: inr-recon serve --port {port + 1}"
    )


def test_missing_packages_and_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    absent = {"h5py", "matplotlib"}
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    findings = examine(free_port())
    assert found("h5py", findings).text == "not installed; reinstall inr-recon: pip install inr-recon"
    assert found("extra pictures", findings).text == "matplotlib not installed: pip install 'inr-recon[pictures]'"
    assert found("extra pictures", findings).state == "missing"
    assert not usable(findings)


def test_a_package_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    findings = examine(free_port())
    assert found("nufft finufft", findings).state == "bad"
    assert "does not run" in found("nufft finufft", findings).text
    assert not usable(findings)


def test_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "config_folders", list)
    finding = found("configurations", examine(free_port()))
    with pytest.raises(ConfigError) as caught:
        configs.find_config("inr_dynamic")
    assert (finding.state, finding.text) == ("bad", str(caught.value))
