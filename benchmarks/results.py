"""What every result file says beside its numbers, and the table that a person reads."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
TRIED = Path(__file__).resolve().parents[1] / "build" / "bench"
"""Where a quick run leaves what it finds: it is no result."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    what
        What was measured, with its unit.
    value
        The number; None where it could not be had.
    target
        What it must reach, as text; empty for a figure that only informs.
    reached
        None without a target.
    """

    what: str
    value: float | None
    target: str = ""
    reached: bool | None = None


def at_least(what: str, value: float, limit: float) -> Figure:
    """A figure that must not be smaller than ``limit``."""
    return Figure(what, value, f">= {limit:g}", value >= limit)


def at_most(what: str, value: float, limit: float) -> Figure:
    """A figure that must not be larger than ``limit``."""
    return Figure(what, value, f"<= {limit:g}", value <= limit)


def within(what: str, value: float, centre: float, margin: float) -> Figure:
    """A figure that must not be further than ``margin`` from ``centre``."""
    return Figure(what, value, f"{centre:g} +- {margin:g}", abs(value - centre) <= margin)


def machine() -> dict[str, Any]:
    """Date, device and versions."""
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    packages = ("inr-recon", "torch", "finufft", "numpy", "ismrmrd")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "cuda": cuda,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "command": " ".join(["python", *sys.argv]),
    }


def show(title: str, figures: list[Figure]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "target", ""):
        table.add_column(column)
    for f in figures:
        table.add_row(f.what, value_text(f), f.target, verdict(f))
    Console(width=120).print(table)


def value_text(figure: Figure) -> str:
    """The number, for a table."""
    return "not measured" if figure.value is None else f"{figure.value:.4g}"


def verdict(figure: Figure) -> str:
    """Whether the target is reached; empty without one."""
    return "" if figure.reached is None else ("reached" if figure.reached else "NOT reached")


def plot_path(name: str) -> Path:
    """Where the plot of a benchmark lies, if it has one."""
    return Path(__file__).resolve().parents[1] / "docs" / "images" / f"bench_{name}.png"


def save(
    name: str, described: dict[str, Any], scan: str, figures: list[Figure], *, quick: bool = False, **more: Any
) -> Path:
    """Write ``results/NAME.json``, over the last one of that name; of a ``quick`` run ``build/bench/NAME.json``."""
    folder = TRIED if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {**described, "scan": scan, "figures": [asdict(f) for f in figures], **more}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed, on a machine for the core alone
        return "not installed"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
