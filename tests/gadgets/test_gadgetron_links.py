"""Our gadgets in an external node of Gadgetron, both forms, with a stand-in for it that checks every byte."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import gadgetron_stand_in as gadgetron
import wire
from gadgetron_stand_in import ABSENT, Sent, configuration, opening
from inr_gadgets.configs import find_config, parse_config, read_config
from inr_gadgets.replay import Replay
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.serving.worker import PORT, Worker
from inr_gadgets.simulate import simulate
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import ConfigFile
from inr_gadgets.wire.wire_format import serialise

FRAMES, SPOKES, COILS, N = 3, 5, 3, 24
EXACT = {"deterministic": "true", "refine_passes": "2", "virtual_coils": "2"}
Link = Callable[..., list[Sent]]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    return simulate(folder / "scan.h5", matrix=N, frames=FRAMES, spokes=SPOKES, coils=COILS, noise_scan=True).scan


@pytest.fixture(scope="module")
def header(scan: Path) -> str:
    with ScanFile(scan) as file:
        return file.header_xml.decode()


@pytest.fixture(scope="module")
def readouts(scan: Path) -> list[bytes]:
    with ScanFile(scan) as file:
        return [serialise(item) for item in file]


@pytest.fixture(scope="module")
def worker() -> Iterator[int]:
    with Worker(port=0, warm=None) as ours:
        yield ours.port


@pytest.fixture(params=["execute", "connect"])
def link(request: pytest.FixtureRequest, worker: int, tmp_path: Path, header: str) -> Link:
    """One link: a gadget, its properties and what Gadgetron sends it; what comes back."""

    def run(gadget: str, items: Sequence[bytes], **properties: object) -> list[Sent]:
        if request.param == "connect":
            return gadgetron.connect(worker, [opening(configuration(gadget, **properties), header), *items])
        messages = [opening(configuration(**properties), header), *items]
        sent, code, log = gadgetron.execute(gadget, messages, tmp_path)
        assert code == 0, log
        assert "Traceback" not in log
        return sent

    return run


def test_a_scan_through_three_links(worker: int, scan: Path, header: str, readouts: list[bytes]) -> None:
    """What one link sends is what the next one gets; the images are those of the chain in one process."""
    items: Sequence[bytes] = readouts
    for gadget, properties in {"buffer": {}, "recon": EXACT, "image": {}}.items():
        sent = gadgetron.connect(worker, [opening(configuration(gadget, **properties), header), *items])
        items = [message.raw for message in sent]
        assert (
            [message.identifier for message in sent] == [1023] * FRAMES if gadget == "buffer" else [1022] * 2 * FRAMES
        )
    expected = []
    with ScanFile(scan) as file:
        settings = {f"recon.{name}": value for name, value in EXACT.items()}
        Replay(settings=settings).images(file, expected.append, on_text=lambda line: None)
    found = [np.frombuffer(raw[-4 * N * N :], np.float32) for raw in items]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other.data.ravel()).max() <= 1e-4 * other.data.max()


def test_frames(link: Link, readouts: list[bytes]) -> None:
    sent = link("buffer", readouts, whiten="off")
    assert [message.shape for message in sent] == [(2 * N, SPOKES, COILS)] * FRAMES


def test_complex_images(link: Link, worker: int, header: str, readouts: list[bytes]) -> None:
    frames = gadgetron.connect(worker, [opening(configuration("buffer"), header), *readouts])
    sent = link("recon", [message.raw for message in frames], **EXACT)
    assert [message.shape for message in sent] == [(1, 1, N, N)] * 2 * FRAMES
    assert all("inr_frame" in message.text for message in sent)


def test_images(link: Link, header: str) -> None:
    sent = link("image", [serialise(wire.image(1)), serialise(wire.waveform()), serialise(wire.image(2))])
    assert [message.identifier for message in sent] == [1022, 1026, 1022]


def test_a_process_that_needs_no_torch_does_not_wait_for_it(
    header: str, readouts: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    for gadget, items in {"buffer": readouts, "image": [serialise(wire.image(1))]}.items():
        sent, _, log = gadgetron.execute(gadget, [opening(configuration(), header), *items], tmp_path)
        assert sent
        imported = {line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")}
        assert "inr_gadgets.serving.link" in imported
        assert not {"torch", "finufft", "matplotlib"} & imported


def test_errors(link: Link, readouts: list[bytes]) -> None:
    (error,) = link("buffer", readouts, spokes_per_frame="many")
    assert error.identifier == 8
    assert error.text == "buffer: buffer.spokes_per_frame = 'many'; expected a whole number"


def test_what_a_gadget_made_comes_before_its_error(worker: int, header: str, readouts: list[bytes]) -> None:
    stream = [opening(configuration("buffer"), header), *readouts, wire.message(65284)]
    *frames, error = gadgetron.connect(worker, stream)
    assert [frame.identifier for frame in frames] == [1023] * FRAMES
    assert error.text.startswith("buffer: a message with the unknown id 65284; expected one of 1 CONFIG_FILE")


@pytest.mark.parametrize("message", [wire.message(8, bytes(8)), wire.message(5, bytes(4))], ids=["ERROR", "TEXT"])
def test_messages_that_are_no_data_do_not_come_back(worker: int, header: str, message: bytes) -> None:
    """Found by fuzzing: the gadgets hand on what they do not know, and TEXT kills Gadgetron's stream."""
    image = serialise(wire.image(1))
    stream = [opening(configuration("image"), header), image, message]
    *images, error = gadgetron.connect(worker, stream)
    assert [one.identifier for one in images] == [1022]
    assert "message after the data began; expected what Gadgetron's gadgets hand on, and CLOSE" in error.text


