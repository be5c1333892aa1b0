"""The demonstration: its server comes up, or says why not; everything that it promises lies in the folder."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_gadgets.demo import ServerProcess, ServerStartError, print_table, run_demo, serving
from inr_gadgets.image_file import read_series
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
    monkeypatch.setattr("inr_gadgets.demo._START_S", 0.2)
    server = ServerProcess(tmp_path / "serve.log")
    with pytest.raises(ServerStartError, match=r"is not ready after 0\.2 s; see .*serve\.log"):
        server.wait_until_ready()
    os.kill(server.pid, 0)  # it runs
    assert server.stop() != 0
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_the_server_listens_and_ends_cleanly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "serve.log") as port, socket.create_connection(("127.0.0.1", port)) as sock:
        connection = Connection(sock)
        connection.send(ConfigFile("inr_dynamic"))
        connection.send(Close())
        assert isinstance(connection.read(), Close)
    assert capfd.readouterr().err == ""  # it would say that the server ended with a code
    assert "SIGTERM" in (tmp_path / "serve.log").read_text()


def test_a_wrong_option_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="simulate has no parameter 'colour'"):
        run_demo(tmp_path / "out", colour="red")
    assert not (tmp_path / "out").exists()


def test_everything_that_is_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_demo(tmp_path, matrix=32, frames=5, spokes=13, coils=4)
    assert [row["series"] for row in result["series"]] == ["gridding", "live", "refined"]
    assert result["scan"]["live_frames"] == result["scan"]["refined_frames"] == 5
    assert result["scan"]["dropped_frames"] == 0
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    assert len(json.loads((tmp_path / "report.json").read_text())["frames"]) == 5
    for group, series in (("gridding", 1), ("inr", 1), ("inr", 2)):
        images, _, _ = read_series(tmp_path / "images.h5", series, group)
        assert images.shape == (5, 1, 1, 32, 32)
        assert np.ptp(images) > 0
    assert (tmp_path / "demo.gif").read_bytes().startswith(b"GIF8")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    print_table(result)
    table = capsys.readouterr().out
    assert "gridding" in table
    assert "5 live frames, 5 refined; latency" in table
