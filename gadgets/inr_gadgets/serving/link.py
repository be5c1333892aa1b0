"""One gadget on one link with Gadgetron: its configuration, the scan's header, items up to CLOSE, and an end.

The same for a process that Gadgetron starts (``<execute>``) and one that it dials (``<connect>``). TEXT is not allowed
on such a link: a gadget's lines are logged, and an error is an ERROR message, the only thing that reaches the client.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from inr_core.errors import InrError
from inr_gadgets.chain import GADGETS, Chain, ChainConfig, GadgetConfig, GadgetTable, gadget_class
from inr_gadgets.configs import named_gadget, parse_configuration, read_properties
from inr_gadgets.header import parse_header
from inr_gadgets.lines import operator_line
from inr_gadgets.serving.allowance import Allowance
from inr_gadgets.serving.session import slot
from inr_gadgets.wire.connection import Connection, PeerGoneError, StreamInterruptedError
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Error

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """What Gadgetron sends first: the text of the gadget's ``<configuration>``, and the scan's header."""

    configuration: str
    header: bytes | str


class GadgetLink:
    """Runs one gadget over one connection with Gadgetron, in the thread that calls :meth:`run`.

    Parameters
    ----------
    connection
        To Gadgetron; whoever made it also finishes it.
    target
        The gadget's name in the table; None takes it from the configuration's attribute ``gadget``.
    table
        The gadgets there are.
    slots
        One is taken by a gadget that holds a scan's reconstruction; without a free one it is refused.
    limits
        What the scan may take; None for no limits.
    """

    def __init__(
        self,
        connection: Connection,
        target: str | None = None,
        table: GadgetTable = GADGETS,
        slots: threading.Semaphore | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        self._connection, self._target, self._table, self._slots = connection, target, table, slots
        self._allowance = Allowance(limits)
        self._chain: Chain | None = None
        self._ending: str | None = None

    def run(self, opening: Callable[[], Opening | None]) -> None:
        """Serve the link up to CLOSE; whatever happens, Gadgetron is told, and nothing is raised.

        Parameters
        ----------
        opening
            Returns what came first; None when the other side left without asking for anything.
        """
        try:
            first = opening()
            if first is not None:
                self._run(first)
        except StreamInterruptedError:
            self._tell(f"{self._ending or 'the link was ended'}; no scan was running")
        except PeerGoneError as error:
            logger.warning("%s", error)
        except InrError as error:
            if self._connection.untouched and self._target is None:
                logger.info("left without a word")  # a look at the port: no scan has failed
            else:
                logger.error("%s", error)
                self._tell(str(error))
        except Exception as error:
            logger.exception("a fault of this program")
            self._tell(f"internal error: {type(error).__name__}: {error}; the gadget's log has the details")

    def end(self, reason: str) -> None:
        """End the scan early: what is made so far is sent, then the reason. Called from any thread."""
        self._ending = reason
        if self._chain is not None:
            self._chain.stop()
        self._connection.interrupt()

    def _run(self, first: Opening) -> None:
        owner = self._target or "the gadget"
        configuration = parse_configuration(first.configuration, owner)
        self._target = target = named_gadget(configuration, self._target, self._table)
        header = parse_header(first.header)
        properties = read_properties(configuration, target)
        chain = ChainConfig((GadgetConfig(target, properties),), self._table).build(header)
        chain.announce = lambda line: logger.info("%s: %s", target, line)
        self._chain = chain
        if self._ending:  # end() came while there was no chain to stop
            chain.stop()
        with contextlib.ExitStack() as ending:
            if self._slots is not None and gadget_class(target, self._table).works_while_idle:
                ending.enter_context(slot(self._slots))
            # Gadgetron keeps its side open until ours is closed: where that ends first, nobody is left.
            watch = ending.enter_context(self._connection.watch(self._left, self._left))
            items = self._items(watch.begin)
            results = ending.enter_context(contextlib.closing(chain.run(items, self._connection.interrupt)))
            for result in results:
                self._connection.send(result)
        if self._ending:
            self._tell(f"{self._ending}; sent is what was made so far")

    def _items(self, at_close: Callable[[], None]) -> Iterator[Any]:
        """Yield the items up to CLOSE, or until the link is ended from our side. Runs in the reader's thread."""
        with contextlib.suppress(StreamInterruptedError):
            for item in self._connection:
                self._allowance.check(self._connection.bytes_read)
                yield item
            at_close()

    def _left(self) -> None:
        """Stop the work, as nobody takes it any more; called by the watch."""
        logger.warning("%s: Gadgetron left before the end of the reconstruction, which is stopped", self._target)
        if self._chain is not None:
            self._chain.stop()

    def _tell(self, text: str) -> None:
        with contextlib.suppress(PeerGoneError):
            self._connection.send(Error(operator_line("", f"{self._target}: {text}" if self._target else text)))
