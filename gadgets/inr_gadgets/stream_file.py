"""A stored MRD stream as a scan: what programs write with ``> scan.mrd``, and newer converters in place of HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import ismrmrd

from inr_core.errors import DataError, ProtocolError
from inr_gadgets.hdf5_file import Closing
from inr_gadgets.scan_file import Item, ScanFile
from inr_gadgets.wire.messages import Close, Header
from inr_gadgets.wire.pipes import PipePair, converse, open_source

# How streams begin: a configuration, the header or parameters of version 1 (ids 1, 2, 3, 5), or version 2.
_BEGINNINGS = (b"\1\0", b"\2\0", b"\3\0", b"\5\0", b"ya")


class StreamFile(Closing):
    """An MRD stream of a scan in a file, version 1 or 2. It can be iterated over repeatedly.

    Iterating gives acquisitions and waveforms in the order of the stream. The file is read through once before.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    header_xml : bytes
        The header; of version 2 as version 1 has it.
    n_acquisitions, n_waveforms : int
        How many of each the file holds.

    Raises
    ------
    DataError
        If the file cannot be read to its CLOSE, or holds no scan.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header_xml = b""
        self.n_acquisitions = self.n_waveforms = 0
        for message in self._messages():
            self.n_acquisitions += isinstance(message, ismrmrd.Acquisition)
            self.n_waveforms += isinstance(message, ismrmrd.Waveform)
            if isinstance(message, Header):
                self.header_xml = message.xml.encode()
            elif isinstance(message, ismrmrd.Image):
                raise DataError(f"{self.path} holds images", "a scan of raw data", "give what was reconstructed from")
        if not self.header_xml:
            raise DataError(f"{self.path} holds no header", "a stream with the header before the data")

    def close(self) -> None:
        """Do nothing: the file is open only while it is iterated over."""

    def __iter__(self) -> Iterator[Item]:
        for message in self._messages():
            if isinstance(message, ismrmrd.Acquisition | ismrmrd.Waveform):
                yield message

    def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
        """The acquisitions alone."""
        return (item for item in self if isinstance(item, ismrmrd.Acquisition))

    def waveforms(self) -> Iterator[ismrmrd.Waveform]:
        """The waveforms alone."""
        return (item for item in self if isinstance(item, ismrmrd.Waveform))

    def _messages(self) -> Iterator[Any]:
        pair = PipePair(open_source(self.path), os.open(os.devnull, os.O_WRONLY))
        conversation = converse(pair)
        try:
            while not isinstance(message := conversation.read(), Close):
                yield message
        except ProtocolError as error:
            raise DataError(
                f"{self.path}: {error.arrived}", error.expected, "copy the file again, or convert it again"
            ) from None
        finally:
            conversation.close()


Scan: TypeAlias = ScanFile | StreamFile


def open_scan(path: Path) -> Scan:
    """Open a scan, whichever kind of file it is in.

    Raises
    ------
    DataError
        If it is neither, or damaged.
    """
    if path.is_file():
        with path.open("rb") as file:
            if file.read(2) in _BEGINNINGS:
                return StreamFile(path)
    return ScanFile(path)
