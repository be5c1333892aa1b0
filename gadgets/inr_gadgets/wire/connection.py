"""A socket as an MRD stream: complete reads, bounded sizes, one CLOSE.

What gadgetron-python gets wrong about a socket is guarded here: it spins for ever on a dead peer, ends its stream
without a word at an unknown id, and allocates sizes from the wire unseen. Its types and its framing
(:mod:`inr_gadgets.wire.wire_format`) are used, its socket wrapper is not: see :mod:`inr_gadgets.wire.guarded_socket`.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gadgetron.external import constants

from inr_core.errors import ProtocolError
from inr_gadgets.wire.guarded_socket import (
    BUFFER_BYTES,
    POLL_MS,
    SEND_S,
    Endpoint,
    GuardedSocket,
    PeerGoneError,
    SlowPeerError,
    StreamInterruptedError,
    TimedSocket,
)
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Close, Message, MessageId, Text
from inr_gadgets.wire.peer_watch import PeerWatch
from inr_gadgets.wire.wire_format import MALFORMED, READERS, serialise

__all__ = ["Connection", "MessageStream", "PeerGoneError", "SlowPeerError", "StreamInterruptedError", "take_over"]

# Its readouts have more coordinates than samples, and so more bytes than their headers say.
_UNCROPPED = (
    "the readout before it has a trajectory: take Gadgetron's RemoveROOversampling, which does not crop trajectories, "
    "out of the chain (nothing here needs it), or correct the sender"
)


class MessageStream:
    """One side of an MRD stream: reads messages, and sends messages and items from any thread.

    Iterating yields every message up to CLOSE, with ``arrived`` (``time.monotonic()`` after the last byte) on the items
    that are data. Everything that ends the stream and is not CLOSE raises.

    Parameters
    ----------
    endpoint
        Where the bytes come from and go to.
    limits
        A server's; with them the header has to come in time, see :meth:`no_hurry`. None waits as long as it takes.
    """

    def __init__(self, endpoint: Endpoint, limits: ServerLimits | None = None) -> None:
        self.items_read = 0
        self._after_trajectory = False
        self._socket = GuardedSocket(endpoint, limits)
        if limits is not None:
            self._socket.header_until = time.monotonic() + limits.header_s

    @property
    def untouched(self) -> bool:
        """Whether not a single byte has come: somebody who only looked at the port."""
        return self._socket.untouched

    @property
    def bytes_read(self) -> int:
        """Of all messages so far, without their ids."""
        return self._socket.count_all

    def no_hurry(self) -> None:
        """The header has come: from now on only pauses and unfinished messages are waited for in vain."""
        self._socket.header_until = math.inf

    def __iter__(self) -> Iterator[Any]:
        while not isinstance(message := self.read(), Close):
            yield message

    def read(self) -> Any:
        """Return the next message: one of :data:`inr_gadgets.wire.messages.Message`, or an item of data.

        Raises
        ------
        ProtocolError
            For an unknown id, a malformed, oversized, cut or late message, and a connection that ends without CLOSE.
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
            advice = _UNCROPPED if self._after_trajectory else "correct the sender"
            raise ProtocolError(f"a message with the unknown id {identifier}", f"one of {known}", advice)
        try:
            with np.errstate(over="raise"):
                item = reader(self._socket)
        except MALFORMED as error:
            raise self._socket.malformed(error) from error
        if identifier > constants.GADGET_MESSAGE_INT_ID_MAX:
            item.arrived = time.monotonic()
            self.items_read += 1
            self._after_trajectory = getattr(item, "trajectory_dimensions", 0) > 0
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
        """Send a line for the operator.

        It ends with a line feed, as Gadgetron's client adds none when it prints, and with the NUL of FIRE's definition
        of the message, which Gadgetron's client does not print.
        """
        self.send(Text(f"{text}\n\0"))

    def interrupt(self) -> None:
        """Make reading, in whatever thread, raise StreamInterruptedError from now on; sending goes on as before."""
        self._socket.interrupted.set()

    def close(self) -> None:
        """Close the endpoint as it is."""
        self._socket.socket.close()


class Connection(MessageStream):
    """An MRD stream over a socket.

    Parameters
    ----------
    sock
        A connected socket.
    limits
        See :class:`MessageStream`.
    """

    def __init__(self, sock: socket.socket, limits: ServerLimits | None = None) -> None:
        super().__init__(TimedSocket(sock, limits.send_s if limits else SEND_S), limits)
        self._sock = sock
        sock.setblocking(True)
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
    connection._socket.untouched = False
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
        if poll.poll(POLL_MS):
            if not sock.recv(BUFFER_BYTES):
                return
            last = time.monotonic()
        now = time.monotonic()
