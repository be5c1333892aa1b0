"""Many clients, one server: the address, the start, the end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ismrmrd
import pytest

import scans
import wire
from inr_core.errors import ConfigError, ParameterError
from inr_gadgets.serving.server import Server
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import ConfigText, Header, Text
from inr_gadgets.wire.wire_format import serialise

GOOD = wire.messages(6)
STREAM = b"".join(GOOD)
LINGER = ConfigText(wire.config_xml("buffer", "recon", recon_linger="true")).pack()


@pytest.fixture
def client(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        yield sock


def test_scans_one_after_the_other(server: Server) -> None:
    for _ in range(3):
        assert len(wire.talk(server.port, STREAM).images) == 3


def test_scans_at_once(server: Server) -> None:
    """Each of four clients has sent half before any sends the rest."""
    socks = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(4)]
    for sock in socks:
        sock.sendall(b"".join(GOOD[:6]))
    for sock in socks:
        assert Connection(sock).read() == Text("DBG: image 1 of 8 coils\n")
    for sock in reversed(socks):
        with sock:
            sock.sendall(b"".join(GOOD[6:]))
            assert len(wire.read_reply(sock).images) >= 2


def test_the_warm_up_runs_behind_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    go, done = threading.Event(), threading.Event()

    def warm(stopped: Callable[[], bool]) -> None:
        go.wait(10)
        done.set()
        raise ImportError("no torch")

    with Server(port=0, table=wire.TABLE, warm=warm) as server:
        assert len(wire.talk(server.port, STREAM).images) == 3
        go.set()
        assert done.wait(5)
    assert "the warm-up failed" in caplog.text
    assert "no torch" in caplog.text


def test_the_warm_up_makes_way_for_a_scan() -> None:
    asked: list[bool] = []
    go = threading.Event()

    def warm(stopped: Callable[[], bool]) -> None:
        asked.append(stopped())
        go.wait(10)
        asked.append(stopped())

    with Server(port=0, table=wire.TABLE, warm=warm) as server:
        assert wire.talk(server.port, GOOD[0] + GOOD[-1]).items == []  # somebody looked whether we are there
        for _ in range(100):
            if asked:
                break
            time.sleep(0.05)
        assert len(wire.talk(server.port, STREAM).images) == 3
        go.set()
    assert asked == [False, True]


def test_ending_in_the_middle_of_a_scan(server: Server, client: socket.socket) -> None:
    client.sendall(b"".join(GOOD[:5]))  # one image and half of the next
    ours = Connection(client)
    assert ours.read() == Text("DBG: image 1 of 8 coils\n")
    threading.Thread(target=server.stop, args=("the server was told to stop (SIGTERM)",)).start()
    rest = list(ours)
    assert [item.image_index for item in rest if isinstance(item, ismrmrd.Image)] == [1]
    assert rest[-1].text == "ERROR: the server was told to stop (SIGTERM); sent are the 1 images made so far\n"


def test_ending_while_a_gadget_works_after_the_scan(server: Server, client: socket.socket) -> None:
    client.sendall(b"".join([LINGER, *GOOD[1:]]))
    ours = Connection(client)
    while not (isinstance(item := ours.read(), ismrmrd.Image) and item.image_index == 99):
        pass
    threading.Thread(target=server.stop, args=("over",)).start()
    last, line = list(ours)
    assert last.image_index == 100  # the gadget sends what it has
    assert line.text == "ERROR: over; sent are the 5 images made so far\n"


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_ending_before_there_is_a_scan(server: Server, client: socket.socket, sent: int) -> None:
    client.sendall(b"".join(GOOD[:sent]))
    time.sleep(0.1)
    threading.Thread(target=server.stop, args=("over",)).start()
    assert wire.read_reply(client).texts == ["ERROR: over; no scan was running"]


def test_a_scan_that_does_not_end_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    stuck = threading.Event()

    class Stuck(wire.Collect):
        def process(self, items):
            for item in super().process(items):
                yield item
                stuck.wait(10)  # looks at nothing

    server = Server(port=0, table={"buffer": Stuck}, warm=None)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"".join([ConfigText(wire.config_xml("buffer")).pack(), *GOOD[1:]]))
        ours = Connection(sock)
        assert isinstance(ours.read(), ismrmrd.Image)
        threading.Timer(0.4, stuck.set).start()
        server.stop("over", within_s=0.2)
        assert "cut, as its scan did not end within 0.2 s" in caplog.text


def test_nobody_is_accepted_after_the_end(server: Server) -> None:
    server.stop("over")
    server.stop("again")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_a_port_that_is_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigError, match=r"127.0.0.1:\d+ cannot be listened on \(Address already in use\);.*; choose"),
    ):
        Server(port=other.getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70000), ("no such host.invalid", 0)])
def test_an_address_that_is_none(host: str, port: int) -> None:
    with pytest.raises(
        ConfigError, match=f"{host}:{port} cannot be listened on .*expected a free port of this machine"
    ):
        Server(host, port)


def test_an_override_that_no_gadget_has_is_refused_at_the_start() -> None:
    with pytest.raises(ParameterError, match=r"parameter 'buffer.spoke' is of no gadget here; expected one of buffer"):
        Server(port=0, table=wire.TABLE, overrides={"buffer.spoke": "3"})
    with pytest.raises(ParameterError, match=r"buffer.spokes = '0'; expected a number of at least 1"):
        Server(port=0, table=wire.TABLE, overrides={"buffer.spokes": "0"})


def test_an_override_of_the_real_gadgets_is_checked_without_torch() -> None:
    program = (
        "import sys; from inr_gadgets.serving.server import Server; "
        "Server(port=0, overrides={'recon.refine_passes': '3'});"
        "print('torch' in sys.modules)"
    )
    with python("-c", program, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=30)[0] == "False\n"


def test_one_scan_more_than_it_takes_is_refused() -> None:
    """Who only asks is answered all the same, and the slot is free again after the scan."""
    with Server(port=0, table=wire.TABLE, warm=None, limits=ServerLimits(scans=1)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"".join(GOOD[:5]))
            assert Connection(sock).read() == Text("DBG: image 1 of 8 coils\n")
            (line,) = wire.talk(server.port, STREAM).texts
            assert line == (
                "ERROR: one scan too many: this server is reconstructing as many as it takes at once; "
                "expected one of them to end first; send the scan again later"
            )
            assert wire.talk(server.port, GOOD[0] + GOOD[-1]).items == []
            sock.sendall(b"".join(GOOD[5:]))
            assert len(wire.read_reply(sock).images) >= 2
        assert len(wire.talk(server.port, STREAM).images) == 3


def test_a_client_for_whom_there_is_no_thread(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as held:  # its thread is there already
        assert wire.talk(server.port, GOOD[-1]).items == []
        monkeypatch.setattr(threading.Thread, "start", fail)
        line = "this server has no thread left for another client (can't start new thread)"
        assert wire.talk(server.port, b"").texts == [f"ERROR: {line}"]
        assert "refused (can't start new thread)" in caplog.text
        monkeypatch.setattr(threading.Thread, "start", start)
        held.sendall(GOOD[-1])
    assert len(wire.talk(server.port, STREAM).images) == 3


def test_the_end_may_come_while_a_client_s_thread_starts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accepting thread is held up between making a client's thread and starting it."""
    start, held, go = threading.Thread.start, threading.Event(), threading.Event()

    def slow(thread: threading.Thread) -> None:
        if thread.name.startswith("127.0.0.1:"):
            held.set()
            go.wait(10)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        assert held.wait(5)
        monkeypatch.setattr("inr_gadgets.serving.server._ACCEPT_S", 0.1)
        ender = threading.Thread(target=server.stop, args=("over",))
        start(ender)
        time.sleep(0.3)
        go.set()
        assert wire.read_reply(sock).texts == ["ERROR: over; no scan was running"]
        ender.join(10)
        assert not ender.is_alive()


