"""What a client may take of the server's time and memory, over a real socket."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

import scans
import wire
from inr_core.errors import ParameterError
from inr_core.methods import list_methods
from inr_core.parameters import describe, parse
from inr_gadgets.chain import GADGETS, gadget_class
from inr_gadgets.serving.request import Request
from inr_gadgets.serving.server import Server
from inr_gadgets.wire import limits as module
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.limits import ServerLimits, installed_bytes, resident_bytes
from inr_gadgets.wire.messages import ConfigText, Header, Query, Text
from inr_gadgets.wire.wire_format import serialise

GOOD = wire.messages(6)
CONFIG, HEADER, CLOSE = GOOD[0], GOOD[1], GOOD[-1]
STREAM = b"".join(GOOD)


@contextmanager
def serving(table: Any = None, **limits: float) -> Iterator[Server]:
    before = set(threading.enumerate())
    with Server(port=0, table=table or wire.TABLE, warm=None, limits=ServerLimits(**limits)) as server:
        yield server
    assert wire.no_threads_left(before)


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        yield sock


def only_error(server: Server, stream: bytes) -> str:
    (line,) = wire.talk(server.port, stream, half_close=False).texts
    return line.removeprefix("ERROR: ")


# --- time


@pytest.mark.parametrize("sent", [b"", CONFIG, CONFIG[:9]], ids=["nothing", "a configuration", "half of one"])
def test_a_client_that_never_begins_a_scan(sent: bytes) -> None:
    with serving(header_s=0.2) as server:
        assert only_error(server, sent) == (
            "no scan has begun after 0.2 s; expected a client that goes on; "
            "or inr-recon serve --set server.header_s=SECONDS"
        )


def test_one_that_only_asks_has_no_more_time() -> None:
    with serving(header_s=0.3) as server, connected(server) as sock:
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.02):
                sock.sendall(Query("are you there?").pack())

        asker = threading.Thread(target=ask)
        asker.start()
        lines = [item.text for item in Connection(sock)]
        ended.set()
        asker.join()
    assert lines[-1].startswith("ERROR: no scan has begun after 0.3 s")


def test_once_the_header_has_come_a_scan_may_wait() -> None:
    with serving(header_s=0.2) as server, connected(server) as sock:
        sock.sendall(CONFIG + HEADER)
        time.sleep(0.4)
        sock.sendall(b"".join(GOOD[2:]))
        assert len(wire.read_reply(sock).images) == 3


def test_a_scan_that_does_not_go_on() -> None:
    with serving(pause_s=0.2) as server:
        reply = wire.talk(server.port, b"".join(GOOD[:4]), half_close=False)
        assert len(reply.images) == 1
        assert reply.texts[-1].startswith("ERROR: nothing has come after 0.2 s; expected a client that goes on; or")


def test_a_message_that_comes_byte_by_byte() -> None:
    """Each byte in good time, the whole of it never."""
    with serving(message_s=0.3) as server, connected(server) as sock:
        sock.sendall(b"".join(GOOD[:2]))
        began, sent = time.monotonic(), 0
        try:
            while time.monotonic() - began < 10:
                sock.sendall(GOOD[2][sent : sent + 1])
                sent += 1
                time.sleep(0.01)
                if sent == 100:
                    break
        except OSError:
            pass
        (line,) = wire.read_reply(sock).texts
    assert line.startswith("ERROR: ACQUISITION message (id 1008) is still incomplete after 0.3 s; expected a client")


class Slow(wire.Collect):
    """Takes its time with every image."""

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in super().process(items):
            time.sleep(0.25)
            yield item


def test_our_own_time_is_not_the_client_s() -> None:
    with serving({"buffer": Slow}, pause_s=0.1, message_s=0.1) as server:
        stream = [ConfigText(wire.config_xml("buffer")).pack(), *GOOD[1:]]
        assert len(wire.talk(server.port, b"".join(stream)).images) == 3


class Large(wire.Collect):
    """A large image for every readout."""

    made = 0

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if isinstance(item, ismrmrd.Acquisition):
                type(self).made += 1
                yield ismrmrd.Image.from_array(np.zeros((1024, 1024), np.float32), transpose=False)


def test_a_client_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Not one image more is made than the sockets hold, and the time is over for all who want to tell it something."""
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    with serving({"buffer": Large}, send_s=0.3) as server, connected(server) as sock:
        opening = [ConfigText(wire.config_xml("buffer")).pack(), HEADER]
        sock.sendall(b"".join([*opening, *(serialise(wire.acquisition(i)) for i in range(30))]))
        while "closed after" not in caplog.text and time.monotonic() - began < 10:
            time.sleep(0.02)
    assert "the other side has not taken in time what was sent to it; expected it to read" in caplog.text
    assert Large.made < 10
    assert time.monotonic() - began < 10


