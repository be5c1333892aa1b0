"""Live and refined series of paced scans: quality frame by frame, latency, and peers in the same run.

    python benchmarks/live.py [--repeats 3] [--no-peers] [--set recon.iterations=6]

``inr-recon serve`` runs as a process of its own and is warm; the scans go over TCP, default configuration, each frame
taking twice its time at the scanner. Scans of 21, 13 and 5 spokes a frame; the refined series is that of 13. Beside it,
in the same run: conjugate gradients towards the frame before and nothing else, BART's GRASP and BART's RT-NLINV.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from options import Options
from plots import LIMIT, OTHER, OURS, PEER, new_figure, write_plot
from results import Figure, at_least, at_most, machine, save, show

from inr_core.metrics import score
from inr_gadgets.bench import peers
from inr_gadgets.commands.common import parse_settings
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.server_process import serving
from scans import BenchScan, make_scan

_SPEED = 0.5
_FIRST = 9  # frames before the tenth have too little past to be judged by
_TARGETS = {21: 38.4, 13: 36.97, 5: 33.4}  # dB, about what BART's GRASP reaches offline
_MAIN = 13
_GRASP_WEIGHT = 0.02  # the best of 0.002 0.005 0.01 0.02 0.05 at 13 spokes
_PLAIN = {  # conjugate gradients towards the frame before, with an expected deviation, and nothing else
    "recon.method": "grasp",
    "recon.refine": "false",
    "recon.deterministic": "true",
    "recon.change_network": "false",
    "recon.motion_weight": "0",
    "recon.phase_changes": "1",
    "recon.live_spatial": "0",
    "recon.live_spatial_noise": "0",
    "recon.noise_weight": "0",
    "recon.prior_weight": "0.3",
}


def main() -> None:
    """Measure, print, draw, save."""
    parser = Options(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="scans through the server; the median counts")
    parser.add_argument("--no-peers", action="store_true", help="leave BART out")
    parser.add_settings()
    arguments = parser.parse_args()
    described, settings = machine(), parse_settings(arguments.set)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = {spokes: make_scan(folder, spokes) for spokes in _TARGETS}
        with serving(folder / "serve.log") as server:
            runs = {
                spokes: [
                    through_server(scan, folder, server.port, {**_series(spokes), **settings})
                    for _ in range(arguments.repeats)
                ]
                for spokes, scan in scans.items()
            }
        figures = [f for spokes, scan in scans.items() for f in live_figures(spokes, scan, runs[spokes])]
        figures += refined_figures(scans[_MAIN], runs[_MAIN])
        curves = {f"live, {spokes} spokes": of[0]["psnr_frames"] for spokes, of in runs.items()}
        if not arguments.no_peers:
            more, peer_curves = peer_figures(scans[_MAIN], folder, runs[_MAIN])
            figures, curves = figures + more, {**curves, **peer_curves}
    title = scans[_MAIN].name
    show(f"live and refined series: {title}, and other numbers of spokes", figures)
    plot = draw(curves, runs)
    path = save("live", described, title, figures, runs={str(spokes): of for spokes, of in runs.items()})
    print(f"written to {path} and {plot}")


def _series(spokes: int) -> dict[str, str]:
    return {} if spokes == _MAIN else {"recon.refine": "false"}


def through_server(scan: BenchScan, folder: Path, port: int, settings: dict[str, str]) -> dict[str, Any]:
    """A row of figures of one scan."""
    truth, output = scan.load_truth(), folder / "images.h5"
    output.unlink(missing_ok=True)
    replay = Replay(settings=settings, pace="scan", speed=_SPEED, address="127.0.0.1", port=port)
    with ScanFile(scan.scan) as file:
        report = replay_to_file(replay, file, output, group="inr", on_text=print)
    row: dict[str, Any] = {**report.as_dict()["scan"]}
    live = read_series(output, 1, "inr")[0][:, 0, 0]
    row["live"] = score(live[_FIRST:], truth[_FIRST:]).summary()
    row["psnr_frames"] = psnr_frames(live, truth)
    row["latencies_ms"] = [frame["latency_ms"] for frame in report.as_dict()["frames"]]
    if settings.get("recon.refine") != "false":
        row["refined"] = score(read_series(output, 2, "inr")[0][:, 0, 0], truth).summary()
    return row


def psnr_frames(images: np.ndarray, truth: np.ndarray) -> list[float]:
    """PSNR of each frame, dB, after one least-squares scale for all."""
    sizes = np.abs(images)
    sizes = sizes * (sizes * truth).sum() / (sizes**2).sum()
    return [float(v) for v in 10 * np.log10(truth.max() ** 2 / ((sizes - truth) ** 2).mean((1, 2)))]


def median(rows: list[dict[str, Any]], *path: str) -> float:
    """Of what the rows hold at a path of keys."""
    values = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value[key]
        values.append(float(value))
    return float(np.median(values))


def live_figures(spokes: int, scan: BenchScan, rows: list[dict[str, Any]]) -> list[Figure]:
    """Quality and latency of the live series of a number of spokes."""
    at = f"{spokes} spokes: "
    figures = [
        at_least(f"{at}live PSNR from the tenth frame on, dB", median(rows, "live", "psnr"), _TARGETS[spokes]),
        Figure(f"{at}live SSIM from the tenth frame on", median(rows, "live", "ssim")),
        at_most(f"{at}live latency, median, ms", median(rows, "latency_ms", "median"), 100),
        at_most(f"{at}live latency, p95, ms", median(rows, "latency_ms", "p95"), 200),
        at_most(f"{at}frames dropped", max(row["dropped_frames"] for row in rows), 0),
    ]
    return figures if scan.real else [Figure(f.what, f.value) for f in figures]


def refined_figures(scan: BenchScan, rows: list[dict[str, Any]]) -> list[Figure]:
    """The refined series; targets were set for the real cine."""
    figures = [
        at_least("refined PSNR, dB", median(rows, "refined", "psnr"), 37.5),
        at_least("refined SSIM", median(rows, "refined", "ssim"), 0.955),
        Figure("refined PSNR of the moving region, dB", median(rows, "refined", "psnr_moving")),
        at_most("refined series after the last readout, s", median(rows, "refine_s"), 180),
        Figure("peak memory of the server, MiB", median(rows, "peak_memory_mib")),
    ]
    return figures if scan.real else [Figure(f.what, f.value) for f in figures]


def peer_figures(
    scan: BenchScan, folder: Path, rows: list[dict[str, Any]]
) -> tuple[list[Figure], dict[str, list[float]]]:
    """The peers on the same scan and ours as ratios to them; and their PSNR frame by frame."""
    truth = scan.load_truth()
    with ScanFile(scan.scan) as file:
        replay_to_file(Replay(settings=_PLAIN), file, folder / "plain.h5", group="inr", on_text=lambda line: None)
    plain = read_series(folder / "plain.h5", 1, "inr")[0][:, 0, 0]
    curves = {"CG towards the frame before": psnr_frames(plain, truth)}
    ours = median(rows, "live", "psnr")
    figures = [
        Figure("CG towards the frame before, PSNR from the tenth frame on, dB", float(_late(plain, truth)["psnr"])),
    ]
    if not peers.available():
        print("BART is not installed (apt-get install bart): no peers")
        return figures, curves
    offline, live = peers.grasp(scan.scan, _GRASP_WEIGHT), peers.rt_nlinv(scan.scan)
    curves |= {
        "BART RT-NLINV": psnr_frames(live.images, truth),
        "BART GRASP, offline": psnr_frames(offline.images, truth),
    }
    grasp, nlinv = score(offline.images, truth).summary(), _late(live.images, truth)
    per_frame_ms = 1e3 * live.seconds / len(truth)
    return [
        *figures,
        Figure("BART GRASP PSNR, all frames, dB", grasp["psnr"]),
        Figure("BART GRASP PSNR from the tenth frame on, dB", float(_late(offline.images, truth)["psnr"])),
        Figure("BART GRASP SSIM", grasp["ssim"]),
        Figure("BART GRASP, s", offline.seconds),
        Figure("BART RT-NLINV PSNR from the tenth frame on, dB", nlinv["psnr"]),
        Figure("BART RT-NLINV SSIM", nlinv["ssim"]),
        Figure("BART RT-NLINV, ms a frame", per_frame_ms),
        at_least("refined PSNR - GRASP's, dB", median(rows, "refined", "psnr") - grasp["psnr"], 1.5),
        at_most("refined seconds / GRASP's", median(rows, "refine_s") / offline.seconds, 5),
        Figure("live PSNR - RT-NLINV's, dB", ours - nlinv["psnr"]),
        at_least("RT-NLINV's ms a frame / live latency", per_frame_ms / median(rows, "latency_ms", "median"), 30),
    ], curves


def _late(images: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    return score(images[_FIRST:], truth[_FIRST:]).summary()


def draw(curves: dict[str, list[float]], runs: dict[int, list[dict[str, Any]]]) -> Path:
    """PSNR frame by frame, and how often which latency was."""
    figure, axes = new_figure(1, 2)
    colours = [OTHER, OURS, "tab:purple", "tab:gray", PEER, "tab:brown"]
    for (name, values), colour in zip(curves.items(), colours, strict=False):
        axes[0, 0].plot(values, label=name, color=colour, linewidth=1.2)
    axes[0, 0].set(xlabel="frame", ylabel="PSNR / dB", title="quality while the scan runs")
    axes[0, 0].legend(fontsize=7)
    for (spokes, rows), colour in zip(runs.items(), colours, strict=False):
        latencies = np.sort([ms for row in rows for ms in row["latencies_ms"]])
        axes[0, 1].plot(latencies, np.linspace(0, 100, len(latencies)), label=f"{spokes} spokes", color=colour)
    axes[0, 1].axvline(100, color=LIMIT, linewidth=0.8, linestyle="--")
    axes[0, 1].set(xlabel="latency after the last readout / ms", ylabel="frames that were faster / %", title="latency")
    axes[0, 1].legend(fontsize=7)
    return write_plot(figure, "live", quick=False)


if __name__ == "__main__":
    main()
