"""How far a live frame and a training step are from what this machine could do at best, part by part.

    python benchmarks/floor.py [--matrix 128] [--quick]

The floor of a part is the longer of two times: its operations (costs.py has the formulae) at the rates of this
machine's own FFT and product of matrices, and its bytes at the speed of copying; all three are measured in the same
run. It is the floor of the operations as they are chosen: fewer of them would lower it. What is not a part
is the rest: variation, priors, sums of conjugate gradients, and the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import Cost, adam_cost, catch_up_cost, fft_operations, field_cost, gridding_cost, network_cost, toeplitz_cost
from options import Options
from parts import Parts, Spent, Watched
from plots import OURS, PEER, new_figure, write_plot
from results import Figure, machine, save, show

from inr_core.devices import prepare_process
from inr_core.fields.grid_field import GridField
from inr_core.fields.weights import Adam
from inr_core.methods.inr import InrMethod
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.parameters.inr import InrParameters
from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace
from inr_core.solvers.change_network import ChangeNetwork
from inr_core.solvers.frames import MeasuredFrame
from inr_core.trajectory import radial_trajectory, spoke_angles

_SPOKES, _TR_MS, _COILS = 13, 3.0, 12
_REST = "rest"
_KEPT = 0.8  # of the runs, the quicker ones: what else the machine does only adds to them
_FIRST = 24  # frames that are not looked at: everything warms up, and maps are refreshed often
_WATCHED = (
    Watched("gridding", MeasuredFrame, "from_samples", lambda i, y, k, shape, *_: _gridding(y, shape)),
    Watched("Toeplitz products", ToeplitzGram, "forward", lambda gram, x: _toeplitz(gram, x)),
    Watched("network", ChangeNetwork, "forward", lambda network, maps: _network(network, maps)),
    Watched("field", GridField, "gradients", lambda field, values, between, _: _gradients(field, values, between)),
    Watched("field", GridField, "__call__", lambda field, times, *_: _images(field, times)),
    Watched("Adam", Adam, "move", lambda adam, parts, gradients, _: adam_cost(sum(g.numel() for g in gradients))),
    Watched("Adam", Adam, "make_good", lambda adam, parts, missed, _: catch_up_cost(parts, missed)),
)


def main() -> None:
    """Measure, print, draw, save."""
    parser = Options(__doc__)
    parser.add_argument("--matrix", type=int, default=128)
    parser.add_argument("--frames", type=int, default=40, help="that are measured, and as many training steps")
    parser.add_quick("matrix 64, 10 frames")
    arguments = parser.parse_args()
    n, frames = (64, 10) if arguments.quick else (arguments.matrix, arguments.frames)
    prepare_process()
    described = {**machine(), "threads": torch.get_num_threads()}
    parameters = InrParameters()
    ceilings = measure_ceilings(n, parameters.live_coils)
    activities = measure(n, frames, parameters)
    rows = {name: summary(runs, ceilings) for name, runs in activities.items()}
    figures = [*ceilings.figures(), *(figure for name, parts in rows.items() for figure in figures_of(name, parts))]
    name = f"phantom, {n} x {n}, {_COILS} coils, {_SPOKES} spokes, {torch.get_num_threads()} threads"
    show(f"floor: {name}", figures)
    plot = draw(rows, arguments.quick)
    table = {activity: {part: asdict(row) for part, row in parts.items()} for activity, parts in rows.items()}
    path = save("floor", described, name, figures, quick=arguments.quick, ceilings=asdict(ceilings), parts=table)
    print(f"written to {path} and {plot}")


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best, per second.

    Attributes
    ----------
    bytes
        Read and written by a copy that no cache holds.
    product
        Operations of a float32 product of square matrices.
    fft
        Operations of the Toeplitz products' complex transforms, a live frame's coils at once.
    """

    bytes: float
    product: float
    fft: float

    def floor_s(self, cost: Cost) -> float:
        """The least time for a cost."""
        return max(cost.fft / self.fft + cost.product / self.product, cost.bytes / self.bytes)

    def figures(self) -> list[Figure]:
        return [
            Figure("machine: copying memory, GB/s read and written", self.bytes / 1e9),
            Figure("machine: product of float32 matrices, GFLOP/s", self.product / 1e9),
            Figure("machine: complex FFT of the doubled grid, GFLOP/s", self.fft / 1e9),
        ]


@dataclass(frozen=True)
class Row:
    """A part of a live frame or a training step: what it took, what it should, and how often it was called."""

    measured_ms: float
    floor_ms: float | None
    calls: float
    gflop: float
    mb: float


def measure_ceilings(n: int, coils: int) -> Ceilings:
    """Measure them at the number of threads that everything else has."""
    source = torch.rand(1 << 25)
    target, square = torch.empty_like(source), torch.rand(1024, 1024)
    spectra = torch.randn(coils, 2 * n, 2 * n, dtype=torch.complex64)
    copying = best_s(lambda: target.copy_(source))
    transform = best_s(lambda: torch.fft.fft2(spectra))
    return Ceilings(
        2 * source.nbytes / copying,
        2 * len(square) ** 3 / best_s(lambda: square @ square),
        coils * fft_operations(2 * n, 2 * n) / transform,
    )


def best_s(work: Callable[[], object], seconds: float = 1.0) -> float:
    """The least time of one call, tried for so many seconds."""
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return float(best)


