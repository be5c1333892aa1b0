"""One client's life: what it asks for, its scan, the images that go back, and an end that it always gets to see."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import ismrmrd

from inr_core.errors import DataError, InrError, ProtocolError
from inr_gadgets.chain import GADGETS, Chain, ChainConfig, GadgetTable
from inr_gadgets.header import refuse_large
from inr_gadgets.lines import Level, line_for_host, operator_line
from inr_gadgets.serving.allowance import Allowance, check_memory
from inr_gadgets.serving.keeper import ScanKeeper
from inr_gadgets.serving.request import Request, is_json
from inr_gadgets.wire.connection import PeerGoneError, SlowPeerError, StreamInterruptedError
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Close, ConfigFile, Header, Message, Query, Response, Text
from inr_gadgets.wire.peer_watch import Watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SessionSettings:
    """What every session of a server has in common.

    Attributes
    ----------
    overrides
        Parameters that win over the configurations', ``{"recon.virtual_coils": "6"}``.
    save
        A folder for the incoming scans; None keeps none.
    table
        The gadgets that a configuration may name.
    limits
        Of time and memory; None for none.
    slots
        One is taken by every scan while it is reconstructed; without a free one it is refused.
    default
        The configuration of clients that name none; empty if they have to name one.
    chain
        The configuration, whatever the client asks for; None to do as it asks.
    """

    overrides: Mapping[str, object] = field(default_factory=dict)
    save: Path | None = None
    table: GadgetTable = field(default_factory=lambda: GADGETS)
    limits: ServerLimits | None = None
    slots: threading.Semaphore = field(default_factory=threading.Semaphore)
    default: str = ""
    chain: ChainConfig | None = None


class Conversation(Protocol):
    """What a session needs of a client's connection, whatever lies below it and whatever dialect the client speaks."""

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

    def send(self, item: Any) -> None:
        """Send a message or an item of data."""

    def send_text(self, text: str) -> None:
        """Send a line for the operator."""

    def interrupt(self) -> None:
        """Make reading end with StreamInterruptedError."""

    def finish(self, hurry: threading.Event | None = None) -> None:
        """Say that nothing follows, and close."""

    def watch(self, probe: Callable[[], None], gone: Callable[[], None]) -> Watch:
        """Return what notices that the client has gone."""


class BusyError(InrError):
    """As many scans as the server takes are being reconstructed already."""


