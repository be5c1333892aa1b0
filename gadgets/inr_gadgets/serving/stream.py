"""``inr-recon stream``: one scan through a pipe, by the same session that serves a scanner."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from inr_core.errors import DataError
from inr_gadgets.chain import GADGETS, GadgetTable, check_parameters
from inr_gadgets.image_file import ImageOutput
from inr_gadgets.replay import read_chain
from inr_gadgets.serving.service import Conversation
from inr_gadgets.serving.session import Session, SessionSettings
from inr_gadgets.serving.signals import Signals
from inr_gadgets.wire.pipes import PipePair, converse, open_sink, open_source

_DEFAULT = "inr_dynamic"  # the configuration of a stream that names none
_IMAGE_FILES = (".h5", ".hdf5")
_LOOK_S = 0.1


def stream(
    config: str | None = None,
    settings: Mapping[str, str] | None = None,
    source: Path | None = None,
    sink: Path | None = None,
    *,
    protocol: str = "auto",
    table: GadgetTable = GADGETS,
) -> bool:
    """Reconstruct one scan that comes through a descriptor; called in the main thread.

    SIGINT and SIGTERM end the scan early: what is made so far is written, then CLOSE.

    Parameters
    ----------
    config
        Name of a configuration or path of a file (:func:`inr_gadgets.wire.client.is_path` tells which), which wins
        over what the stream asks for; None to do as it asks, or ``inr_dynamic`` if it does not ask.
    settings
        Parameters set over those of the configuration.
    source, sink
        Files in place of the standard streams. A sink that ends with .h5 or .hdf5 becomes an image file, as ``replay``
        writes it (:class:`inr_gadgets.image_file.ImageWriter`); an existing one gets a new group.
    protocol
        One of :data:`PROTOCOLS`; ``auto`` looks at the first byte.
    table
        The gadgets that a configuration may name.

    Returns
    -------
    Whether the scan was reconstructed to its end, and all of it taken.

    Raises
    ------
    InrError
        When something is wrong before the scan has begun.
    KeyboardInterrupt
        After SIGINT.
    """
    overrides = dict(settings or {})
    check_parameters(overrides, table)
    chain = None if config is None else read_chain(config, table)
    pair = PipePair(open_source(source))
    images = None
    if sink is not None and sink.suffix.lower() in _IMAGE_FILES:
        images = ImageOutput(sink)
        sink = Path(os.devnull)  # for what is not an image
    conversation: Conversation = converse(pair, protocol, images)
    pair.sink = open_sink(sink)
    chosen = SessionSettings(overrides=overrides, table=table, default=_DEFAULT, chain=chain)
    return _hold(Session(conversation, str(source or "stdin"), chosen))


def _hold(session: Session) -> bool:
    scans: list[bool] = []
    with Signals() as signals:

        def run() -> None:
            try:
                scans.append(session.run())
            finally:
                signals.end_waiting()

        thread = threading.Thread(target=run, name="session", daemon=True)
        thread.start()
        told = signals.wait()
        if told:
            session.end(f"told to stop ({told})")
        # Not one long wait, in which the second signal would not be heard.
        while thread.is_alive():
            thread.join(_LOOK_S)
    if told == "SIGINT":
        raise KeyboardInterrupt
    if scans == [False]:
        raise DataError("a stream without a scan", "a header and acquisitions before CLOSE", "look at what writes it")
    return scans == [True] and session.done
