"""One client over a real socket: what it may send, and what it is told when that is wrong."""

from __future__ import annotations

import json
import logging
import random
import socket
import struct
import threading
import time
from pathlib import Path

import ismrmrd
import pytest

import scans
import wire
from inr_gadgets.chain import GADGETS
from inr_gadgets.serving.server import Server
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header, Query, Response, Text
from inr_gadgets.wire.wire_format import serialise

GOOD = wire.messages(6)
CONFIG, HEADER, CLOSE = GOOD[0], GOOD[1], GOOD[-1]
DATA = GOOD[2:-1]
FRAMES = [f"image {number} of 8 coils" for number in (1, 2, 3)]


def parameters(**values: object) -> str:
    return json.dumps({"version": "1.0", "parameters": values})


def expect_good(server: Server) -> None:
    """The server lives on: a good client is served as if nothing had been."""
    reply = wire.talk(server.port, b"".join(GOOD))
    assert [one.image_index for one in reply.images] == [1, 2, 3]
    assert reply.texts == FRAMES
    assert reply.closed


def test_a_good_scan(server: Server) -> None:
    expect_good(server)


def test_images_flow_while_the_scan_runs(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"".join(GOOD[:5]))
        ours = Connection(sock)
        assert ours.read() == Text("DBG: image 1 of 8 coils\n")
        first = ours.read()
        assert first.image_index == 1
        assert 0 <= float(first.meta["seconds_since_arrival"]) < 5  # the readouts carry their time of arrival
        sock.sendall(b"".join(GOOD[5:]))
        assert len([item for item in ours if isinstance(item, ismrmrd.Image)]) == 2


def test_only_images_and_text_go_back(server: Server) -> None:
    """The gadgets let waveforms through; Gadgetron's client would abort on them."""
    reply = wire.talk(server.port, STREAM)
    assert {type(item) for item in reply.items} == {Text, ismrmrd.Image}
    gadget = wire.Collect(None)
    assert wire.waveform() in list(gadget.process([wire.waveform()]))


def test_after_close_nothing_is_read(server: Server) -> None:
    reply = wire.talk(server.port, b"".join(GOOD) + b"\xff" * 1000)
    assert len(reply.images) == 3
    assert reply.texts == FRAMES


# What Gadgetron's client sends on a connection of its own when a header names a noise scan as a dependency.
NOISE_QUERY = ConfigText("<gadgetronStreamConfiguration><gadget><name>NoiseSummary</name></gadget></...").pack()


@pytest.mark.parametrize(
    "message", [ConfigFile("inr_dynamic").pack(), ConfigFile("whatever").pack(), CONFIG, NOISE_QUERY]
)
def test_a_dependency_query_is_answered_by_close(server: Server, message: bytes) -> None:
    reply = wire.talk(server.port, message + CLOSE)
    assert reply.items == []
    assert reply.closed


def test_only_close(server: Server) -> None:
    assert wire.talk(server.port, CLOSE).items == []


def test_only_a_query(server: Server) -> None:
    """As Gadgetron's client with -Q sends it."""
    (answer,) = wire.talk(server.port, Query("gadgetron::info", 7).pack() + CLOSE, half_close=False).items
    assert answer.correlation == 7


def test_a_query_at_any_time(server: Server) -> None:
    query = Query("gadgetron::info", 42).pack()
    reply = wire.talk(server.port, b"".join([query, CONFIG, query, HEADER, *DATA[:1], query, CLOSE]))
    assert [item.correlation for item in reply.items] == [42, 42, 42]
    assert all(isinstance(item, Response) and item.text.startswith("inr-recon") for item in reply.items)


@pytest.mark.parametrize("kind", [Text, ConfigText])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("end", ["", "\0"])
def test_json_after_or_before_the_header(server: Server, kind, before: bool, end: str) -> None:
    override = kind(parameters(spokes=3, linger="False", virtualcoils=5) + end).pack()
    opening = [CONFIG, override, HEADER] if before else [CONFIG, HEADER, override]
    reply = wire.talk(server.port, b"".join([*opening, *DATA, CLOSE]))
    assert len(reply.images) == 2
    assert reply.texts == ["image 1 of 5 coils", "image 2 of 5 coils"]


