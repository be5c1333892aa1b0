"""The recon gadget as a process that Gadgetron starts for a scan: how soon a cold one sends its first image.

Its first complete frame is there as soon as it connects, so the time is that of Python, its imports and one frame.

python benchmarks/external.py [--starts 5]
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ismrmrd
from options import Options
from results import Figure, at_most, machine, save, show

from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.header import parse_header
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import ConfigText, Header
from scans import make_scan

_CONFIGURATION = '<configuration><property name="method" value="inr"/></configuration>'


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_argument("--starts", type=int, default=5, help="cold starts; the median counts")
    arguments = parser.parse_args()
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        scan = make_scan(Path(folder))
        header, frame = first_frame(scan.scan)
    starts = [cold_start(header, frame) for _ in range(arguments.starts)]
    wall, cpu = (sorted(values)[len(starts) // 2] for values in zip(*starts, strict=True))
    figures = [
        at_most("cold external gadget: start of Python to first image, s", wall, 4),
        Figure("the same, of the processor's time, s", cpu),
    ]
    show(f"an external gadget: {scan.name}", figures)
    print(f"written to {save('external', described, scan.name, figures, starts_s=starts)}")


def first_frame(scan: Path) -> tuple[str, object]:
    """The scan's header, and its first frame as the buffer gadget sends it."""
    with ScanFile(scan) as file:
        xml = file.header_xml.decode()
        (frame,) = itertools.islice(BufferGadget(parse_header(xml)).process(iter(file)), 1)
    return xml, frame


def cold_start(header: str, frame: object) -> tuple[float, float]:
    """Seconds from the start of the process to its first image, by the clock and of the processor."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.perf_counter()
        words = ["-m", "gadgetron", str(listener.getsockname()[1]), "inr_gadgets.external", "recon"]
        process = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
        sock, _ = listener.accept()
        link = Connection(sock)
        for item in (ConfigText(_CONFIGURATION), Header(header), frame):
            link.send(item)
        image = link.read()
        elapsed = time.perf_counter() - began
    if not isinstance(image, ismrmrd.Image):
        raise RuntimeError(f"the gadget sent no image: {image}")
    process.kill()  # what it does after the first image is not to count
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    link.close()
    return elapsed, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
