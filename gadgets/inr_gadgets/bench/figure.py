"""The figure of a scan: every method at diastole and systole with its errors, and its motion along a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from inr_core.errors import DataError, MissingDependencyError
from inr_core.metrics import fit_scale, moving_box
from inr_gadgets.bench.cases import Case
from inr_gadgets.bench.rows import Row
from inr_gadgets.demo_figure import figure_classes

_ERROR_GAIN = 5
_PER_BLOCK = 7  # columns, the truth among them, that stay readable on a page
# Inches: a cell, the labels at the left, a line of the titles above, the time axis below, between cells.
_COLUMN_IN, _LABEL_IN, _LINE_IN, _AXIS_IN, _GAP_IN = 1.5, 0.24, 0.14, 0.38, 0.03
_DPI, _TITLE_LETTERS = 150, 24
_MARK = "tab:orange"


@dataclass(frozen=True)
class Panels:
    """What a figure shows, all (frames, y, x) magnitudes on the truth's scale.

    Attributes
    ----------
    truth
        What the images should be.
    images
        Title to images.
    frame_ms
        From frame to frame; None if it is not known.
    """

    truth: np.ndarray
    images: Mapping[str, np.ndarray]
    frame_ms: float | None


def panels(case: Case, rows: list[Row], images: Mapping[str, np.ndarray]) -> Panels:
    """The panels of a scan: of each row that worked its images, scaled as for its score, under name and score.

    Parameters
    ----------
    images
        Method to (frames, y, x) magnitudes.
    """
    truth, titled = case.truth.images, {}
    for row in rows:
        if not row.error:
            name = fill(row.method.replace(";", "; "), _TITLE_LETTERS)
            title = f"{name}\n{row.scores['psnr']:.2f} dB, {row.scores['ssim']:.3f}"
            titled[title] = images[row.method] * fit_scale(images[row.method], truth)
    return Panels(truth, titled, case.frame_ms)


def write_figure(path: Path, shown: Panels) -> None:
    """Write a PNG: a column for each method beside the truth, in blocks of at most seven columns.

    The rows of a block: the image at diastole and its error, the image at systole and its error, the profile along y
    through the ventricle, over time.

    Raises
    ------
    MissingDependencyError
        Without matplotlib (extra ``pictures``).
    DataError
        If the file cannot be written.
    """
    figure_class, canvas_class = figure_classes()
    blocks = _blocks(list(shown.images))
    n_columns = 1 + max(len(block) for block in blocks)
    ny, nx = shown.truth.shape[1:]
    heights = [_COLUMN_IN * ny / nx] * 4 + [0.75 * _COLUMN_IN]
    title_height = _LINE_IN * (1 + max(name.count("\n") for name in shown.images)) + 0.05
    block_height = title_height + sum(heights) + _AXIS_IN
    figure = figure_class(figsize=(_LABEL_IN + n_columns * _COLUMN_IN, len(blocks) * block_height))
    canvas_class(figure)
    for number, block in enumerate(blocks):
        _Block(figure, shown, number * block_height + title_height, heights).draw(block)
    try:
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error


@dataclass(frozen=True)
class Pool:
    """The left ventricle's blood over time, for which the largest connected bright region of what moves is taken.

    Attributes
    ----------
    areas : (frames,)
        Pixels.
    column
        Of its middle in the frame where it is largest.
    """

    areas: np.ndarray
    column: int

    @property
    def diastole(self) -> int:
        """The frame in which it is largest."""
        return int(self.areas.argmax())

    @property
    def systole(self) -> int:
        """The frame in which it is smallest."""
        return int(self.areas.argmin())


def find_pool(truth: np.ndarray) -> Pool:
    """Find the pool: bright is more than half of the 99th percentile of the moving region.

    Parameters
    ----------
    truth : (frames, y, x)

    Raises
    ------
    MissingDependencyError
        Without scikit-image (extra ``pictures``).
    """
    box = moving_box(truth)
    moving = truth[box]
    bright = moving > 0.5 * np.percentile(moving, 99)
    pools = [_largest_region(frame) for frame in bright]
    areas = np.array([pool.sum() for pool in pools])
    columns = pools[int(areas.argmax())].nonzero()[1]
    return Pool(areas, range(truth.shape[2])[box[2]][round(float(columns.mean())) if columns.size else 0])


class _Block:
    """Columns beside each other, placed by hand: images of one size without gaps need no layout engine.

    Parameters
    ----------
    top
        Distance of the images from the figure's upper edge, inches.
    heights
        Of the five rows, inches.
    """

    def __init__(self, figure: Any, shown: Panels, top: float, heights: list[float]) -> None:
        self._figure, self._shown = figure, shown
        self._edges = top + np.concatenate([[0.0], np.cumsum(heights)])
        self._white = float(np.percentile(shown.truth, 99.5)) or 1.0
        pool = find_pool(shown.truth)
        self._frames = {"diastole": pool.diastole, "systole": pool.systole}
        self._line = pool.column
        _, ys, xs = moving_box(shown.truth)
        ny, nx = shown.truth.shape[1:]
        self._box = range(ny)[ys], range(nx)[xs]
        margin = len(self._box[0]) // 4
        self._along = range(max(0, self._box[0][0] - margin), min(ny, self._box[0][-1] + 1 + margin))

    def draw(self, names: list[str]) -> None:
        self._column(0, "truth", self._shown.truth)
        for column, name in enumerate(names, 1):
            self._column(column, name, self._shown.images[name])

    def _column(self, column: int, title: str, images: np.ndarray) -> None:
        is_truth = column == 0
        for i, (moment, frame) in enumerate(self._frames.items()):
            axes = self._axes(2 * i, column)
            axes.imshow(images[frame], cmap="gray", vmin=0, vmax=self._white, interpolation="nearest")
            if i == 0:
                axes.set_title(title, fontsize=8, pad=3)
            if is_truth:
                self._label(2 * i, f"{moment}, frame {frame}")
                self._label(2 * i + 1, f"|error| x {_ERROR_GAIN}")
                self._mark(axes)
                self._scale(2 * i + 1)
            else:
                below = self._axes(2 * i + 1, column)
                error = _ERROR_GAIN * np.abs(images[frame] - self._shown.truth[frame])
                below.imshow(error, cmap="inferno", vmin=0, vmax=self._white, interpolation="nearest")
        self._profile(column, images)

    def _axes(self, row: int, column: int, margins: tuple[float, float, float, float] = (0, 0, 0, 0)) -> Any:
        """Axes without ticks in a cell, less margins (left, right, top, bottom) in inches."""
        width, height = self._figure.get_size_inches()
        left, right, top, bottom = margins
        x0 = _LABEL_IN + column * _COLUMN_IN + left
        y1 = height - self._edges[row] - top
        y0 = height - self._edges[row + 1] + bottom
        wide = _COLUMN_IN - _GAP_IN - left - right
        axes = self._figure.add_axes((x0 / width, (y0 + _GAP_IN) / height, wide / width, (y1 - y0 - _GAP_IN) / height))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def _label(self, row: int, text: str) -> None:
        """What a row shows, at its left."""
        width, height = self._figure.get_size_inches()
        y = height - (self._edges[row] + self._edges[row + 1]) / 2
        self._figure.text(0.5 * _LABEL_IN / width, y / height, text, rotation=90, ha="center", va="center", fontsize=8)

    def _mark(self, axes: Any) -> None:
        """The box in which motion is scored, and the line of the profile."""
        ys, xs = self._box
        corners = ((xs[0], ys[0]), (xs[-1], ys[0]), (xs[-1], ys[-1]), (xs[0], ys[-1]), (xs[0], ys[0]))
        axes.plot(*zip(*corners, strict=True), color=_MARK, linewidth=0.8)
        axes.plot([self._line] * 2, [self._along[0], self._along[-1]], color=_MARK, linewidth=0.8, linestyle="--")

    def _scale(self, row: int) -> None:
        """The colours of the errors, in the place where the truth has none."""
        axes = self._axes(row, 0, (0.55 * _COLUMN_IN, 0.3 * _COLUMN_IN, 0.1 * _COLUMN_IN, 0.1 * _COLUMN_IN))
        share = 1 / _ERROR_GAIN
        axes.imshow(
            np.linspace(0, 1, 128)[:, None], cmap="inferno", origin="lower", aspect="auto", extent=(0, 1, 0, share)
        )
        axes.set_yticks([0, share / 2, share], ["0", f"{50 * share:g} %", f"{100 * share:g} %"], fontsize=7)
        axes.set_ylabel("of white", fontsize=7)

    def _profile(self, column: int, images: np.ndarray) -> None:
        step = self._shown.frame_ms / 1e3 if self._shown.frame_ms else 1.0
        axes = self._axes(4, column)
        axes.imshow(
            images[:, self._along, self._line].T,
            cmap="gray",
            vmin=0,
            vmax=self._white,
            aspect="auto",
            interpolation="nearest",
            extent=(0, len(images) * step, self._along[-1] + 0.5, self._along[0] - 0.5),
        )
        axes.set_xticks(_ticks(len(images) * step))
        axes.tick_params(labelsize=7, length=2, pad=1)
        axes.set_yticks([])
        axes.set_xlabel("t / s" if self._shown.frame_ms else "frame", fontsize=7, labelpad=1)
        if column == 0:
            self._label(4, "y-t profile")
            for frame in self._frames.values():
                axes.axvline((frame + 0.5) * step, color=_MARK, linewidth=0.8, linestyle=":")


def _ticks(end: float) -> list[float]:
    """From 0 in the largest steps of 1, 2 or 5 that are at least three to the end; the end is the next column's."""
    wanted = end / 3
    power = 10.0 ** np.floor(np.log10(wanted))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= wanted * (1 + 1e-9))
    return [float(tick) for tick in np.arange(0, 0.85 * end, step)]


def _largest_region(bright: np.ndarray) -> np.ndarray:
    """The largest 4-connected region of a mask (y, x); empty where nothing is set."""
    try:
        from skimage.measure import label
    except ImportError as error:
        raise MissingDependencyError.of_extra("the figure needs scikit-image", "pictures", error) from error
    regions = label(bright, connectivity=1)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return np.asarray((regions == sizes.argmax()) & bright)


def _blocks(names: list[str]) -> list[list[str]]:
    """Names in as few lines as hold them beside the truth, of lengths that differ by at most one; one even of none."""
    count = max(1, -(-len(names) // (_PER_BLOCK - 1)))
    return [list(part) for part in np.array_split(np.array(names, object), count)]