def test_an_absent_configuration_has_no_properties(header: str, readouts: list[bytes], tmp_path: Path) -> None:
    """Gadgetron sends the XML declaration that is left of it, on which gadgetron-python's parser fails."""
    sent, code, log = gadgetron.execute("buffer", [opening(ABSENT, header), *readouts], tmp_path)
    assert code == 0, log
    assert [message.identifier for message in sent] == [1023] * FRAMES


def test_an_uncropped_trajectory_is_recognised(worker: int, header: str, scan: Path) -> None:
    """RemoveROOversampling halves samples and header, and leaves the coordinates."""
    with ScanFile(scan) as file:
        whole = next(item for item in file if item.trajectory_dimensions)
    head = whole.getHead()
    head.number_of_samples //= 2
    cropped = bytes(head) + whole.traj.tobytes() + whole.data[:, ::2].tobytes()
    stream = [opening(configuration("buffer"), header), wire.message(1008, cropped)]
    (error,) = gadgetron.connect(worker, stream)
    assert "take Gadgetron's RemoveROOversampling, which does not crop trajectories, out of the chain" in error.text


UNUSABLE = {
    "no gadget": (opening(configuration(), "<a/>"), "a <connect> node that does not say which gadget it is for"),
    "absent": (opening(ABSENT, "<a/>"), 'expected <configuration gadget="buffer">; one of buffer, recon, image'),
    "another gadget": (
        opening(configuration("system"), "<a/>"),
        "gadget 'system'; expected one of buffer, recon, image",
    ),
    "no XML": (opening("<configuration", "<a/>"), r"the configuration of the gadget is not XML"),
    "another element": (
        opening("<a/>", "<a/>"),
        r"<a> in place of the configuration of the gadget; expected <configuration>",
    ),
    "no header": (opening(configuration("image"), ""), "image: an empty header; expected an ISMRMRD header"),
    "header first": (wire.message(3, b"\0\0\0\0"), "a link that begins with Header; expected ConfigText and Header"),
    "data": (wire.message(2, b"\0\0\0\0") * 2, "a link that begins with ConfigText and ConfigText; expected"),
}


@pytest.mark.parametrize(("stream", "line"), UNUSABLE.values(), ids=UNUSABLE)
def test_links_that_cannot_be_served(worker: int, stream: bytes, line: str) -> None:
    (error,) = gadgetron.connect(worker, [stream])
    assert error.identifier == 8
    assert line in error.text
    assert "\n" not in error.text


def test_a_configuration_of_another_gadget(header: str, tmp_path: Path) -> None:
    (error,), _, _ = gadgetron.execute("buffer", [opening(configuration("image"), header)], tmp_path)
    assert error.text == "buffer: a configuration of gadget 'image' for target 'buffer'; expected the same in both"


def test_a_client_at_the_worker_s_port_reads_why_not(worker: int) -> None:
    reply = wire.talk(worker, ConfigFile("inr_dynamic.xml").pack())
    assert reply.texts == [
        "ERROR: this is a worker for Gadgetron's <connect>; clients connect to Gadgetron or to inr-recon serve"
    ]


@pytest.mark.parametrize("stream", [b"", gadgetron.CLOSE], ids=["nothing", "CLOSE"])
def test_a_look_at_the_port_is_no_error(worker: int, stream: bytes, caplog: pytest.LogCaptureFixture) -> None:
    reply = wire.talk(worker, stream)
    assert reply.items == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def stream_of(*items: bytes, gadget: str = "recon", **properties: object) -> list[bytes]:
    return [opening(configuration(gadget, **properties), wire.HEADER_XML), *items]


