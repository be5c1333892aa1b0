"""Keeps incoming scans as files, when the server was asked to: patient data, for the owner's eyes only."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd

from inr_core.errors import InrError

logger = logging.getLogger(__name__)

_file_numbers = itertools.count(1)


class ScanKeeper:
    """Keeps one scan as an .h5 file of mode 0600. A disk that is full costs the file, never the reconstruction.

    Parameters
    ----------
    folder
        Where; None keeps nothing.
    header_xml
        The scan's header.
    announce
        Takes the one line that says why the scan is not kept.
    """

    def __init__(self, folder: Path | None, header_xml: str, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._writer: Any = None
        if folder is None:
            return
        from inr_gadgets.scan_file import ScanWriter

        # The name is the server's: nothing that a client says becomes part of a path.
        path = folder / f"scan_{time.strftime('%Y%m%dT%H%M%S')}_{next(_file_numbers):04d}.h5"
        with self._guard():
            self._writer = ScanWriter(path, header_xml.encode())
            logger.info("keeping the scan in %s", path)

    def keep(self, item: Any) -> None:
        """Add a readout or a waveform; other items are not kept."""
        if self._writer is not None and isinstance(item, ismrmrd.Acquisition | ismrmrd.Waveform):
            with self._guard():
                self._writer.append(item)

    def close(self) -> None:
        """Write the rest and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._guard():
                writer.close()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (InrError, OSError, RuntimeError) as error:  # HDF5's own faults are RuntimeErrors
            writer, self._writer = self._writer, None
            logger.error("the scan is not kept: %s", error)
            self._announce(f"the scan is not kept on the server: {error}")
            with contextlib.suppress(InrError, OSError, RuntimeError):
                if writer is not None:
                    writer.close()
