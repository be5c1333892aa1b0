"""A socket as an MRD stream: complete reads, bounded sizes, one CLOSE.

What gadgetron-python gets wrong about a socket is guarded here: it spins for ever on a dead peer, ends its stream
without a word at an unknown id, and allocates sizes from the wire unseen. Its types and its framing
(:mod:`inr_gadgets.wire_format`) are used, its socket wrapper is not.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from gadgetron.external import constants

from inr_core.errors import InrError, ProtocolError
from inr_gadgets.messages import Close, Message, MessageId, Text
from inr_gadgets.peer_watch import PeerWatch
from inr_gadgets.wire_format import LIMITS, MALFORMED, READERS, serialise

_SEND_TIMEOUT_S = 120
_POLL_MS = 100  # how soon an interrupt is seen
_BUFFER_BYTES = 1 << 18


class StreamInterruptedError(InrError):
    """Reading was ended from our own side; see :meth:`Connection.interrupt`."""


class PeerGoneError(ProtocolError):
    """The other side takes nothing more: what is being made for it is not wanted."""


class Endpoint(Protocol):
    """What is needed of a socket; :class:`inr_gadgets.pipes.PipePair` has it for standard streams."""

    def fileno(self) -> int:
        """The descriptor that is read from."""

    def recv_into(self, buffer: Any, /) -> int:
        """Read what is there, at least a byte unless at the end."""

    def sendall(self, raw: Any, /) -> None:
        """Send all of it."""

    def close(self) -> None:
        """Close it."""


class _Raw(io.RawIOBase):
    """An endpoint's receiving side that a :meth:`MessageStream.interrupt` from another thread can wake."""

    def __init__(self, sock: Endpoint, interrupted: threading.Event) -> None:
        self._sock, self._interrupted = sock, interrupted
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._interrupted.is_set():
                raise StreamInterruptedError("reading was interrupted")
            if self._poll.poll(_POLL_MS):
                return self._sock.recv_into(buffer)


class GuardedSocket:
    """What the library's readers and writers call a source and a destination, with the guards of this module.

    Within a message every read is counted and bounded by the message's limit before memory is taken.
    """

    def __init__(self, sock: Endpoint) -> None:
        self.socket = sock
        self.interrupted = threading.Event()
        self.untouched = True  # not a single byte has come
        self._reader = io.BufferedReader(_Raw(sock, self.interrupted), _BUFFER_BYTES)
        self._lock = threading.Lock()
        self._what, self._limit, self._count = "a message", 0, 0

    def begin(self) -> int | None:
        """Read the next message's id; None when the connection ended between two messages."""
        self._what, self._limit, self._count = "a message id", 2, 0
        raw = self._receive(lambda: self._reader.read(2))
        if not raw:
            return None
        self.untouched = False
        if len(raw) < 2:
            raise self._short(len(raw), 2)
        (identifier,) = constants.GadgetMessageIdentifier.unpack(raw)
        if identifier in LIMITS:
            message = MessageId(identifier)
            self._what, self._limit, self._count = f"{message.name} message (id {identifier})", LIMITS[message], 0
        return int(identifier)

    def read(self, nbytes: int) -> bytes:
        """Read exactly that many bytes of the message.

        Raises
        ------
        ProtocolError
            When the connection ends first, or the message would be larger than its kind may be.
        """
        self._claim(nbytes)
        raw = self._receive(lambda: self._reader.read(nbytes))
        if len(raw) < nbytes:
            raise self._short(len(raw), nbytes)
        self._count += nbytes
        return bytes(raw)

    def read_writable(self, nbytes: int) -> bytearray:
        """As :meth:`read`, into memory that arrays made from it may change."""
        self._claim(nbytes)
        memory = bytearray(nbytes)
        got = self._receive(lambda: self._reader.readinto(memory)) if nbytes else 0
        if got < nbytes:
            raise self._short(got, nbytes)
        self._count += nbytes
        return memory

    def write(self, raw: Any) -> None:
        """Send all of it; safe from several threads, each call in one piece.

        Raises
        ------
        PeerGoneError
            When the other side is gone or has taken nothing for two minutes.
        """
        try:
            with self._lock:
                self.socket.sendall(raw)
        except (BlockingIOError, TimeoutError):
            raise PeerGoneError(
                f"the other side has taken nothing for {_SEND_TIMEOUT_S} s", "it to read while it sends"
            ) from None
        except OSError as error:
            raise PeerGoneError(f"the other side is gone ({error.strerror or error})") from None

    def malformed(self, reason: object) -> ProtocolError:
        """Return the error for a message whose parts contradict each other."""
        expected = "a message as ISMRMRD defines it"
        return ProtocolError(f"malformed {self._what}: {reason}", expected, "correct the sender")

    def _claim(self, nbytes: int) -> None:
        if self._count + nbytes > self._limit:
            raise ProtocolError(
                f"{self._what} of {self._count + nbytes} bytes or more",
                f"at most {self._limit}",
                "is its header right?",
            )

    def _receive(self, receive: Callable[[], Any]) -> Any:
        try:
            return receive()
        except OSError as error:
            raise ProtocolError(
                f"the other side vanished during {self._what} ({error.strerror or error})",
                "CLOSE (id 4) at the end of the stream",
                "send the scan again",
            ) from None

    def _short(self, got: int, nbytes: int) -> ProtocolError:
        return ProtocolError(
            f"{self._what} cut short: {self._count + got} bytes came",
            f"at least {self._count + nbytes}",
            "the other side ended the connection in the middle of it; send the scan again",
        )


