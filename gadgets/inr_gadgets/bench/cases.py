"""The scans of a bench, with their truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.header import parse_header, repetition_time_ms
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulation.truth import Truth, read_truth, truth_path


@dataclass(frozen=True)
class Case:
    """A scan whose truth is known.

    Attributes
    ----------
    name
        For tables and files.
    scan
        The .h5 file.
    truth
        What its images should be.
    frame_ms
        From frame to frame; None where neither the truth nor the scan says.
    digest
        Of both files.
    """

    name: str
    scan: Path
    truth: Truth
    frame_ms: float | None
    digest: str


def load_case(scan: Path, name: str | None = None) -> Case:
    """Read a scan's truth, which lies beside it as ``.truth.npz``; without a name it is called as its file is.

    Raises
    ------
    DataError
        When the scan cannot be read, or has no truth.
    """
    with ScanFile(scan) as file:
        tr_ms = repetition_time_ms(parse_header(file.header_xml))
    beside = truth_path(scan)
    if not beside.exists():
        raise DataError(f"{scan} has no truth", f"{beside.name} beside it", "simulate a scan, or leave this one out")
    truth = read_truth(beside)
    return Case(name or scan.stem, scan, truth, _frame_ms(truth, tr_ms), _digest(scan, beside))


def _frame_ms(truth: Truth, tr_ms: float | None) -> float | None:
    if truth.times_ms is not None and len(truth.times_ms) > 1:
        return float(np.diff(truth.times_ms).mean())
    return truth.spokes * tr_ms if truth.spokes and tr_ms else None


def _digest(*paths: Path) -> str:
    parts = []
    for path in paths:
        with path.open("rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest()[:16])
    return "-".join(parts)
