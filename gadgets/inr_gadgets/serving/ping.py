"""A question to a server whether it answers: for the health check of a container, so nothing heavy is imported."""

from __future__ import annotations

import socket
import struct
import time

from inr_core.errors import InrError
from inr_gadgets.lines import operator_line

# Ids of the protocol; inr_gadgets.wire.messages has all of them and imports half a second's worth of modules.
_CONFIG_FILE, _CLOSE, _TEXT, _QUERY, _RESPONSE = 1, 4, 5, 6, 7
_DEPENDENCY_QUERY = struct.pack("<H1024sH", _CONFIG_FILE, b"inr_dynamic", _CLOSE)
_VERSION = b"gadgetron::info"
_VERSION_QUERY = struct.pack(f"<HQQQ{len(_VERSION)}sH", _QUERY, 0, 1, len(_VERSION), _VERSION, _CLOSE)
_NAMES = {_CLOSE: f"CLOSE ({_CLOSE})", _RESPONSE: f"RESPONSE ({_RESPONSE})"}
_LONGEST_TEXT = 1 << 16


class NoAnswerError(InrError):
    """A server did not answer, or not as an MRD server that is fit to work does."""


def ping(address: str = "localhost", port: int = 9002, timeout_s: float = 5.0, *, version: bool = False) -> float:
    """Ask an MRD server something that it answers and does not count as a scan.

    That is a dependency query, CONFIG then CLOSE, answered by CLOSE. Gadgetron takes it for a scan that is cut short,
    and answers a question after its version.

    Parameters
    ----------
    address, port
        Of the server.
    timeout_s
        How long connection and answer may take together.
    version
        Ask for the version instead: QUERY, answered by RESPONSE.

    Returns
    -------
    float
        Seconds from the connection's beginning to the answer.

    Raises
    ------
    NoAnswerError
        When nothing listens there, the answer does not come in time, or it is another one.
    """
    began = time.monotonic()
    where = f"{address} port {port}"
    question, good = (_VERSION_QUERY, _RESPONSE) if version else (_DEPENDENCY_QUERY, _CLOSE)
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as sock:
            reply = _Reply(sock, began + timeout_s)
            sock.sendall(question)
            (message,) = struct.unpack("<H", reply.read(2))
            if message == _TEXT:
                (length,) = struct.unpack("<I", reply.read(4))
                line = operator_line("", reply.read(min(length, _LONGEST_TEXT)).decode(errors="replace").rstrip("\0"))
                raise NoAnswerError(f"the server at {where} says: {line}", _NAMES[good], "its log has the details")
    except TimeoutError:
        raise NoAnswerError(
            f"{where} has not answered within {timeout_s:g} s", _NAMES[good], "look at the server's log"
        ) from None
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoAnswerError(
            f"{where} cannot be asked ({reason})", "an MRD server", "start one: inr-recon serve"
        ) from None
    if message != good:
        raise NoAnswerError(f"{where} answers with message {message}", _NAMES[good], "is it an MRD server?")
    return time.monotonic() - began


class _Reply:
    """What the server sends, read by a deadline that bytes which trickle in do not move."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def read(self, nbytes: int) -> bytes:
        received = b""
        while len(received) < nbytes:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            piece = self._sock.recv(nbytes - len(received))
            if not piece:
                raise ConnectionResetError(None, "the connection was ended without an answer")
            received += piece
        return received
