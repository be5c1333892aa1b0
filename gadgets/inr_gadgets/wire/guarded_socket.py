"""A socket as a source and a destination of MRD messages: complete reads, bounded sizes, bounded waiting."""

from __future__ import annotations

import contextlib
import io
import math
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from gadgetron.external import constants
from numpy.typing import NDArray

from inr_core.errors import InrError, ProtocolError
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import MessageId
from inr_gadgets.wire.wire_format import LIMITS, MIB

POLL_MS = 100  # how soon an interrupt is seen
BUFFER_BYTES = 1 << 18
SEND_S = 120.0  # where no server's limits say how long


class StreamInterruptedError(InrError):
    """Reading was ended from our own side; see :meth:`MessageStream.interrupt`."""


class PeerGoneError(ProtocolError):
    """The other side takes nothing more: what is being made for it is not wanted."""


class SlowPeerError(ProtocolError):
    """The other side keeps us waiting for longer than the server's limits allow."""


class Endpoint(Protocol):
    """What is needed of a socket; :class:`inr_gadgets.wire.pipes.PipePair` has it for standard streams."""

    def fileno(self) -> int:
        """The descriptor that is read from."""

    def recv_into(self, buffer: Any, /) -> int:
        """Read what is there, at least a byte unless at the end."""

    def sendall(self, raw: Any, /) -> None:
        """Send all of it."""

    def close(self) -> None:
        """Close it."""


class _Raw(io.RawIOBase):
    """An endpoint's receiving side that a :meth:`MessageStream.interrupt` from another thread can wake.

    Attributes
    ----------
    until
        ``time.monotonic()`` at which waiting ends with a TimeoutError.
    """

    def __init__(self, sock: Endpoint, interrupted: threading.Event) -> None:
        self._sock, self._interrupted = sock, interrupted
        self.until = math.inf
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._interrupted.is_set():
                raise StreamInterruptedError("reading was interrupted")
            # Looked at before every piece: a byte now and then does not do.
            if time.monotonic() > self.until:
                raise TimeoutError
            if self._poll.poll(POLL_MS):
                return self._sock.recv_into(buffer)


