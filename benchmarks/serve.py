"""The server as a process: how soon a cold one sends its first frame, and whether memory grows from scan to scan.

python benchmarks/serve.py [--scans 10]
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from options import Options
from results import Figure, at_most, machine, save, show

from inr_gadgets.bench.process import resident_mib
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.wire.client import send_scan
from scans import BenchScan, make_scan


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_argument("--scans", type=int, default=10, help="scans in a row")
    parser.add_argument("--starts", type=int, default=3, help="cold starts; the median counts")
    arguments = parser.parse_args()
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        scan = make_scan(Path(folder))
        cold = sorted(cold_start(scan) for _ in range(arguments.starts))
        memory = memory_over_scans(scan, arguments.scans)
    connected, started = cold[len(cold) // 2]
    growth = memory[-1] / memory[1] - 1
    figures = [
        at_most("cold server: connection to first frame, s", connected, 5),
        at_most("cold server: start of Python to first frame, s", started, 5),
        at_most(f"memory after scan {len(memory)} over that after scan 2, %", 100 * growth, 5),
        Figure("resident memory after scan 2, MiB", memory[1]),
    ]
    show(f"the server: {scan.name}", figures)
    path = save("serve", described, scan.name, figures, cold_starts_s=cold, memory_mib=memory)
    print(f"written to {path}")


class _FirstImageError(Exception):
    """Not an error: the first image is all that a cold start is measured by."""


def cold_start(scan: BenchScan) -> tuple[float, float]:
    """Seconds to the first frame at the client, from connecting and from starting the process."""
    begin = time.perf_counter()
    process, port = _start_server()
    arrived: list[float] = []

    def first(image: object) -> None:
        arrived.append(time.perf_counter())
        raise _FirstImageError

    try:
        connected = time.perf_counter()
        with ScanFile(scan.scan) as file, contextlib.suppress(_FirstImageError):
            send_scan("127.0.0.1", port, "inr_live", file, pace="scan", on_image=first, on_text=lambda line: None)
    finally:
        _stop_server(process)
    return arrived[0] - connected, arrived[0] - begin


def memory_over_scans(scan: BenchScan, n_scans: int) -> list[float]:
    """Resident memory of one server after each of ``n_scans`` scans with a short refinement, MiB."""
    process, port = _start_server()
    memory = []
    try:
        for _ in range(n_scans):
            with ScanFile(scan.scan) as file:
                send_scan(
                    "127.0.0.1",
                    port,
                    "inr_dynamic",
                    file,
                    settings={"recon.refine_passes": "10"},
                    on_image=lambda image: None,
                    on_text=lambda line: None,
                )
            time.sleep(0.5)  # the server closes the connection after its CLOSE
            memory.append(resident_mib(process.pid))
    finally:
        _stop_server(process)
    return memory


def _start_server() -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-u", "-m", "inr_gadgets.cli", "serve", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or ():
        if "listening on" in line:
            return process, int(line.rsplit("port", 1)[1].split()[0])
    raise RuntimeError("inr-recon serve ended before it listened")


def _stop_server(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=60)


if __name__ == "__main__":
    main()
