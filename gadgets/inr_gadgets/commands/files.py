"""The commands around a scan's files: simulate, check, export."""

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
    command(app)(export)


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


def export(
    images: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Images of a reconstruction.", show_default=False)],
    gif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an animated GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a film (extra 'video').")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a contact sheet.")] = None,
    series: Annotated[
        list[int] | None,
        typer.Option(help="1 live, 2 refined, 3 motion in colours; repeatable: side by side. By default 1 and 2."),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Group of the images; by default the last.")] = None,
    frame_ms: Annotated[float | None, typer.Option(help="Duration of a frame; by default by the time stamps.")] = None,
    zoom: Annotated[float | None, typer.Option(min=0.1, help="Screen pixels per pixel.")] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Bicubic, not the pixels as they are.")] = False,
) -> None:
    """Make pictures that people use of image series: GIF, MP4, PNG.

    Example: inr-recon export out.h5 --gif heart.gif --png heart.png
    """
    if gif is None and mp4 is None and png is None:
        raise ParameterError("no file to write", "--gif, --mp4 or --png with a name", "for example --gif heart.gif")
    from inr_gadgets import pictures

    movie = pictures.load_movie(images, series, group, frame_ms)
    if gif is not None:
        pictures.write_gif(gif, movie, zoom=zoom, smooth=smooth)
        print(gif)
    if mp4 is not None:
        pictures.write_mp4(mp4, movie, zoom=zoom, smooth=smooth)
        print(mp4)
    if png is not None:
        pictures.write_contact_sheet(png, movie, zoom=zoom)
        print(png)