class Session:
    """Serves one client, in the thread that calls :meth:`run`.

    Attributes
    ----------
    done
        Whether a scan came, was reconstructed to its end, and the client was there to take all of it.
    """

    def __init__(self, connection: Conversation, peer: str, settings: SessionSettings) -> None:
        self._connection = connection
        self._peer, self._settings = peer, settings
        self._chain: Chain | None = None
        self._ending: str | None = None
        self._hurry = threading.Event()
        self._gone = False
        self.done = False
        self._acquisitions = self._images = 0

    def run(self) -> bool:
        """Hold the conversation to its end; whatever happens, the client is told and the connection is closed.

        Returns
        -------
        Whether there was a scan, however it ended; False for a look at the port and for a dependency query.
        """
        began, scan = time.monotonic(), True
        try:
            scan = self._converse()
            self.done = scan and not self._ending and not self._gone
        except StreamInterruptedError:
            self._say("ERROR", f"{self._ending or 'the scan was ended'}; no scan was running")
        except PeerGoneError as error:
            logger.warning("%s: %s", self._peer, error)
        except InrError as error:
            scan = not self._connection.untouched
            if not scan and not isinstance(error, SlowPeerError):
                logger.info("%s: left without a word", self._peer)  # a look at the port: no scan has failed
            else:
                self._say("ERROR", str(error))
        except Exception as error:
            logger.exception("%s: a fault of this program", self._peer)
            self._say("ERROR", f"internal error: {type(error).__name__}: {error}; the server's log has the details")
        self._connection.finish(self._hurry)
        logger.info(
            "%s: closed after %.1f s, %d readouts in, %d images out",
            *(self._peer, time.monotonic() - began, self._acquisitions, self._images),
        )
        return scan

    def end(self, reason: str) -> None:
        """End the scan early: what is made so far is sent, then the reason, then CLOSE. Called from any thread.

        Parameters
        ----------
        reason
            For the operator: ``"the server was told to stop (SIGTERM)"``.
        """
        self._ending = reason
        if self._chain is not None:
            self._chain.stop()
        self._connection.interrupt()
        self._hurry.set()

    def _converse(self) -> bool:
        """Return whether a scan came."""
        request = Request(default=ConfigFile(self._settings.default) if self._settings.default else None)
        first = self._prepare(request)
        if isinstance(first, Close):
            if request.header is None:
                return False  # a dependency query, or somebody who looks whether we are there: the answer is CLOSE
            self._chain_config(request)  # a wrong name is the better message
            raise _no_acquisitions()
        config = self._chain_config(request)
        with slot(self._settings.slots):
            check_memory(self._settings.limits)
            self._chain = config.build(request.header, self._settings.overrides, request.settings())
            self._chain.announce = lambda line: self._say("", line)
            if self._ending:  # end() came while there was no chain to stop
                self._chain.stop()
            self._reconstruct(self._chain, first, request)
        return True

    def _prepare(self, request: Request) -> Any:
        """Fill the request in; return the first item of data, or CLOSE."""
        while True:
            message = self._connection.read()
            if isinstance(message, Close):
                return message
            if request.take(message):
                logger.info("%s sends %s", self._peer, _shown(message))
                if isinstance(message, Header):
                    self._check_header(request)
            elif not self._answer(message):
                request.check_complete(f"data ({type(message).__name__})")
                return message

    def _check_header(self, request: Request) -> None:
        self._connection.no_hurry()
        if self._settings.limits is not None:
            refuse_large(request.header, self._settings.limits.matrix)

    def _chain_config(self, request: Request) -> ChainConfig:
        return self._settings.chain or request.chain_config(self._settings.table)

    def _reconstruct(self, chain: Chain, first: Any, request: Request) -> None:
        with contextlib.ExitStack() as ending:
            watch = ending.enter_context(self._connection.watch(self._probe, self._left))
            scan = self._scan(first, request, watch.begin)
            images = ending.enter_context(contextlib.closing(chain.run(scan, self._connection.interrupt)))
            for item in images:
                # Waveforms and whatever else passes through the chain end here: a client aborts on it.
                if isinstance(item, ismrmrd.Image):
                    self._connection.send(item)
                    self._images += 1
        if self._ending:
            self._say("ERROR", f"{self._ending}; sent are the {self._images} images made so far")
        elif not self._acquisitions:
            raise _no_acquisitions()

    def _scan(self, first: Any, request: Request, at_close: Callable[[], None]) -> Iterator[Any]:
        """Yield the scan up to CLOSE, or until the server ends it. Runs in the reader's thread."""
        keeper = ScanKeeper(self._settings.save, request.header_xml, lambda line: self._say("WARNING", line))
        allowance = Allowance(self._settings.limits)
        with contextlib.closing(keeper):
            message = first
            while not isinstance(message, Close):
                allowance.check(self._connection.bytes_read)
                if not self._answer(message):
                    self._acquisitions += isinstance(message, ismrmrd.Acquisition)
                    keeper.keep(message)
                    yield message
                try:
                    message = self._connection.read()
                except StreamInterruptedError:
                    return  # the server ends, and the gadgets send what they have; or nobody listens any more
        at_close()

    def _answer(self, message: Any) -> bool:
        """Deal with a message that is no data, at any time after the first; False when it is data.

        Raises
        ------
        ProtocolError
            When it does not belong here.
        """
        if isinstance(message, Query):
            self._connection.send(Response(f"inr-recon {_version()}", message.correlation))
        elif isinstance(message, Text) and not is_json(message):
            # Not what it says: that may be anything, a patient's name too.
            logger.info("%s says something, %d characters", self._peer, len(message.text))
        elif isinstance(message, ismrmrd.Image):
            raise ProtocolError(
                "an image (id 1022) from the host", "raw data", "set the host's emitter to raw; images are made here"
            )
        elif isinstance(message, Message):
            raise ProtocolError(
                f"a {type(message).__name__} message after the data began",
                "acquisitions, waveforms and CLOSE",
                "configuration, header and parameters come first",
            )
        elif not isinstance(message, ismrmrd.Acquisition | ismrmrd.Waveform):
            raise ProtocolError(
                f"a {type(message).__name__} message from a client",
                "acquisitions, waveforms and CLOSE",
                "what Gadgetron's gadgets hand on among themselves belongs on its links with ours",
            )
        else:
            return False
        return True

    def _probe(self) -> None:
        self._say("", "all readouts have come and are being worked on")

    def _left(self) -> None:
        """Stop the work, as the client is gone; called by the watch."""
        self._gone = True
        logger.warning("%s: left before the end of the reconstruction, which is stopped", self._peer)
        if self._chain is not None:
            self._chain.stop()

    def _say(self, level: Level, text: str) -> None:
        """Log a line and send it to the operator, if the client still listens."""
        line = operator_line(level, text)
        logger.log(logging.ERROR if level == "ERROR" else logging.INFO, "%s: %s", self._peer, line)
        try:
            self._connection.send_text(line_for_host(line))
        except PeerGoneError:
            # Not an error of the gadget that has something to say; it is to end its work.
            self._gone = True
            logger.info("%s does not listen any more", self._peer)
            if self._chain is not None:
                self._chain.stop()


@contextlib.contextmanager
def slot(slots: threading.Semaphore) -> Iterator[None]:
    """Take a place among the scans that are reconstructed at once; BusyError when there is none."""
    if not slots.acquire(blocking=False):
        raise BusyError(
            "one scan too many: this server is reconstructing as many as it takes at once",
            "one of them to end first",
            "send the scan again later",
        )
    try:
        yield
    finally:
        slots.release()


def _no_acquisitions() -> DataError:
    return DataError("a scan without a single acquisition", "acquisitions between the header and CLOSE")


def _shown(message: Message) -> str:
    """Name a message for the log, without the patient's data that a header may hold."""
    if isinstance(message, ConfigFile):
        return f"the configuration's name, {message.name!r}"
    return f"{type(message).__name__}, {len(message.pack())} bytes"


def _version() -> str:
    try:
        return version("inr-recon")
    except PackageNotFoundError:
        return "(not installed)"
