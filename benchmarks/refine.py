"""What the refinement reaches in so many seconds, beside GRASP: ours and BART's, on the same cores in one run.

    python benchmarks/refine.py [--threads 2] [--no-bart] [--quick]

Every point is a reconstruction of its own, one after the other: ours ``inr-recon reconstruct`` under a time limit, or
with a stage left out; GRASP with more and more iterations. Seconds are those from the first readout to the last image,
live images included, and of BART those of its programs from coil compression to the series. BART's weight is the best
of several by the truth.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from options import Options
from plots import LIMIT, OTHER, OURS, PEER, new_figure, plain_log, write_plot
from results import Figure, at_least, at_most, machine, save, show

from inr_core.metrics import score
from inr_gadgets.bench import peers
from inr_gadgets.bench.cases import Case, load_case
from inr_gadgets.bench.jobs import our_job
from inr_gadgets.bench.rows import MethodSpec
from scans import make_scan

_GAIN_DB, _TIMES = 1.5, 5.0  # what the refinement must gain on GRASP, within how much of its time
_ITERATIONS = 100  # of BART's GRASP, for the choice of its weight
_LIMITED, _UNLIMITED_S = "inr@deterministic=false;refine_seconds={:g}", 1e5
_STAGES = {
    "GRASP": ";refine_passes=0;polish_rounds=0",
    "GRASP, polish": ";refine_passes=0",
    "GRASP, polish, field, polish": "",
}


@dataclass(frozen=True)
class Point:
    """A series: how good after how long.

    Attributes
    ----------
    setting
        Seconds, iterations or stages that were asked for.
    remark
        What the refinement says of itself, for example that it ended before its field was trained.
    """

    setting: str
    seconds: float
    psnr: float
    ssim: float
    remark: str = ""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    limits_s: tuple[float, ...] = (1, 2, 4, 7, 11, 16, 22, 30)
    own_iterations: tuple[int, ...] = (1, 2, 4, 8, 14, 20, 40)
    bart_iterations: tuple[int, ...] = (10, 20, 40, 70)
    weights: tuple[float, ...] = peers.GRASP_WEIGHTS


_QUICK = Plan((1, 3), (2, 10), (10,), (0.01, 0.02))


def main() -> None:
    """Measure, print, draw, save."""
    parser = Options(__doc__)
    parser.add_argument("--threads", type=int, default=2, help="of every program")
    parser.add_argument("--no-bart", action="store_true", help="leave BART out")
    parser.add_quick("a few points on a small scan")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    described = {**machine(), "threads": arguments.threads}
    plan, size = (_QUICK, {"matrix": 64, "frames": 12}) if arguments.quick else (Plan(), {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = make_scan(folder, **size)
        curves, bart = measure(load_case(scan.scan), folder, plan, not arguments.no_bart)
    figures = all_figures(curves)
    title = f"{scan.name}, {arguments.threads} threads{bart}"
    show(f"refinement over time: {title}", figures)
    plot = draw(curves, arguments.quick)
    rows = {name: [asdict(point) for point in curve] for name, curve in curves.items()}
    path = save("refine", described, title, figures, quick=arguments.quick, curves=rows)
    print(f"written to {path} and {plot}")


def measure(case: Case, folder: Path, plan: Plan, with_bart: bool) -> tuple[dict[str, list[Point]], str]:
    """Name of each curve -> its points; and what is to be known of BART."""
    whole = _LIMITED.format(_UNLIMITED_S)
    curves = {"stages": [ours(case, folder, whole + setting, stage) for stage, setting in _STAGES.items()]}
    curves["refined"] = [ours(case, folder, _LIMITED.format(limit), f"{limit:g} s") for limit in plan.limits_s]
    iterated = "grasp@grasp_iterations={}"
    curves["GRASP, ours"] = [ours(case, folder, iterated.format(n), f"{n} iterations") for n in plan.own_iterations]
    if not with_bart:
        return curves, ""
    if not peers.available():
        print("BART is not installed (apt-get install bart): its GRASP is left out")
        return curves, ""
    tried = {weight: bart_grasp(case, weight, _ITERATIONS) for weight in plan.weights}
    best = max(tried, key=lambda weight: tried[weight].psnr)
    others = [bart_grasp(case, best, n) for n in plan.bart_iterations]
    curves[peers.GRASP_NAME] = sorted([*others, tried[best]], key=lambda point: point.seconds)
    return curves, f"; BART's weight {best:g}, the best of {', '.join(f'{weight:g}' for weight in tried)}"


def ours(case: Case, folder: Path, method: str, setting: str) -> Point:
    """One of our methods, as the table runs it."""
    row = our_job(MethodSpec.parse(method), None).run(case, _fresh(folder / "images.h5"))
    return _said(Point(setting, row["seconds"], row["scores"]["psnr"], row["scores"]["ssim"], row["remark"]), method)


def bart_grasp(case: Case, weight: float, iterations: int) -> Point:
    """BART's GRASP."""
    result = peers.grasp(case.scan, weight, iterations=iterations)
    scores = score(result.images, case.truth.images).summary()
    point = Point(f"{iterations} iterations", result.seconds, scores["psnr"], scores["ssim"])
    return _said(point, f"{peers.GRASP_NAME}, weight {weight:g}")