def test_memory_that_is_more_than_a_scan_needs_is_given_back_after_every_client(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[int] = []
    monkeypatch.setattr("inr_gadgets.serving.server.give_pages_back", lambda above: kept.append(above))
    for _ in range(2):
        assert len(wire.talk(server.port, STREAM).images) == 3
    server.stop("over")
    assert kept == [256 << 20] * 2
    assert "Traceback" not in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file cannot be made \(File exists\); expected a folder for the scans"):
        Server(port=0, save=tmp_path / "file")


@pytest.mark.parametrize(("mode", "warned"), [(0o700, False), (0o750, True), (0o704, True)])
def test_the_folder_for_scans_is_the_owner_s_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    Server(port=0, save=tmp_path / "new", warm=None).stop("over")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert "open to other users" not in caplog.text
    (tmp_path / "new").chmod(mode)
    Server(port=0, save=tmp_path / "new", warm=None).stop("over")
    assert ("new holds patients' data and is open to other users; chmod 700 closes it" in caplog.text) == warned


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_a_warning_when_others_can_connect(host: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    with Server(host, 0, warm=None):
        assert ("whoever reaches this port" in caplog.text) == warned


def test_a_session_that_cannot_be_made_still_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inr_gadgets.serving.session", None)
    (line,) = wire.talk(server.port, STREAM, half_close=False).texts
    assert line.startswith("ERROR: the server is not fit to work: import of inr_gadgets.serving.session halted")


def python(*args: str, **kwargs: object) -> subprocess.Popen[str]:
    roots = [str(Path(module.__file__).parents[1]) for module in (sys.modules["inr_core"], sys.modules["inr_gadgets"])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *args], env=environment, text=True, stderr=subprocess.PIPE, **kwargs)


def test_nothing_heavy_is_imported_before_it_accepts() -> None:
    program = "import sys; from inr_gadgets.serving.server import Server; Server(port=0); print(*sys.modules)"
    with python("-c", program, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=30)
    heavy = {"torch", "numpy", "ismrmrd", "gadgetron", "h5py", "scipy", "finufft", "numba"}
    assert not heavy & set(out.split()), err
    assert "inr_gadgets.serving.server" in out.split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """In a process of its own: serve() from the start to exit code 0, with a client in the middle of a scan."""
    program = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s');"
        "from inr_gadgets.serving.server import serve; serve(port=0, warm=None)"
    )
    with python("-c", program) as process:
        try:
            line = next(one for one in process.stderr if "listening on" in one)
            with socket.create_connection(("127.0.0.1", int(line.split()[-1])), timeout=20) as sock:
                sock.sendall(b"".join(GOOD[:2]))
                while "sends Header" not in next(process.stderr):
                    pass
                process.send_signal(number)
                reply = wire.read_reply(sock)
            assert reply.texts == [f"ERROR: the server was told to stop ({number.name}); no scan was running"]
            assert process.wait(20) == 0
        finally:
            process.kill()
        assert "Traceback" not in process.stderr.read()


