"""The command that measures contrast: curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inr_gadgets.commands.common import command, print_table


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app)(curves)


def curves(
    images: Annotated[
        list[Path], typer.Argument(metavar="OUT.h5..", help="Images of reconstructions.", show_default=False)
    ],
    truth: Annotated[Path, typer.Option(metavar="SCAN.truth.npz", help="The truth, with regions of interest.")],
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the figure (extra 'pictures').")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every point of the curves.")] = None,
    series: Annotated[
        list[int] | None, typer.Option(help="1 live, 2 refined; repeatable. By default the refined, else the live.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Group of the images; repeatable. By default all of each file.")
    ] = None,
) -> None:
    """Draw the signal in regions of interest over time against the truth, and say how far off it is.

    Example: inr-recon curves out.h5 --truth liver.truth.npz --png curves.png
    """
    from inr_gadgets.export.curves import load_curves

    measured = load_curves(images, truth, series, group)
    print_table(
        ("region", "series", "RMS error", "peak height", "peak time"),
        [
            (row.region, row.series, f"{100 * row.rms:.1f} %", f"{100 * row.peak:+.1f} %", f"{row.delay_s:+.2f} s")
            for row in measured.errors()
        ],
    )
    if csv is not None:
        measured.write_csv(csv)
        print(csv)
    if png is not None:
        from inr_gadgets.export.curves_figure import write_curves_figure

        write_curves_figure(png, measured)
        print(png)
