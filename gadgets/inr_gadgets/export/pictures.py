"""Pictures of image series: GIF, MP4 and a PNG contact sheet, on one grey scale and at the true rate."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.export.kinds import image_kinds, kind_label
from inr_gadgets.export.panels import GAP_PIXELS, Panel, beside, missing_pictures, montage, padded, panel_label, pillow
from inr_gadgets.export.timing import frame_ms as measured_ms
from inr_gadgets.export.timing import frame_numbers, step
from inr_gadgets.image_file import list_series, read_series

SERIES_NAMES = {1: "live", 2: "refined"}
_MOTION_NAME = "motion"

_MOST_COLUMNS = 8
# Browsers show a shorter GIF frame for 100 ms instead; its times are in hundredths of a second.
_GIF_SHORTEST_MS, _GIF_UNIT_MS = 20.0, 10.0


@dataclass(frozen=True)
class Movie:
    """Panels of one length that run side by side.

    Attributes
    ----------
    panels : name to (frames, y, x), all of one number of frames
        float64 magnitudes, or complex128 flows u + i v in pixels per frame, which are shown as colours. Of one field of
        view: a panel of fewer pixels is shown as large as the one with the most.
    frame_ms
        From frame to frame.
    columns
        Panels of a row; 0 for one row.
    """

    panels: dict[str, np.ndarray]
    frame_ms: float
    columns: int = 0

    def __post_init__(self) -> None:
        shapes = {name: np.shape(images) for name, images in self.panels.items()}
        if {len(shape) for shape in shapes.values()} != {3} or len({shape[0] for shape in shapes.values()}) != 1:
            raise DataError(f"panels of shapes {shapes}", "one or more series (frames, y, x) of as many frames each")
        if not all(images.size for images in self.panels.values()):
            raise DataError("panels without a frame", "at least one frame")
        if not (math.isfinite(self.frame_ms) and self.frame_ms > 0):
            raise ParameterError(f"a frame of {self.frame_ms} ms", "more than 0 ms")

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(next(iter(self.panels.values())))

    @property
    def coloured(self) -> bool:
        """Whether a panel is a flow."""
        return any(np.iscomplexobj(images) for images in self.panels.values())

    def size(self, zoom: float | None, about: int) -> tuple[int, int]:
        """(x, y) of each panel on the screen, without ``zoom`` of about so many screen pixels."""
        ny, nx = max((images.shape[1:] for images in self.panels.values()), key=max)
        zoom = max(1.0, round(about / max(ny, nx))) if zoom is None else zoom
        return max(1, round(zoom * nx)), max(1, round(zoom * ny))


def load_movie(
    path: str | os.PathLike[str],
    series: Sequence[int] | None = None,
    group: str | None = None,
    frame_ms: float | None = None,
) -> Movie:
    """Read series of an image file as panels, one for each slice, set, contrast, average .. in them.

    Images of two real channels are flows. Frames are matched by their number
    (:func:`inr_gadgets.export.timing.frame_numbers`), so that a frame that one series lacks is left out of all; so are
    the images between frames of a series that is finer in time than another.

    Parameters
    ----------
    path, group
        As for :func:`inr_gadgets.image_file.read_series`.
    series
        Series indices; None for those of the live (1) and the refined (2) images that there are, or else the first.
    frame_ms
        From frame to frame; None for what the images' time stamps say.

    Raises
    ------
    DataError
        If there are no such images, a series is no series of pictures, or the time stamps give no frame rate.
    """
    if series is None:
        found = list_series(path)
        chosen = found.get(list(found)[-1] if group is None and found else group or "", {})
        series = [index for index in SERIES_NAMES if index in chosen] or list(chosen)[:1] or [1]
    panels: dict[str, dict[float, np.ndarray]] = {}
    durations: list[float] = []
    counts = []
    for index in series:
        found_panels, duration = _panels_of(path, index, group, frame_ms)
        panels |= found_panels
        durations.append(duration)
        counts.append(len(found_panels))
    common = sorted(set.intersection(*(set(frames) for frames in panels.values())))
    if not common:
        raise DataError(f"the series {', '.join(panels)} of {path} have no frame in common", "series of one scan")
    chosen_ms = durations[0] * step(common) if frame_ms is None else frame_ms
    stacked = {name: np.stack([frames[i] for i in common]) for name, frames in panels.items()}
    return Movie(stacked, chosen_ms, _columns(counts))


def _panels_of(
    path: str | os.PathLike[str], index: int, group: str | None, frame_ms: float | None
) -> tuple[dict[str, dict[float, np.ndarray]], float]:
    """The panels of a series: name to frame number to image; and ms for a step of 1 of these numbers."""
    data, headers, meta = read_series(path, index, group)
    flow = data.shape[1] == 2 and not np.iscomplexobj(data)
    if not (flow or data.shape[1] == 1) or not len(data):
        raise DataError(
            f"series {index} of {path} has images (channels, z, y, x) = {data.shape[1:]}",
            "one channel, or the two real ones of a flow",
        )
    pictures = data[:, 0] + 1j * data[:, 1].astype(np.float64) if flow else np.abs(data[:, 0])
    kinds = image_kinds(headers, meta)
    slices = [int(header.slice) for header in headers]
    planes = list(zip(slices, kinds, strict=True))
    numbers = frame_numbers(planes, headers, meta)
    first = [i for i, plane in enumerate(planes) if plane == planes[0]]
    own = [numbers[i] for i in first]
    duration = 0.0
    if frame_ms is None:
        where = f"series {index} of {path}"
        found = measured_ms(own, [headers[i] for i in first], [meta[i] for i in first], where)
        duration = found / step(sorted(set(own)))
    title = _MOTION_NAME if flow else SERIES_NAMES.get(index, f"series {index}")
    panels: dict[str, dict[float, np.ndarray]] = {}
    # Panels in the order of the slices, which need not be that in which they came.
    for i in sorted(range(len(planes)), key=planes.__getitem__):
        for z, image in enumerate(pictures[i]):
            parts = [title, f"slice {slices[i]}" if len(set(slices)) > 1 else "", kind_label(kinds[i], kinds)]
            name = " ".join(part for part in [*parts, f"z {z}" if data.shape[2] > 1 else ""] if part)
            panels.setdefault(name, {})[numbers[i]] = image if flow else image.astype(np.float64)
    return panels, duration


def _columns(counts: Sequence[int]) -> int:
    """Panels of a row: all of up to four; a series a row where each has as many; else as wide as a screen."""
    total = sum(counts)
    if total <= 4:
        return total
    if len(set(counts)) == 1 < len(counts) and counts[0] <= _MOST_COLUMNS:
        return counts[0]
    return min(math.ceil(math.sqrt(total * 4 / 3)), total)


def write_gif(
    path: str | os.PathLike[str],
    movie: Movie,
    *,
    white: float | None = None,
    zoom: float | None = None,
    smooth: bool = False,
    greys: int = 256,
) -> None:
    """Write the panels side by side with their names, as an endless GIF at the true rate.

    A GIF shows at most 50 frames a second: of a faster series every second (third ..) frame is shown.

    Parameters
    ----------
    path
        The file; replaced if it exists.
    movie
        What to show.
    white
        The magnitude that is white; None for the 99.8th percentile of everything.
    zoom
        Screen pixels per pixel; None for panels of about 256.
    smooth
        Bicubic instead of the pixels as they are.
    greys
        Grey levels; 64 halve the file of a noisy series and are hardly seen.

    Raises
    ------
    MissingDependencyError
        Without imageio or Pillow (extra ``pictures``).
    ParameterError
        If there are not 2 to 256 grey levels.
    DataError
        If the file cannot be written.
    """
    if not 2 <= greys <= 256:
        raise ParameterError(f"a GIF of {greys} grey levels", "2 to 256")
    stride = math.ceil(_GIF_SHORTEST_MS / movie.frame_ms - 1e-9)
    shown = range(0, movie.n_frames, stride)
    # Rounded to the GIF's unit one end after the other: the beat lasts as long as it does, though no frame can.
    ends = np.round(np.arange(len(shown) + 1) * movie.frame_ms * stride / _GIF_UNIT_MS) * _GIF_UNIT_MS
    levels = (np.round(np.arange(256) * (greys - 1) / 255) * 255 / (greys - 1)).round().astype(np.uint8)
    frames = [levels[frame] for frame in _frames(movie, shown, white, zoom, smooth)]
    imageio = _imageio()
    _guarded(
        path,
        lambda: imageio.imwrite(
            path, frames, extension=".gif", plugin="pillow", duration=np.diff(ends).tolist(), loop=0
        ),
    )


def write_mp4(
    path: str | os.PathLike[str],
    movie: Movie,
    *,
    white: float | None = None,
    zoom: float | None = None,
    smooth: bool = False,
    seconds: float = 6.0,
) -> None:
    """Write the panels as H.264, repeated until the film lasts ``seconds``; the rest as for :func:`write_gif`.

    Raises
    ------
    MissingDependencyError
        Without imageio-ffmpeg (extra ``video``) or Pillow (extra ``pictures``).
    DataError
        If the file cannot be written.
    """
    try:
        imageio_ffmpeg = importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise MissingDependencyError(
            f"MP4 needs imageio-ffmpeg ({error})",
            "the extra 'video'",
            "pip install 'inr-recon[pictures,video]', or write a GIF",
        ) from error
    frames = _frames(movie, range(movie.n_frames), white, zoom, smooth)
    # The encoder takes even sizes only.
    frames = [padded(frame, frame.shape[0] % 2, frame.shape[1] % 2) for frame in frames]
    repeats = max(1, math.ceil(seconds * 1000 / (movie.frame_ms * movie.n_frames)))

    def write() -> None:
        size = frames[0].shape[1::-1]
        film = imageio_ffmpeg.write_frames(
            str(path),
            size,
            pix_fmt_in="rgb24" if movie.coloured else "gray",
            fps=1000 / movie.frame_ms,
            codec="libx264",
            quality=8,
            macro_block_size=2,
        )
        film.send(None)
        for frame in frames * repeats:
            film.send(np.ascontiguousarray(frame))
        film.close()

    _guarded(path, write)


def write_contact_sheet(
    path: str | os.PathLike[str],
    movie: Movie,
    *,
    white: float | None = None,
    columns: int = 8,
    zoom: float | None = None,
) -> None:
    """Write a PNG with a row of ``columns`` evenly spaced frames for each panel; the rest as for :func:`write_gif`.

    Raises
    ------
    MissingDependencyError
        Without Pillow (extra ``pictures``).
    DataError
        If the file cannot be written.
    """
    if columns < 1:
        raise ParameterError(f"a contact sheet of {columns} columns", "at least 1")
    shown = np.unique(np.linspace(0, movie.n_frames - 1, columns).round().astype(int))
    white = _white(movie) if white is None else white
    panel = Panel(movie.size(zoom, 192), white, _fastest(movie), movie.coloured, smooth=False)
    names = {name: panel_label(name, images, panel.fastest) for name, images in movie.panels.items()}
    width = max(len(name) for name in names.values())
    rows = []
    for name, images in movie.panels.items():
        labels = [f"{names[name]:{width}} {i * movie.frame_ms:5.0f} ms" for i in shown]
        rows.append(beside([panel.draw(images[i], label) for i, label in zip(shown, labels, strict=True)]))
    sheet = np.concatenate([padded(row, GAP_PIXELS, 0) for row in rows])
    image_module = pillow()[0]
    _guarded(path, lambda: image_module.fromarray(sheet).save(path, format="PNG"))


def _white(movie: Movie) -> float:
    """One white level for all panels and frames of magnitudes."""
    return _bright([images for images in movie.panels.values() if not np.iscomplexobj(images)])


def _fastest(movie: Movie) -> float:
    """One speed of full brightness for all panels and frames of flows."""
    return _bright([np.abs(images) for images in movie.panels.values() if np.iscomplexobj(images)])


def _bright(panels: Sequence[np.ndarray]) -> float:
    finite = np.concatenate([images[np.isfinite(images)] for images in panels]) if panels else np.empty(0)
    return max(float(np.percentile(finite, 99.8)) if finite.size else 0.0, 1e-30)


def _frames(
    movie: Movie, shown: Sequence[int], white: float | None, zoom: float | None, smooth: bool
) -> list[np.ndarray]:
    """Labelled panels side by side, uint8 (y, x) or (y, x, 3), one for each of the frames that are shown."""
    white = _white(movie) if white is None else white
    panel = Panel(movie.size(zoom, 256), white, _fastest(movie), movie.coloured, smooth)
    names = {name: panel_label(name, images, panel.fastest) for name, images in movie.panels.items()}
    columns = movie.columns or len(movie.panels)
    return [
        montage([panel.draw(images[i], names[name]) for name, images in movie.panels.items()], columns) for i in shown
    ]


def _guarded(path: str | os.PathLike[str], write: Callable[[], Any]) -> None:
    if not Path(path).absolute().parent.is_dir():
        raise DataError(f"{path} cannot be written", "a folder that exists", "make it first")
    try:
        write()
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error


def _imageio() -> Any:
    try:
        import imageio.v3
    except ImportError as error:
        raise missing_pictures("imageio", error) from error
    return imageio.v3
