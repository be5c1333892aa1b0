"""Our gadgets behind gadgetron-python, with a stand-in for Gadgetron at the other end of the socket."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import ismrmrd
import numpy as np
import pytest
from gadgetron.external import connection as library

import wire
from inr_gadgets import external
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigText, Error, Header
from inr_gadgets.wire.wire_format import serialise

READOUTS = [serialise(wire.acquisition(i)) for i in range(4)]
IMAGES = [serialise(wire.image(i)) for i in (1, 2, 3)]
HEADER = Header(wire.HEADER_XML).pack()


def configuration(**properties: str) -> bytes:
    inner = "".join(f'<property name="{name}" value="{value}"/>' for name, value in properties.items())
    return ConfigText(f'<?xml version="1.0"?><configuration>{inner}</configuration>').pack()


def gadgetron(stream: bytes, target: Callable[[Any], None], *, end: bool = True) -> list[Any]:
    """Send a stream to a gadget that runs as gadgetron-python runs it; return what it sends, up to CLOSE."""
    ours, theirs = socket.socketpair()

    def child() -> None:
        with library.Connection(theirs) as connection:  # as in gadgetron/__main__.py
            target(connection)

    thread = threading.Thread(target=child)
    with ours, theirs:
        ours.sendall(stream)
        if end:
            ours.shutdown(socket.SHUT_WR)
        thread.start()
        items = list(Connection(ours))
        assert ours.recv(1) == b""  # one CLOSE and nothing after it
        ours.close()
        thread.join(10)
        assert not thread.is_alive()
    return items


def run(name: str, table: Any = wire.TABLE) -> Callable[[Any], None]:
    return lambda connection: external.run(name, connection, table)


def test_a_gadget_with_properties() -> None:
    stream = b"".join([configuration(spokes="4"), HEADER, *READOUTS, Close().pack()])
    (got,) = gadgetron(stream, run("buffer"))
    assert got.image_index == 1


@pytest.mark.parametrize("config", [configuration(), ConfigText("").pack(), ConfigText("\0").pack()])
def test_without_properties(config: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Gadgetron sends an empty text for an absent <configuration>, and the library then says None."""
    got = gadgetron(b"".join([config, HEADER, *READOUTS, Close().pack()]), run("buffer"))
    assert [item.image_index for item in got] == [1, 2]


def test_lines_are_logged_and_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    """TEXT from an external gadget kills Gadgetron's stream."""
    with caplog.at_level("INFO"):
        got = gadgetron(b"".join([configuration(), HEADER, *IMAGES, Close().pack()]), run("recon"))
    assert [item.image_index for item in got] == [1, 2, 3]
    assert all(isinstance(item, ismrmrd.Image) for item in got)
    assert "Gadgetron: recon: image 3 of 8 coils" in caplog.text


BAD = {
    "property": (
        [configuration(spoke="2"), HEADER, Close().pack()],
        0,
        "buffer has no parameter 'spoke'; expected one of",
    ),
    "type": ([configuration(spokes="x"), HEADER, Close().pack()], 0, "buffer.spokes = 'x'; expected a whole number"),
    "config": (
        [ConfigText("<configuration>").pack(), HEADER, Close().pack()],
        0,
        "the configuration of buffer is not XML (no element found: line 1, column 15); expected a configuration",
    ),
    "unknown id": (
        [configuration(), HEADER, *READOUTS, wire.message(1049)],
        2,
        "a message with the unknown id 1049; expected one of",
    ),
    "cut": ([configuration(), HEADER, *READOUTS, READOUTS[0][:50]], 2, "ACQUISITION message (id 1008) cut short"),
    "no CLOSE": (
        [configuration(), HEADER, *READOUTS],
        2,
        "the other side vanished: the connection ended after 4 items",
    ),
}


@pytest.mark.parametrize(("stream", "images", "line"), BAD.values(), ids=BAD)
def test_errors_are_error_messages(stream: list[bytes], images: int, line: str) -> None:
    *made, last = gadgetron(b"".join(stream), run("buffer"))
    assert [type(item) for item in made] == [ismrmrd.Image] * images
    assert isinstance(last, Error)
    assert last.text.startswith(f"buffer: {line}")


def test_errors_of_the_gadget_come_after_its_images() -> None:
    for parameter, line in (
        ("fail_at", "recon: image 3 is bad; expected a good one; try again"),
        ("crash_at", "recon: internal error: ZeroDivisionError: by nought; the gadget's log has the details"),
    ):
        stream = [configuration(**{parameter: "3"}), HEADER, *IMAGES, *IMAGES]
        one, two, error = gadgetron(b"".join(stream), run("recon"), end=False)
        assert [one.image_index, two.image_index] == [1, 2]
        assert error == Error(line)


def test_a_gadgetron_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"".join([configuration(), HEADER, *READOUTS]))
        with library.Connection(theirs) as connection:
            ours.close()
            run("buffer")(connection)
    assert "the other side is gone" in caplog.text


def test_the_targets_are_the_table_s_gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(external, "run", lambda name, connection: called.append((name, connection)))
    for name in external.GADGETS:
        getattr(external, name)("connection")
    assert called == [(name, "connection") for name in ("buffer", "recon", "image")]


def test_sizes_of_the_structures() -> None:
    """What the wire's layout rests on."""
    assert struct.calcsize("<H") == 2
    assert [
        len(bytes(kind())) for kind in (ismrmrd.AcquisitionHeader, ismrmrd.WaveformHeader, ismrmrd.ImageHeader)
    ] == [
        340,
        40,
        198,
    ]
    assert np.dtype(np.complex64).itemsize == 8
