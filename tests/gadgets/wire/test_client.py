"""The client against scripted servers: both directions at once, refusals, silence, a server that vanishes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import ConfigError, ProtocolError
from inr_gadgets.wire.client import ServerError, is_path, send_scan
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header, Text
from scans import smallest_header

HEADER = smallest_header(tr_ms=0.5)


class Scan:
    """A scan in memory, as the client sees a ScanFile."""

    header_xml = HEADER

    def __init__(self, n: int, samples: int = 16, fails_at: int | None = None) -> None:
        self.n, self.samples, self.fails_at = n, samples, fails_at

    def __iter__(self) -> Iterator[Any]:
        for i in range(self.n):
            if i == self.fails_at:
                raise OSError(5, "Input/output error", "scan.h5")
            readout = ismrmrd.Acquisition.from_array(np.full((2, self.samples), i, np.complex64))
            readout.scan_counter = i
            yield readout
            if i == 1:
                yield ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32))


def image(i: int, side: int = 8) -> ismrmrd.Image:
    made = ismrmrd.Image.from_array(np.full((side, side), i, np.float32), transpose=False)
    made.image_series_index = 1
    return made


@contextlib.contextmanager
def serving(script: Callable[[Connection, socket.socket], None]) -> Iterator[int]:
    """Run the script for one client on a free port; its exception fails the test."""
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            try:
                sock, _ = listening.accept()
                with sock:
                    script(Connection(sock), sock)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_everything_there_and_back(tmp_path: Path) -> None:
    got: list[Any] = []

    def script(connection: Connection, _: socket.socket) -> None:
        for message in connection:
            got.append(message)
            if isinstance(message, ismrmrd.Acquisition):
                connection.send(image(message.scan_counter))
        connection.send(Text("two\x1b[2J lines\n\nat the end"))
        connection.finish()

    images: list[float] = []
    lines: list[str] = []
    sent: list[int] = []
    with serving(script) as port:
        exchange = send_scan(
            "127.0.0.1",
            port,
            "inr_dynamic",
            Scan(5),
            settings={"recon.virtual_coils": "6"},
            pace="scan",
            on_image=lambda i: images.append(float(i.data.max())),
            on_text=lines.append,
            on_sent=sent.append,
        )
    assert got[0] == ConfigFile("inr_dynamic")
    assert got[1] == Header(HEADER.decode())
    assert json.loads(got[2].text) == {"version": "1.0", "parameters": {"recon.virtual_coils": "6"}}
    kinds = [type(item).__name__[0] for item in got[3:]]
    assert "".join(kinds) == "AAWAAA"
    np.testing.assert_array_equal(got[-1].data, np.full((2, 16), 4, np.complex64))
    assert images == [0, 1, 2, 3, 4]
    assert lines == ["two [2J lines", "at the end"]
    assert sent == [1, 2, 3, 4, 5]
    assert (exchange.readouts, exchange.waveforms, exchange.images) == (5, 1, 5)


def test_a_file_is_sent_as_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.xml"
    file.write_text("<configuration/>")
    got: list[Any] = []

    def script(connection: Connection, _: socket.socket) -> None:
        got.extend(connection)
        connection.finish()

    with serving(script) as port:
        send_scan("127.0.0.1", port, file, Scan(1))
    assert got[0] == ConfigText("<configuration/>")
    assert not any(isinstance(message, Text) for message in got)


def test_a_name_is_not_a_path() -> None:
    assert not is_path("inr_dynamic.xml")
    assert is_path("./inr_dynamic.xml")
    assert is_path(Path("inr_dynamic.xml"))


def test_no_deadlock_when_both_send_more_than_the_sockets_hold() -> None:
    """The server takes nothing while it sends 32 MB, and the client has 32 MB to send."""

    def script(connection: Connection, _: socket.socket) -> None:
        for i in range(32):
            connection.send(image(i, 512))
        for _item in connection:
            pass
        connection.finish()

    with serving(script) as port:
        exchange = send_scan("127.0.0.1", port, "x", Scan(32, samples=60000), timeout_s=20)
    assert (exchange.readouts, exchange.images) == (32, 32)


def test_a_refusal_ends_with_the_servers_line_and_keeps_the_images() -> None:
    def script(connection: Connection, _: socket.socket) -> None:
        connection.read()
        connection.send(image(1))
        connection.send(Text("one image so far"))
        connection.send(Text("ERROR: there is no configuration 'x'; expected one of a, b"))
        connection.finish()

    images: list[Any] = []
    lines: list[str] = []
    with serving(script) as port, pytest.raises(ServerError) as caught:
        send_scan("127.0.0.1", port, "x", Scan(3000, samples=2000), on_image=images.append, on_text=lines.append)
    assert str(caught.value) == "the server says: ERROR: there is no configuration 'x'; expected one of a, b"
    assert len(images) == 1
    assert lines == ["one image so far"]


def test_a_server_that_closes_early() -> None:
    def script(connection: Connection, _: socket.socket) -> None:
        for _i in range(5):
            connection.read()
        connection.send(Text("the server is being stopped"))
        connection.finish()

    with serving(script) as port, pytest.raises(ServerError) as caught:
        send_scan("127.0.0.1", port, "x", Scan(10000, samples=20000))
    assert "the server closed after" in str(caught.value)
    assert str(caught.value).endswith("expected it to take the whole scan; the server is being stopped")


@pytest.mark.parametrize(("reads", "expected"), [(True, "sent nothing more"), (False, "took no more readouts")])
def test_a_silent_server(reads: bool, expected: str) -> None:
    done = threading.Event()

    def script(connection: Connection, _: socket.socket) -> None:
        if reads:
            for _item in connection:
                pass
        done.wait(10)

    with serving(script) as port:
        with pytest.raises(ServerError) as caught:
            send_scan("127.0.0.1", port, "x", Scan(64, samples=60000), timeout_s=0.3)
        done.set()
    assert str(caught.value) == (
        f"the server {expected} for 0.3 s; expected images or CLOSE; "
        "look at the server's log, or wait longer with --timeout"
    )


def test_a_server_that_vanishes() -> None:
    def script(connection: Connection, sock: socket.socket) -> None:
        for _item in connection:
            pass
        sock.shutdown(socket.SHUT_RDWR)

    with serving(script) as port, pytest.raises(ProtocolError, match=r"ended after 0 items; expected CLOSE"):
        send_scan("127.0.0.1", port, "x", Scan(3))


def test_a_server_that_speaks_another_protocol() -> None:
    def script(connection: Connection, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n")
        with contextlib.suppress(ProtocolError):
            for _item in connection:
                pass

    with serving(script) as port, pytest.raises(ProtocolError, match="unknown id 21576"):
        send_scan("127.0.0.1", port, "x", Scan(3))


def test_readouts_from_a_server() -> None:
    def script(connection: Connection, _: socket.socket) -> None:
        with contextlib.suppress(ProtocolError):
            connection.send(next(iter(Scan(1))))
            for _item in connection:
                pass

    with serving(script) as port, pytest.raises(ProtocolError, match="the server sent a Acquisition; expected images"):
        send_scan("127.0.0.1", port, "x", Scan(3))


def test_a_scan_that_cannot_be_read_to_its_end() -> None:
    def script(connection: Connection, _: socket.socket) -> None:
        with contextlib.suppress(ProtocolError):
            for _item in connection:
                pass

    with serving(script) as port, pytest.raises(OSError, match="Input/output error"):
        send_scan("127.0.0.1", port, "x", Scan(5, fails_at=3))


def test_an_image_that_cannot_be_kept() -> None:
    def script(connection: Connection, _: socket.socket) -> None:
        connection.send(image(0))
        with contextlib.suppress(ProtocolError):
            for _item in connection:
                pass

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device", "out.h5")

    with serving(script) as port, pytest.raises(OSError, match="No space left"):
        send_scan("127.0.0.1", port, "x", Scan(3), on_image=full)


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())

    def script(connection: Connection, _: socket.socket) -> None:
        assert not isinstance(connection.read(), Close)
        connection.finish()

    with serving(script) as port, pytest.raises(ServerError):
        send_scan("127.0.0.1", port, "x", Scan(10000, samples=20000), pace="scan", speed=0.01)
    assert set(threading.enumerate()) <= before


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServerError) as caught:
        send_scan("127.0.0.1", port, "x", Scan(1), connect_timeout_s=0.1)
    assert str(caught.value) == (
        f"nothing listens at 127.0.0.1 port {port}; expected an MRD server; start one: inr-recon serve"
    )


def test_a_server_that_is_only_just_starting_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def start_late() -> None:
        with socket.create_server(("127.0.0.1", port)) as listening:
            sock, _ = listening.accept()
            with sock:
                connection = Connection(sock)
                for _item in connection:
                    pass
                connection.finish()

    timer = threading.Timer(0.3, start_late)
    timer.start()
    exchange = send_scan("127.0.0.1", port, "x", Scan(2), connect_timeout_s=10)
    timer.join()
    assert exchange.readouts == 2


def test_a_configuration_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        send_scan("127.0.0.1", 1, tmp_path / "none.xml", Scan(1))
    assert str(caught.value) == (
        f"{tmp_path / 'none.xml'} cannot be read (No such file or directory); expected a configuration file"
    )


def test_a_configuration_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"\x89HDF\r\n\xff")
    with pytest.raises(ConfigError, match=r"is not text; expected a configuration in UTF-8"):
        send_scan("127.0.0.1", 1, tmp_path / "scan.h5", Scan(1))