def test_many_links_at_once() -> None:
    """Each of four has begun before any ends."""
    image = serialise(wire.image(1))
    with Worker(port=0, table=wire.TABLE, warm=None) as ours:
        socks = [socket.create_connection(("127.0.0.1", ours.port), 10) for _ in range(4)]
        for sock in socks:
            sock.sendall(b"".join(stream_of(image)))
            assert sock.recv(len(image), socket.MSG_WAITALL) == image
        for sock in socks:
            with sock:
                assert [message.raw for message in gadgetron.exchange(sock, [image])] == [image]


def test_one_scan_more_than_it_takes_is_refused() -> None:
    image = serialise(wire.image(1))
    with (
        Worker(port=0, table=wire.TABLE, warm=None, limits=ServerLimits(scans=1)) as ours,
        socket.create_connection(("127.0.0.1", ours.port), 10) as busy,
    ):
        busy.sendall(b"".join(stream_of(image)))
        assert busy.recv(len(image), socket.MSG_WAITALL) == image
        (error,) = gadgetron.connect(ours.port, stream_of())
        assert "recon: one scan too many" in error.text
        assert gadgetron.exchange(busy, []) == []


def test_a_link_that_never_begins_is_told_why_it_ends() -> None:
    with (
        Worker(port=0, table=wire.TABLE, warm=None, limits=ServerLimits(header_s=0.2)) as ours,
        socket.create_connection(("127.0.0.1", ours.port), 10) as sock,
    ):
        (error,) = gadgetron.exchange(sock, [], close=False)
    assert error.text.startswith("no scan has begun after 0.2 s; expected a client that goes on")


def test_a_worker_that_is_told_to_stop() -> None:
    ours = Worker(port=0, table=wire.TABLE, warm=None)
    ours.start()
    with socket.create_connection(("127.0.0.1", ours.port), 10) as sock:
        sock.sendall(b"".join(stream_of(serialise(wire.image(1)), linger="true")))
        stopping = threading.Thread(target=ours.stop, args=("the worker was told to stop (SIGTERM)",))
        received = sock.recv(10, socket.MSG_WAITALL | socket.MSG_PEEK)
        assert received
        stopping.start()
        *images, error = gadgetron.exchange(sock, [], close=False)
        stopping.join(20)
    assert [message.identifier for message in images] == [1022] * 3
    assert error.text == "recon: the worker was told to stop (SIGTERM); sent are the 3 items made so far"


def test_a_gadgetron_that_ends_is_not_worked_for(caplog: pytest.LogCaptureFixture) -> None:
    """After CLOSE nobody reads the link: it is watched. The gadget would go on for 20 s."""
    image = serialise(wire.image(1))
    with Worker(port=0, table=wire.TABLE, warm=None) as ours:
        before = set(threading.enumerate())
        with socket.create_connection(("127.0.0.1", ours.port), 10) as sock:
            sock.sendall(b"".join(stream_of(image, gadgetron.CLOSE, linger="true")))
            assert sock.recv(len(image), socket.MSG_WAITALL) == image
        assert wire.no_threads_left(before, within_s=15)
    assert ": recon: left before the end of the reconstruction, which is stopped" in caplog.text


def test_the_configuration_with_connect_has_the_gadgets_and_properties_of_the_other() -> None:
    texts = {name: read_config(find_config(name)) for name in ("inr_dynamic", "inr_dynamic_connect")}
    execute, connect = (parse_config(text) for text in texts.values())
    assert execute.gadgets == connect.gadgets
    assert texts["inr_dynamic_connect"].count(f'<connect port="{PORT}" address="127.0.0.1"/>') == 3


def test_the_command(tmp_path: Path) -> None:
    """In a process of its own: from its first line to exit code 0 on SIGTERM, and a link in between."""
    image = serialise(wire.image(1))
    words = [sys.executable, "-m", "inr_gadgets.cli", "worker", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": gadgetron.roots(), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = int(next(line for line in process.stderr or () if "listening on" in line).split()[-1])
            sent = gadgetron.connect(port, [opening(configuration("image"), wire.HEADER_XML), image])
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert [message.shape for message in sent] == [(1, 1, 3, 4)]


def test_a_worker_that_is_not_fit_to_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker(port=0, warm=None) as ours:
        monkeypatch.setitem(sys.modules, "inr_gadgets.serving.link", None)
        (error,) = gadgetron.connect(ours.port, [])
    assert error.text.startswith("the server is not fit to work: import of inr_gadgets.serving.link halted")