class GuardedSocket:
    """What the library's readers and writers call a source and a destination, with the guards of this module.

    Within a message every read is counted and bounded by the message's limit before memory is taken. Only waiting for
    the other side counts as its time, never what we do between two reads.

    Parameters
    ----------
    sock
        Where the bytes come from and go to.
    limits
        How long and how much is waited for; None for no time-outs and the protocol's own sizes.
    """

    def __init__(self, sock: Endpoint, limits: ServerLimits | None = None) -> None:
        self.socket = sock
        self.interrupted = threading.Event()
        self.untouched = True  # not a single byte has come
        self.count_all = 0  # bytes of messages that have come
        self.header_until = math.inf  # by when the header must be there
        self._limits, self._largest = limits, _largest(limits)
        self._raw = _Raw(sock, self.interrupted)
        self._reader = io.BufferedReader(self._raw, BUFFER_BYTES)
        self._lock = threading.Lock()
        self._full = False  # the other side has stopped to take what we send: a message may be cut
        self._what, self._limit, self._count = "a message", 0, 0

    def begin(self) -> int | None:
        """Read the next message's id; None when the connection ended between two messages."""
        self._what, self._limit, self._count = "a message id", 2, 0
        self._wait_at_most(self._limits.pause_s if self._limits else math.inf)
        raw = self._receive(lambda: self._reader.read(2))
        self._wait_at_most(self._limits.message_s if self._limits else math.inf)
        if not raw:
            return None
        self.untouched = False
        if len(raw) < 2:
            raise self._short(len(raw), 2)
        (identifier,) = constants.GadgetMessageIdentifier.unpack(raw)
        if identifier in self._largest:
            self._what, self._limit = (
                f"{MessageId(identifier).name} message (id {identifier})",
                self._largest[identifier],
            )
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
        self._came(nbytes)
        return bytes(raw)

    def read_writable(self, nbytes: int) -> NDArray[np.uint8]:
        """As :meth:`read`, into memory that arrays made from it may change."""
        self._claim(nbytes)
        # Neither zeroed nor touched: a size that is only announced costs no memory until its bytes come.
        memory = np.empty(nbytes, np.uint8)
        got = self._receive(lambda: self._reader.readinto(memory.data)) if nbytes else 0
        if got < nbytes:
            raise self._short(got, nbytes)
        self._came(nbytes)
        return memory

    def read_some(self, memory: memoryview) -> int:
        """Read what is there into memory, at least a byte; 0 at the end. For streams that are no MRD messages."""
        return int(self._receive(lambda: self._reader.readinto1(memory)))

    def write(self, raw: bytes) -> None:
        """Send all of it; safe from several threads, each call in one piece.

        Raises
        ------
        PeerGoneError
            When the other side is gone or has not taken it in time, now or before.
        """
        try:
            with self._lock:
                if self._full:
                    raise TimeoutError
                self.socket.sendall(raw)
        except TimeoutError:
            self._full = True
            raise PeerGoneError(
                "the other side has not taken in time what was sent to it", "it to read while it sends"
            ) from None
        except OSError as error:
            raise PeerGoneError(f"the other side is gone ({error.strerror or error})") from None

    def malformed(self, reason: object) -> ProtocolError:
        """Return the error for a message whose parts contradict each other."""
        expected = "a message as ISMRMRD defines it"
        return ProtocolError(f"malformed {self._what}: {reason}", expected, "correct the sender")

    def _wait_at_most(self, seconds: float) -> None:
        self._raw.until = min(time.monotonic() + seconds, self.header_until)

    def _came(self, nbytes: int) -> None:
        self._count += nbytes
        self.count_all += nbytes

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
        except TimeoutError:
            raise self._slow() from None
        except OSError as error:
            raise ProtocolError(
                f"the other side vanished during {self._what} ({error.strerror or error})",
                "CLOSE (id 4) at the end of the stream",
                "send the scan again",
            ) from None

    def _slow(self) -> SlowPeerError:
        limits = self._limits
        if limits is None:
            return SlowPeerError(f"{self._what} that does not come")
        if time.monotonic() > self.header_until:
            what, name, value = "no scan has begun", "header_s", limits.header_s
        elif self._limit == 2:
            what, name, value = "nothing has come", "pause_s", limits.pause_s
        else:
            what, name, value = f"{self._what} is still incomplete", "message_s", limits.message_s
        return SlowPeerError(
            f"{what} after {value:g} s", "a client that goes on", f"or inr-recon serve --set server.{name}=SECONDS"
        )

    def _short(self, got: int, nbytes: int) -> ProtocolError:
        return ProtocolError(
            f"{self._what} cut short: {self._count + got} bytes came",
            f"at least {self._count + nbytes}",
            "the other side ended the connection in the middle of it; send the scan again",
        )


class TimedSocket:
    """A socket as an endpoint whose other side has to take what is sent in time.

    Parameters
    ----------
    sock
        A connected socket.
    send_s
        For one message.
    """

    def __init__(self, sock: socket.socket, send_s: float = SEND_S) -> None:
        self._sock, self._send_s = sock, send_s
        self.fileno, self.recv_into, self.close = sock.fileno, sock.recv_into, sock.close
        self._poll = select.poll()
        self._poll.register(sock, select.POLLOUT)

    def sendall(self, raw: bytes) -> None:
        """Send all of it; the time is that of all, so that a byte taken now and then does not do.

        Raises
        ------
        TimeoutError
            When it is over.
        """
        until, rest = time.monotonic() + self._send_s, memoryview(raw)
        while True:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._sock.send(rest, socket.MSG_DONTWAIT) :]
            if not rest:
                return
            left_s = until - time.monotonic()
            if left_s <= 0 or not self._poll.poll(1000 * left_s):
                raise TimeoutError


def _largest(limits: ServerLimits | None) -> dict[int, int]:
    """The most bytes of each kind of message."""
    largest: dict[int, int] = {kind.value: most for kind, most in LIMITS.items()}
    if limits is not None:
        for kind in (MessageId.ACQUISITION, MessageId.WAVEFORM, MessageId.IMAGE, MessageId.RECON_DATA):
            largest[kind] = limits.message_mib * MIB
        for kind in (MessageId.CONFIG_TEXT, MessageId.TEXT, MessageId.QUERY, MessageId.RESPONSE, MessageId.ERROR):
            largest[kind] = limits.text_mib * MIB
        largest[MessageId.HEADER] = limits.header_mib * MIB
    return largest
