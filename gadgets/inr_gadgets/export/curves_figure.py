"""The figure of contrast curves: where the regions lie, and the signal in each of them over time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.demo_figure import figure_classes
from inr_gadgets.export.curves import Curves

_COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:cyan", "tab:olive")
_OUTLINES = ("tab:red", "tab:cyan", "tab:green", "tab:orange", "tab:pink", "tab:olive")
_COLUMNS = 2  # of panels, beside the picture
_WHITE_PERCENT = 99.7  # of the truth's frame; the vessels alone are brighter


def write_curves_figure(path: str | os.PathLike[str], curves: Curves) -> None:
    """Write a PNG: the truth with the regions' outlines, then a panel for each region, the truth as a black line.

    Raises
    ------
    MissingDependencyError
        Without matplotlib (extra ``pictures``).
    DataError
        If the file cannot be written.
    """
    figure_class, canvas_class = figure_classes()
    rows = -(-len(curves.truth) // _COLUMNS)
    figure = figure_class(figsize=(5.4 + 4.2 * _COLUMNS, max(3.1 * rows, 4.5)), layout="constrained")
    canvas_class(figure)
    grid = figure.add_gridspec(rows, 1 + _COLUMNS, width_ratios=[1.3] + [1] * _COLUMNS)
    places = [grid[row, 1 + column] for row in range(rows) for column in range(_COLUMNS)]
    axes = [figure.add_subplot(place) for place in (grid[:, 0], *places[: len(curves.truth)])]
    _draw_regions(axes[0], curves)
    for axis, region in zip(axes[1:], curves.truth, strict=True):
        _draw_region(axis, curves, region)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    if not Path(path).absolute().parent.is_dir():
        raise DataError(f"{path} cannot be written", "a folder that exists", "make it first")
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error


def _draw_regions(axis: Any, curves: Curves) -> None:
    """The slice with the most pixels of regions, at the moment of the first region's peak."""
    regions = curves.regions
    slice_ = int(np.sum([mask.sum(axis=(1, 2)) for mask in regions.masks.values()], axis=0).argmax())
    frame = int(next(iter(curves.truth.values())).argmax())
    image = regions.images[frame, slice_]
    axis.imshow(image, cmap="gray", vmin=0, vmax=float(np.percentile(image, _WHITE_PERCENT)), interpolation="nearest")
    for colour, (name, mask) in zip(_OUTLINES * len(regions.masks), regions.masks.items(), strict=False):
        if mask[slice_].any():
            axis.contour(mask[slice_].astype(float), [0.5], colors=[colour], linewidths=1.2)
            y, x = (float(values.mean()) for values in np.nonzero(mask[slice_]))
            # Above the region, on a ground of its own: labels must be read on bright organs, too.
            ground = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1}
            axis.annotate(
                _shown(name),
                (x, y),
                (0, 16),
                textcoords="offset points",
                color=colour,
                fontsize=8,
                ha="center",
                bbox=ground,
            )
    axis.set_title(f"truth, {regions.times_s[frame]:.1f} s", fontsize=9)
    axis.set_axis_off()


def _draw_region(axis: Any, curves: Curves, region: str) -> None:
    times = curves.regions.times_s
    axis.plot(times, curves.truth[region], color="black", linewidth=2.4, label="truth")
    for colour, (name, found) in zip(_COLOURS * len(curves.series), curves.series.items(), strict=False):
        axis.plot(times, found[region], color=colour, linewidth=1.2, marker=".", markersize=4, label=name)
    axis.set_title(_shown(region), fontsize=9)
    axis.set_xlabel("time / s", fontsize=8)
    axis.set_ylabel("mean signal", fontsize=8)
    axis.set_ylim(bottom=0)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)


def _shown(name: str) -> str:
    return name.replace("_", " ")
