"""Pictures of image series: GIF, MP4 and a PNG contact sheet, on one grey scale and at the true rate."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.clock import TICK_MS, elapsed
from inr_gadgets.image_file import list_series, read_series
from inr_gadgets.panels import GAP_PIXELS, Panel, beside, missing_pictures, padded, panel_label, pillow

SERIES_NAMES = {1: "live", 2: "refined"}
_MOTION_NAME = "motion"

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
    """

    panels: dict[str, np.ndarray]
    frame_ms: float

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
    """Read series of an image file as panels; a series of several slices, sets or contrasts becomes several panels.

    Images of two real channels are flows.

    So does one of several averages or partitions, which only the attribute ``inr_group`` tells apart.

    Frames are matched by their number, so that a frame that one series lacks is left out of all; so are the images
    between frames of a series that is finer in time than another.

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
    stamps: dict[str, dict[float, int]] = {}
    for index in series:
        data, headers, meta = read_series(path, index, group)
        flow = data.shape[1] == 2 and not np.iscomplexobj(data)
        if not (flow or data.shape[1] == 1) or data.shape[2] != 1:
            raise DataError(
                f"series {index} of {path} has images (channels, z, y, x) = {data.shape[1:]}",
                "one channel, or the two real ones of a flow, and one slice an image",
            )
        pictures = data[:, 0, 0] + 1j * data[:, 1, 0].astype(np.float64) if flow else np.abs(data[:, 0, 0])
        names = _panel_names(_MOTION_NAME if flow else SERIES_NAMES.get(index, f"series {index}"), headers, meta)
        # Panels in the order of the slices, which need not be that in which they came.
        rows = sorted(zip(pictures, headers, meta, names, strict=True), key=lambda row: int(row[1].slice))
        for image, header, attributes, name in rows:
            frame = float(attributes.get("inr_frame", header.repetition))
            panels.setdefault(name, {})[frame] = image if flow else image.astype(np.float64)
            stamps.setdefault(name, {})[frame] = header.acquisition_time_stamp
    common = sorted(set.intersection(*(set(frames) for frames in panels.values())))
    if not common:
        raise DataError(f"the series {', '.join(panels)} of {path} have no frame in common", "series of one scan")
    if frame_ms is None:
        frame_ms = _frame_ms(next(iter(stamps.values())), str(path)) * _step(common)
    return Movie({name: np.stack([frames[i] for i in common]) for name, frames in panels.items()}, frame_ms)


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


def _panel_names(series: str, headers: Sequence[Any], meta: Sequence[Mapping[str, Any]]) -> list[str]:
    """The panel that each image of a series belongs to: the series' own, or one for each slice, average .. in it."""
    planes = [(header.slice, header.set, header.contrast) for header in headers]
    groups = [int(attributes.get("inr_group", 0)) for attributes in meta]
    several = len(set(planes)) > 1
    mixed = len(set(zip(planes, groups, strict=True))) > len(set(planes))
    names = []
    for plane, group in zip(planes, groups, strict=True):
        name = series + (" slice {} set {} contrast {}".format(*plane) if several else "")
        names.append(name + (f" group {group}" if mixed else ""))
    return names


def _frame_ms(stamps: Mapping[float, int], path: str) -> float:
    """From measured frame to frame, by the time stamps of numbered images.

    Over the whole series, as one tick is coarse beside one frame.
    """
    first, last = min(stamps), max(stamps)
    ticks = elapsed(stamps[first], stamps[last])
    if last == first:
        return 100.0  # a single frame stands still at any rate
    if ticks <= 0:
        raise DataError(
            f"the time stamps of {path} do not grow",
            "2.5 ms ticks that give the frame rate",
            "say how many ms a frame lasts",
        )
    return ticks * TICK_MS / (last - first)


def _step(frames: Sequence[float]) -> float:
    """The smallest step between numbers of frames, which are rounded: a whole number of steps makes the series."""
    if len(frames) < 2:
        return 1.0
    span = frames[-1] - frames[0]
    return span / round(span / float(np.diff(frames).min()))


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
    return [beside([panel.draw(images[i], names[name]) for name, images in movie.panels.items()]) for i in shown]


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
