"""The worker: a warm process that Gadgetron dials for ``<connect>``, one gadget a connection, many at once.

The connections of a scan are independent of one another, as processes that Gadgetron starts would be.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from inr_gadgets.lines import operator_line
from inr_gadgets.serving.server import Client, Conversation, Server, Warm, run_until_told, warm_up

if TYPE_CHECKING:
    from inr_gadgets.serving.link import Opening
    from inr_gadgets.serving.preparation import Preparation
    from inr_gadgets.wire.connection import Connection

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
        opening = functools.partial(_opening, connection)
        return GadgetLink(connection, opening, peer=client.peer, table=table, slots=self._slots, limits=self._limits)

    def refusal(self, line: str) -> bytes:
        """An error in Gadgetron's dialect, ERROR (8)."""
        text = operator_line("", line).encode()
        return struct.pack("<HQ", 8, len(text)) + text


def _opening(connection: Connection) -> Opening | None:
    from inr_core.errors import ProtocolError
    from inr_gadgets.serving.link import Opening
    from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header

    first = connection.read()
    if isinstance(first, Close):
        return None
    if isinstance(first, ConfigFile):
        # A client, not Gadgetron; it aborts on ERROR.
        line = "this is a worker for Gadgetron's <connect>; clients connect to Gadgetron or to inr-recon serve"
        connection.send_text(operator_line("ERROR", line))
        return None
    second = connection.read() if isinstance(first, ConfigText) else None
    if not isinstance(first, ConfigText) or not isinstance(second, Header):
        came = " and ".join(type(message).__name__ for message in (first, second) if message is not None)
        raise ProtocolError(
            f"a link that begins with {came}",
            "ConfigText and Header, as Gadgetron sends them",
            "clients connect to Gadgetron or to inr-recon serve",
        )
    connection.no_hurry()
    return Opening(first.text, second.xml)


def work(
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    warm: Warm | None = warm_up,
    preparation: Preparation | None = None,
) -> None:
    """Work until SIGINT or SIGTERM; then let every link send what it has, and return. In the main thread.

    Parameters
    ----------
    preparation
        What compiles after a scan, for the next one.
    """
    after_scan = None if preparation is None else preparation.look
    run_until_told(lambda _: Worker(host, port, warm=warm, after_scan=after_scan), preparation)
