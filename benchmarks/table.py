"""The measured table: every method, and BART's GRASP, on scans of 21, 13 and 5 spokes a frame.

    python benchmarks/table.py [--methods nufft,grasp] [--no-bart] [--time-limit SECONDS] [--no-resume]

Writes results/table.{json,md,csv} and docs/images/table_{21,13,5}.png. Scans and images stay in build/table; a second
run takes from there what the same version has measured already.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from results import RESULTS, machine

from inr_core.methods import list_methods
from inr_gadgets.bench.cases import load_case
from inr_gadgets.bench.peers import GRASP_WEIGHTS
from inr_gadgets.bench.publish import publish
from inr_gadgets.bench.rows import MethodSpec, save_rows
from inr_gadgets.bench.runs import Bench
from inr_gadgets.bench.table import markdown
from scans import make_scan

_ROOT = Path(__file__).resolve().parents[1]
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
    print("\n".join(map(str, [RESULTS / "table.json", *written])))
    sys.exit(any(row.error for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = ",".join(method.name for method in list_methods())
    parser.add_argument("--methods", default=everything, help="as for inr-recon bench; by default all")
    parser.add_argument("--spokes", type=int, nargs="+", default=[21, 13, 5], help="spokes a frame, a scan for each")
    parser.add_argument("--no-bart", action="store_true", help="leave BART's GRASP out")
    parser.add_argument("--no-resume", action="store_true", help="measure everything again")
    parser.add_argument("--time-limit", type=float, help="seconds that a method may take on a scan")
    return parser.parse_args()


def _where(described: dict[str, Any]) -> str:
    device = described["cuda"] or "no GPU"
    versions = described["versions"]
    return (
        f"{described['date']}, {described['processor']}, {described['cores']} cores, {device}, "
        f"inr-recon {versions['inr-recon']}, torch {versions['torch']}."
    )


if __name__ == "__main__":
    main()
