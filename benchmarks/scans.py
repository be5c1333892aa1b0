"""The scans that are measured on: a real cine series where its simulator lies beside the project, else the phantom.

A folder ``shared`` beside the checkout may hold ``tools/simulate_scan.py`` and ``data/cine_sax.npz``: a real
short-axis cine, sampled by FINUFFT at full resolution. Numbers on the phantom cannot be compared with numbers on the
real series; the tables say which it was.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from repeated_scan import there_and_back

from inr_gadgets.simulation.truth import read_truth, truth_path

_SHARED = Path(__file__).resolve().parents[2] / "shared"
_TOOL, _CINE = _SHARED / "tools" / "simulate_scan.py", _SHARED / "data" / "cine_sax.npz"

CYCLE_SPOKES = 13
_CYCLE_FRAMES = 29  # 29 x 13 golden-angle spokes nearly close the circle, and so does the double of it
_CYCLE_START = 8  # from here on the frames are as good a beat as any


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
    real = _has_cine()
    scan = folder / f"{'cine' if real else 'phantom'}_{spokes}.h5"
    if reuse and scan.exists() and truth_path(scan).exists():
        pass
    elif real:
        _sample(_CINE, scan, coils=coils, spokes=spokes, frames=frames, matrix=matrix)
    else:
        from inr_gadgets.simulate import simulate

        simulate(scan, matrix=matrix, coils=coils, spokes=spokes, frames=frames)
    kind = "real cine" if real else "phantom"
    name = f"{kind}, {matrix} x {matrix} x {frames}, {coils} coils, {spokes} spokes"
    return BenchScan(name, scan, truth_path(scan), real)


def make_cycle(folder: Path, coils: int = 12, matrix: int = 128) -> BenchScan:
    """Simulate 58 frames into ``folder`` that can be repeated without a jump: a beat there and back, or two beats."""
    real, frames = _has_cine(), 2 * _CYCLE_FRAMES
    scan = folder / "cycle.h5"
    if real:
        series = folder / "cycle.npz"
        beat = np.load(_CINE)["frames"][_CYCLE_START : _CYCLE_START + _CYCLE_FRAMES]
        np.savez(series, frames=there_and_back(beat))
        _sample(series, scan, coils=coils, spokes=CYCLE_SPOKES, frames=frames, matrix=matrix, start=0)
    else:
        from inr_gadgets.simulate import SimulationParameters, simulate

        parameters = SimulationParameters(matrix=matrix, coils=coils, spokes=CYCLE_SPOKES, frames=frames)
        simulate(scan, replace(parameters, period_ms=parameters.duration_ms / 2))
    kind = "real cine there and back" if real else "phantom"
    name = f"{kind}, {matrix} x {matrix}, {coils} coils, {CYCLE_SPOKES} spokes"
    return BenchScan(name, scan, truth_path(scan), real)


def _has_cine() -> bool:
    return _TOOL.exists() and _CINE.exists()


def _sample(cine: Path, scan: Path, **options: int) -> None:
    """Run the real series' simulator."""
    words = [_TOOL, cine, "-o", scan]
    for name, value in options.items():
        words += [f"--{name}", value]
    subprocess.run([sys.executable, *map(str, words)], check=True)
