"""The command that compares: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inr_gadgets.commands.common import FAILED, command, say


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app)(bench)


def bench(
    scans: Annotated[
        list[Path],
        typer.Argument(metavar="SCAN.h5..", help="Scans with their .truth.npz beside them.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all that comes out of it.")],
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PRESET][@name=value;..],..",
            help="Methods with settings over their defaults; by default all.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Keep what an earlier bench left in DIR, or run all again.")
    ] = True,
    bart: Annotated[bool, typer.Option("--bart/--no-bart", help="Add BART's GRASP, if bart is installed.")] = True,
    bart_weights: Annotated[
        str | None,
        typer.Option(help="Weights of BART's GRASP; the best by PSNR counts.", show_default="0.002,0.005,.."),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="End a method that takes longer.")
    ] = None,
) -> None:
    """Score methods on scans whose truth is known: a table, and a figure for each scan.

    Exit code 1 when a method failed; it has its row nevertheless.

    Example: inr-recon bench scan.h5 --methods "nufft,grasp,inr@refine_passes=150;virtual_coils=6" -o out
    """
    from inr_core.errors import ParameterError
    from inr_core.methods import list_methods
    from inr_gadgets.bench import peers
    from inr_gadgets.bench.cases import load_case
    from inr_gadgets.bench.publish import publish
    from inr_gadgets.bench.rows import MethodSpec
    from inr_gadgets.bench.runs import Bench
    from inr_gadgets.bench.table import markdown

    weights = peers.GRASP_WEIGHTS
    if bart_weights is not None:
        try:
            weights = tuple(float(weight) for weight in bart_weights.split(","))
        except ValueError:
            raise ParameterError(f"--bart-weights {bart_weights}", "numbers with commas between them") from None
    specs = MethodSpec.parse_list(methods or ",".join(method.name for method in list_methods()))
    cases = [load_case(scan) for scan in scans]
    measured = Bench(cases, specs, output, weights if bart else (), resume, time_limit, say)
    rows = measured.run()
    print(markdown(rows))
    for path in publish(measured, rows):
        print(path)
    if any(row.error for row in rows):
        raise typer.Exit(FAILED)
