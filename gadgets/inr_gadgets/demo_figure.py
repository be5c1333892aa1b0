"""The demonstration's pictures: reconstructions beside the truth, their errors, their motion and their latency."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inr_core.errors import DataError, MissingDependencyError
from inr_core.metrics import Score, fit_scale, moving_box, score
from inr_gadgets.export.pictures import SERIES_NAMES, Movie, write_gif
from inr_gadgets.image_file import read_series
from inr_gadgets.simulation.truth import read_truth

_ERROR_GAIN = 5
# Of the GIF: noise does not compress, and a README should load.
_GIF_ZOOM, _GIF_GREYS = 2.0, 64


@dataclass(frozen=True)
class Demo:
    """A scan's reconstructions with their truth, all (frames, y, x) magnitudes on the truth's scale.

    Attributes
    ----------
    panels
        Name to images, in the order in which they are shown; without the truth.
    truth
        What they should be.
    scores
        Name to score.
    times_ms : (frames,)
        The moment that each frame shows.
    latency_ms : (frames,)
        Of the live series; NaN where a frame does not say.
    """

    panels: dict[str, np.ndarray]
    truth: np.ndarray
    scores: dict[str, Score]
    times_ms: np.ndarray
    latency_ms: np.ndarray

    @property
    def frame_ms(self) -> float:
        """From frame to frame."""
        return float(np.diff(self.times_ms).mean()) if len(self.times_ms) > 1 else 100.0

    @property
    def rows(self) -> list[dict[str, float | str]]:
        """The table: a row of numbers for each reconstruction."""
        return [{"series": name} | value.summary() for name, value in self.scores.items()]


def load_demo(
    images: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    extra: Mapping[str, np.ndarray] | None = None,
    group: str | None = None,
) -> Demo:
    """Gather what the pictures show.

    Parameters
    ----------
    images
        The .h5 file of the server's series 1 (live) and, if there, 2 (refined).
    truth
        The .truth.npz file of :func:`inr_gadgets.simulate.simulate`.
    extra
        Other reconstructions to show first, e.g. gridding: name to (frames, y, x).
    group
        The group of the image file; None for the last.

    Raises
    ------
    DataError
        If a file is absent or damaged, or the numbers of frames or the matrices differ.
    """
    known = read_truth(truth)
    if known.times_ms is None:
        raise DataError(f"{truth} does not say when its frames are", "'times_ms' (frames,)", "simulate the scan again")
    expected = known.images
    raw = dict(extra or {})
    latency = np.full(len(expected), np.nan)
    for index, name in SERIES_NAMES.items():
        try:
            data, _, meta = read_series(images, index, group)
        except DataError:
            if index == 1:
                raise
            continue
        raw[name] = data[:, 0, 0]
        if index == 1:
            latency = np.array([float(attributes.get("inr_latency_ms", "nan")) for attributes in meta])
    panels, scores = {}, {}
    for name, series in raw.items():
        magnitudes = np.abs(np.asarray(series)).astype(np.float64)
        if magnitudes.shape != expected.shape:
            raise DataError(
                f"the series '{name}' is {magnitudes.shape}", f"the truth's (frames, y, x) = {expected.shape}"
            )
        scores[name] = score(magnitudes, expected)
        panels[name] = magnitudes * fit_scale(magnitudes, expected)
    return Demo(panels, expected, scores, known.times_ms, latency)


def write_demo_gif(path: str | os.PathLike[str], demo: Demo, *, zoom: float = _GIF_ZOOM) -> None:
    """Write all panels and the truth side by side, with their names, at the true rate; white is the truth's maximum."""
    movie = Movie({**demo.panels, "truth": demo.truth}, demo.frame_ms)
    write_gif(path, movie, white=float(demo.truth.max()), zoom=zoom, greys=_GIF_GREYS)


def write_demo_figure(path: str | os.PathLike[str], demo: Demo) -> None:
    """Write a PNG: images and errors at two moments, x-t profiles, the PSNR and the latency of every frame.

    The moments are systole, when the heart is small and nearly rests, and the fastest motion, which is hardest.

    Raises
    ------
    MissingDependencyError
        Without matplotlib (extra ``pictures``).
    DataError
        If the file cannot be written.
    """
    figure_class, canvas_class = figure_classes()
    columns = [*demo.panels, "truth"]
    show_latency = bool(np.isfinite(demo.latency_ms).any())
    figure = figure_class(figsize=(2.75 * len(columns), 13.6), layout="constrained")
    canvas_class(figure)
    ratios = [1, 1, 1, 1, 0.75, 0.75]
    grid = figure.add_gridspec(len(ratios), len(columns), height_ratios=ratios)
    for row, (moment, frame) in enumerate(key_moments(demo.truth).items()):
        for column, name in enumerate(columns):
            _draw_pair(figure, grid, demo, row, column, name, frame, f"{moment}, {demo.times_ms[frame]:.0f} ms")
    _draw_profiles(figure, grid[4, :].subgridspec(1, len(columns)), demo, columns)
    below = grid[5, :].subgridspec(1, 2 if show_latency else 1)
    _draw_psnr(figure.add_subplot(below[0, 0]), demo)
    if show_latency:
        _draw_latency(figure.add_subplot(below[0, 1]), demo)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error