def measure(n: int, frames: int, parameters: InrParameters) -> dict[str, list[dict[str, Spent]]]:
    """Live frames and training steps of a running scan: for each the parts of every one, the rest among them."""
    method = InrMethod((n, n), parameters, torch.device("cpu"))
    grid, coils = Grid((n, n), (300.0, 300.0)), CoilArray.loops(_COILS, (300.0, 300.0))
    runs: dict[str, list[dict[str, Spent]]] = {"live frame": [], "training step": []}
    for number in range(_FIRST + frames):
        spokes = number * _SPOKES + np.arange(_SPOKES)
        traj = radial_trajectory(spoke_angles(spokes), 2 * n)
        measured = kspace(CinePhantom(), coils, grid, traj, _TR_MS * spokes)
        samples, points = torch.from_numpy(measured).to(torch.complex64), torch.from_numpy(traj)
        frame = in_parts(lambda s=samples, p=points: method.add_frame(s, p))
        method.settle()
        step = in_parts(method.tune)
        if number >= _FIRST:
            runs["live frame"].append(frame)
            runs["training step"].append(step)
    return runs


def in_parts(work: Callable[[], object]) -> dict[str, Spent]:
    """Run it, and tell its parts."""
    with Parts(_WATCHED) as parts:
        begin = time.perf_counter()
        work()
        whole = time.perf_counter() - begin
    known = sum(spent.seconds for spent in parts.spent.values())
    return {**parts.spent, _REST: Spent(whole - known)}


def summary(runs: list[dict[str, Spent]], ceilings: Ceilings) -> dict[str, Row]:
    """Means over the quicker runs, part by part; and all of them together."""
    runs = sorted(runs, key=_whole_s)[: max(1, round(_KEPT * len(runs)))]
    rows = {}
    for part in sorted({part for run in runs for part in run}, key=[*(w.part for w in _WATCHED), _REST].index):
        spent = [run.get(part, Spent()) for run in runs]
        cost = sum((one.cost for one in spent), Cost()) * (1 / len(spent))
        measured = 1e3 * float(np.mean([one.seconds for one in spent]))
        floor = None if part == _REST else 1e3 * ceilings.floor_s(cost)
        calls = float(np.mean([one.calls for one in spent]))
        rows[part] = Row(measured, floor, calls, (cost.fft + cost.product) / 1e9, cost.bytes / 1e6)
    parts = list(rows.values())
    whole, floor = sum(row.measured_ms for row in parts), sum(row.floor_ms or 0.0 for row in parts)
    rows["all"] = Row(whole, floor, 1, sum(row.gflop for row in parts), sum(row.mb for row in parts))
    return rows


def _whole_s(run: dict[str, Spent]) -> float:
    return sum(one.seconds for one in run.values())


def figures_of(activity: str, rows: dict[str, Row]) -> list[Figure]:
    """Measured time over the floor, for each part; of the rest, which has none, the time."""
    figures = []
    for part, row in rows.items():
        if not row.floor_ms:
            figures.append(Figure(f"{activity}, {part}, ms", row.measured_ms))
            continue
        counted = f"{row.gflop:.3g} GFLOP, {row.mb:.3g} MB"
        what = f"{activity}, {part}, {counted}: {row.measured_ms:.3g} ms / floor {row.floor_ms:.3g} ms"
        figures.append(Figure(what, row.measured_ms / row.floor_ms))
    return figures


def draw(rows: dict[str, dict[str, Row]], quick: bool) -> Path:
    """Measured time and floor, part by part."""
    figure, (row_of_axes,) = new_figure(1, len(rows), width=5.6, height=3.6)
    for axes, (activity, parts) in zip(row_of_axes, rows.items(), strict=True):
        names, places = list(parts), np.arange(len(parts))
        measured = [row.measured_ms for row in parts.values()]
        floors = [row.floor_ms or 0.0 for row in parts.values()]
        axes.barh(places - 0.2, measured, 0.38, color=OURS, label="measured")
        axes.barh(places + 0.2, floors, 0.38, color=PEER, label="floor")
        for place, row in zip(places, parts.values(), strict=True):
            text = f"{row.measured_ms:.1f} ms" + (f", {row.measured_ms / row.floor_ms:.1f} x" if row.floor_ms else "")
            axes.text(row.measured_ms, place - 0.2, f" {text}", va="center", fontsize=8)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.35 * max(measured))
        axes.set_xlabel("time / ms")
        axes.set_title(activity, fontsize=10)
        axes.legend(fontsize=8, loc="upper right")
    return write_plot(figure, "floor", quick=quick)


def _gridding(samples: Any, shape: tuple[int, int]) -> Cost:
    coils, spokes, per_spoke = samples.shape
    return gridding_cost(coils, spokes * per_spoke, shape)


def _toeplitz(gram: ToeplitzGram, images: torch.Tensor) -> Cost:
    coils, ny, nx = gram.csm.shape
    return toeplitz_cost(len(images), coils, (ny, nx))


def _network(network: ChangeNetwork, maps: torch.Tensor) -> Cost:
    return network_cost(network, (maps.shape[-2], maps.shape[-1]))


def _gradients(field: GridField, values: list[torch.Tensor], between: list[torch.Tensor]) -> Cost:
    return field_cost(field, values, len(between[0]), backward=True)


def _images(field: GridField, times: torch.Tensor) -> Cost:
    return field_cost(field, [w.value[rows] for w, rows in field.touched(times)], len(times), backward=False)


if __name__ == "__main__":
    main()
