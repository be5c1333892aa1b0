"""The health check: a server that answers, and everything that is no answer."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from inr_gadgets.cli import app
from inr_gadgets.serving.ping import NoAnswerError, ping
from inr_gadgets.serving.server import Server
from inr_gadgets.wire.messages import Close, ConfigFile, Query, Response, Text

QUERY = ConfigFile("inr_dynamic").pack() + Close().pack()
VERSION = Query("gadgetron::info", 1).pack() + Close().pack()


@contextlib.contextmanager
def answering(*pieces: bytes, hold: bool = False, question: bytes = QUERY) -> Iterator[tuple[int, list[bytes]]]:
    """A server that reads a dependency query and sends the pieces; yields its port and what it was asked."""
    asked: list[bytes] = []
    over = threading.Event()

    def answer() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as sock:
            asked.append(sock.recv(len(question), socket.MSG_WAITALL))
            for piece in pieces:
                sock.sendall(piece)
                over.wait(0.02)
            if hold:
                over.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield int(listener.getsockname()[1]), asked
        finally:
            over.set()
            thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_our_server_answers() -> None:
    with Server(port=0, warm=None) as server:
        for _ in range(2):
            assert 0 < ping("127.0.0.1", server.port, 30.0) < 30
            assert 0 < ping("127.0.0.1", server.port, 30.0, version=True) < 30


def test_what_is_asked_is_a_dependency_query() -> None:
    with answering(Close().pack()) as (port, asked):
        ping("127.0.0.1", port)
    assert asked == [QUERY]


def test_gadgetron_is_asked_for_its_version() -> None:
    """As its own client asks with -Q."""
    with answering(Response("Gadgetron Version Info", 1).pack(), Close().pack(), question=VERSION) as (port, asked):
        ping("127.0.0.1", port, version=True)
    assert asked == [VERSION]
    line = "answers with message 4; expected RESPONSE (7); is it an MRD server?"
    with answering(Close().pack(), question=VERSION) as (port, _), pytest.raises(NoAnswerError, match=re.escape(line)):
        ping("127.0.0.1", port, version=True)


def test_an_answer_in_two_pieces() -> None:
    with answering(Close().pack()[:1], Close().pack()[1:]) as (port, _):
        assert ping("127.0.0.1", port) > 0.01


@pytest.mark.parametrize(
    ("pieces", "line"),
    [
        (
            [Text("ERROR: the server is not fit to work: no torch\n").pack(), Close().pack()],
            "says: ERROR: the server is not fit to work: no torch; expected CLOSE (4); its log has the details",
        ),
        ([struct.pack("<H", 1022)], "answers with message 1022; expected CLOSE (4); is it an MRD server?"),
        ([b"HTTP/1.1 400 Bad Request"], "answers with message 21576; expected CLOSE (4); is it an MRD server?"),
        ([], "cannot be asked (the connection was ended without an answer); expected an MRD server; start one"),
        ([b"\x04"], "cannot be asked (the connection was ended without an answer); expected an MRD server; start one"),
    ],
)
def test_another_answer(pieces: list[bytes], line: str) -> None:
    with answering(*pieces) as (port, _), pytest.raises(NoAnswerError, match=re.escape(line)):
        ping("127.0.0.1", port)


@pytest.mark.parametrize("pieces", [[], [Text("x" * 200).pack()[:9]], [bytes([4])]])
def test_a_server_that_is_silent(pieces: list[bytes]) -> None:
    """Nothing, half a line, half a message: the time-out is the whole answer's."""
    with (
        answering(*pieces, hold=True) as (port, _),
        pytest.raises(
            NoAnswerError, match=rf"port {port} has not answered within 0\.3 s; expected CLOSE \(4\); look at"
        ),
    ):
        ping("127.0.0.1", port, 0.3)


def test_bytes_that_trickle_in_do_not_move_the_deadline() -> None:
    text = Text("x" * 200).pack()
    with (
        answering(*(text[i : i + 1] for i in range(len(text)))) as (port, _),
        pytest.raises(NoAnswerError, match=r"has not answered within 0\.2 s"),
    ):
        ping("127.0.0.1", port, 0.2)


def test_nobody_listens() -> None:
    port = free_port()
    line = rf"127\.0\.0\.1 port {port} cannot be asked \(Connection refused\); expected an MRD server; start one"
    with pytest.raises(NoAnswerError, match=line):
        ping("127.0.0.1", port)


def test_a_name_that_is_none() -> None:
    with pytest.raises(NoAnswerError, match=r"no\.such\.host\.invalid port 9002 cannot be asked \("):
        ping("no.such.host.invalid")


def test_the_command_says_yes_and_no_by_its_exit_code() -> None:
    with Server(port=0, warm=None) as server:
        words = ["ping", "--address", "127.0.0.1", "--timeout", "30", "--port", str(server.port)]
        result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert re.fullmatch(rf"127\.0\.0\.1 port {server.port} answers after \d+ ms\n", result.output)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "cannot be asked (Connection refused)" in result.output


def test_it_imports_nothing_heavy() -> None:
    """It runs every half minute beside the reconstruction."""
    heavy = ("torch", "numpy", "ismrmrd", "gadgetron", "h5py", "inr_gadgets.wire.messages")
    code = (
        "import sys\n"
        "sys.argv = ['inr-recon', 'ping', '--port', sys.argv[1]]\n"
        "from inr_gadgets.cli import app\n"
        "try:\n    app()\n"
        "except SystemExit as end:\n    assert end.code == 1, end.code\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    words = [sys.executable, "-c", code, str(free_port())]
    result = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "HEAVY []\n"
