"""The messages of the MRD streaming protocol that are not data: little-endian, each beginning with a uint16 id."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from gadgetron.external import constants

from inr_core.errors import ProtocolError

NAME_BYTES = 1024  # of a CONFIG_FILE message, NUL-padded


class MessageId(IntEnum):
    """The ids that we read or write; the numbers are gadgetron-python's."""

    CONFIG_FILE = constants.GADGET_MESSAGE_FILENAME
    CONFIG_TEXT = constants.GADGET_MESSAGE_CONFIG
    HEADER = constants.GADGET_MESSAGE_HEADER
    CLOSE = constants.GADGET_MESSAGE_CLOSE
    TEXT = constants.GADGET_MESSAGE_TEXT
    QUERY = constants.GADGET_MESSAGE_QUERY
    RESPONSE = constants.GADGET_MESSAGE_RESPONSE
    ERROR = constants.GADGET_MESSAGE_ERROR
    ACQUISITION = constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION
    IMAGE = constants.GADGET_MESSAGE_ISMRMRD_IMAGE
    RECON_DATA = constants.GADGET_MESSAGE_RECON_DATA
    WAVEFORM = constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM
    BUCKET = constants.GADGET_MESSAGE_BUCKET


@dataclass(frozen=True)
class ConfigFile:
    """Id 1: the name of a configuration that the server has."""

    name: str

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        name = self.name.encode()
        if len(name) > NAME_BYTES:
            raise ProtocolError(f"a configuration name of {len(name)} bytes", f"at most {NAME_BYTES}")
        return _id(MessageId.CONFIG_FILE) + name.ljust(NAME_BYTES, b"\0")


@dataclass(frozen=True)
class ConfigText:
    """Id 2: the text of a configuration, or, from some senders, the JSON with parameters."""

    text: str

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.CONFIG_TEXT) + _short(self.text)


@dataclass(frozen=True)
class Header:
    """Id 3: the scan's ISMRMRD header, XML."""

    xml: str

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.HEADER) + _short(self.xml)


@dataclass(frozen=True)
class Close:
    """Id 4: nothing follows. Only this ends a stream; an end of the connection does not."""

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.CLOSE)


@dataclass(frozen=True)
class Text:
    """Id 5: a line for the operator; from the client also the JSON with parameters."""

    text: str

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.TEXT) + _short(self.text)


@dataclass(frozen=True)
class Query:
    """Id 6: a question about the server."""

    text: str
    correlation: int = 0

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.QUERY) + struct.pack("<QQ", 0, self.correlation) + _long(self.text)


@dataclass(frozen=True)
class Response:
    """Id 7: the answer to the query with the same correlation id."""

    text: str
    correlation: int = 0

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.RESPONSE) + struct.pack("<Q", self.correlation) + _long(self.text)


@dataclass(frozen=True)
class Error:
    """Id 8: why an external gadget gives up. For Gadgetron only: its client aborts on it."""

    text: str

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        return _id(MessageId.ERROR) + _long(self.text)


Message = ConfigFile | ConfigText | Header | Close | Text | Query | Response | Error


def decode(raw: bytes | bytearray, what: str) -> str:
    """Return a text from the wire; some senders end it with NUL, some do not.

    Raises
    ------
    ProtocolError
        When it is not UTF-8.
    """
    try:
        return raw.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{what} is not UTF-8 (byte {error.start})", "UTF-8", "correct the sender") from None


def _id(message: MessageId) -> bytes:
    return bytes(constants.GadgetMessageIdentifier.pack(message))


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes(constants.uint32.pack(len(raw))) + raw


def _long(text: str) -> bytes:
    raw = text.encode()
    return bytes(constants.uint64.pack(len(raw))) + raw
