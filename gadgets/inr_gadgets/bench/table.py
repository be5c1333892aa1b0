"""A bench's rows as tables: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from inr_gadgets.bench.rows import Row

_NONE = "-"
COLUMNS = (
    "scan",
    "method",
    "PSNR / dB",
    "SSIM",
    "PSNR moving / dB",
    "SSIM moving",
    "s",
    "host / MiB",
    "device / MiB",
    "remark",
)
SCORES = ("psnr", "psnr_std", "ssim", "ssim_std", "psnr_moving", "psnr_moving_std", "ssim_moving", "ssim_moving_std")
FIELDS = ("seconds", "wall_s", "host_mib", "device_mib", "device", "settings", "version", "remark", "error")
NOTES = (
    "PSNR and SSIM: magnitudes after one least-squares scale per series, range the truth's maximum, mean ± standard "
    "deviation over the frames; moving: over the bounding box of what moves in the truth. Seconds: from the first "
    "readout to the last image, without the program's start; of BART all its programs with their files. Host: largest "
    "resident set of the process. Device: largest allocation on a CUDA device."
)


def markdown(rows: Sequence[Row]) -> str:
    """All columns, a line for each row."""
    return _lay_out(COLUMNS, [_cells(row) for row in rows], text_columns=(0, 1, len(COLUMNS) - 1))


def pivot(rows: Sequence[Row]) -> str:
    """A line for each method, the scans side by side; the best PSNR and SSIM of each scan are bold."""
    scans, methods = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("scan", "method"))
    found = {(row.scan, row.method): row for row in rows}
    best = {
        (scan, name): max((row.scores[name] for row in rows if row.scan == scan and row.scores), default=math.inf)
        for scan in scans
        for name in ("psnr", "ssim")
    }
    columns = ["method", *(f"{scan}: {what}" for scan in scans for what in ("PSNR / dB", "SSIM", "s"))]
    lines = []
    for method in methods:
        cells = [method]
        for scan in scans:
            row = found.get((scan, method))
            if row is None or row.error:
                cells += [_NONE if row is None else "failed", _NONE, _NONE]
                continue
            for name, digits in (("psnr", 2), ("ssim", 3)):
                text = f"{row.scores[name]:.{digits}f}"
                cells.append(f"**{text}**" if row.scores[name] == best[scan, name] else text)
            cells.append(_seconds(row.seconds))
        lines.append(cells)
    return _lay_out(columns, lines, text_columns=(0,))


def page(rows: Sequence[Row], title: str = "Bench", about: str = "") -> str:
    """A whole Markdown page: what it is about, the scans side by side if there are several, all columns, notes."""
    parts = [f"# {title}", *([about] if about else [])]
    if len({row.scan for row in rows}) > 1:
        parts.append(pivot(rows))
    failures = [f"- {row.scan}, {row.method}: {row.error}" for row in rows if row.error]
    return "\n\n".join([*parts, markdown(rows), *(["\n".join(failures)] if failures else []), NOTES]) + "\n"


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write every number of every row; what is not known is empty."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scan", "method", *SCORES, "psnr_minmax", *FIELDS])
        for row in rows:
            values = asdict(row)
            numbers = [row.scores.get(name, "") for name in (*SCORES, "psnr_minmax")]
            others = ["" if values[name] is None else values[name] for name in FIELDS]
            writer.writerow([row.scan, row.method, *numbers, *others])


def _cells(row: Row) -> list[str]:
    if row.error:
        return [row.scan, row.method, *[_NONE] * 7, f"failed: {row.error.split('; ')[0]}"]
    scores = [
        f"{row.scores[name]:.{digits}f} ± {row.scores[f'{name}_std']:.{digits}f}"
        for name, digits in (("psnr", 2), ("ssim", 3), ("psnr_moving", 2), ("ssim_moving", 3))
    ]
    memory = [_NONE if mib is None else f"{mib:.0f}" for mib in (row.host_mib, row.device_mib)]
    return [row.scan, row.method, *scores, _seconds(row.seconds), *memory, row.remark]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    return f"{seconds:.1f}" if seconds < 99.95 else f"{seconds:.0f}"


def _lay_out(columns: Sequence[str], lines: Sequence[Sequence[str]], text_columns: Sequence[int]) -> str:
    """Columns of one width each, so that the table can be read where Markdown is not drawn."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (columns, *lines)]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(columns))]
    texts = [
        "| "
        + " | ".join(
            cell.ljust(width) if i in text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = "|".join(
        "-" * (width + 2) if i in text_columns else "-" * (width + 1) + ":" for i, width in enumerate(widths)
    )
    return "\n".join([texts[0], f"|{rule}|", *texts[1:]])