# --- numbers and sizes


def test_one_connection_too_many() -> None:
    with serving(connections=2) as server:
        with connected(server) as first:
            with connected(server) as second:
                second.sendall(CONFIG)
                time.sleep(0.1)
                line = "one connection too many: this server has 2; expected one of them to end first; try again later"
                assert only_error(server, b"") == line
            first.sendall(STREAM)
            assert len(wire.read_reply(first).images) == 3
        deadline = time.monotonic() + 10
        while (reply := wire.talk(server.port, STREAM)).images == [] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(reply.images) == 3


def test_hundreds_of_connects_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with serving(connections=8) as server:
        for _ in range(300):
            socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
        deadline = time.monotonic() + 10
        while wire.talk(server.port, STREAM).images == [] and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert "Traceback" not in caplog.text


def test_a_size_that_is_only_announced_takes_no_memory() -> None:
    head = wire.acquisition().getHead()
    head.number_of_samples, head.active_channels = 60_000, 128
    with serving() as server:
        before = resident_bytes()
        socks = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(8)]
        for sock in socks:
            sock.sendall(b"".join([CONFIG, HEADER, wire.message(1008, bytes(head))]))
        time.sleep(0.5)
        grown = resident_bytes() - before
        for sock in socks:
            sock.close()
    assert grown < 60_000 * 128 * 8


def test_a_readout_that_is_larger_than_this_server_takes() -> None:
    readout = serialise(wire.acquisition(samples=60_000, channels=8))
    with serving(message_mib=1) as server:
        assert only_error(server, CONFIG + HEADER + readout).startswith(
            "ACQUISITION message (id 1008) of 4320340 bytes or more; expected at most 1048576"
        )


@pytest.mark.parametrize("message", [Text("x" * (1 << 20)), ConfigText("x" * (1 << 20)), Query("x" * (1 << 20))])
def test_texts_that_are_larger_than_this_server_takes(message: Any) -> None:
    with serving() as server:
        assert "bytes or more; expected at most 1048576" in only_error(server, message.pack())


def test_an_image_that_is_larger_than_this_server_makes() -> None:
    header = Header(scans.header_xml(matrix=(32, 2048, 1))).pack()
    with serving() as server:
        assert only_error(server, CONFIG + header) == (
            "a reconstructed matrix of 32 x 2048; expected at most 1024 pixels each way on this server; "
            "inr-recon serve --set server.matrix=PIXELS"
        )


def test_a_scan_that_is_longer_than_this_server_takes() -> None:
    readout = serialise(wire.acquisition(samples=6_000, channels=8))
    with serving(scan_gib=0.001) as server:
        reply = wire.talk(server.port, b"".join([CONFIG, HEADER, *[readout] * 4, CLOSE]))
        assert len(reply.images) == 1
        assert reply.texts[-1] == (
            "ERROR: a scan of more than 0.001 GiB; expected a shorter one; or inr-recon serve --set server.scan_gib=GIB"
        )


def test_no_scan_begins_when_the_memory_is_full() -> None:
    with serving(memory_gib=0.001) as server:
        line = only_error(server, STREAM)
        assert line.startswith("the server's memory is full: ")
        assert line.endswith(
            " GiB; expected at most 0.001; send fewer scans at once, shorter ones, "
            "or inr-recon serve --set server.memory_gib=GIB"
        )
        assert wire.talk(server.port, CONFIG + CLOSE).items == []


def test_a_scan_ends_when_the_memory_fills_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0, 0, 1 << 40, 1 << 40])
    monkeypatch.setattr("inr_gadgets.serving.allowance.resident_bytes", lambda: next(looks))
    monkeypatch.setattr("inr_gadgets.serving.allowance._STEP_BYTES", 1000)
    with serving(memory_gib=512) as server:
        reply = wire.talk(server.port, STREAM)
        assert 0 < len(reply.images) < 3
        assert reply.texts[-1].startswith("ERROR: the server's memory is full: 1.02e+03 GiB; expected at most 512;")


