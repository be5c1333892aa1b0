"""The gadgets as targets of Gadgetron's ``<execute name="inr_gadgets.external" target="buffer" type="python"/>``.

Gadgetron runs ``python -m gadgetron PORT inr_gadgets.external buffer``, and gadgetron-python calls the target with a
Connection that has read the gadget's ``<configuration>`` and the scan's header.
"""

from __future__ import annotations

from typing import Any

from inr_gadgets.chain import GADGETS, GadgetTable
from inr_gadgets.serving.link import GadgetLink, Opening
from inr_gadgets.wire.connection import take_over
from inr_gadgets.wire.messages import decode


def buffer(connection: Any) -> None:
    """Run the buffer gadget: acquisitions or buckets in, ReconData out."""
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
        It has read configuration and header, and is closed when the caller leaves it.
    table
        The gadgets there are.
    """
    raw = library_connection.raw_bytes

    def opening() -> Opening:
        return Opening(decode(raw.config or b"", f"the configuration of {target}"), decode(raw.header, "the header"))

    GadgetLink(take_over(library_connection), opening, target, table=table).run()
