"""One gadget on one link with Gadgetron: its configuration, the scan's header, and items up to CLOSE.

The same for a process that Gadgetron starts (``<execute>``) and one that it dials (``<connect>``). TEXT is not allowed
on such a link: a gadget's lines are logged, and an error is an ERROR message, the only thing that reaches the client.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from inr_core.errors import ProtocolError
from inr_gadgets.chain import GADGETS, ChainConfig, GadgetConfig, GadgetTable, gadget_class
from inr_gadgets.configs import named_gadget, parse_configuration, read_properties
from inr_gadgets.header import parse_header
from inr_gadgets.lines import Level, operator_line
from inr_gadgets.serving.allowance import slot
from inr_gadgets.serving.service import Service
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Error, Message


@dataclass(frozen=True)
class Opening:
    """What Gadgetron sends first: the text of the gadget's ``<configuration>``, and the scan's header."""

    configuration: str
    header: bytes | str


class GadgetLink(Service):
    """Runs one gadget over one connection with Gadgetron.

    Parameters
    ----------
    connection
        To Gadgetron.
    opening
        Returns what came first; None when the other side left without asking for anything.
    target
        The gadget's name in the table; None takes it from the configuration's attribute ``gadget``.
    peer
        The other side's name in the log.
    table
        The gadgets there are.
    slots
        One is taken by a gadget that holds a scan's reconstruction; without a free one it is refused.
    limits
        What the scan may take; None for no limits.
    """

    log = "gadget's log"

    def __init__(
        self,
        connection: Connection,
        opening: Callable[[], Opening | None],
        target: str | None = None,
        *,
        peer: str = "Gadgetron",
        table: GadgetTable = GADGETS,
        slots: threading.Semaphore | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        super().__init__(connection, peer if target is None else f"{peer}: {target}", limits)
        self._opening, self._target, self._table, self._slots = opening, target, table, slots

    def _serve(self) -> bool:
        first = self._opening()
        if first is None:
            return False
        configuration = parse_configuration(first.configuration, self._target or "the gadget")
        target = named_gadget(configuration, self._target, self._table)
        if self._target is None:  # from now on its lines bear its name, in the log of all links
            self._target, self._peer = target, f"{self._peer}: {target}"
        header = parse_header(first.header)
        properties = read_properties(configuration, target)
        chain = ChainConfig((GadgetConfig(target, properties),), self._table).build(header)
        with contextlib.ExitStack() as ending:
            if self._slots is not None and gadget_class(target, self._table).works_while_idle:
                ending.enter_context(slot(self._slots))
            # Gadgetron keeps its side open until ours is closed: where that ends first, nobody is left.
            self._reconstruct(chain, functools.partial(self._items, self._data()), self._left)
        return True

    def _data(self) -> Iterator[Any]:
        """Yield what gadgets work on; other messages would go through them, back to where they are illegal."""
        for item in self._connection:
            if isinstance(item, Message):
                raise ProtocolError(
                    f"a {type(item).__name__} message after the data began",
                    "what Gadgetron's gadgets hand on, and CLOSE",
                    "configuration and header come first",
                )
            yield item

    def _send_line(self, level: Level, text: str) -> None:
        if level == "ERROR":
            self._connection.send(Error(operator_line("", f"{self._target}: {text}" if self._target else text)))
