"""The demonstration: a simulated beating heart is sent over TCP to a server at the scan's own pace, and looked at.

``python -m inr_gadgets.demo out`` leaves in the folder: ``scan.h5`` and its truth, ``images.h5`` (groups ``gridding``
and ``inr``), ``report.json``, ``serve.log``, ``demo.gif`` (gridding | live | refined | truth), ``demo.png``,
``scores.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from inr_core.parameters import parse
from inr_gadgets.commands.common import Progress, command, parse_settings, say
from inr_gadgets.image_file import read_series
from inr_gadgets.imaging.geometry import LIVE_SERIES
from inr_gadgets.report import Report, summary_line
from inr_gadgets.server_process import serving

INR_GROUP, GRIDDING_GROUP = "inr", "gridding"
# A film of two whole beats runs on without a jump: 40 frames of 39 ms.
_PERIOD_MS = 780.0
# Less than the default, so that the whole stays under four minutes on cores that are busy with other things as well.
_REFINE_S = 100


def run_demo(out: Path, *, speed: float = 1.0, **options: object) -> dict[str, Any]:
    """Run the demonstration; its steps are said on stderr.

    Parameters
    ----------
    out
        Folder for what comes out of it; made if it does not exist. Files of an earlier demonstration are replaced.
    speed
        Factor on the scan's own pace.
    options
        For :func:`inr_gadgets.simulate.simulate`, over the demonstration's own.

    Returns
    -------
    What ``scores.json`` holds: ``series``, a row of scores per series, and ``scan``, the report of the live scan.

    Raises
    ------
    ServerStartError
        When the server does not come up.
    InrError
        Whatever else went wrong, in one line.
    """
    from inr_gadgets.demo_figure import load_demo, write_demo_figure, write_demo_gif
    from inr_gadgets.scan_file import ScanFile
    from inr_gadgets.simulate import SimulationParameters, simulate

    parameters = parse(SimulationParameters, {"period_ms": _PERIOD_MS, **options}, "simulate")
    out.mkdir(parents=True, exist_ok=True)
    images = out / "images.h5"
    images.unlink(missing_ok=True)
    say("simulating a beating heart")
    with Progress("simulating, percent", 100) as progress:
        made = simulate(out / "scan.h5", parameters, progress=lambda share: progress.update(round(100 * share)))
    say("starting the server")
    with serving(out / "serve.log") as server, ScanFile(made.scan) as scan:
        say(
            f"sending {scan.n_acquisitions} readouts to port {server.port} at the scan's pace, "
            f"{made.duration_ms / speed / 1e3:.1f} s"
        )
        refinement = {"recon.refine_seconds": str(_REFINE_S)}
        report = _send(
            scan, images, server.port, "inr_dynamic", INR_GROUP, pace="scan", speed=speed, settings=refinement
        )
        report.write(out / "report.json")
        say("sending them again, for gridding")
        _send(scan, images, server.port, "nufft", GRIDDING_GROUP)
    say("scoring and drawing")
    gridding, _, _ = read_series(images, LIVE_SERIES, GRIDDING_GROUP)
    demo = load_demo(images, made.truth, {"gridding": gridding[:, 0, 0]}, INR_GROUP)
    write_demo_gif(out / "demo.gif", demo)
    write_demo_figure(out / "demo.png", demo)
    result = {"series": demo.rows, "scan": report.as_dict()["scan"]}
    (out / "scores.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _send(scan: Any, images: Path, port: int, config: str, group: str, **options: Any) -> Report:
    from inr_gadgets.replay import Replay, replay_to_file

    how = Replay(config=config, address="127.0.0.1", port=port, **options)
    with Progress(f"{group}: readouts", scan.n_acquisitions) as progress:
        return replay_to_file(
            how,
            scan,
            images,
            group=group,
            on_text=lambda line: say(f"server: {line}"),
            on_progress=lambda readouts, made: progress.update(readouts, f"{made} images"),
        )


def print_table(result: dict[str, Any]) -> None:
    """Print the scores of each series, and the live scan's latency, refinement and memory."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("series")
    for name in ("PSNR / dB", "SSIM", "PSNR, moving / dB"):
        table.add_column(name, justify="right")
    for row in result["series"]:
        table.add_row(row["series"], f"{row['psnr']:.2f}", f"{row['ssim']:.3f}", f"{row['psnr_moving']:.2f}")
    Console().print(table)
    print(summary_line(result["scan"]))


def main() -> None:
    """Run the demonstration as a program."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    def demo(
        out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pictures.", show_default=False)],
        speed: Annotated[float, typer.Option(help="Factor on the scan's own pace.")] = 1.0,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="name=value", help="A parameter of the simulation.")
        ] = None,
    ) -> None:
        """Simulate a beating heart, send it to a server at its own pace, and draw what comes back.

        Example: python -m inr_gadgets.demo out
        """
        print_table(run_demo(out, speed=speed, **parse_settings(settings or [])))
        for name in ("images.h5", "demo.gif", "demo.png", "report.json"):
            print(out / name)

    command(app)(demo)
    app()


if __name__ == "__main__":
    main()
