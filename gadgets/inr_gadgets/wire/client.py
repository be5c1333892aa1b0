"""An MRD client: sends a scan to any MRD server and takes what comes back, at the same time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd

from inr_core.errors import InrError, ProtocolError
from inr_gadgets.configs import read_config
from inr_gadgets.header import parse_header
from inr_gadgets.lines import line_from_host, operator_line
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header, Response, Text
from inr_gadgets.wire.pace import Pace, is_readout

logger = logging.getLogger(__name__)

# How servers begin a line that says that the scan has failed: ours, FIRE's and python-ismrmrd-server's, Gadgetron's.
ERROR_PREFIXES = ("ERR", "Errors received")


class ServerError(InrError):
    """The server ended the scan with an error, did not answer, or ended it early."""


@dataclass
class Exchange:
    """What one scan's conversation with a server came to."""

    readouts: int = 0
    waveforms: int = 0
    images: int = 0
    texts: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """The server's lines that say that something failed."""
        return [text for text in self.texts if text.startswith(ERROR_PREFIXES)]


def is_path(config: str | Path) -> bool:
    """Tell a file of a configuration (a Path, or text with a folder in it: ``./mine.xml``) from a name to look up."""
    return isinstance(config, Path) or "/" in config or os.sep in config


def parameters_text(settings: Mapping[str, str]) -> str:
    """Return settings as the JSON that MRD servers take after the header."""
    return json.dumps({"version": "1.0", "parameters": dict(settings)})


def send_scan(
    address: str,
    port: int,
    config: str | Path,
    scan: Any,
    *,
    settings: Mapping[str, str] | None = None,
    pace: str = "max",
    speed: float = 1.0,
    on_image: Callable[[Any], None] | None = None,
    on_text: Callable[[str], None] | None = None,
    on_sent: Callable[[int], None] | None = None,
    timeout_s: float = 600.0,
    connect_timeout_s: float = 10.0,
) -> Exchange:
    """Send a scan to an MRD server and wait until the server has closed.

    A thread of its own sends, while this one receives: a server that sends images while it is sent readouts never has
    to wait, and neither do we. The callbacks ``on_image`` and ``on_text`` run in the calling thread.

    Parameters
    ----------
    address, port
        Of the server.
    config
        Name of a configuration that the server has, or the path of a file whose text is sent (see :func:`is_path`).
    scan : inr_gadgets.scan_file.ScanFile
        Has ``header_xml`` and iterates over readouts and waveforms in the order of time.
    settings
        Parameters to set, ``{"recon.virtual_coils": "6"}``; sent as JSON after the header.
    pace, speed
        See :class:`inr_gadgets.wire.pace.Pace`.
    on_image
        Called with every image (ismrmrd.Image) as it comes.
    on_text
        Called with every line that the server sends, except the error line that is raised.
    on_sent
        Called, from the sending thread, with the number of readouts sent so far.
    timeout_s
        How long the server may keep us waiting: without taking readouts, or without a word after the scan's end.
    connect_timeout_s
        How long to try to connect; a server that is only just starting is tried again until then.

    Raises
    ------
    ServerError
        When the server cannot be reached, sent an error line, was silent for too long or closed before the scan's end.
    ProtocolError
        When the server broke the protocol or vanished.
    """
    clock = Pace(pace, speed, parse_header(scan.header_xml))
    opening: list[Any] = [ConfigText(read_config(Path(config))) if is_path(config) else ConfigFile(str(config))]
    opening.append(Header(_as_text(scan.header_xml)))
    if settings:
        opening.append(Text(parameters_text(settings)))
    with _connect(address, port, connect_timeout_s) as sock:
        conversation = _Conversation(sock, opening, clock, on_sent, timeout_s)
        exchange = conversation.hold(scan, on_image, on_text)
    if clock.warning and on_text is not None:
        on_text(clock.warning)
    return exchange