def _fresh(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


def _said(point: Point, what: str) -> Point:
    remark = f" ({point.remark})" if point.remark else ""
    print(f"{what}, {point.setting}: {point.psnr:.2f} dB in {point.seconds:.1f} s{remark}", flush=True)
    return point


def all_figures(curves: Mapping[str, list[Point]]) -> list[Figure]:
    """The stages, and what the refinement gains on each GRASP in how much of its time."""
    figures = []
    for point in curves["stages"]:
        figures += [Figure(f"{point.setting}, dB", point.psnr), Figure(f"{point.setting}, s", point.seconds)]
    refined = [*curves["refined"], curves["stages"][-1]]
    for name, points in curves.items():
        if "GRASP" in name:
            figures += against(name, points, refined)
    return figures


def against(name: str, points: list[Point], refined: list[Point]) -> list[Figure]:
    """The best refined series within five times the time of the best GRASP; and when it is passed, if it is."""
    best = max(points, key=lambda point: point.psnr)
    in_time = [point.psnr for point in refined if point.seconds <= _TIMES * best.seconds]
    passed = [point.seconds for point in refined if point.psnr >= best.psnr + _GAIN_DB]
    gain = f"refined - {name}'s best, within {_TIMES:g} x its time, dB"
    times = f"seconds until refined is {_GAIN_DB:g} dB over {name}'s best / its seconds"
    gained = at_least(gain, max(in_time) - best.psnr, _GAIN_DB) if in_time else None
    figures = [
        Figure(f"{name}, best: {best.setting}, dB", best.psnr),
        Figure(f"{name}, best: {best.setting}, s", best.seconds),
        gained or Figure(gain, None, f">= {_GAIN_DB:g}", False),
    ]
    return [*figures, at_most(times, min(passed) / best.seconds, _TIMES)] if passed else figures


def draw(curves: Mapping[str, list[Point]], quick: bool) -> Path:
    """PSNR over seconds, and the target that follows from the best GRASP of BART, or ours without it."""
    figure, ((axes,),) = new_figure(1, 1, width=8.0, height=5.0)
    marks = {"GRASP, ours": ("^-", OTHER), peers.GRASP_NAME: ("s-", PEER)}
    for name, (mark, colour) in marks.items():
        if name in curves:
            _curve(axes, curves[name], mark, colour, name)
    _refined(axes, curves["refined"])
    stages = curves["stages"]
    _curve(axes, stages, "D:", "black", "refined without a limit, stage by stage")
    for point in stages:
        axes.annotate(point.setting, (point.seconds, point.psnr), (6, -12), textcoords="offset points", fontsize=8)
    compared = peers.GRASP_NAME if peers.GRASP_NAME in curves else "GRASP, ours"
    best = max(curves[compared], key=lambda point: point.psnr)
    label = f"target: {compared}'s best + {_GAIN_DB:g} dB, within {_TIMES:g} x its time"
    target = best.psnr + _GAIN_DB
    axes.plot([best.seconds / 10, _TIMES * best.seconds], [target, target], "--", color=LIMIT, linewidth=1, label=label)
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    axes.set_xlabel("seconds from the first readout to the last image")
    axes.set_ylabel("PSNR / dB")
    axes.legend(fontsize=8, loc="lower right")
    return write_plot(figure, "refine", quick=quick)


def _refined(axes: Any, points: list[Point]) -> None:
    """The refinement under time limits; hollow where it says that it did not come to its end."""
    _curve(axes, points, "o-", OURS, "refined, within a time limit")
    short = [point for point in points if point.remark]
    if short:
        x, y = [point.seconds for point in short], [point.psnr for point in short]
        axes.plot(x, y, "o", color=OURS, markerfacecolor="white", label="its draft alone: no time for the field")


def _curve(axes: Any, points: list[Point], mark: str, colour: str, label: str) -> None:
    x, y = [point.seconds for point in points], [point.psnr for point in points]
    axes.plot(x, y, mark, color=colour, markersize=5, linewidth=1.3, label=label)


if __name__ == "__main__":
    main()
