"""Work for one peer, a client or Gadgetron: items in, what the gadgets make of them out, an end that it always sees."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from inr_core.errors import InrError
from inr_gadgets.chain import Chain
from inr_gadgets.lines import Level, operator_line
from inr_gadgets.serving.allowance import Allowance
from inr_gadgets.wire.connection import PeerGoneError, SlowPeerError, StreamInterruptedError
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.peer_watch import Watch

logger = logging.getLogger(__name__)


class Conversation(Protocol):
    """What a service needs of its peer's connection, whatever lies below it and whatever dialect the peer speaks."""

    @property
    def untouched(self) -> bool:
        """Whether nothing has come, and nobody has to be told of it."""

    @property
    def bytes_read(self) -> int:
        """Of all messages so far."""

    def no_hurry(self) -> None:
        """The header has come, and need not be waited for any more."""

    def read(self) -> Any:
        """Return the next message or item of data."""

    def __iter__(self) -> Iterator[Any]:
        """Read up to CLOSE."""

    def send(self, item: Any) -> None:
        """Send a message or an item of data."""

    def send_text(self, text: str) -> None:
        """Send a line for the operator."""

    def interrupt(self) -> None:
        """Make reading end with StreamInterruptedError."""

    def finish(self, hurry: threading.Event | None = None) -> None:
        """Say that nothing follows, and close."""

    def watch(self, probe: Callable[[], None], gone: Callable[[], None]) -> Watch:
        """Return what notices that the peer has gone."""


class Service(ABC):
    """Serves one peer, in the thread that calls :meth:`run`.

    Parameters
    ----------
    connection
        To the peer; finished by :meth:`run`.
    peer
        Its name in the log.
    limits
        What the peer's scan may take; None for no limits.
    """

    sends: type = object  # what of the gadgets' items the peer takes
    made = "items"  # what the peer calls these
    log = "server's log"

    def __init__(self, connection: Conversation, peer: str, limits: ServerLimits | None = None) -> None:
        self._connection, self._peer = connection, peer
        self._allowance = Allowance(limits)
        self._chain: Chain | None = None
        self._ending: str | None = None
        self._hurry = threading.Event()
        self._gone = False
        self._sent = 0

    def run(self) -> bool:
        """Serve to the end; whatever happens, the peer is told in one line and the connection is closed.

        Returns
        -------
        Whether there was a scan, however it ended; False for who only looked at the port or asked something.
        """
        began = time.monotonic()
        scan = self._guarded()
        self._connection.finish(self._hurry)
        logger.info("%s: closed after %.1f s, %s", self._peer, time.monotonic() - began, self._counted())
        return scan

    def end(self, reason: str) -> None:
        """End the scan early: what is made so far is sent, then the reason, then CLOSE. Called from any thread.

        Parameters
        ----------
        reason
            For the operator: ``"the server was told to stop (SIGTERM)"``.
        """
        self._ending = reason
        self._stop()
        self._connection.interrupt()
        self._hurry.set()

    @abstractmethod
    def _serve(self) -> bool:
        """Hold the conversation; return whether there was a scan."""

    @abstractmethod
    def _send_line(self, level: Level, text: str) -> None:
        """Send the peer a line for the operator, in its dialect, or not at all where that has no such thing."""

    def _counted(self) -> str:
        return f"{self._sent} {self.made} out"

    def _guarded(self) -> bool:
        try:
            return self._serve()
        except StreamInterruptedError:
            self._say("ERROR", f"{self._ending or 'the scan was ended'}; no scan was running")
        except PeerGoneError as error:
            logger.warning("%s: %s", self._peer, error)
        except InrError as error:
            if self._connection.untouched and not isinstance(error, SlowPeerError):
                logger.info("%s: left without a word", self._peer)  # a look at the port: no scan has failed
            else:
                self._say("ERROR", str(error))
        except Exception as error:
            logger.exception("%s: a fault of this program", self._peer)
            self._say("ERROR", f"internal error: {type(error).__name__}: {error}; the {self.log} has the details")
        return not self._connection.untouched

    def _reconstruct(
        self, chain: Chain, source: Callable[[Callable[[], None]], Iterable[Any]], probe: Callable[[], None]
    ) -> None:
        """Send what the chain makes of the scan, for as long as the peer is there to take it.

        Parameters
        ----------
        chain
            What works.
        source
            Given what to call at CLOSE, returns the scan's items: see :meth:`_items`.
        probe
            Called once after CLOSE, to say something to a peer that may have gone.
        """
        chain.announce = functools.partial(self._say, "")
        self._chain = chain
        if self._ending:  # end() came while there was no chain to stop
            chain.stop()
        with contextlib.ExitStack() as ending:
            watch = ending.enter_context(self._connection.watch(probe, self._left))
            results = chain.run(source(watch.begin), self._connection.interrupt)
            for item in ending.enter_context(contextlib.closing(results)):
                if isinstance(item, self.sends):
                    self._connection.send(item)
                    self._sent += 1
        if self._ending:
            self._say("ERROR", f"{self._ending}; sent are the {self._sent} {self.made} made so far")

    def _items(self, messages: Iterable[Any], at_close: Callable[[], None]) -> Iterator[Any]:
        """Yield the scan up to CLOSE, or until it is ended from our side. Runs in the reader's thread."""
        # Interrupted: the gadgets are to send what they have, or nobody listens any more.
        with contextlib.suppress(StreamInterruptedError):
            for message in messages:
                self._allowance.check(self._connection.bytes_read)
                yield message
            at_close()

    def _left(self) -> None:
        """Stop the work, as the peer is gone; called by the watch."""
        logger.warning("%s: left before the end of the reconstruction, which is stopped", self._peer)
        self._give_up()

    def _say(self, level: Level, text: str) -> None:
        """Log a line and send it to the operator, if the peer still listens."""
        line = operator_line(level, text)
        logger.log(logging.ERROR if level == "ERROR" else logging.INFO, "%s: %s", self._peer, line)
        try:
            self._send_line(level, text)
        except PeerGoneError:
            # Not an error of the gadget that has something to say; it is to end its work.
            logger.info("%s does not listen any more", self._peer)
            self._give_up()

    def _give_up(self) -> None:
        self._gone = True
        self._stop()

    def _stop(self) -> None:
        if self._chain is not None:
            self._chain.stop()