def test_of_text_that_is_only_said_the_length_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    said = Text("patient\nmoved").pack()
    with caplog.at_level(logging.INFO):
        reply = wire.talk(server.port, b"".join([CONFIG, HEADER, said, *DATA, said, CLOSE]))
    assert len(reply.images) == 3
    assert caplog.text.count("says something, 13 characters") == 2
    assert "moved" not in caplog.text


@pytest.mark.parametrize("key", ["config", "customconfig"])
def test_json_names_the_configuration(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    folder = tmp_path / "share" / "gadgetron" / "config"
    folder.mkdir(parents=True)
    (folder / "threes.xml").write_text(wire.config_xml("buffer", buffer_spokes="3"))
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    names = {"config": "openrecon"} | {key: "threes"}
    stream = [ConfigFile("default").pack(), HEADER, Text(parameters(**names)).pack(), *DATA, CLOSE]
    assert len(wire.talk(server.port, b"".join(stream)).images) == 2


@pytest.mark.parametrize("kind", [Text, ConfigText])
def test_json_may_stand_in_place_of_the_configuration(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Text] | type[ConfigText]
) -> None:
    folder = tmp_path / "share" / "gadgetron" / "config"
    folder.mkdir(parents=True)
    (folder / "twos.xml").write_text(wire.CONFIG_XML)
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    named = kind(parameters(config="twos", spokes=3)).pack()
    assert len(wire.talk(server.port, b"".join([named, *GOOD[1:]])).images) == 2
    query = wire.talk(server.port, named + CLOSE)
    assert (query.items, query.closed) == ([], True)


def test_configuration_by_name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "share" / "gadgetron" / "config"
    folder.mkdir(parents=True)
    (folder / "twos.xml").write_text(wire.CONFIG_XML)
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    for name in ("twos", "twos.xml"):
        assert len(wire.talk(server.port, b"".join([ConfigFile(name).pack(), *GOOD[1:]])).images) == 3


def test_the_server_s_overrides() -> None:
    with Server(port=0, table=wire.TABLE, warm=None, overrides={"buffer.spokes": "6"}) as server:
        assert len(wire.talk(server.port, b"".join(GOOD)).images) == 1


def bad_config(text: str) -> list[bytes]:
    return [ConfigText(text).pack(), *GOOD[1:]]


def bad_json(text: str) -> list[bytes]:
    return [CONFIG, HEADER, Text(text).pack(), *DATA, CLOSE]


