"""A stand-in for Gadgetron at its end of an external node's link: sends the bytes that it sends, and takes no others.

Written from Gadgetron's sources (``nodes/External.cpp``, ``external/Python.cpp``, ``common/Configuration.cpp``,
``common/Serialization.cpp``, and the readers and writers of ``core``) with plain ``struct``; it shares no code with
what it checks. ``tests/system/test_gadgetron.py`` compares it with the real one where that is installed.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

ABSENT = '<?xml version="1.0"?>\n'  # what an absent <configuration> is sent as
CLOSE = struct.pack("<H", 4)
# ImageReader's types: unsigned short, unsigned int, int, float, double, complex float and double. No short.
_IMAGE_BYTES_PER_PIXEL = {1: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}
_WAIT_S = 60.0


@dataclass
class Sent:
    """One message of a gadget's, taken apart.

    Attributes
    ----------
    identifier
        1008, 1022, 1023 or 1026; 8 for an error.
    raw
        All of its bytes.
    text
        An error's text, an image's attributes.
    shape
        An image's (channels, z, y, x); (samples, spokes, coils) of a frame.
    """

    identifier: int
    raw: bytes
    text: str = ""
    shape: tuple[int, ...] = field(default_factory=tuple)


def configuration(gadget: str | None = None, **properties: object) -> str:
    """A ``<configuration>`` as pugixml writes it."""
    name = f' gadget="{gadget}"' if gadget else ""
    if not properties:
        return f'<?xml version="1.0"?>\n<configuration{name} />\n'
    inner = "".join(f'\t<property name="{key}" value="{value}" />\n' for key, value in properties.items())
    return f'<?xml version="1.0"?>\n<configuration{name}>\n{inner}</configuration>\n'


def opening(configuration_text: str, header_xml: str) -> bytes:
    """CONFIG (2) and HEADER (3), without a NUL at their ends."""
    parts = [(2, configuration_text.encode()), (3, header_xml.encode())]
    return b"".join(struct.pack("<HI", identifier, len(raw)) + raw for identifier, raw in parts)


def exchange(sock: socket.socket, messages: Sequence[bytes], *, close: bool = True) -> list[Sent]:
    """Send messages and CLOSE in one thread while another reads, as Gadgetron does; what came back up to CLOSE."""
    sock.settimeout(_WAIT_S)
    stream = b"".join(messages) + (CLOSE if close else b"")

    def send() -> None:
        with contextlib.suppress(OSError):  # the gadget may have ended with an error
            sock.sendall(stream)

    sender = threading.Thread(target=send)
    sender.start()
    with sock.makefile("rb") as file:
        got = list(_read_all(file))
        sock.shutdown(socket.SHUT_WR)
        assert file.read() == b"", "bytes after CLOSE"
    sender.join(_WAIT_S)
    assert not sender.is_alive()
    return got


def connect(port: int, messages: Sequence[bytes], *, close: bool = True) -> list[Sent]:
    """``<connect port=".." address="127.0.0.1"/>``."""
    with socket.create_connection(("127.0.0.1", port), _WAIT_S) as sock:
        return exchange(sock, messages, close=close)


def execute(target: str, messages: Sequence[bytes], folder: Path, *, close: bool = True) -> tuple[list[Sent], int, str]:
    """``<execute name="inr_gadgets.external" target=".." type="python"/>``.

    Parameters
    ----------
    target
        Of the node.
    messages
        Configuration and header, then items.
    folder
        A home of Gadgetron's.
    close
        Whether Gadgetron gets to CLOSE.

    Returns
    -------
    What it sent, its exit code, and its log.
    """
    listener = _listen()
    python = next(found for name in ("python", "python3") if (found := shutil.which(name, path=_path())))
    words = [python, "-m", "gadgetron", str(listener.getsockname()[1]), "inr_gadgets.external", target]
    environment = os.environ | {
        "PATH": _path(),
        "PYTHONPATH": f"{roots()}:{folder / 'share/gadgetron/python'}",
        "GADGETRON_STORAGE_ADDRESS": "",
        "OMP_NUM_THREADS": "1",
    }
    ours, theirs = socket.socketpair()
    with listener, ours, theirs:
        # Its stdin is the socket of the client that Gadgetron serves: not a byte may be taken from it.
        ours.sendall(b"not for you")
        process = subprocess.Popen(words, env=environment, stdin=theirs, stderr=subprocess.PIPE, text=True)
        listener.settimeout(_WAIT_S)
        sock, _ = listener.accept()
        with process, sock:
            got = exchange(sock, messages, close=close)
            _, log = process.communicate(timeout=_WAIT_S)
        assert theirs.recv(64) == b"not for you"
    return got, process.returncode, log


def _listen() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def roots() -> str:
    """PYTHONPATH of the package as it is tested here."""
    modules = (sys.modules["inr_core"], sys.modules["inr_gadgets"])
    return os.pathsep.join(str(Path(module.__path__[0]).parent) for module in modules)


def _read_all(file: BinaryIO) -> Iterator[Sent]:
    errors = 0
    while True:
        raw = _Recorder(file)
        identifier = raw.number("H")
        if identifier == 4:
            return
        reader = {8: _error, 1008: _acquisition, 1022: _image, 1023: _recon_data, 1026: _waveform}.get(identifier)
        assert reader is not None, f"Received illegal message id from external peer: {identifier}"
        sent = reader(raw)
        errors += identifier == 8
        assert errors <= 1, "a second error"
        assert not errors or identifier == 8, "items after an error"
        yield Sent(identifier, bytes(raw.bytes), *sent)


class _Recorder:
    """Reads exactly what is asked for, and keeps it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.bytes = file, bytearray()

    def read(self, nbytes: int) -> bytes:
        raw = self._file.read(nbytes)
        assert len(raw) == nbytes, f"the gadget ended the connection in a message, after {bytes(self.bytes)[:20]!r}"
        self.bytes += raw
        return raw

    def number(self, kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", self.read(struct.calcsize(f"<{kind}")))
        return int(value)

    def vector(self) -> tuple[int, ...]:
        count = self.number("Q")
        assert count <= 11
        return struct.unpack(f"<{count}Q", self.read(8 * count))


def _error(raw: _Recorder) -> tuple[str]:
    return (raw.read(raw.number("Q")).decode(),)


def _acquisition(raw: _Recorder) -> tuple[str]:
    samples, channels, dimensions = _acquisition_sizes(raw.read(340))
    raw.read(4 * samples * dimensions + 8 * samples * channels)
    return ("",)


def _acquisition_sizes(header: bytes) -> tuple[int, int, int]:
    assert struct.unpack_from("<H", header) == (1,), "version"
    (samples,) = struct.unpack_from("<H", header, 34)
    (channels,) = struct.unpack_from("<H", header, 38)
    (dimensions,) = struct.unpack_from("<H", header, 176)
    return samples, channels, dimensions


def _waveform(raw: _Recorder) -> tuple[str]:
    header = raw.read(40)
    samples, channels = struct.unpack_from("<2H", header, 28)
    raw.read(4 * samples * channels)
    return ("",)


def _image(raw: _Recorder) -> tuple[str, tuple[int, ...]]:
    header = raw.read(198)
    version, data_type = struct.unpack_from("<2H", header)
    assert version == 1
    assert data_type in _IMAGE_BYTES_PER_PIXEL, f"ImageReader knows no data type {data_type}"
    x, y, z = struct.unpack_from("<3H", header, 16)
    (channels,) = struct.unpack_from("<H", header, 34)
    (announced,) = struct.unpack_from("<I", header, 194)
    length = raw.number("Q")
    assert length == announced, "attribute_string_len"
    attributes = raw.read(length).decode()
    assert ET.fromstring(attributes).tag == "ismrmrdMeta"
    assert "\0" not in attributes
    raw.read(_IMAGE_BYTES_PER_PIXEL[data_type] * x * y * z * channels)
    return attributes, (channels, z, y, x)


def _recon_data(raw: _Recorder) -> tuple[str, tuple[int, ...]]:
    shape: tuple[int, ...] = ()
    for _ in range(raw.number("Q")):
        shape = _recon_buffer(raw)
        if raw.number("B"):
            _recon_buffer(raw)
    return "", shape


def _recon_buffer(raw: _Recorder) -> tuple[int, ...]:
    """data [E0, E1, E2, CHA, N, S, LOC], trajectory [dims, E0, ..], density, headers [E1, E2, N, S, LOC], sampling."""
    shape = raw.vector()
    assert len(shape) == 7
    raw.read(8 * math.prod(shape))
    e0, e1, e2, channels, *rest = shape
    if raw.number("B"):
        dimensions, *others = raw.vector()
        assert (dimensions, *others) == (2, e0, e1, e2, *rest)
        raw.read(4 * dimensions * math.prod(others))
    if raw.number("B"):
        raw.read(4 * math.prod(raw.vector()))
    places = raw.vector()
    assert places == (e1, e2, *rest)
    for _ in range(math.prod(places)):
        assert _acquisition_sizes(raw.read(340)) == (e0, channels, 2)
    raw.read(56)  # two fields of view, two matrices, three limits, and two bytes that align the next
    return e0, e1, channels