def key_moments(truth: np.ndarray) -> dict[str, int]:
    """The frames of the least bright blood, end-systole, and of the largest change from neighbour to neighbour.

    Of all but the first quarter: a live series takes a few frames to settle, which its PSNR shows well enough.
    """
    first = len(truth) // 4
    moving = truth[moving_box(truth)]
    blood = (moving > 0.65 * truth.max()).sum(axis=(1, 2))[first:]
    change = np.abs(np.gradient(moving, axis=0)).sum(axis=(1, 2))[first:] if len(truth) > 1 else blood
    return {"systole": first + int(blood.argmin()), "fastest motion": first + int(change.argmax())}


def _draw_pair(figure: Any, grid: Any, demo: Demo, row: int, column: int, name: str, frame: int, moment: str) -> None:
    """An image, and below it its error."""
    white = float(demo.truth.max())
    images = demo.truth if name == "truth" else demo.panels[name]
    axes = figure.add_subplot(grid[2 * row, column])
    axes.imshow(images[frame], cmap="gray", vmin=0, vmax=white, interpolation="nearest")
    _plain(axes, moment if column == 0 else "")
    if row == 0:
        title = name
        if name in demo.scores:
            numbers = demo.scores[name]
            title += f"\n{numbers.psnr.mean():.1f} dB, SSIM {numbers.ssim.mean():.3f}"
        axes.set_title(title, fontsize=11)
    below = figure.add_subplot(grid[2 * row + 1, column])
    if name == "truth":
        _draw_box(axes, below, demo, frame, white)
        return
    error = np.abs(images[frame] - demo.truth[frame])
    below.imshow(_ERROR_GAIN * error, cmap="inferno", vmin=0, vmax=white, interpolation="nearest")
    _plain(below, f"error x {_ERROR_GAIN}" if column == 0 else "")


def _draw_box(axes: Any, below: Any, demo: Demo, frame: int, white: float) -> None:
    """The truth's moving region, enlarged, with the line of the x-t profile."""
    _, ys, xs = moving_box(demo.truth)
    below.imshow(demo.truth[frame][ys, xs], cmap="gray", vmin=0, vmax=white, interpolation="nearest")
    below.axhline(_profile_row(demo) - ys.start, color="tab:orange", linewidth=1)
    axes.plot(
        [xs.start - 0.5, xs.stop - 0.5, xs.stop - 0.5, xs.start - 0.5, xs.start - 0.5],
        [ys.start - 0.5, ys.start - 0.5, ys.stop - 0.5, ys.stop - 0.5, ys.start - 0.5],
        color="tab:orange",
        linewidth=1,
    )
    _plain(below, "")
    below.set_xlabel("moving region, line of the x-t profile", fontsize=8)


def _profile_row(demo: Demo) -> int:
    """The image row through the middle of what moves."""
    motion = demo.truth.std(axis=0).sum(axis=1) ** 2
    return round(float((motion * np.arange(len(motion))).sum() / max(float(motion.sum()), 1e-30)))


def _draw_profiles(figure: Any, grid: Any, demo: Demo, columns: list[str]) -> None:
    row, (_, _, xs) = _profile_row(demo), moving_box(demo.truth)
    margin = (xs.stop - xs.start) // 4
    across = slice(max(0, xs.start - margin), xs.stop + margin)
    for column, name in enumerate(columns):
        images = demo.truth if name == "truth" else demo.panels[name]
        axes = figure.add_subplot(grid[0, column])
        extent = (0.0, demo.frame_ms * len(images) / 1000, float(across.stop), float(across.start))
        profile = images[:, row, across].T
        axes.imshow(
            profile, cmap="gray", vmin=0, vmax=demo.truth.max(), aspect="auto", extent=extent, interpolation="nearest"
        )
        axes.set_xlabel("t / s", fontsize=9)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelsize=8)
        axes.set_yticks([])
        if column == 0:
            axes.set_ylabel("x-t profile", fontsize=10)


def _draw_psnr(axes: Any, demo: Demo) -> None:
    for name, numbers in demo.scores.items():
        axes.plot(numbers.psnr, label=name, linewidth=1.5)
    axes.set_xlabel("frame", fontsize=9)
    axes.set_ylabel("PSNR / dB", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, loc="upper center", ncols=len(demo.scores))
    axes.margins(x=0.02)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # room for the legend


def _draw_latency(axes: Any, demo: Demo) -> None:
    frames = np.arange(len(demo.latency_ms))
    known = demo.latency_ms[np.isfinite(demo.latency_ms)]
    axes.bar(frames, demo.latency_ms, color="tab:blue", width=0.8)
    axes.axhline(demo.frame_ms, color="tab:orange", linewidth=1.5, label=f"duration of a frame, {demo.frame_ms:.0f} ms")
    axes.axhline(
        np.median(known), color="black", linestyle="--", linewidth=1, label=f"median, {np.median(known):.0f} ms"
    )
    axes.set_xlim(-0.6, len(frames) - 0.4)
    axes.set_ylim(0, 1.35 * max(float(known.max()), demo.frame_ms))
    axes.set_xlabel("frame", fontsize=9)
    axes.set_ylabel("latency / ms", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, loc="upper right", ncols=2)


def _plain(axes: Any, label: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel(label, fontsize=10)


def figure_classes() -> tuple[Any, Any]:
    """Matplotlib's Figure and Agg canvas, without pyplot: no global state, no display, usable from any thread.

    Raises
    ------
    MissingDependencyError
        Without matplotlib (extra ``pictures``).
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError.of_extra("the figure needs matplotlib", "pictures", error) from error
    return Figure, FigureCanvasAgg