COMPRESSED = wire.acquisition()
COMPRESSED.setFlag(53)
HUGE = wire.acquisition().getHead()
HUGE.number_of_samples, HUGE.active_channels = 65535, 1024
# What is sent, the number of images that come first, and the one line that ends it.
BAD = {
    "unknown id": (
        [*GOOD[:7], wire.message(999)],
        2,
        "a message with the unknown id 999; expected one of 1 CONFIG_FILE",
    ),
    "unknown id at once": ([wire.message(999)], 0, "a message with the unknown id 999"),
    "not MRD": ([b"GET / HTTP/1.1\r\n\r\n"], 0, "a message with the unknown id 17735; expected one of"),
    "unknown config": (
        [ConfigFile("nope").pack(), *GOOD[1:]],
        0,
        "configuration 'nope'; expected one of cg_sense, flow, grasp, inr_dynamic",
    ),
    "no config's name": ([ConfigFile("").pack(), *GOOD[1:]], 0, "no name of a configuration; expected one of cg_sense"),
    "config's path": (
        [ConfigFile("../a.xml").pack(), *GOOD[1:]],
        0,
        "configuration '../a.xml', which is a path; expected",
    ),
    "config's newline": (
        [ConfigFile("a\nERROR: b").pack(), *GOOD[1:]],
        0,
        "configuration 'a ERROR: b'; expected one of",
    ),
    "malformed config": (bad_config("<configuration>"), 0, "the configuration is not XML (no element found"),
    "DOCTYPE": (
        bad_config("<!DOCTYPE a><a/>"),
        0,
        "the configuration with a DOCTYPE; expected XML without",
    ),
    "C++ gadget": (
        bad_config(
            wire.CONFIG_XML.replace("<stream>", "<stream><gadget><classname>NoiseAdjustGadget</classname></gadget>")
        ),
        0,
        "the configuration asks for <gadget> NoiseAdjustGadget",
    ),
    "foreign module": (
        bad_config(wire.CONFIG_XML.replace("inr_gadgets.external", "os")),
        0,
        "the configuration asks for 'buffer' of module 'os'",
    ),
    "bad property": (
        bad_config(wire.config_xml("buffer", buffer_spokes="0")),
        0,
        "buffer.spokes = '0'; expected a number of at least 1",
    ),
    "malformed header": ([CONFIG, Header("<ismrmrdHeader>").pack(), *DATA, CLOSE], 0, ""),
    "empty header": ([CONFIG, Header("").pack(), *DATA, CLOSE], 0, ""),
    "header not UTF-8": ([CONFIG, wire.message(3, b"\x01\0\0\0\xff")], 0, "the header is not UTF-8 (byte 0)"),
    "no acquisitions": (
        [CONFIG, HEADER, CLOSE],
        0,
        "a scan without a single acquisition; expected acquisitions between",
    ),
    "only waveforms": ([CONFIG, HEADER, serialise(wire.waveform()), CLOSE], 0, "a scan without a single acquisition"),
    "no acquisitions, bad config": (
        [ConfigFile("nope").pack(), HEADER, CLOSE],
        0,
        "configuration 'nope'; expected one of",
    ),
    "compressed": (
        [*GOOD[:5], serialise(COMPRESSED), CLOSE],
        1,
        "a compressed acquisition (flags 53 to 56); expected plain samples; send without compression",
    ),
    "absurd readout": (
        [*GOOD[:5], wire.message(1008, bytes(HUGE))],
        1,
        "ACQUISITION message (id 1008) of 537387340 bytes or more; expected at most 67108864",
    ),
    "absurd text": ([CONFIG, wire.message(3, b"\xff" * 4)], 0, "HEADER message (id 3) of 4294967299 bytes or more"),
    "data first": (
        [*DATA, CLOSE],
        0,
        "data (Acquisition) before the configuration; expected configuration, header, data",
    ),
    "data before the header": (
        [CONFIG, *DATA],
        0,
        "data (Acquisition) before the header; expected configuration, header",
    ),
    "header first": (
        [HEADER, CONFIG, *DATA, CLOSE],
        0,
        "the header before the configuration; expected the configuration",
    ),
    "two configs": ([CONFIG, CONFIG], 0, "a second configuration; expected the header after the first"),
    "two headers": ([CONFIG, HEADER, HEADER], 0, "a second header; expected one, before the data"),
    "config in the data": ([*GOOD[:6], CONFIG], 1, "a ConfigText message after the data began; expected acquisitions"),
    "header in the data": ([*GOOD[:6], HEADER], 1, "a Header message after the data began"),
    "json in the data": ([*GOOD[:6], Text(parameters(spokes=2)).pack()], 1, "a Text message after the data began"),
    "image": (
        [CONFIG, HEADER, serialise(wire.image()), CLOSE],
        0,
        "an image (id 1022) from the host; expected raw data",
    ),
    "frames in the data": (
        [*GOOD[:6], wire.message(1023, struct.pack("<Q", 0))],
        1,
        "a ReconData message from a client; expected acquisitions, waveforms and CLOSE",
    ),
    "image in the data": ([*GOOD[:6], serialise(wire.image())], 1, "an image (id 1022) from the host; expected raw"),
    "json first, without a config": (
        [ConfigText(parameters(spokes=3)).pack(), *GOOD[1:]],
        0,
        "no configuration; expected its name or its text before the header, or config in the JSON",
    ),
    "json first, no header": (
        [ConfigText(parameters(config="x")).pack(), *DATA],
        0,
        "data (Acquisition) before the he",
    ),
    "response": ([CONFIG, HEADER, Response("r").pack()], 0, "a Response message after the data began"),
    "not JSON": (bad_json("{spokes"), 0, "parameters that are not JSON (Expecting property name"),
    "no parameters": (
        bad_json('{"spokes": 3}'),
        0,
        'JSON without parameters; expected {"parameters": {"name": value}}',
    ),
    "deep JSON": (bad_json('{"parameters": ' + "[" * 100_000), 0, "parameters that are nested too deeply"),
    "unknown parameter": (
        bad_json(parameters(coils=3)),
        0,
        "parameter 'coils' is of no gadget here; expected one of buffer",
    ),
    "ill-typed parameter": (bad_json(parameters(spokes="many")), 0, "buffer.spokes = 'many'; expected a whole number"),
    "a file's name in JSON": (
        bad_json(parameters(reconfeaturesfile="/etc/passwd")),
        0,
        "parameter reconfeaturesfile from a client; expected files to be named where the server runs; inr-recon serve",
    ),
    "a file's name in XML": (
        bad_config(wire.config_xml("buffer", "recon", recon_features_file="/etc/passwd")),
        0,
        "parameter features_file from a client; expected files to be named where the server runs; inr-recon serve",
    ),
    "a file to write in JSON": (
        bad_json(parameters(reconsavestate="/etc/passwd")),
        0,
        "parameter reconsavestate from a client; expected files to be named where the server runs; inr-recon serve",
    ),
    "a file to read in XML": (
        bad_config(wire.config_xml("buffer", "recon", recon_warm_start="/etc/passwd")),
        0,
        "parameter warm_start from a client; expected files to be named where the server runs; inr-recon serve "
        "--set recon.warm_start=FILE",
    ),
    "json's config": (bad_json(parameters(config="../x")), 0, "configuration '../x', which is a path; expected one of"),
    "json's config is a list": (bad_json(parameters(config=["x"])), 0, "config = ['x']; expected the name"),
    "a gadget's error": (
        bad_config(wire.config_xml("buffer", "recon", recon_fail_at="3")),
        2,
        "image 3 is bad; expected a good one; try again",
    ),
    "a fault of ours": (
        bad_config(wire.config_xml("buffer", "recon", recon_crash_at="2")),
        1,
        "internal error: ZeroDivisionError: by nought; the server's log has the details",
    ),
}


