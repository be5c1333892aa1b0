"""One client's life: what it asks for, its scan, and the images that go back."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ismrmrd

from inr_core.errors import DataError, ProtocolError
from inr_gadgets.chain import GADGETS, ChainConfig, GadgetTable
from inr_gadgets.header import refuse_large
from inr_gadgets.lines import Level, line_for_host, operator_line
from inr_gadgets.serving.allowance import check_memory, slot
from inr_gadgets.serving.keeper import ScanKeeper
from inr_gadgets.serving.request import Request, is_json
from inr_gadgets.serving.service import Conversation, Service
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Close, ConfigFile, Header, Message, Query, Response, Text

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


class Session(Service):
    """Serves one client.

    Attributes
    ----------
    done
        Whether a scan came, was reconstructed to its end, and the client was there to take all of it.
    """

    # Waveforms and whatever else passes through the chain end here: a client aborts on it.
    sends = ismrmrd.Image
    made = "images"

    def __init__(self, connection: Conversation, peer: str, settings: SessionSettings) -> None:
        super().__init__(connection, peer, settings.limits)
        self._settings = settings
        self._acquisitions = 0
        self.done = False

    def _serve(self) -> bool:
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
            chain = config.build(request.header, self._settings.overrides, request.settings())
            self._reconstruct(chain, functools.partial(self._scan, first, request), self._probe)
        if not self._ending and not self._acquisitions:
            raise _no_acquisitions()
        self.done = not self._ending and not self._gone
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

    def _scan(self, first: Any, request: Request, at_close: Callable[[], None]) -> Iterator[Any]:
        """Yield the scan's data, and keep it. Runs in the reader's thread."""
        keeper = ScanKeeper(self._settings.save, request.header_xml, lambda line: self._say("WARNING", line))
        with contextlib.closing(keeper):
            for message in self._items(itertools.chain([first], self._connection), at_close):
                if not self._answer(message):
                    self._acquisitions += isinstance(message, ismrmrd.Acquisition)
                    keeper.keep(message)
                    yield message

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

    def _send_line(self, level: Level, text: str) -> None:
        self._connection.send_text(line_for_host(operator_line(level, text)))

    def _counted(self) -> str:
        return f"{self._acquisitions} readouts in, {super()._counted()}"


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
