"""Plots of the benchmarks: one figure each, under one name, written in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results import TRIED, plot_path

from inr_gadgets.demo_figure import figure_classes

OURS, PEER, OTHER, LIMIT = "tab:blue", "tab:orange", "tab:green", "tab:red"
"""One colour for what is ours, the peer, a third thing and a target."""


def new_figure(rows: int, columns: int, width: float = 5.2, height: float = 3.8) -> tuple[Any, Any]:
    """A figure of ``rows`` x ``columns`` axes of that size in inches, and the array (rows, columns) of its axes."""
    figure_class, canvas_class = figure_classes()
    figure = figure_class(figsize=(width * columns, height * rows), layout="constrained")
    canvas_class(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.grid(alpha=0.3)
        one.tick_params(labelsize=8)
    return figure, axes


def plain_log(axis: Any) -> None:
    """Ticks 1, 2, 5, 10 .. as plain numbers on a logarithmic x or y axis."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")


def write_plot(figure: Any, name: str, *, quick: bool) -> Path:
    """Write ``docs/images/bench_NAME.png``; of a quick run ``build/bench/NAME.png``."""
    path = TRIED / f"{name}.png" if quick else plot_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
