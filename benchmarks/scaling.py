"""How time and memory grow with frames, matrix, coils and slices: exponents of power laws, each with its error.

    python benchmarks/scaling.py [--quick]

Every point is a scan of its own in a process of its own (scaling_point.py), through the whole chain, as fast as it
goes: live frames without training in between, and a refinement of the usual stages with a tenth of the usual work,
which changes the time and neither the memory nor the exponents. Coils are compressed to 8 and the live image is made of
4 of them, as always; for ``virtual coils`` nothing is compressed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from fits import Power, fit_line, fit_power
from options import Options
from plots import OTHER, OURS, PEER, new_figure, plain_log, write_plot
from results import Figure, at_most, machine, save, show, within
from scaling_point import Point

from inr_gadgets.simulate import simulate

_SETTINGS = {
    "recon.deterministic": "true",
    "recon.tune_steps": "0",
    "recon.grasp_iterations": "4",
    "recon.refine_passes": "7",
    "recon.polish_rounds": "2",
    "recon.polish_iterations": "2",
}
_CYCLE, _SPOKES, _FRAME_MS = 16, 13, 39.0  # frames that are simulated, a beat; they are repeated
_LIMIT_MIB = 4096


@dataclass(frozen=True)
class Case:
    """One scan."""

    frames: int = 12
    matrix: int = 128
    coils: int = 12
    slices: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def repeats(self) -> int:
        """All but the longest scans are run twice: a few hundred milliseconds are soon disturbed."""
        return 2 if self.frames * self.slices * self.matrix**2 <= 64 * 128**2 else 1


def axes(quick: bool) -> dict[str, dict[int, Case]]:
    """Name of what grows -> its values with their scans; one that occurs twice is measured once."""

    def uncompressed(n: int) -> Case:
        return Case(coils=n, settings={"recon.virtual_coils": str(n), "recon.live_coils": str(n)})

    if quick:
        return {
            "frames": {n: Case(frames=n, matrix=64) for n in (8, 16, 32)},
            "matrix": {n: Case(frames=8, matrix=n) for n in (48, 64, 96)},
            "coils": {n: Case(frames=8, matrix=64, coils=n) for n in (4, 8, 16)},
            "slices": {n: Case(frames=8, matrix=64, slices=n) for n in (1, 2)},
        }
    return {
        "frames": {n: Case(frames=n) for n in (16, 32, 64, 128, 256)},
        "matrix": {n: Case(matrix=n) for n in (64, 96, 128, 192, 256)},
        "coils": {n: Case(coils=n) for n in (4, 8, 16, 32)},
        "virtual coils": {n: uncompressed(n) for n in (4, 8, 16, 32)},
        "slices": {n: Case(slices=n) for n in (1, 2, 4)},
    }


def main() -> None:
    """Measure, fit, print, draw, save."""
    parser = Options(__doc__)
    parser.add_quick("small scans, a minute")
    arguments = parser.parse_args()
    described = machine()
    grown = axes(arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_all(grown, Path(folder))
    figures = fitted_figures(measured)
    largest = max(measured["frames"])
    peak = measured["frames"][largest].peak_mib
    what = f"peak resident memory of the whole process, {largest} frames, MiB"
    figures.append(at_most(what, peak, _LIMIT_MIB))
    name = "phantom, 128 x 128 x 12, 12 coils, 13 spokes, unless what grows says otherwise"
    if arguments.quick:
        name = "phantom, small sizes for trying out"
    show(f"scaling: {name}", figures)
    plot = draw(measured, arguments.quick)
    points = {axis: {n: asdict(point) for n, point in found.items()} for axis, found in measured.items()}
    path = save("scaling", described, name, figures, quick=arguments.quick, points=points)
    print(f"written to {path} and {plot}")


def measure_all(grown: Mapping[str, Mapping[int, Case]], folder: Path) -> dict[str, dict[int, Point]]:
    """Run every scan in a process of its own."""
    known: dict[str, Point] = {}
    measured: dict[str, dict[int, Point]] = {}
    for axis, cases in grown.items():
        measured[axis] = {}
        for value, case in cases.items():
            key = json.dumps(asdict(case))
            if key not in known:
                known[key] = quickest([measure(case, folder) for _ in range(case.repeats)])
            measured[axis][value] = point = known[key]
            print(f"{axis} {value}: {point.live_ms:.1f} ms a live frame, {point.refine_s:.2f} s refined", flush=True)
    return measured


def quickest(points: list[Point]) -> Point:
    """Of repeated scans the least of each time, since what else the machine does only adds to it; the rest of all."""
    return replace(
        points[0],
        live_ms=min(point.live_ms for point in points),
        refine_s=min(point.refine_s for point in points),
        live_mib=float(np.median([point.live_mib for point in points])),
        refine_mib=float(np.median([point.refine_mib for point in points])),
        peak_mib=max(point.peak_mib for point in points),
    )


def measure(case: Case, folder: Path) -> Point:
    """Run a scan; its cycle is simulated if it is not there yet."""
    cycle = folder / f"cycle_{case.matrix}_{case.coils}.h5"
    if not cycle.exists():
        size = {"matrix": case.matrix, "coils": case.coils, "spokes": _SPOKES}
        simulate(cycle, **size, frames=_CYCLE, period_ms=_CYCLE * _FRAME_MS)
    settings = [f"{name}={value}" for name, value in {**_SETTINGS, **case.settings}.items()]
    program = Path(__file__).with_name("scaling_point.py")
    words = [sys.executable, program, cycle, case.frames, case.slices, *settings]
    said = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout
    return Point(**json.loads(said.splitlines()[-1]))


def fitted_figures(measured: Mapping[str, Mapping[int, Point]]) -> list[Figure]:
    """The exponents beside their targets, and memory a frame."""
    figures = []
    for axis, points in measured.items():
        live, refined = power(points, "live_ms"), power(points, "refine_s")
        names = f"ms a live frame over {axis}", f"s of the refinement over {axis}"
        for what, fit in zip(names, (live, refined), strict=True):
            text = f"exponent of {what} (+- {fit.error:.2f})"
            if axis == "slices":
                figures.append(within(text, fit.exponent, 1.0, 0.1))
            elif axis == "frames" and fit is live:
                figures.append(within(text, fit.exponent, 0.0, 0.05))
            else:
                figures.append(Figure(text, fit.exponent))
        for name, stage in (("live_mib", "scan"), ("refine_mib", "refinement")):
            if axis == "matrix":
                fit = power(points, name)
                what = f"exponent of the {stage}'s memory over matrix (+- {fit.error:.2f})"
                figures.append(Figure(what, fit.exponent))
                continue
            line = fit_line(list(points), values(points, name))
            unit = {"frames": "frame", "slices": "slice"}.get(axis, axis.removesuffix("s"))
            what = f"memory of the {stage}, MiB for each {unit} (+- {line.slope_error:.2g})"
            figures.append(Figure(what, line.slope))
    return figures


def values(points: Mapping[int, Point], name: str) -> np.ndarray:
    """One quantity of all points."""
    return np.array([getattr(point, name) for point in points.values()])


def power(points: Mapping[int, Point], name: str) -> Power:
    """Its power law."""
    return fit_power(list(points), values(points, name))


def draw(measured: Mapping[str, Mapping[int, Point]], quick: bool) -> Path:
    """A column for each thing that grows: time of a live frame, time of the refinement, memory."""
    figure, grid = new_figure(3, len(measured), width=3.4, height=2.7)
    rows = (("live_ms", "live frame / ms", OURS), ("refine_s", "refinement / s", PEER))
    for column, (axis, points) in enumerate(measured.items()):
        x = np.array(list(points), np.float64)
        for row, (name, label, colour) in enumerate(rows):
            one, fit = grid[row, column], power(points, name)
            one.loglog(x, values(points, name), "o", color=colour)
            one.loglog(x, fit(x), "-", color=colour, linewidth=1.2, label=f"exponent {fit}")
            low, high = values(points, name).min(), values(points, name).max()
            one.set_ylim(low / 2, high * 3)
            plain_log(one.yaxis)
            one.legend(fontsize=8, loc="upper left")
            if column == 0:
                one.set_ylabel(label)
        below = grid[2, column]
        below.plot(x, values(points, "live_mib"), "o-", color=OURS, label="scan")
        below.plot(x, values(points, "refine_mib"), "s--", color=OTHER, label="refinement, on top")
        below.set_ylim(0, 1.35 * max(values(points, "live_mib").max(), values(points, "refine_mib").max()))
        if column == 0:
            below.set_ylabel("memory / MiB")
            below.legend(fontsize=8, loc="upper left")
        for one in grid[:, column]:
            one.set_xscale("log", base=2)
            one.set_xticks(x, [f"{value:g}" for value in x])
            one.minorticks_off()
        below.set_xlabel({"matrix": "matrix, pixels of the edge"}.get(axis, axis))
    return write_plot(figure, "scaling", quick=quick)


if __name__ == "__main__":
    main()
