"""Live series of other matrices than 128 x 128: by libraries, as the first scan of a size is, and by what is compiled.

    python benchmarks/matrices.py [--matrices 96 160 192] [--repeats 2]

13 spokes a frame, each taking twice its time at the scanner, through warm servers with a folder of their own for
what is compiled: one that has compiled for 128 x 128 alone, and one after ``inr-recon prepare``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from live import median, through_server
from options import Options
from results import Figure, machine, save, show

from inr_gadgets.server_process import serving
from scans import BenchScan, make_scan

_SETTINGS = {"recon.refine": "false"}


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_argument("--matrices", type=int, nargs="+", default=[96, 160, 192], help="sizes of square images")
    parser.add_argument("--repeats", type=int, default=2, help="scans of each through each server; the median counts")
    arguments = parser.parse_args()
    described = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NUMBA_CACHE_DIR"] = str(folder / "compiled")
        scans = {}
        for matrix in arguments.matrices:
            (folder / str(matrix)).mkdir()
            scans[matrix] = make_scan(folder / str(matrix), matrix=matrix)
        first = through_a_server(scans, folder, arguments.repeats)
        seconds = {matrix: prepare(matrix) for matrix in scans}
        later = through_a_server(scans, folder, arguments.repeats)
    figures = []
    for matrix in scans:
        figures += live_figures(f"{matrix} x {matrix}, by libraries", first[matrix])
        figures += live_figures(f"{matrix} x {matrix}, compiled", later[matrix])
        figures.append(Figure(f"{matrix} x {matrix}: inr-recon prepare, s", seconds[matrix]))
    title = ", ".join(scan.name for scan in scans.values())
    show(f"live series of other matrices: {title}", figures)
    runs = {str(matrix): {"by libraries": first[matrix], "compiled": later[matrix]} for matrix in scans}
    print(f"written to {save('matrices', described, title, figures, runs=runs)}")


def through_a_server(scans: dict[int, BenchScan], folder: Path, repeats: int) -> dict[int, list[dict[str, Any]]]:
    """Rows of figures of each scan; the server compiles nothing between them."""
    with serving(folder / "serve.log", "--no-prepare") as server:
        return {
            matrix: [through_server(scan, folder, server.port, _SETTINGS) for _ in range(repeats)]
            for matrix, scan in scans.items()
        }


def prepare(matrix: int) -> float:
    """Seconds that it takes to compile for a size."""
    command = [sys.executable, "-m", "inr_gadgets.cli", "prepare", str(matrix)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = re.search(r"compiled in (\d+) s", said)
    if found is None:
        raise RuntimeError(f"inr-recon prepare {matrix} compiled nothing: {said}")
    return float(found[1])


def live_figures(what: str, rows: list[dict[str, Any]]) -> list[Figure]:
    """Quality and latency of the live series of a size; no targets are set for them."""
    return [
        Figure(f"{what}: live PSNR from the tenth frame on, dB", median(rows, "live", "psnr")),
        Figure(f"{what}: live latency, median, ms", median(rows, "latency_ms", "median")),
        Figure(f"{what}: live latency, p95, ms", median(rows, "latency_ms", "p95")),
        Figure(f"{what}: frames dropped", max(row["dropped_frames"] for row in rows)),
    ]


if __name__ == "__main__":
    main()
