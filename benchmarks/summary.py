"""All figures beside their targets, from results/*.json: one table on the screen and in results/summary.md.

python benchmarks/summary.py
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import RESULTS, Figure, plot_path, value_text, verdict
from rich.console import Console
from rich.table import Table

from inr_core.errors import DataError

_PAGE = "summary.md"


@dataclass(frozen=True)
class Result:
    """What one benchmark left: its name, its file's contents and its figures."""

    name: str
    described: dict[str, Any]
    figures: tuple[Figure, ...]


def load_results(folder: Path) -> list[Result]:
    """Every result with figures, by name; the table of all methods has rows instead and a page of its own.

    Raises
    ------
    DataError
        For a file that is damaged, or when there is none.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            described = json.loads(path.read_text())
            if "figures" in described:
                results.append(Result(path.stem, described, tuple(Figure(**f) for f in described.pop("figures"))))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error})", "a benchmark's result", "run it again") from error
    if not results:
        raise DataError(f"no results in {folder}", "files of the benchmarks", "run make bench")
    return results


def page(results: list[Result]) -> str:
    """Markdown: how many targets are reached, the figures that have one, and all of each benchmark."""
    targets = [(result, figure) for result in results for figure in result.figures if figure.target]
    reached = sum(bool(figure.reached) for _, figure in targets)
    parts = ["# Benchmarks", f"{reached} of {len(targets)} targets are reached.", "## Targets"]
    parts.append(_markdown(["benchmark", "figure", "measured", "target", ""], [[r.name, *_row(f)] for r, f in targets]))
    for result in results:
        rows = [_row(figure) for figure in result.figures]
        parts += [f"## {result.name}", _about(result.described)]
        if plot_path(result.name).exists():
            parts.append(f"![{result.name}](../../docs/images/{plot_path(result.name).name})")
        parts.append(_markdown(["figure", "measured", "target", ""], rows))
    return "\n\n".join(parts) + "\n"


def show_targets(results: list[Result]) -> None:
    """Print every figure that has a target."""
    table = Table(title="targets", title_justify="left")
    for column in ("benchmark", "figure", "measured", "target", ""):
        table.add_column(column)
    for result in results:
        for figure in result.figures:
            if figure.target:
                table.add_row(result.name, *_row(figure))
    Console(width=120).print(table)


def _row(figure: Figure) -> list[str]:
    return [figure.what, value_text(figure), figure.target, verdict(figure)]


def _about(described: dict[str, Any]) -> str:
    versions = described["versions"]
    device = described["cuda"] or "no GPU"
    return (
        f"{described['scan']}. {described['date']}, {described['processor']}, {described['cores']} cores, {device}, "
        f"load before {described['load_before']:g}, inr-recon {versions['inr-recon']}, torch {versions['torch']}. "
        f"`{described['command']}`"
    )


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Print and write."""
    try:
        results = load_results(RESULTS)
    except DataError as error:
        sys.exit(str(error))
    show_targets(results)
    path = RESULTS / _PAGE
    path.write_text(page(results))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
