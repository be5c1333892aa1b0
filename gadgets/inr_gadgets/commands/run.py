"""The commands that reconstruct: serve, worker, replay, stream, reconstruct."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inr_core.errors import ParameterError
from inr_core.parameters import parse, plain_name
from inr_gadgets.commands.common import FAILED, Progress, command, parse_settings, say

if TYPE_CHECKING:
    from inr_gadgets.report import Report

Scan = Annotated[
    Path, typer.Argument(metavar="SCAN.h5", help="An ISMRMRD scan; or a stored MRD stream.", show_default=False)
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT.h5", help="Where the images go; an existing file gets a new group."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="gadget.name=value", help="Set a parameter (see inr-recon methods); repeatable."),
]
Config = Annotated[
    str, typer.Option("--config", "-c", metavar="NAME|./FILE", help="A configuration's name, or a path with a / in it.")
]
Prepare = Annotated[
    bool, typer.Option(help="After a scan of a size that nothing is compiled for, compile for the next one.")
]
Group = Annotated[str | None, typer.Option("--group", help="Group of the images in OUT.h5; by default date and time.")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.json", help="Write latencies, steps, memory, device as JSON.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app)(serve)
    command(app)(worker)
    command(app)(replay)
    command(app)(stream)
    command(app)(reconstruct)


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond loopback it is open to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 9002,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep every incoming scan as .h5 here.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End after the first scan, as hosts want it that start a container for each.")
    ] = False,
    prepare: Prepare = True,
    settings: Settings = None,
) -> None:
    """Run an MRD server for Gadgetron's client, FIRE and OpenRecon: many scans, one after the other or at once.

    --set takes the server's limits, too: inr-recon methods server lists them.

    Example: inr-recon serve --port 9002 --save scans
    """
    import logging

    from inr_gadgets.serving import server
    from inr_gadgets.serving.preparation import Preparation
    from inr_gadgets.wire.limits import ServerLimits

    given = parse_settings(settings or [])
    ours = {name: value for name, value in given.items() if plain_name(name).startswith("server.")}
    limits = parse(ServerLimits, {name.partition(".")[2]: value for name, value in ours.items()}, "server")
    overrides = {name: value for name, value in given.items() if name not in ours}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    preparation = Preparation() if prepare and not once else None
    server.serve(
        host=host, port=port, save=save, overrides=overrides, limits=limits, once=once, preparation=preparation
    )


def worker(
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond loopback it is open to the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that the configuration's <connect> names; 0 takes a free one.")
    ] = 18000,
    prepare: Prepare = True,
) -> None:
    """Run the gadgets for Gadgetron's <connect>: warm before the scan, many links at once (inr_dynamic_connect.xml).

    Example: inr-recon worker --port 18000
    """
    import logging

    from inr_gadgets.serving.preparation import Preparation
    from inr_gadgets.serving.worker import work

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    work(host, port, preparation=Preparation() if prepare else None)


def replay(
    scan: Scan,
    output: Output,
    config: Config = "inr_dynamic.xml",
    address: Annotated[
        str | None, typer.Option(metavar="HOST", help="Send to the MRD server there; without it, run in this process.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The server's port.")] = 9002,
    pace: Annotated[str, typer.Option(metavar="max|scan", help="As fast as it goes, or one readout per TR.")] = "max",
    speed: Annotated[float, typer.Option(help="Factor on --pace scan: 0.5 takes twice the scan's time.")] = 1.0,
    settings: Settings = None,
    report: ReportFile = None,
    group: Group = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that the server may keep us waiting.")] = 600.0,
) -> None:
    """Replay a recorded scan: in this process, or over TCP to any MRD server.

    Example: inr-recon replay scan.h5 -o out.h5 --pace scan --report report.json
    """
    from inr_gadgets.replay import Replay

    how = Replay(
        config=config,
        settings=parse_settings(settings or []),
        pace=pace,
        speed=speed,
        address=address,
        port=port,
        timeout_s=timeout,
    )
    result = _replay(how, scan, output, group, report)
    if pace == "max" and result.as_dict()["scan"]["latency_ms"]["median"] is not None:
        say("as fast as it goes frames wait for one another; latencies are those of a scan with --pace scan")


def stream(
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="NAME|./FILE",
            help="A configuration, whatever the stream asks for; by default the stream's, or inr_dynamic.",
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option("--input", "-i", metavar="FILE", help="Read this, not stdin.")] = None,
    sink: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this, not stdout; an .h5 as replay writes it."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="auto|v1|v2", help="MRD version of both streams; auto is that of the input.")
    ] = "auto",
    settings: Settings = None,
) -> None:
    """Reconstruct an MRD stream from stdin to stdout, each image as it is made; what is to be said goes to stderr.

    Example: inr-recon stream -c inr_live < scan.mrd > images.mrd
    """
    import logging

    from inr_gadgets.serving import stream as streaming

    logging.basicConfig(level=logging.INFO, format="inr-recon: %(message)s")
    if not streaming.stream(config, parse_settings(settings or []), source, sink, protocol=protocol):
        raise typer.Exit(FAILED)


def reconstruct(
    scan: Scan,
    output: Output,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="One of inr-recon methods.")] = "inr",
    preset: Annotated[str | None, typer.Option("--preset", metavar="NAME", help="One of the method's presets.")] = None,
    matrix: Annotated[
        str | None, typer.Option(metavar="2x", help="Pixels along an axis for each measured one; continuous methods.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="3x", help="Images for each measured frame; continuous methods.")
    ] = None,
    settings: Settings = None,
    report: ReportFile = None,
    group: Group = None,
) -> None:
    """Reconstruct a scan offline, all frames at once, by any method of the table.

    Example: inr-recon reconstruct scan.h5 -o out.h5 --method inr --matrix 2x --frames 3x
    """
    from inr_core.devices import prepare_process
    from inr_gadgets.replay import Replay, offline_settings

    given = parse_settings(settings or [])
    for option, name, text in (("--matrix", "matrix_scale", matrix), ("--frames", "frame_scale", frames)):
        if text is not None:
            given |= _scale(option, name, text, given)
    chosen = offline_settings(method, preset, given)
    # Before the clock starts, so that the seconds of the report are those of the reconstruction.
    prepare_process()
    importlib.import_module("torch")
    _replay(Replay(config="inr_dynamic.xml", settings=chosen), scan, output, group, report)


def _scale(option: str, name: str, text: str, given: Mapping[str, str]) -> dict[str, str]:
    """The setting that ``--matrix 2x`` or ``--frames 3x`` stands for; the x may be left out."""
    number = text.strip().lower().removesuffix("x")
    try:
        float(number)
    except ValueError:
        raise ParameterError(f"{option} {text}", "a factor", f"for example {option} 2x") from None
    twice = [setting for setting in given if plain_name(setting) == plain_name(f"recon.{name}")]
    if twice:
        raise ParameterError(f"{twice[0]} given by {option} and by --set", "one of the two")
    return {f"recon.{name}": number}


def _replay(how: Any, scan: Path, output: Path, group: str | None, report_file: Path | None) -> Report:
    from inr_gadgets.replay import replay_to_file
    from inr_gadgets.stream_file import open_scan

    if report_file is not None and not report_file.absolute().parent.is_dir():
        # Said before the work, not after it.
        raise FileNotFoundError(2, "no such folder", str(report_file.absolute().parent))
    began = time.monotonic()
    with open_scan(scan) as opened, Progress("readouts", opened.n_acquisitions) as progress:
        result = replay_to_file(how, opened, output, group=group, on_text=say, on_progress=_shown(progress))
    if report_file is not None:
        result.write(report_file)
    print(f"{output}: {result.sentence()}; {time.monotonic() - began:.1f} s")
    return result


def _shown(progress: Progress) -> Callable[[int, int], None]:
    def show(readouts: int, images: int) -> None:
        progress.update(readouts, f"{images} images")

    return show
