"""The server with FIRE, the MRD client of Siemens scanners, played by a socket that does what its definition says.

It knows nothing of this package's own reading and writing of messages: bytes go out as FIRE writes them, text with NUL
at its end, and what comes back is taken apart by the numbers of the definition and by ismrmrd.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
import pytest

import scans
from inr_gadgets.serving.server import Server

FRAMES = 3
CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT, ACQUISITION, IMAGE, WAVEFORM = 1, 2, 3, 4, 5, 1008, 1022, 1026
COLOURS = {"DBG": "white", "WRN": "yellow", "ERR": "red"}


@dataclass
class Log:
    """What came back before CLOSE, and what came after it."""

    lines: list[str] = field(default_factory=list)
    images: list[ismrmrd.Image] = field(default_factory=list)
    after_close: bytes = b""

    @property
    def colours(self) -> list[str]:
        return [COLOURS[line[:3]] for line in self.lines]

    @property
    def errors(self) -> list[str]:
        return [line for line in self.lines if line.startswith("ERR")]

    def series(self, number: int) -> list[ismrmrd.Image]:
        return [image for image in self.images if image.image_series_index == number]


class Fire:
    """One connection of FIRE: 3 s to connect, config, header, JSON, data, CLOSE; it reads in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=3)
        self.sock.settimeout(60)
        self.log = Log()
        self.fault: Exception | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.sock.sendall(message)

    def ended(self) -> Log:
        """Wait for the server's CLOSE and the end of the connection."""
        self._reader.join(60)
        assert not self._reader.is_alive(), "no CLOSE came"
        self.sock.close()
        if self.fault is not None:
            raise self.fault
        return self.log

    def _read(self) -> None:
        try:
            while (identifier := struct.unpack("<H", self._exactly(2))[0]) != CLOSE:
                if identifier == TEXT:
                    (length,) = struct.unpack("<I", self._exactly(4))
                    text = self._exactly(length)
                    assert text.endswith(b"\0"), "FIRE reads text up to its NUL"
                    self.log.lines.append(text[:-1].decode().removesuffix("\n"))
                elif identifier == IMAGE:
                    self.log.images.append(ismrmrd.Image.deserialize_from(self._exactly))
                else:
                    raise AssertionError(f"FIRE does not know message {identifier}")
            self.log.after_close = self.sock.recv(1)
        except (OSError, AssertionError, struct.error) as error:
            self.fault = error

    def _exactly(self, count: int) -> bytes:
        return self.sock.recv(count, socket.MSG_WAITALL) if count else b""


def named(config: str) -> bytes:
    return struct.pack("<H1024s", CONFIG_FILE, config.encode())


def text(identifier: int, content: str) -> bytes:
    raw = content.encode() + b"\0"
    return struct.pack("<HI", identifier, len(raw)) + raw


def parameters(identifier: int = TEXT, **values: object) -> bytes:
    return text(identifier, json.dumps({"version": "1.1.0", "parameters": values}, indent=2))


def item(identifier: int, thing: Any) -> bytes:
    parts = [struct.pack("<H", identifier)]
    thing.serialize_into(lambda part: parts.append(bytes(part)))
    return b"".join(parts)


XML = text(HEADER, scans.header_xml())
END = struct.pack("<H", CLOSE)
READOUTS = [item(ACQUISITION, readout) for readout in scans.golden_scan(FRAMES)]


def with_waveforms(readouts: Iterable[bytes]) -> Iterator[bytes]:
    """An ECG that runs beside the scan: a piece after every third readout."""
    for number, readout in enumerate(readouts):
        yield readout
        if number % 3 == 0:
            ecg = ismrmrd.Waveform.from_array(np.full((2, 4), number, np.uint32), waveform_id=0, time_stamp=number)
            yield item(WAVEFORM, ecg)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Server(port=0) as server:
        yield server.port


def scan(port: int, *messages: bytes) -> Log:
    """One whole connection, and what every connection has to keep to."""
    fire = Fire(port)
    fire.send(*messages)
    log = fire.ended()
    assert log.after_close == b"", "something came after CLOSE"
    assert len(log.colours) == len(log.lines)  # no line without a colour
    return log


def test_scans_one_after_the_other_on_connections_of_their_own(port: int) -> None:
    for _ in range(3):
        log = scan(port, named("nufft"), XML, *with_waveforms(READOUTS), END)
        assert [image.image_index for image in log.series(1)] == [1, 2, 3]
        assert set(log.colours) == {"white"}
        assert sum("spokes" in line for line in log.lines) >= 1  # how the scan was understood


@pytest.mark.parametrize("identifier", [TEXT, CONFIG_TEXT])
@pytest.mark.parametrize("config", ["openrecon", "nufft", ""])
def test_the_json_of_the_card(port: int, identifier: int, config: str) -> None:
    """Every value as text, the configuration among them: it wins over the name that came first."""
    values = {"config": "nufft", "customconfig": "", "spokesperframe": "3", "conjugate": "True", "dtype": "uint16"}
    log = scan(port, named(config), XML, parameters(identifier, **values), *READOUTS, END)
    assert len(log.series(1)) == 5
    assert not log.errors
    assert {image.data.dtype for image in log.images} == {np.dtype(np.uint16)}


