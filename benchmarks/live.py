"""The chain on a paced scan: quality and latency of the live series, quality and seconds of the refined one.

    python benchmarks/live.py [--repeats 3] [--no-peers] [--set recon.iterations=6]

``inr-recon serve`` runs as a process of its own and is warm; the scan goes over TCP at its own pace, default
configuration. Beside it, in the same run: CG towards the previous frame alone, and BART's GRASP and RT-NLINV.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import Figure, at_least, at_most, machine, save, show

from inr_core.metrics import score
from inr_gadgets.bench import peers
from inr_gadgets.commands.common import parse_settings
from inr_gadgets.demo import serving
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from scans import BenchScan, make_scan

_GRASP_WEIGHT = 0.02  # the best of 0.002 0.005 0.01 0.02 0.05 at 13 spokes


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="scans through the server; the median counts")
    parser.add_argument("--no-peers", action="store_true", help="leave BART out")
    parser.add_argument("--set", action="append", default=[], metavar="GADGET.NAME=VALUE")
    arguments = parser.parse_args()
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        scan = make_scan(Path(folder))
        runs = through_server(scan, Path(folder), arguments.repeats, parse_settings(arguments.set))
        figures = own_figures(scan, runs)
        if not arguments.no_peers:
            figures += peer_figures(scan, runs)
    show(f"live and refined series: {scan.name}", figures)
    path = save("live", described, scan.name, figures, runs=runs)
    print(f"written to {path}")


def through_server(scan: BenchScan, folder: Path, repeats: int, settings: dict[str, str]) -> list[dict[str, Any]]:
    """Send the scan ``repeats`` times to one warm server; a row of figures for each."""
    truth, runs = scan.load_truth(), []
    with serving(folder / "serve.log") as port:
        for i in range(repeats):
            replay = Replay(settings=settings, pace="scan", address="127.0.0.1", port=port)
            output = folder / f"images_{i}.h5"
            with ScanFile(scan.scan) as file:
                report = replay_to_file(replay, file, output, group="inr", on_text=print).as_dict()["scan"]
            row: dict[str, Any] = {**report}
            for series, name in ((1, "live"), (2, "refined")):
                images, _, _ = read_series(output, series, "inr")
                row[name] = score(images[:, 0, 0], truth).summary()
            runs.append(row)
    return runs


def own_figures(scan: BenchScan, runs: list[dict[str, Any]]) -> list[Figure]:
    """The medians over the runs, beside their targets (set for the real cine at 13 spokes)."""

    def median(*path: str) -> float:
        values = []
        for row in runs:
            value: Any = row
            for key in path:
                value = value[key]
            values.append(float(value))
        return float(np.median(values))

    figures = [
        at_least("live PSNR, dB", median("live", "psnr"), 33.5),
        Figure("live SSIM", median("live", "ssim")),
        at_most("live latency, median, ms", median("latency_ms", "median"), 150),
        at_most("live latency, p95, ms", median("latency_ms", "p95"), 300),
        at_most("frames dropped", max(row["dropped_frames"] for row in runs), 0),
        at_least("refined PSNR, dB", median("refined", "psnr"), 37.5),
        at_least("refined SSIM", median("refined", "ssim"), 0.955),
        Figure("refined PSNR of the moving region, dB", median("refined", "psnr_moving")),
        at_most("refined series after the last readout, s", median("refine_s"), 180),
        Figure("peak memory of the server, MiB", median("peak_memory_mib")),
    ]
    if not scan.real:
        figures = [Figure(f.what, f.value) for f in figures]
    return figures


def peer_figures(scan: BenchScan, runs: list[dict[str, Any]]) -> list[Figure]:
    """BART on the same scan, and ours as ratios to it."""
    if not peers.available():
        print("BART is not installed (apt-get install bart): no peers")
        return []
    truth = scan.load_truth()
    offline, live = peers.grasp(scan.scan, _GRASP_WEIGHT), peers.rt_nlinv(scan.scan)
    grasp, nlinv = (score(peer.images, truth).summary() for peer in (offline, live))
    per_frame_ms = 1e3 * live.seconds / len(truth)
    ours = {name: float(np.median([row[name]["psnr"] for row in runs])) for name in ("live", "refined")}
    latency = float(np.median([row["latency_ms"]["median"] for row in runs]))
    refine_s = float(np.median([row["refine_s"] for row in runs]))
    return [
        Figure("BART GRASP PSNR, dB", grasp["psnr"]),
        Figure("BART GRASP SSIM", grasp["ssim"]),
        Figure("BART GRASP, s", offline.seconds),
        Figure("BART RT-NLINV PSNR, dB", nlinv["psnr"]),
        Figure("BART RT-NLINV SSIM", nlinv["ssim"]),
        Figure("BART RT-NLINV, ms a frame", per_frame_ms),
        at_least("refined PSNR - GRASP's, dB", ours["refined"] - grasp["psnr"], 1.5),
        at_most("refined seconds / GRASP's", refine_s / offline.seconds, 5),
        Figure("live PSNR - RT-NLINV's, dB", ours["live"] - nlinv["psnr"]),
        at_least("RT-NLINV's ms a frame / live latency", per_frame_ms / latency, 30),
    ]


if __name__ == "__main__":
    main()
