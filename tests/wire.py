"""A small scan as bytes, a client made of a bare socket, and small gadgets, for the tests of the stream."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np

from inr_core.errors import DataError
from inr_core.parameters import parameter
from inr_gadgets.frame import Frame
from inr_gadgets.gadget import Gadget
from inr_gadgets.lines import line_from_host
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header
from inr_gadgets.wire.wire_format import serialise

HEADER_XML = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <experimentalConditions><H1resonanceFrequency_Hz>128000000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>320</x><y>320</y><z>8</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>160</x><y>160</y><z>8</z></fieldOfView_mm></reconSpace>
    <encodingLimits/>
    <trajectory>radial</trajectory>
  </encoding>
</ismrmrdHeader>"""


def config_xml(*gadgets: str, **properties: str) -> str:
    """Return a configuration; the properties, ``buffer_spokes="2"``, are of the gadget that begins their name."""
    nodes = []
    for gadget in gadgets:
        mine = {name.split("_", 1)[1]: value for name, value in properties.items() if name.split("_", 1)[0] == gadget}
        inner = "".join(f'<property name="{name}" value="{value}"/>' for name, value in mine.items())
        execute = f'<execute name="inr_gadgets.external" target="{gadget}" type="python"/>'
        nodes.append(f"<external>{execute}<configuration>{inner}</configuration></external>")
    return f"<configuration><version>2</version><stream>{''.join(nodes)}</stream></configuration>"


CONFIG_XML = config_xml("buffer", "recon")


def acquisition(counter: int = 0, samples: int = 8, channels: int = 2) -> ismrmrd.Acquisition:
    """Return one readout with a trajectory."""
    rng = np.random.default_rng(counter)
    data = (rng.normal(size=(channels, samples)) + 1j * rng.normal(size=(channels, samples))).astype(np.complex64)
    traj = rng.uniform(-0.5, 0.5, (samples, 2)).astype(np.float32)
    return ismrmrd.Acquisition.from_array(data, traj, scan_counter=counter, acquisition_time_stamp=counter)


def waveform() -> ismrmrd.Waveform:
    """Return one piece of physiology."""
    return ismrmrd.Waveform.from_array(np.arange(10, dtype=np.uint32).reshape(2, 5), waveform_id=1)


def image(index: int = 1, fill: float = 1.0) -> ismrmrd.Image:
    """Return one float image, 4 x 3."""
    made = ismrmrd.Image.from_array(np.full((3, 4), fill, np.float32), transpose=False, image_index=index)
    made.meta = {"DataRole": "Image"}
    return made


def messages(n_readouts: int = 4, config: str = CONFIG_XML, header: str = HEADER_XML) -> list[bytes]:
    """Return a good stream, message by message: configuration, header, readouts and a waveform, CLOSE."""
    data = [serialise(acquisition(counter)) for counter in range(n_readouts)]
    data.insert(len(data) // 2, serialise(waveform()))
    return [ConfigText(config).pack(), Header(header).pack(), *data, Close().pack()]


def config_file(name: str) -> bytes:
    """Return the message that names a configuration."""
    return ConfigFile(name).pack()


def message(identifier: int, payload: bytes = b"") -> bytes:
    """Return any message at all."""
    return struct.pack("<H", identifier) + payload


@dataclass
class Reply:
    """What a server sent before CLOSE."""

    items: list[Any]
    closed: bool

    @property
    def texts(self) -> list[str]:
        return [line_from_host(item.text.removesuffix("\n")) for item in self.items if hasattr(item, "text")]

    @property
    def images(self) -> list[ismrmrd.Image]:
        return [item for item in self.items if isinstance(item, ismrmrd.Image)]


def talk(port: int, stream: bytes, *, half_close: bool = True) -> Reply:
    """Send bytes, say that nothing follows, and read up to the server's CLOSE and its end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(stream)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_reply(sock)


def read_reply(sock: socket.socket) -> Reply:
    """Read what a server sends, up to CLOSE and its end of the connection."""
    items = list(Connection(sock))
    sock.settimeout(10)
    closed = sock.recv(1) == b""
    return Reply(items, closed)


@dataclass(frozen=True)
class BufferParameters:
    spokes: int = parameter(2, "Readouts per image.", minimum=1)
    shared_name: str = parameter("a", "A name that the other gadget has too.")


class Collect(Gadget):
    """An image for every few readouts, filled with the sum of their samples' magnitudes."""

    name, parameter_type = "buffer", BufferParameters

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        gathered: list[Any] = []
        made = 0
        for item in items:
            if not isinstance(item, ismrmrd.Acquisition):
                yield item
                continue
            gathered.append(item)
            if len(gathered) == self.parameters.spokes:
                made += 1
                result = image(made, float(sum(np.abs(one.data).sum() for one in gathered)))
                result.meta["seconds_since_arrival"] = str(time.monotonic() - gathered[-1].arrived)
                gathered = []
                yield result


@dataclass(frozen=True)
class ReconParameters:
    fail_at: int = parameter(0, "Fail at this image, with a DataError; 0 never does.")
    crash_at: int = parameter(0, "The same with an error that nobody expects.")
    linger: bool = parameter(False, "Work after the end of the scan until told to stop.")
    virtual_coils: int = parameter(8, "A parameter with an underscore.", minimum=1, maximum=64)
    shared_name: str = parameter("b", "A name that the other gadget has too.")


class Idle(Gadget):
    """Hands images on; works while it waits."""

    name, parameter_type = "recon", ReconParameters
    works_while_idle = True

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        number = 0
        for item in items:
            if not isinstance(item, ismrmrd.Image):
                yield item
                continue
            number += 1
            if number == self.parameters.fail_at:
                raise DataError(f"image {number} is bad", "a good one", "try again")
            if number == self.parameters.crash_at:
                raise ZeroDivisionError("by\nnought")
            self.announce(f"image {number} of {self.parameters.virtual_coils} coils")
            yield item
        if self.parameters.linger:
            yield image(99)
            self.stop.wait(20)
            if self.stop.is_set():
                yield image(100)


@dataclass(frozen=True)
class MeanParameters:
    method: str = parameter("inr", "What configurations set.")


class Mean(Gadget):
    """In the place of the reconstruction: an image of each frame's mean, in no time."""

    name, parameter_type, works_while_idle = "recon", MeanParameters, True

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if isinstance(item, Frame):
                x, y = item.matrix
                made = ismrmrd.Image.from_array(
                    np.full((y, x), item.kspace.mean(), np.complex64), transpose=False, image_series_index=1
                )
                made.meta = {"inr_frame": str(item.index), "inr_arrived": repr(item.arrived)}
                yield made
            else:
                yield item


TABLE = {"buffer": Collect, "recon": Idle}


def no_threads_left(before: set[threading.Thread], within_s: float = 5.0) -> bool:
    """Tell whether every thread that was not there before has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not set(threading.enumerate()) - before:
            return True
        time.sleep(0.01)
    return False
