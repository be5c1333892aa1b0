"""Memory of a long scan: `inr` on 128 x 128, 200 frames, 12 coils, in a process of its own.

python benchmarks/memory.py [--frames 200] [--passes 21]

The passes of the training change the time and not the memory; 21 are the fewest after which the field is used at all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from results import Figure, at_most, machine, save, show

from inr_gadgets.bench.process import run_measured
from inr_gadgets.simulate import simulate

_LIMIT_MIB = 4096


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--passes", type=int, default=21, help="of the refinement")
    arguments = parser.parse_args()
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.h5"
        simulate(scan, matrix=128, coils=12, spokes=13, frames=arguments.frames)
        words = [sys.executable, "-m", "inr_gadgets.cli", "reconstruct", str(scan), "-o", str(scan.with_name("o.h5"))]
        measured = run_measured([*words, "--method", "inr", "--set", f"recon.refine_passes={arguments.passes}"])
    name = f"phantom, 128 x 128 x {arguments.frames}, 12 coils, 13 spokes"
    figures = [
        at_most("peak resident memory of the whole process, MiB", measured.host_mib, _LIMIT_MIB),
        Figure("time of the whole command, s", measured.wall_s),
    ]
    show(f"memory: {name}", figures)
    print(f"written to {save('memory', described, name, figures)}")


if __name__ == "__main__":
    main()
