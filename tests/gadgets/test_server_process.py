"""A server in a process of its own: it comes up, or says why not, and ends cleanly."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from inr_gadgets.server_process import ServerProcess, ServerStartError, serving
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigFile


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell script stand in for Python, and so for the server."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


def test_a_server_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "echo 'inr-recon: no port' >&2; exit 1", monkeypatch)
    with pytest.raises(ServerStartError) as caught, serving(tmp_path / "serve.log"):
        pass
    assert str(caught.value) == (
        f"inr-recon serve ended at once (inr-recon: no port); expected it to listen; see {tmp_path / 'serve.log'}"
    )
    assert (tmp_path / "serve.log").read_text() == "inr-recon: no port\n"


def test_a_server_that_never_gets_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "echo 'listening on 127.0.0.1 port 9' >&2; exec sleep 60", monkeypatch)
    monkeypatch.setattr("inr_gadgets.server_process._START_S", 0.2)
    server = ServerProcess(tmp_path / "serve.log")
    with pytest.raises(ServerStartError, match=r"is not ready after 0\.2 s; see .*serve\.log"):
        server.wait_until_ready()
    os.kill(server.pid, 0)  # it runs
    assert server.stop() != 0
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_the_server_listens_and_ends_cleanly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "serve.log") as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        connection = Connection(sock)
        connection.send(ConfigFile("inr_dynamic"))
        connection.send(Close())
        assert isinstance(connection.read(), Close)
    assert capfd.readouterr().err == ""  # it would say that the server ended with a code
    assert "SIGTERM" in (tmp_path / "serve.log").read_text()