class _Conversation:
    """The two directions of one connection, and the watch over them."""

    def __init__(
        self,
        sock: socket.socket,
        opening: list[Any],
        clock: Pace,
        on_sent: Callable[[int], None] | None,
        timeout_s: float,
    ) -> None:
        self.sock, self.connection = sock, Connection(sock)
        self.opening, self.clock, self.on_sent, self.timeout_s = opening, clock, on_sent, timeout_s
        self.exchange = Exchange()
        self.over = threading.Event()
        self.all_sent = False
        self.broken: Exception | None = None  # the connection refused what we sent; the server's last lines may say why
        self.fault: Exception | None = None  # the scan itself could not be read to its end
        self.timed_out = False
        # Since when the server keeps us waiting: set while a message is being handed over and after the last one.
        self.waiting_since: float | None = None

    def hold(
        self, scan: Any, on_image: Callable[[Any], None] | None, on_text: Callable[[str], None] | None
    ) -> Exchange:
        """Send all, receive all, and return when the server has closed."""
        threads = [
            threading.Thread(target=self._send, args=(scan,), name="sender", daemon=True),
            threading.Thread(target=self._watch, name="watch", daemon=True),
        ]
        for thread in threads:
            thread.start()
        ended: ProtocolError | OSError | None = None
        try:
            self._receive(on_image, on_text)
        except (ProtocolError, OSError) as error:
            if not self._explained(error):
                raise
            ended = error
        finally:
            self.over.set()
            # A sender that is stuck in a full socket comes back at once.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
        self._judge(ended)
        return self.exchange

    def _explained(self, error: Exception) -> bool:
        """Tell whether a failure to receive is the connection's, rather than a callback's."""
        return isinstance(error, ProtocolError | ConnectionError) or self.timed_out or self.fault is not None

    def _send(self, scan: Any) -> None:
        try:
            for message in self.opening:
                self._hand_over(message)
            for item in self.clock.paced(scan, self.over):
                self._hand_over(item)
                if is_readout(item):
                    self.exchange.readouts += 1
                    if self.on_sent is not None:
                        self.on_sent(self.exchange.readouts)
                else:
                    self.exchange.waveforms += 1
            if not self.over.is_set():
                self.all_sent = True
                self._hand_over(Close())
                self.waiting_since = time.monotonic()
        except (ConnectionError, ProtocolError) as error:
            self.broken = error
        except Exception as error:  # noqa: BLE001 - it is raised in the calling thread
            self.fault = error
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def _hand_over(self, message: Any) -> None:
        self.waiting_since = time.monotonic()
        self.connection.send(message)
        self.waiting_since = None

    def _watch(self) -> None:
        """End the connection when the server has kept us waiting for too long."""
        while not self.over.wait(min(1.0, self.timeout_s / 4)):
            since = self.waiting_since
            if since is not None and time.monotonic() - since > self.timeout_s:
                self.timed_out = True
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)
                return

    def _receive(self, on_image: Callable[[Any], None] | None, on_text: Callable[[str], None] | None) -> None:
        for message in self._messages():
            if self.waiting_since is not None:
                self.waiting_since = time.monotonic()
            if isinstance(message, ismrmrd.Image):
                self.exchange.images += 1
                if on_image is not None:
                    on_image(message)
            elif isinstance(message, Text | Response):
                lines = (line_from_host(operator_line("", raw)) for raw in message.text.splitlines())
                for line in filter(None, lines):
                    self.exchange.texts.append(line)
                    # The first error line is the one that is raised in the end.
                    if on_text is not None and self.exchange.errors[:1] != [line]:
                        on_text(line)
            else:
                raise ProtocolError(
                    f"the server sent a {type(message).__name__}", "images and text", "is it an MRD server?"
                )

    def _messages(self) -> Iterator[Any]:
        yield from self.connection

    def _judge(self, ended: Exception | None) -> None:
        """Raise what went wrong, the cause before its consequences."""
        if self.fault is not None:
            raise self.fault
        if self.exchange.errors:
            raise ServerError(f"the server says: {self.exchange.errors[0]}")
        if self.timed_out:
            what = "sent nothing more" if self.all_sent else "took no more readouts"
            raise ServerError(
                f"the server {what} for {self.timeout_s:g} s",
                "images or CLOSE",
                "look at the server's log, or wait longer with --timeout",
            )
        if ended is not None:
            raise ended
        if not self.all_sent:
            advice = self.exchange.texts[-1] if self.exchange.texts else "look at the server's log"
            raise ServerError(
                f"the server closed after {self.exchange.readouts} readouts", "it to take the whole scan", advice
            )


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect, trying again for a while: a server that is only just starting refuses at first."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            sock = socket.create_connection((address, port), timeout=max(0.1, deadline - time.monotonic()))
        except ConnectionRefusedError:
            if time.monotonic() + 0.2 > deadline:
                raise ServerError(
                    f"nothing listens at {address} port {port}", "an MRD server", "start one: inr-recon serve"
                ) from None
            time.sleep(0.2)
        except OSError as error:
            raise ServerError(
                f"{address} port {port} cannot be reached: {error.strerror or error}",
                "an MRD server",
                "check the address",
            ) from None
        else:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock


def _as_text(xml: bytes | str) -> str:
    return xml.decode("utf-8") if isinstance(xml, bytes) else xml
