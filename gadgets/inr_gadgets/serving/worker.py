"""The worker: a warm process that Gadgetron dials for ``<connect>``, one gadget a connection, many at once.

The connections of a scan are independent of one another, as processes that Gadgetron starts would be.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from typing import TYPE_CHECKING

from inr_gadgets.lines import operator_line
from inr_gadgets.serving.server import Client, Conversation, Server, Warm, run_until_told, warm_up

if TYPE_CHECKING:
    from inr_gadgets.serving.link import GadgetLink, Opening
    from inr_gadgets.wire.connection import Connection

logger = logging.getLogger(__name__)

PORT = 18000  # that the configurations with <connect> name


class Worker(Server):
    """A server whose clients are nodes of Gadgetron's stream."""

    def conversation(self, client: Client) -> Conversation:
        """A link: its first messages say which gadget it is for."""
        from inr_gadgets.chain import GADGETS
        from inr_gadgets.serving.link import GadgetLink
        from inr_gadgets.wire.connection import Connection

        table = GADGETS if self._table is None else self._table
        connection = Connection(client.sock, self._limits)
        return _Dialled(connection, client.peer, GadgetLink(connection, None, table, self._slots, self._limits))

    def refusal(self, line: str) -> bytes:
        """An error in Gadgetron's dialect, ERROR (8)."""
        text = operator_line("", line).encode()
        return struct.pack("<HQ", 8, len(text)) + text


class _Dialled:
    """One connection of the worker: a gadget's link, its opening and its end."""

    def __init__(self, connection: Connection, peer: str, link: GadgetLink) -> None:
        self._connection, self._peer, self._link = connection, peer, link
        self._hurry = threading.Event()
        self._asked = False

    def run(self) -> bool:
        """Serve the link; whatever happens, the other side is told and the socket is closed."""
        began = time.monotonic()
        self._link.run(self._opening)
        self._connection.finish(self._hurry)
        logger.info("%s: closed after %.1f s", self._peer, time.monotonic() - began)
        return self._asked

    def end(self, reason: str) -> None:
        """End it early: what is made so far is sent, then the reason, then CLOSE."""
        self._link.end(reason)
        self._hurry.set()

    def _opening(self) -> Opening | None:
        from inr_core.errors import ProtocolError
        from inr_gadgets.serving.link import Opening
        from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header

        first = self._connection.read()
        if isinstance(first, Close):
            return None
        if isinstance(first, ConfigFile):
            # A client, not Gadgetron; it aborts on ERROR.
            line = "this is a worker for Gadgetron's <connect>; clients connect to Gadgetron or to inr-recon serve"
            self._connection.send_text(operator_line("ERROR", line))
            return None
        second = self._connection.read() if isinstance(first, ConfigText) else None
        if not isinstance(first, ConfigText) or not isinstance(second, Header):
            came = " and ".join(type(message).__name__ for message in (first, second) if message is not None)
            raise ProtocolError(
                f"a link that begins with {came}",
                "ConfigText and Header, as Gadgetron sends them",
                "clients connect to Gadgetron or to inr-recon serve",
            )
        self._connection.no_hurry()
        self._asked = True
        return Opening(first.text, second.xml)


def work(host: str = "127.0.0.1", port: int = PORT, *, warm: Warm | None = warm_up) -> None:
    """Work until SIGINT or SIGTERM; then let every link send what it has, and return. In the main thread."""
    run_until_told(lambda _: Worker(host, port, warm=warm))