class MessageStream:
    """One side of an MRD stream: reads messages, and sends messages and items from any thread.

    Iterating yields every message up to CLOSE, with ``arrived`` (``time.monotonic()`` after the last byte) on the items
    that are data. Everything that ends the stream and is not CLOSE raises.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.items_read = 0
        self._socket = GuardedSocket(endpoint)

    @property
    def untouched(self) -> bool:
        """Whether not a single byte has come: somebody who only looked at the port."""
        return self._socket.untouched

    def __iter__(self) -> Iterator[Any]:
        while not isinstance(message := self.read(), Close):
            yield message

    def read(self) -> Any:
        """Return the next message: one of :data:`inr_gadgets.messages.Message`, or an item of data.

        Raises
        ------
        ProtocolError
            For an unknown id, a malformed, oversized or cut message, and a connection that ends without CLOSE.
        StreamInterruptedError
            After :meth:`interrupt`.
        """
        identifier = self._socket.begin()
        if identifier is None:
            raise ProtocolError(
                f"the other side vanished: the connection ended after {self.items_read} items",
                "CLOSE (id 4) at the end of the stream",
                "send the scan again",
            )
        reader = READERS.get(identifier)
        if reader is None:
            known = ", ".join(f"{message.value} {message.name}" for message in MessageId)
            raise ProtocolError(f"a message with the unknown id {identifier}", f"one of {known}", "correct the sender")
        try:
            with np.errstate(over="raise"):
                item = reader(self._socket)
        except MALFORMED as error:
            raise self._socket.malformed(error) from error
        if identifier > constants.GADGET_MESSAGE_INT_ID_MAX:
            item.arrived = time.monotonic()
            self.items_read += 1
        return item

    def send(self, item: Any) -> None:
        """Send a message or an item of data, in one piece.

        Raises
        ------
        DataError
            When the item is of a type or dtype that cannot be sent.
        PeerGoneError
            When the other side is gone.
        """
        self._socket.write(item.pack() if isinstance(item, Message) else serialise(item))

    def send_text(self, text: str) -> None:
        """Send a line for the operator; it ends with a line feed, as Gadgetron's client adds none when it prints."""
        self.send(Text(f"{text}\n"))

    def interrupt(self) -> None:
        """Make reading, in whatever thread, raise StreamInterruptedError from now on; sending goes on as before."""
        self._socket.interrupted.set()

    def close(self) -> None:
        """Close the endpoint as it is."""
        self._socket.socket.close()


class Connection(MessageStream):
    """An MRD stream over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sock = sock
        sock.setblocking(True)
        # Not settimeout(): that would end the reading of a scan that pauses, too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT_S, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def watch(self, probe: Callable[[], None], gone: Callable[[], None]) -> PeerWatch:
        """Return what notices, after CLOSE, that the other side has gone; see :class:`PeerWatch`."""
        return PeerWatch(self._sock, probe, gone)

    def finish(self, hurry: threading.Event | None = None, *, silence_s: float = 5.0, total_s: float = 60.0) -> None:
        """Send CLOSE, read on without looking until the other side closes too, and close the socket.

        A socket that is closed while the other side still sends is reset, and our last lines would be lost with it.

        Parameters
        ----------
        hurry
            When set, a second has to be enough.
        silence_s, total_s
            How long the other side may be silent, and how long the whole may take.
        """
        with contextlib.suppress(PeerGoneError, OSError):  # nobody is left to tell
            self.send(Close())
            self._sock.shutdown(socket.SHUT_WR)
            _drain(self._sock, hurry or threading.Event(), silence_s, total_s)
        self.close()


class _LibrarySocket:
    """Stands in for the library's own socket wrapper, whose ``close()`` its Connection calls on leaving."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.finish()


def take_over(library_connection: Any) -> Connection:
    """Return a guarded Connection in place of gadgetron-python's, which has read config and header.

    The library still closes its connection on leaving, but through ours: see :meth:`Connection.finish`.
    """
    connection = Connection(library_connection.socket.socket)
    library_connection.socket = _LibrarySocket(connection)
    return connection


def _drain(sock: socket.socket, hurry: threading.Event, silence_s: float, total_s: float) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    now = time.monotonic()
    last, end = now, now + total_s
    hurried = False
    while now < end and now - last < silence_s:
        if hurry.is_set() and not hurried:
            hurried, end = True, min(end, now + 1.0)
        if poll.poll(_POLL_MS):
            if not sock.recv(_BUFFER_BYTES):
                return
            last = time.monotonic()
        now = time.monotonic()