@pytest.mark.parametrize(("stream", "images", "line"), BAD.values(), ids=BAD)
def test_bad_input(server: Server, stream: list[bytes], images: int, line: str) -> None:
    reply = wire.talk(server.port, b"".join(stream), half_close=False)
    assert len(reply.images) == images
    assert reply.texts[:-1] == FRAMES[:images]
    assert reply.items[-1].text.startswith(f"ERROR: {line}")
    assert "\n" not in reply.texts[-1]
    assert reply.closed
    expect_good(server)


def test_a_fault_of_ours_is_in_the_log_with_its_trace(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    wire.talk(server.port, b"".join(bad_config(wire.config_xml("buffer", "recon", recon_crash_at="2"))))
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


STREAM = b"".join(GOOD)
EDGES = [sum(map(len, GOOD[:n])) for n in range(len(GOOD) + 1)]
CUTS = sorted({cut + near for cut in EDGES for near in (-1, 0, 1)} | set(range(5, len(STREAM), 401)))
CUTS = [cut for cut in CUTS if 0 < cut < len(STREAM)]


def expected_images(cut: int) -> int:
    whole = sum(1 for edge in EDGES[1:] if edge <= cut)  # messages that came completely
    readouts = sum(1 for one in GOOD[2:whole] if struct.unpack_from("<H", one) == (1008,))
    return readouts // 2


@pytest.mark.parametrize("cut", CUTS)
def test_a_client_that_ends_at_any_byte_and_still_listens(server: Server, cut: int) -> None:
    reply = wire.talk(server.port, STREAM[:cut])
    assert len(reply.images) == expected_images(cut)
    last = reply.texts[-1]
    assert last.startswith("ERROR: ")
    assert "cut short: " in last or "vanished: the connection ended after " in last
    assert reply.closed


@pytest.mark.parametrize("reset", [False, True])
def test_clients_that_vanish_at_any_byte(server: Server, reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    for cut in [0, *CUTS[::3]]:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            if reset:  # no goodbye: the kernel answers everything with RST
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(STREAM[:cut])
    expect_good(server)
    server.stop("over")
    assert "Traceback" not in caplog.text


def test_bytes_changed_at_random(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever arrives, the client gets at most one error line, then CLOSE, and never an internal error."""
    rng = random.Random(2)
    failed = 0
    for _ in range(150):
        stream = bytearray(STREAM)
        for _ in range(rng.choice([1, 2, 30])):
            # Near the beginning of a message, where ids and headers are, or anywhere.
            near = rng.choice(EDGES[:-1]) + rng.randrange(60)
            stream[min(near, len(stream) - 1) if rng.random() < 0.5 else rng.randrange(len(stream))] = rng.randrange(
                256
            )
        reply = wire.talk(server.port, bytes(stream))
        errors = [text for text in reply.texts if text.startswith("ERROR")]
        assert reply.closed
        assert len(errors) <= 1
        assert not errors or (errors[0] == reply.texts[-1] and "internal error" not in errors[0])
        failed += len(errors)
    assert failed > 50
    assert "Traceback" not in caplog.text
    expect_good(server)


def test_a_client_that_still_sends_gets_the_error(server: Server) -> None:
    """It sends ten times what the sockets hold, after the server has given up, and finds the last line nevertheless."""
    big = serialise(wire.acquisition(1, samples=512, channels=64))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"".join(bad_json("{")[:3]))
        for _ in range(200):
            sock.sendall(big)
        sock.sendall(CLOSE)
        reply = wire.read_reply(sock)
    assert reply.texts == ["ERROR: " + reply.texts[0].removeprefix("ERROR: ")]
    assert "parameters that are not JSON" in reply.texts[0]


def test_a_client_that_is_gone_ends_the_work(server: Server) -> None:
    """The gadget lingers until it is told to stop; the client does not wait for that."""
    config = wire.config_xml("buffer", "recon", recon_linger="true")
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"".join([ConfigText(config).pack(), *GOOD[1:]]))
        ours = Connection(sock)
        while not (isinstance(item := ours.read(), ismrmrd.Image) and item.image_index == 99):
            pass
    expect_good(server)
    before = threading.active_count()
    server.stop("over")
    assert threading.active_count() < before


LINGER = ConfigText(wire.config_xml("buffer", "recon", recon_linger="true")).pack()


def lingering(port: int) -> tuple[socket.socket, Connection]:
    """Send a scan whose reconstruction goes on until it is told to stop, and read all that comes before that."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(b"".join([LINGER, *GOOD[1:]]))
    ours = Connection(sock)
    while not (isinstance(item := ours.read(), ismrmrd.Image) and item.image_index == 99):
        pass
    return sock, ours


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_during_the_refinement_is_noticed(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """It has read everything, so nothing but the watch tells: nothing more is sent to it."""
    monkeypatch.setattr("inr_gadgets.wire.peer_watch._PROBE_S", 0.1)
    before = set(threading.enumerate())
    sock, _ = lingering(server.port)
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert wire.no_threads_left(before)
    assert "left before the end of the reconstruction, which is stopped" in caplog.text
    expect_good(server)


def test_a_client_that_has_said_all_and_still_reads_is_served(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inr_gadgets.wire.peer_watch._PROBE_S", 0.05)
    sock, ours = lingering(server.port)
    with sock:
        sock.sendall(b"\xff" * 100)  # after CLOSE, so nobody looks at it
        sock.shutdown(socket.SHUT_WR)
        assert ours.read() == Text("DBG: all readouts have come and are being worked on\n")
        time.sleep(0.2)
        ender = threading.Thread(target=server.stop, args=("over",))
        ender.start()
        rest = list(ours)
        ender.join()
    assert [one.image_index for one in rest if isinstance(one, ismrmrd.Image)] == [100]


def test_a_reconstruction_that_fails_after_the_scan_ends_the_watch(server: Server) -> None:
    reply = wire.talk(server.port, b"".join([*bad_config(wire.config_xml("buffer", "recon", recon_fail_at="3"))]))
    assert reply.texts[-1] == "ERROR: image 3 is bad; expected a good one; try again"
    assert reply.closed


def test_the_scan_is_kept(tmp_path: Path) -> None:
    from inr_gadgets.scan_file import ScanFile

    with Server(port=0, table=wire.TABLE, warm=None, save=tmp_path / "a" / "b") as server:
        expect_good(server)
        wire.talk(server.port, STREAM[: EDGES[-2]])
        wire.talk(server.port, CONFIG + CLOSE)
    kept = sorted((tmp_path / "a" / "b").iterdir())
    assert len(kept) == 2
    for path in kept:
        assert path.name.startswith("scan_20")
        assert path.stat().st_mode & 0o777 == 0o600
        with ScanFile(path) as scan:
            assert bytes(scan.header_xml).decode() == wire.HEADER_XML
            assert [item for item in scan if isinstance(item, ismrmrd.Acquisition)] == [
                wire.acquisition(i) for i in range(6)
            ]
            assert scan.n_waveforms == 1


def test_a_scan_that_cannot_be_kept_is_reconstructed_all_the_same(tmp_path: Path) -> None:
    with Server(port=0, table=wire.TABLE, warm=None, save=tmp_path / "gone") as server:
        (tmp_path / "gone").rmdir()
        (tmp_path / "gone").write_text("in the way")
        reply = wire.talk(server.port, STREAM)
    assert len(reply.images) == 3
    (warning,) = [text for text in reply.texts if text not in FRAMES]
    assert warning.startswith("WRN: the scan is not kept on the server: ")


def test_closing_message_ends_everything_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(STREAM)
        assert sum(isinstance(item, Close) for item in iter(Connection(sock).read, Close())) == 0
        assert sock.recv(10) == b""


def test_the_real_buffer_and_image_gadgets() -> None:
    """The shipped configuration by name, with something simple in the place of the reconstruction."""
    opening = [
        ConfigFile("inr_dynamic").pack(),
        Header(scans.header_xml()).pack(),
        Text(parameters(spokesperframe=scans.SPOKES, method="x")).pack(),
    ]
    readouts = [serialise(scans.readout(number)) for number in range(3 * scans.SPOKES)]
    with Server(port=0, table=GADGETS | {"recon": wire.Mean}, warm=None) as server:
        reply = wire.talk(server.port, b"".join([*opening, *readouts, CLOSE]))
        assert [one.meta["inr_frame"] for one in reply.images] == ["0", "1", "2"]
        assert all(float(one.meta["inr_latency_ms"]) > 0 for one in reply.images)
        assert not [text for text in reply.texts if text.startswith("ERROR")]

        cut = wire.talk(server.port, b"".join([*opening, *readouts[: 2 * scans.SPOKES], readouts[-1][:99]]))
        assert len(cut.images) == 2
        assert cut.texts[-1].startswith("ERROR: ACQUISITION message (id 1008) cut short")
