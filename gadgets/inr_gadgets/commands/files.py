"""The commands around a scan's files: simulate, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inr_core.errors import ParameterError
from inr_gadgets.commands.common import FAILED, Progress, command, parse_settings
from inr_gadgets.commands.run import Config, Scan, Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app)(simulate)
    command(app)(check)


def simulate(
    output: Annotated[Path, typer.Argument(metavar="OUT.h5", help="The scan to make.", show_default=False)],
    phantom: Annotated[
        str | None,
        typer.Option(
            help="The object: cine, a beating heart; dce, a liver under contrast; quadrants, a mark in each.",
            show_default="cine",
        ),
    ] = None,
    matrix: Annotated[int | None, typer.Option(help="Reconstructed matrix, pixels.", show_default="96")] = None,
    frames: Annotated[int | None, typer.Option(help="Number of frames.", show_default="40")] = None,
    spokes: Annotated[int | None, typer.Option(help="Spokes of a frame (dce 34).", show_default="13")] = None,
    coils: Annotated[int | None, typer.Option(help="Receive coils.", show_default="8")] = None,
    tr_ms: Annotated[
        float | None, typer.Option(help="Time from spoke to spoke, ms (dce 60).", show_default="3")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Noise, relative to the largest sample.", show_default="0.001")
    ] = None,
    angle: Annotated[
        str | None, typer.Option(help="golden, tinyN, ragaN, or degrees from spoke to spoke.", show_default="golden")
    ] = None,
    trajectory: Annotated[
        str | None, typer.Option(help="embedded or none: do readouts carry theirs?", show_default="embedded")
    ] = None,
    delays: Annotated[
        str | None, typer.Option(metavar="Sx:Sy:Sxy", help="Gradient delays, samples.", show_default="0:0:0")
    ] = None,
    position: Annotated[
        str | None, typer.Option(metavar="L:P:S", help="Centre of the slice, mm.", show_default="10:-20:30")
    ] = None,
    orientation: Annotated[
        str | None, typer.Option(help="T, C, S, oblique T:C20, double-oblique T:C20:S-10.", show_default="T")
    ] = None,
    noise_scan: Annotated[bool, typer.Option("--noise-scan", help="Begin with a noise readout.")] = False,
    ecg: Annotated[bool, typer.Option("--ecg", help="Send ECG and respiration between the readouts.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of noise and coils.", show_default="0")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="name=value", help="Any other parameter of the simulation.")
    ] = None,
) -> None:
    """Make an analytic phantom's scan, and its truth beside it as OUT.truth.npz.

    Example: inr-recon simulate scan.h5 --matrix 128 --spokes 13 --coils 12 --set period_ms=800
    """
    given = {
        "phantom": phantom,
        "matrix": matrix,
        "frames": frames,
        "spokes": spokes,
        "coils": coils,
        "tr_ms": tr_ms,
        "noise": noise,
        "angle": angle,
        "trajectory": trajectory,
        "delays": delays,
        "position": position,
        "orientation": orientation,
        "noise_scan": noise_scan or None,
        "ecg": ecg or None,
        "seed": seed,
    }
    options: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    for name, value in parse_settings(settings or []).items():
        if name in options:
            raise ParameterError(f"{name} given as an option and by --set", "one of the two")
        options[name] = value
    from inr_gadgets import simulate as simulation

    parameters = simulation.simulation_parameters(options)
    with Progress("percent", 100) as progress:
        made = simulation.simulate(output, parameters, progress=lambda share: progress.update(round(100 * share)))
    print(f"{made.scan} ({made.duration_ms / 1e3:.1f} s of scan), truth in {made.truth}")


def check(
    scan: Scan,
    config: Config = "inr_dynamic.xml",
    settings: Settings = None,
) -> None:
    """Say how a scan would be understood and what would run, with which parameters; nothing is run.

    Exit code 1 when it could not be reconstructed.

    Example: inr-recon check scan.h5 -c inr_dynamic.xml
    """
    from inr_gadgets.check import check_scan

    result = check_scan(scan, config, parse_settings(settings or []))
    print("\n".join(result.lines))
    if not result.can_run:
        raise typer.Exit(FAILED)