def listening_port(process: subprocess.Popen[str]) -> int:
    return int(next(line for line in process.stderr if "listening on" in line).split()[-1])


@pytest.mark.parametrize("stream", [STREAM, b"".join(GOOD[:3])], ids=["good", "cut"])
def test_once_ends_after_the_first_scan_however_it_went(stream: bytes) -> None:
    """A look at the port and a dependency query are no scans: they do not end it."""
    program = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s');"
        "from inr_gadgets.serving.server import serve; serve(port=0, warm=None, once=True)"
    )
    with python("-c", program) as process:
        try:
            port = listening_port(process)
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
            assert wire.talk(port, GOOD[0] + GOOD[-1]).items == []
            assert process.poll() is None
            assert wire.talk(port, stream).texts[-1].startswith("ERROR: ")  # these are not the gadgets of wire.TABLE
            assert process.wait(20) == 0
        finally:
            process.kill()
        log = process.stderr.read()
    assert "the one scan has ended" in log
    assert "Traceback" not in log


def test_a_cold_server_takes_its_scan_while_torch_is_loaded() -> None:
    """As a host that starts a container for each scan sees it: nobody waits for torch, the images come, exit code 0."""
    program = (
        "import logging, sys\n"
        "class WithTorch(logging.Formatter):\n"
        "    def format(self, record):\n"
        "        return f'torch {\"torch\" in sys.modules}: {super().format(record)}'\n"
        "handler = logging.StreamHandler(); handler.setFormatter(WithTorch())\n"
        "logging.basicConfig(level='INFO', handlers=[handler])\n"
        "from inr_gadgets.serving.server import serve\n"
        "serve(port=0, once=True)"
    )
    scan = [wire.config_file("nufft"), Header(scans.header_xml()).pack()]
    scan += [serialise(item) for item in scans.golden_scan(3)]
    with python("-c", program) as process:
        try:
            reply = wire.talk(listening_port(process), b"".join([*scan, GOOD[-1]]))
            assert len(reply.images) == 3
            assert process.wait(60) == 0
        finally:
            process.kill()
        log = process.stderr.read().splitlines()
    assert [line.split(":")[0] for line in log if "connected" in line] == ["torch False"]
    assert [line.split(":")[0] for line in log if "closed after" in line] == ["torch True"]


def test_a_server_that_ends_while_it_warms_up_does_so_cleanly() -> None:
    """A process that exits in the middle of torch's work would be aborted."""
    program = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s')\n"
        "from inr_gadgets.reconstruction import warming; from inr_gadgets.serving import server\n"
        "make = warming.make_live\n"
        "def told(*args):\n"
        "    logging.info('the toy scan begins'); return make(*args)\n"
        "warming.make_live = told\n"
        "server.serve(port=0)"
    )
    with python("-c", program) as process:
        try:
            said = next(line for line in process.stderr if "the toy scan begins" in line or "warm after" in line)
            assert "the toy scan begins" in said
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
        assert "terminate called" not in process.stderr.read()


def test_a_signal_that_another_thread_takes_ends_it() -> None:
    """The main thread is not interrupted by it, and has to notice nevertheless."""
    program = (
        "import signal, threading, time; from inr_gadgets.serving.server import serve\n"
        "def take(stopped):\n"
        "    time.sleep(0.3); signal.pthread_kill(threading.get_ident(), signal.SIGTERM); time.sleep(0.1)\n"
        "serve(port=0, warm=take)"
    )
    with python("-c", program) as process:
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert process.stderr.read() == ""


def test_the_second_signal_interrupts() -> None:
    program = (
        "import logging, signal, sys; logging.basicConfig(level='INFO', format='%(message)s');"
        "from inr_gadgets.serving.server import Server, serve;"
        "Server.stop = lambda *_: (signal.raise_signal(signal.SIGINT), sys.exit('not interrupted'));"
        "serve(port=0, warm=None)"
    )
    with python("-c", program) as process:
        next(one for one in process.stderr if "listening on" in one)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) != 0
        assert process.stderr.read().splitlines()[-1] == "KeyboardInterrupt"


def test_every_connection_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        wire.talk(server.port, STREAM)
        server.stop("over")
    assert "connected" in caplog.text
    assert "6 readouts in, 3 images out" in caplog.text
