"""Standard streams as an MRD stream: acquisitions come from one descriptor, images go to another.

As in a shell pipe, the sender waits while we are busy and we wait while the reader is. What goes out is what
``gadgetron --from_stream`` writes: the header as it came, images, CLOSE; lines for the operator are logged instead.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ismrmrd

from inr_core.errors import DataError, MissingDependencyError, ParameterError, ProtocolError
from inr_gadgets.private_file import new_private_file
from inr_gadgets.wire.connection import MessageStream, PeerGoneError
from inr_gadgets.wire.messages import Close, Header
from inr_gadgets.wire.peer_watch import SinkWatch, Watch

if TYPE_CHECKING:
    from inr_gadgets.image_file import ImageOutput

PROTOCOLS = ("auto", "v1", "v2")
HOW = "inr-recon stream < scan.mrd > images.mrd, or with --input and --output"


class PipePair:
    """Two descriptors in place of a socket; owns both. The sink may be set later."""

    def __init__(self, source: int, sink: int = -1) -> None:
        self.source, self.sink = source, sink
        self._peeked = b""

    def fileno(self) -> int:
        """The descriptor that is read from."""
        return self.source

    def peek(self) -> bytes:
        """Return the first byte, which is read once more later; empty at the end of the input."""
        if not self._peeked:
            _wait(self.source, select.POLLIN)
            self._peeked = os.read(self.source, 1)
        return self._peeked

    def recv_into(self, buffer: Any) -> int:
        """Read what is there."""
        if self._peeked:
            buffer[:1], self._peeked = self._peeked, b""
            return 1
        return os.readv(self.source, [buffer])

    def sendall(self, raw: Any) -> None:
        """Write all of it, also where another program has made the pipe non-blocking."""
        left = memoryview(raw)
        while left:
            try:
                left = left[os.write(self.sink, left) :]
            except BlockingIOError:
                _wait(self.sink, select.POLLOUT)

    def close(self) -> None:
        """Close both, once; whoever reads the sink comes to its end."""
        descriptors, self.source, self.sink = (self.source, self.sink), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                with contextlib.suppress(OSError):  # a disk that is full says so here, too
                    os.close(descriptor)


def _wait(descriptor: int, event: int) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


class PipeStream(MessageStream):
    """A client's conversation over standard streams; see :class:`inr_gadgets.serving.service.Conversation`.

    Parameters
    ----------
    pair
        The streams.
    images
        A file for the images in place of the sink; None for none.
    """

    untouched = False  # who opens a pipe and sends nothing is to hear of it

    def __init__(self, pair: PipePair, images: ImageOutput | None = None) -> None:
        super().__init__(pair)
        self._pair, self._images = pair, images

    def read(self) -> Any:
        """Return the next message; the header is sent on as it comes."""
        message = super().read()
        if isinstance(message, Header):
            self.send(message)
            self.keep_header(message)
        return message

    def keep_header(self, header: Header) -> None:
        """Let the header go into the file of the images."""
        if self._images is not None:
            self._images.header_xml = header.xml.encode()

    def send(self, item: Any) -> None:
        """Write a message or an image."""
        if self._images is not None and isinstance(item, ismrmrd.Image):
            self._images.append(item)
        else:
            super().send(item)

    def send_text(self, text: str) -> None:
        """Nothing: the sink holds data alone, and what is said is in the log."""

    def watch(self, probe: Callable[[], None], gone: Callable[[], None]) -> Watch:
        """Return what notices that nobody reads the sink any more."""
        return SinkWatch(self._pair.sink, gone)

    def finish(self, hurry: threading.Event | None = None) -> None:
        """Send CLOSE and close both ends."""
        with contextlib.suppress(PeerGoneError):  # nobody is left to tell
            self.send(Close())
        self.close()

    def close(self) -> None:
        """Close both ends, and the file of the images."""
        super().close()
        if self._images is not None:
            self._images.close()


def open_source(path: Path | None) -> int:
    """Open what is read: a file, or the standard input.

    Raises
    ------
    DataError
        If it is a terminal or cannot be opened.
    """
    if path is None:
        if os.isatty(0):
            raise DataError("the terminal as input", "an MRD stream from a pipe or a file", HOW)
        return os.dup(0)
    try:
        descriptor = os.open(path, os.O_RDONLY)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "a file with an MRD stream", HOW) from None
    return descriptor


def open_sink(path: Path | None) -> int:
    """Open what is written: a new file that only its owner may read, a named pipe, or the standard output.

    From now on, what anybody prints goes to the standard error: a line among the data would end the stream.

    Raises
    ------
    DataError
        If it is a terminal, exists already as a file, or cannot be opened.
    """
    if path is None:
        if os.isatty(1):
            raise DataError("the terminal as output", "a pipe or a file for the images", HOW)
        sink = os.dup(1)
        os.dup2(2, 1)
        return sink
    try:
        if path.exists() and not path.is_file():
            return os.open(path, os.O_WRONLY)
        return new_private_file(path)
    except FileExistsError:
        raise DataError(f"{path} exists already", "a new file", "choose another name or remove it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})", "a file for the images", HOW) from None


def converse(pair: PipePair, protocol: str = "auto", images: ImageOutput | None = None) -> PipeStream:
    """Return the conversation in the protocol of what comes.

    Parameters
    ----------
    pair
        The streams; the sink may still be missing.
    protocol
        One of :data:`PROTOCOLS`; ``auto`` looks at the first byte.
    images
        See :class:`PipeStream`.

    Raises
    ------
    ProtocolError
        When the input is an HDF5 file.
    ParameterError
        When there is no such protocol.
    MissingDependencyError
        For v2 without mrd-python.
    """
    found = _protocol(pair.peek())
    if protocol not in PROTOCOLS:
        raise ParameterError(f"--protocol {protocol}", f"one of {', '.join(PROTOCOLS)}")
    if (found if protocol == "auto" else protocol) == "v1":
        return PipeStream(pair, images)
    try:
        version_2 = importlib.import_module("inr_gadgets.mrd2.stream")
    except ImportError as error:
        raise MissingDependencyError.of_extra("an MRD v2 stream needs mrd-python", "mrd2", error) from error
    conversation: PipeStream = version_2.Mrd2Stream(pair, images)
    return conversation


def _protocol(first: bytes) -> str:
    """``v1`` or ``v2`` by the first byte of a stream; v1 begins with a small number, v2 with ``yardl``."""
    if first == b"\x89":
        raise ProtocolError(
            "an HDF5 file as input", "an MRD stream", "ismrmrd_hdf5_to_stream makes one of it; or use inr-recon replay"
        )
    return "v2" if first == b"y" else "v1"
