"""The measured table: every method, and BART's GRASP, on scans of 21, 13 and 5 spokes a frame.

    python benchmarks/table.py [--methods nufft,grasp] [--no-bart] [--time-limit SECONDS] [--no-resume]

Writes results/table.{json,md,csv} and docs/images/table_{21,13,5}.png, and puts the table into README.md. Scans and
images stay in build/table; a second run takes from there what the same version has measured already.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from options import Options
from results import RESULTS, machine

from inr_core.methods import list_methods
from inr_gadgets.bench.cases import load_case
from inr_gadgets.bench.peers import GRASP_WEIGHTS
from inr_gadgets.bench.publish import publish
from inr_gadgets.bench.rows import MethodSpec, save_rows
from inr_gadgets.bench.runs import Bench
from inr_gadgets.bench.table import markdown, pivot
from scans import make_scan

_ROOT = Path(__file__).resolve().parents[1]
_BEGIN, _END = "<!-- make table -->", "<!-- end of the table -->"
_BUILD, _IMAGES = _ROOT / "build" / "table", _ROOT / "docs" / "images"


def main() -> None:
    """Simulate what is missing, measure what is missing, write; exit code 1 when a method failed."""
    arguments = _arguments()
    described = machine()
    _BUILD.mkdir(parents=True, exist_ok=True)
    scans = {spokes: make_scan(_BUILD, spokes, reuse=True) for spokes in arguments.spokes}
    cases = [load_case(scan.scan, f"{spokes} spokes") for spokes, scan in scans.items()]
    measured = Bench(
        cases,
        MethodSpec.parse_list(arguments.methods),
        _BUILD / "bench",
        () if arguments.no_bart else GRASP_WEIGHTS,
        not arguments.no_resume,
        arguments.time_limit,
    )
    rows = measured.run()
    named = next(iter(scans.values())).name.rpartition(",")[0]
    print(markdown(rows))
    RESULTS.mkdir(exist_ok=True)
    save_rows(RESULTS / "table.json", rows, **described, scan=named)
    figures = {case.name: _IMAGES / f"table_{spokes}.png" for case, spokes in zip(cases, scans, strict=True)}
    about = f"{named[0].upper()}{named[1:]}. {_where(described)}"
    written = publish(measured, rows, table=RESULTS / "table", figures=figures, title="Methods x scans", about=about)
    _into_readme(pivot(rows), about)
    print("\n".join(map(str, [RESULTS / "table.json", *written])))
    sys.exit(any(row.error for row in rows))


def _arguments() -> argparse.Namespace:
    parser = Options(__doc__)
    everything = ",".join(method.name for method in list_methods())
    parser.add_argument("--methods", default=everything, help="as for inr-recon bench; by default all")
    parser.add_argument("--spokes", type=int, nargs="+", default=[21, 13, 5], help="spokes a frame, a scan for each")
    parser.add_argument("--no-bart", action="store_true", help="leave BART's GRASP out")
    parser.add_argument("--no-resume", action="store_true", help="measure everything again")
    parser.add_argument("--time-limit", type=float, help="seconds that a method may take on a scan")
    return parser.parse_args()


def _into_readme(table: str, about: str) -> None:
    """Replace what stands between the two marks."""
    readme = _ROOT / "README.md"
    before, begin, rest = readme.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        sys.exit(f"{readme} has no marks {_BEGIN} and {_END}: the table is not in it")
    readme.write_text(f"{before}{begin}\n{about}\n\n{table}\n{end}{after}")


def _where(described: dict[str, Any]) -> str:
    device = described["cuda"] or "no GPU"
    versions = described["versions"]
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    machine = f"{described['processor']}, {described['cores']} cores, threads of a program: {threads}, {device}"
    return f"{described['date']}, {machine}, inr-recon {versions['inr-recon']}, torch {versions['torch']}."


if __name__ == "__main__":
    main()