def json_text(parameters: dict[str, object]) -> bytes:
    return Text(json.dumps({"parameters": parameters})).pack()


def test_more_parameters_than_there_can_be() -> None:
    parts = [json_text({f"a{i}": 1 for i in range(first, first + 400)}) for first in (0, 400, 800)]
    with serving() as server:
        assert only_error(server, b"".join([CONFIG, HEADER, *parts])).startswith("more than 1000 parameters; expected")
        assert only_error(server, CONFIG + HEADER + json_text({"a" * 201: 1})).startswith(
            "a parameter's name of more than 200 characters; expected {"
        )


def test_a_client_sets_no_limit() -> None:
    with serving() as server:
        line = only_error(server, b"".join([CONFIG, HEADER, json_text({"server.memory_gib": 9}), *GOOD[2:]]))
        assert line.startswith("parameter 'server.memory_gib' is of no gadget here; expected one of buffer.spokes")


def path_parameters() -> list[tuple[str, str]]:
    """(gadget, name) of every parameter of any gadget or method that names a file."""
    kinds = [(target, gadget_class(target).parameter_type) for target in GADGETS]
    kinds += [("recon", method.parameter_type) for method in list_methods()]
    return sorted({(target, str(row["name"])) for target, kind in kinds for row in describe(kind) if row["path"]})


@pytest.mark.parametrize("spelling", ["{0}.{1}", "{1}", "{0}{1}", "{0}.{0}.{1}"])
@pytest.mark.parametrize(("gadget", "name"), path_parameters())
def test_no_file_of_a_client_s_is_ever_named(gadget: str, name: str, spelling: str) -> None:
    """Whatever parameter comes to name a file, and however it is spelt."""
    for written in (spelling.format(gadget, name), spelling.format(gadget, name).replace("_", "").upper()):
        request = Request(parameters={written: "/etc/passwd"})
        with pytest.raises(ParameterError, match=rf"parameter {re.escape(written)} from a client; expected files"):
            request.settings()


def test_limits_are_parameters() -> None:
    assert parse(ServerLimits, {"pauses": "5"}, "server").pause_s == 5
    with pytest.raises(ParameterError, match=r"server.scans = '0'; expected a number from 1 to 256"):
        parse(ServerLimits, {"scans": "0"}, "server")


def test_the_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = installed_bytes()
    file = tmp_path / "memory.max"
    monkeypatch.setattr(module, "_CGROUP", file)
    assert installed_bytes() >= machine
    file.write_text("max\n")
    assert installed_bytes() >= machine
    file.write_text("1000000\n")
    assert installed_bytes() == 1_000_000
    assert ServerLimits().memory_bytes == 800_000
    assert ServerLimits(memory_gib=2).memory_bytes == 2 << 30


# --- the patient


PATIENT = "Muster^Erika"


def test_nothing_of_the_patient_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in a good scan nor in one that fails, nor where a value cannot be read."""
    subject = (
        f"<subjectInformation><patientName>{PATIENT}</patientName><patientWeight_kg>{PATIENT}</patientWeight_kg>"
        f"<patientID>{PATIENT}</patientID><patientBirthdate>{PATIENT}</patientBirthdate></subjectInformation>"
    )
    header = wire.HEADER_XML.replace("<experimentalConditions>", subject + "<experimentalConditions>")
    said = Text(f"hello {PATIENT}").pack()
    with caplog.at_level(logging.DEBUG), serving() as server:
        for xml in (header, header.replace("radial<", "<"), header.replace("</encoding>", "")):
            wire.talk(server.port, b"".join([CONFIG, said, Header(xml).pack(), said, *GOOD[2:]]))
        wire.talk(server.port, b"".join([CONFIG, Header(header).pack(), *GOOD[2:5], Header(header).pack()]))
    assert "6 readouts in, 3 images out" in caplog.text
    assert "ERROR" in caplog.text
    assert "Muster" not in caplog.text
    assert "Muster" not in "".join(capfd.readouterr())


def test_without_proc_the_memory_is_the_most_that_was_ever_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in FIRE's chroot, into which the host may not mount it."""
    now = resident_bytes()
    monkeypatch.setattr(module, "_STATM", tmp_path / "statm")
    assert 0.9 * now < resident_bytes() < installed_bytes()
    with Server(port=0, table=wire.TABLE, warm=None) as server:
        assert len(wire.talk(server.port, b"".join(wire.messages(6))).images) == 3
