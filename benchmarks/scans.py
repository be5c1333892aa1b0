"""The scans that are measured on: a real cine series where its simulator lies beside the project, else the phantom.

A folder ``shared`` beside the checkout may hold ``tools/simulate_scan.py`` and ``data/cine_sax.npz``: a real
short-axis cine, sampled by FINUFFT at full resolution. Numbers on the phantom cannot be compared with numbers on the
real series; the tables say which it was.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_gadgets.truth import read_truth, truth_path

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class BenchScan:
    """A scan with its truth.

    Attributes
    ----------
    name
        For tables.
    scan, truth
        The .h5 and the .npz.
    real
        Whether it comes from the real series, which the targets are set for.
    """

    name: str
    scan: Path
    truth: Path
    real: bool

    def load_truth(self) -> np.ndarray:
        """(frames, y, x) magnitudes."""
        return read_truth(self.truth).images


def make_scan(
    folder: Path, spokes: int = 13, coils: int = 12, frames: int = 23, matrix: int = 128, *, reuse: bool = False
) -> BenchScan:
    """Simulate a scan into ``folder``; with ``reuse`` one that is there already is taken as it is."""
    tool, cine = _SHARED / "tools" / "simulate_scan.py", _SHARED / "data" / "cine_sax.npz"
    real = tool.exists() and cine.exists()
    scan = folder / f"{'cine' if real else 'phantom'}_{spokes}.h5"
    if reuse and scan.exists() and truth_path(scan).exists():
        pass
    elif real:
        words = [tool, cine, "-o", scan, "--coils", coils, "--spokes", spokes, "--frames", frames, "--matrix", matrix]
        subprocess.run([sys.executable, *map(str, words)], check=True)
    else:
        from inr_gadgets.simulate import simulate

        simulate(scan, matrix=matrix, coils=coils, spokes=spokes, frames=frames)
    kind = "real cine" if real else "phantom"
    name = f"{kind}, {matrix} x {matrix} x {frames}, {coils} coils, {spokes} spokes"
    return BenchScan(name, scan, truth_path(scan), real)