def test_a_custom_configuration_wins(port: int) -> None:
    values = parameters(config="nonsense", customconfig="nufft")
    assert len(scan(port, named("default"), XML, values, *READOUTS, END).images) == FRAMES


def test_an_image_is_there_before_the_scan_ends(port: int) -> None:
    fire = Fire(port)
    fire.send(named("nufft"), XML, *READOUTS[:-1])
    for _ in range(600):
        if fire.log.images:
            break
        threading.Event().wait(0.1)
    assert fire.log.images
    fire.send(READOUTS[-1], END)
    assert len(fire.ended().images) == FRAMES


def mixed(noise: bool, white: bool) -> list[bytes]:
    """A scan whose coils share their noise, or were whitened by the host, with its noise readouts or without."""
    rng = np.random.default_rng(3)
    mixing = np.eye(scans.COILS) if white else np.eye(scans.COILS) + 0.5
    found = [item(ACQUISITION, scans.noise_readout(rng, mixing)) for _ in range(2)] if noise else []
    return [*found, *READOUTS]


@pytest.mark.parametrize(
    ("noise", "white", "said"),
    [
        (True, False, "whitened from 2 noise readouts"),
        (True, True, "white already"),
        (False, True, "no noise scan, coils not whitened"),
    ],
)
def test_noise_is_whitened_once(port: int, noise: bool, white: bool, said: str) -> None:
    log = scan(port, named("nufft"), XML, *mixed(noise, white), END)
    assert len(log.images) == FRAMES
    assert said in " ".join(log.lines)


def test_a_refined_series_follows_on_the_same_connection(port: int) -> None:
    values = parameters(config="inr_dynamic", refinepasses="1", spokesperframe=5)
    log = scan(port, named("openrecon"), XML, values, *READOUTS, END)
    assert len(log.series(1)) == len(log.series(2)) == FRAMES
    assert not log.errors
    assert any(line.startswith(f"DBG: refined {FRAMES} frames") for line in log.lines)


BAD_READOUT = item(ACQUISITION, scans.readout(99, coils=2))
FAILURES = {
    "its name": ([named("nonsense"), XML, *READOUTS, END], 0, "configuration 'nonsense'"),
    "no name at all": ([named(""), XML, *READOUTS, END], 0, "no name of a configuration"),
    "the header": ([named("nufft"), text(HEADER, "Dummy XML header"), *READOUTS, END], 0, "header"),
    "the JSON": ([named("nufft"), XML, text(TEXT, "{nonsense"), *READOUTS, END], 0, "parameters that are not JSON"),
    "a parameter's name": ([named("nufft"), XML, parameters(roi="1"), *READOUTS, END], 0, "parameter 'roi' is of no"),
    "a parameter's value": ([named("nufft"), XML, parameters(stride="-3"), *READOUTS, END], 0, "buffer.stride = '-3'"),
    "no data": ([named("nufft"), XML, END], 0, "a scan without a single acquisition"),
    "data first": ([*READOUTS, END], 0, "data (Acquisition) before the configuration"),
    "a readout": ([named("nufft"), XML, *READOUTS, BAD_READOUT, END], FRAMES, "coils"),
    "images": ([named("nufft"), XML, b"IMAGE", END], 0, "an image (id 1022) from the host; expected raw data"),
    "an unknown message": ([named("nufft"), XML, *READOUTS[:5], b"\x07\x27", END], 0, "unknown id 9991"),
}


@pytest.mark.parametrize(("messages", "images", "cause"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_red_line_and_close(port: int, messages: list[bytes], images: int, cause: str) -> None:
    picture = ismrmrd.Image.from_array(np.ones((4, 4), np.float32), transpose=False)
    picture.meta = {"DataRole": "Image"}
    log = scan(port, *(item(IMAGE, picture) if message == b"IMAGE" else message for message in messages))
    assert len(log.images) == images
    assert [cause in line for line in log.errors] == [True]
    assert log.lines[-1] == log.errors[0]


def test_a_dependency_query_is_answered_quietly(port: int) -> None:
    log = scan(port, named("default_measurement_dependencies.xml"), END)
    assert (log.lines, log.images) == ([], [])


def test_a_host_that_leaves_does_not_harm_the_next_scan(port: int) -> None:
    for sent in ([], [named("nufft")], [named("nufft"), XML, *READOUTS[:7]], [named("nufft"), XML, READOUTS[0][:50]]):
        with socket.create_connection(("127.0.0.1", port), timeout=3) as sock:
            sock.sendall(b"".join(sent))
    assert len(scan(port, named("nufft"), XML, *READOUTS, END).images) == FRAMES


def test_a_host_that_stops_reading_after_its_own_close(port: int) -> None:
    """The server's side of the connection ends by itself, and others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as deaf:
        deaf.sendall(b"".join([named("nufft"), XML, *READOUTS, END]))
        assert len(scan(port, named("nufft"), XML, *READOUTS, END).images) == FRAMES
