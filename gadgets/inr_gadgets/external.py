"""The gadgets as targets of Gadgetron's ``<execute name="inr_gadgets.external" target="buffer" type="python"/>``.

Gadgetron runs ``python -m gadgetron PORT inr_gadgets.external buffer``, and gadgetron-python calls the target with a
Connection that has read the gadget's ``<configuration>`` and the scan's header. TEXT is not allowed on such a link: a
gadget's lines are logged, and an error is an ERROR message.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from inr_core.errors import ConfigError, InrError
from inr_gadgets.chain import GADGETS, ChainConfig, GadgetConfig, GadgetTable
from inr_gadgets.configs import read_properties
from inr_gadgets.connection import Connection, PeerGoneError, StreamInterruptedError, take_over
from inr_gadgets.header import parse_header
from inr_gadgets.lines import operator_line
from inr_gadgets.messages import Error, decode

logger = logging.getLogger(__name__)


def buffer(connection: Any) -> None:
    """Run the buffer gadget: acquisitions in, ReconData out."""
    run("buffer", connection)


def recon(connection: Any) -> None:
    """Run the recon gadget: ReconData in, complex images out."""
    run("recon", connection)


def image(connection: Any) -> None:
    """Run the image gadget: complex images in, finished images out."""
    run("image", connection)


def run(target: str, library_connection: Any, table: GadgetTable = GADGETS) -> None:
    """Run one gadget over gadgetron-python's connection until CLOSE.

    Parameters
    ----------
    target
        The gadget's name in the table.
    library_connection : gadgetron.external.Connection
        It has read configuration and header, and sends CLOSE when the caller leaves it.
    table
        The gadgets there are.
    """
    connection = take_over(library_connection)
    try:
        _run(target, library_connection, connection, table)
    except PeerGoneError as error:
        logger.warning("%s", error)
    except InrError as error:
        logger.error("%s", error)
        _tell(connection, f"{target}: {error}")
    except Exception as error:
        logger.exception("a fault of this program")
        what = f"{type(error).__name__}: {error}"
        _tell(connection, f"{target}: internal error: {what}; the gadget's log has the details")


def _run(target: str, library_connection: Any, connection: Connection, table: GadgetTable) -> None:
    header = parse_header(decode(library_connection.raw_bytes.header, "the header"))
    if library_connection.config is None and (library_connection.raw_bytes.config or b"").strip(b"\0 \n\t\r"):
        raise ConfigError(f"the configuration of {target} is not XML", "<configuration> with properties")
    properties = read_properties(library_connection.config, target)
    chain = ChainConfig((GadgetConfig(target, properties),), table).build(header)
    chain.announce = lambda line: logger.info("%s", line)
    with contextlib.closing(chain.run(_items(connection), connection.interrupt)) as results:
        for result in results:
            connection.send(result)


def _items(connection: Connection) -> Iterator[Any]:
    """Yield the items up to CLOSE."""
    with contextlib.suppress(StreamInterruptedError):
        yield from connection


def _tell(connection: Connection, text: str) -> None:
    with contextlib.suppress(PeerGoneError):
        connection.send(Error(operator_line("", text)))
