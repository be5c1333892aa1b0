"""The library's reader of MRD version 2, made fit for a running scan and for bytes that make no sense."""

from __future__ import annotations

import io
from typing import Any

import mrd
from mrd import _binary

from inr_core.errors import ProtocolError
from inr_gadgets.wire.guarded_socket import GuardedSocket
from inr_gadgets.wire.messages import MessageId
from inr_gadgets.wire.wire_format import LIMITS

MAGIC = _binary.MAGIC_BYTES
_LONGEST = LIMITS[MessageId.ACQUISITION]  # bytes of an array, and of the model's description


class LiveInput(_binary.CodedInputStream):  # type: ignore[misc]
    """Decodes what has come.

    The library's own input waits until 64 KiB are there: right for files, late by several readouts in a running scan.
    It also takes memory for an array before it has seen one byte of it; here there is a limit.
    """

    _view: memoryview  # the library's buffer, of which the part from offset to count holds what came and was not used
    _offset: int
    _last_read_count: int

    def __init__(self, source: GuardedSocket) -> None:
        super().__init__(io.BytesIO())
        self._source = source

    def read_exactly(self, count: int) -> bytes:
        """Return that many bytes.

        Raises
        ------
        EOFError
            When the stream ends before.
        """
        return bytes(self.read_bytearray(count))

    def read_bytearray(self, count: int) -> bytearray:
        """As :meth:`read_exactly`, into memory that may be changed."""
        if count > _LONGEST:
            raise ProtocolError(f"{count} bytes in one piece", f"at most {_LONGEST}", "is the stream damaged?")
        memory = bytearray(count)
        have = min(count, self._last_read_count - self._offset)
        memory[:have] = self._view[self._offset : self._offset + have]
        self._offset += have
        view = memoryview(memory)
        while have < count:
            have += self._read_some(view[have:])
        return memory

    def read_view(self, count: int) -> memoryview:
        """As :meth:`read_exactly`, for who only looks."""
        return memoryview(self.read_bytearray(count))

    def _fill_buffer(self, min_count: int = 0) -> None:
        left = bytes(self._view[self._offset : self._last_read_count])
        self._view[: len(left)] = left
        self._offset, self._last_read_count = 0, len(left)
        while self._last_read_count < max(min_count, 1):
            self._last_read_count += self._read_some(self._view[self._last_read_count :])

    def _read_some(self, view: memoryview) -> int:
        got = self._source.read_some(view)
        if not got:
            raise EOFError
        return got


def live_reader(source: GuardedSocket) -> Any:
    """Return an mrd.BinaryMrdReader of what comes from a source.

    Raises
    ------
    ProtocolError
        If it is no stream of version 2, or of another model than that of the installed mrd-python.
    EOFError
        If it ends before its model is described.
    """
    live = LiveInput(source)
    opening = live.read_exactly(len(MAGIC) + 4)
    if not opening.startswith(MAGIC):
        raise ProtocolError(f"a stream that begins with {opening[: len(MAGIC)]!r}", f"{MAGIC!r}, as MRD v2 does")
    schema = live.read_exactly(live.read_unsigned_varint())
    if schema != mrd.BinaryMrdReader.schema.encode():
        raise ProtocolError(
            "an MRD v2 stream of another model than that of the installed mrd-python",
            "the one model that a version of mrd-python reads and writes",
            "install the version that the sender has",
        )
    # The library checks the opening once more, in a file of its own.
    beginning = io.BytesIO()
    copy = _binary.CodedOutputStream(beginning)
    copy.write_bytes(opening)
    copy.write_unsigned_varint(len(schema))
    copy.write_bytes(schema)
    copy.flush()
    reader = mrd.BinaryMrdReader(io.BytesIO(beginning.getvalue()))
    reader._stream = live
    return reader
