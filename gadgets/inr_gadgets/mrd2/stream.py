"""A session's conversation in MRD version 2 over standard streams."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ismrmrd
import mrd

from inr_core.errors import DataError, ProtocolError
from inr_gadgets.image_file import ImageOutput
from inr_gadgets.mrd2.header import header_xml
from inr_gadgets.mrd2.items import acquisition, image, waveform
from inr_gadgets.mrd2.reader import live_reader
from inr_gadgets.wire.connection import PeerGoneError
from inr_gadgets.wire.messages import Close, Header
from inr_gadgets.wire.pipes import PipePair, PipeStream
from inr_gadgets.wire.wire_format import MALFORMED

# Items without samples, which mrd-python 2.2 may put between the readouts.
_IGNORED = ("acquisitionprototype", "pulseq")


class Mrd2Stream(PipeStream):
    """A client that speaks version 2; to the session it looks like one of version 1.

    The header goes back as it came, images follow as they are made.
    """

    def __init__(self, pair: PipePair, images: ImageOutput | None = None) -> None:
        super().__init__(pair, images)
        self._messages = self._read_all()
        self._writer: Any = None

    def read(self) -> Any:
        """Return the next message; see :meth:`inr_gadgets.wire.connection.MessageStream.read`."""
        try:
            message = next(self._messages)
        except EOFError:
            raise ProtocolError(
                f"an MRD v2 stream that is cut short after {self.items_read} items",
                "the mark of its end",
                "look at what writes it",
            ) from None
        except (*MALFORMED, RuntimeError) as error:
            raise ProtocolError(f"a malformed MRD v2 stream ({error})", "what mrd-python writes") from error
        if isinstance(message, Header):
            self.keep_header(message)
        elif not isinstance(message, Close):
            message.arrived = time.monotonic()
            self.items_read += 1
        return message

    def send(self, item: Any) -> None:
        """Write an image; other messages do not belong in the sink.

        Raises
        ------
        PeerGoneError
            When nobody reads the sink any more.
        """
        if self._images is not None:
            super().send(item)
        elif isinstance(item, ismrmrd.Image):
            self._write([image(item)])

    def finish(self, hurry: threading.Event | None = None) -> None:
        """Write the mark of the end, if there was a header, and close both ends."""
        if self._writer is not None:
            with contextlib.suppress(PeerGoneError):  # nobody is left to tell
                self._write([])
                self._writer.close()
        self.close()

    def _write(self, items: list[Any]) -> None:
        self._writer.write_data(items)
        self._writer._stream.flush()

    def _read_all(self) -> Iterator[Any]:
        reader = live_reader(self._socket)
        header = reader.read_header()
        if header is None:
            raise DataError("an MRD v2 stream without a header", "the scan's header", "write it before the data")
        xml = header_xml(header)
        self._writer = mrd.BinaryMrdWriter(_Sink(self._socket.write))
        self._writer.write_header(header)
        self._writer._stream.flush()
        yield Header(xml)
        for item in reader.read_data():
            if isinstance(item.value, mrd.Acquisition):
                yield acquisition(item.value)
            elif isinstance(item.value, mrd.Waveform):
                yield waveform(item.value)
            elif not item.tag.lower().startswith(_IGNORED):
                raise ProtocolError(f"an item {item.tag} of MRD v2", "acquisitions and waveforms", "send raw data")
        yield Close()


class _Sink:
    """What the library's writer takes for a file."""

    def __init__(self, write: Callable[[Any], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """Do nothing: nothing is held back."""
