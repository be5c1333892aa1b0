"""What a bench leaves for its readers: the page, the numbers, the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from inr_core.errors import DataError
from inr_gadgets.bench.figure import panels, write_figure
from inr_gadgets.bench.jobs import images_of
from inr_gadgets.bench.rows import Row, file_stem
from inr_gadgets.bench.runs import Bench
from inr_gadgets.bench.table import page, write_csv


def publish(
    bench: Bench,
    rows: Sequence[Row],
    *,
    table: Path | None = None,
    figures: Mapping[str, Path] | None = None,
    title: str = "Bench",
    about: str = "",
) -> list[Path]:
    """Write tables and figures.

    Parameters
    ----------
    bench, rows
        What was run, and what came of it.
    table
        The tables' file, without its suffix; by default ``bench`` in the bench's folder.
    figures
        Scan to PNG; by default each in the bench's folder, under the scan's name.
    title, about
        Of the page: its heading and a line below it.

    Returns
    -------
    The files: the page, the CSV, the figures of the scans on which some method worked.

    Raises
    ------
    MissingDependencyError
        Without matplotlib (extra ``pictures``); the tables are there then.
    DataError
        When a file cannot be written.
    """
    table = bench.output / "bench" if table is None else table
    written = [table.with_suffix(".md"), table.with_suffix(".csv")]
    try:
        written[0].write_text(page(rows, title, about))
        write_csv(written[1], rows)
    except OSError as error:
        raise DataError(f"{table} cannot be written ({error})", advice="choose another folder or free space") from error
    for case in bench.cases:
        worked = [row for row in rows if row.scan == case.name and not row.error]
        if worked:
            path = (figures or {}).get(case.name, bench.output / f"{file_stem(case.name)}.png")
            images = {row.method: images_of(bench.output, row) for row in worked}
            write_figure(path, panels(case, worked, images))
            written.append(path)
    return written
