"""Signal over time in regions of interest: reconstructions of a contrast-enhanced scan against its truth."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_core.errors import DataError
from inr_core.metrics import fit_scale
from inr_gadgets.export.pictures import SERIES_NAMES
from inr_gadgets.image_file import list_series, read_series

_PREFIX = "roi_"
_WHAT = "the .truth.npz beside a simulated scan, with regions (inr-recon simulate --phantom dce)"
# The group of a reconstruction that was given none.
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( \d+)?")
CSV_COLUMNS = ("region", "series", "time_s", "signal")


@dataclass(frozen=True)
class Regions:
    """What a scan's truth file says of its curves.

    Attributes
    ----------
    images : (frames, slices, y, x) float64
        Magnitudes of the truth.
    masks
        Region to (slices, y, x) bool, none of them empty.
    times_s : (frames,)
        The moment that each frame shows.
    """

    images: np.ndarray
    masks: dict[str, np.ndarray]
    times_s: np.ndarray


@dataclass(frozen=True)
class CurveError:
    """How far one curve is from the truth's.

    Attributes
    ----------
    region, series
        Whose.
    rms
        Root of the mean squared error over that of the mean squared truth.
    peak
        Height of the curve's maximum over the truth's, less 1.
    delay_s
        Time of the curve's maximum less that of the truth's, s.
    """

    region: str
    series: str
    rms: float
    peak: float
    delay_s: float


@dataclass(frozen=True)
class Curves:
    """Mean magnitudes in regions over time.

    Attributes
    ----------
    regions
        The truth.
    truth
        Region to (frames,), the truth's curve.
    series
        Name of a reconstruction to region to (frames,), on the truth's scale; NaN where a frame is missing.
    """

    regions: Regions
    truth: dict[str, np.ndarray]
    series: dict[str, dict[str, np.ndarray]]

    def errors(self) -> list[CurveError]:
        """One row for each region and series, over the frames that the series has."""
        rows = []
        times = self.regions.times_s
        for region, expected in self.truth.items():
            for name, curves in self.series.items():
                known = np.isfinite(curves[region])
                found, right, moments = curves[region][known], expected[known], times[known]
                rms = float(np.linalg.norm(found - right) / np.linalg.norm(right))
                delay = float(moments[found.argmax()] - moments[right.argmax()])
                rows.append(CurveError(region, name, rms, float(found.max() / right.max()) - 1, delay))
        return rows

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every point as a row of :data:`CSV_COLUMNS`; the truth is a series of its own."""
        with Path(path).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(CSV_COLUMNS)
            for region, expected in self.truth.items():
                for name, curve in {"truth": expected, **{n: c[region] for n, c in self.series.items()}}.items():
                    for time, value in zip(self.regions.times_s, curve, strict=True):
                        if np.isfinite(value):
                            rows.writerow((region, name, f"{time:.4f}", f"{value:.6g}"))


def read_regions(path: str | os.PathLike[str]) -> Regions:
    """Read the truth and its regions of interest: every array ``roi_<name>`` of the file.

    Raises
    ------
    DataError
        If the file is absent or damaged, has no regions, or a region has no pixel.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there", _WHAT, "correct the path")
    try:
        with np.load(path) as file:
            images, times = np.abs(file["truth"]).astype(np.float64), file["times_ms"] / 1e3
            masks = {name.removeprefix(_PREFIX): file[name] for name in file.files if name.startswith(_PREFIX)}
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})", _WHAT) from error
    if not masks:
        raise DataError(f"{path} has no regions of interest", _WHAT)
    if images.ndim == 3:
        images, masks = images[:, None], {name: mask[None] for name, mask in masks.items()}
    # The file has x before y.
    images, masks = images.swapaxes(2, 3), {name: mask.swapaxes(1, 2).astype(bool) for name, mask in masks.items()}
    for name, mask in masks.items():
        if mask.shape != images.shape[1:]:
            raise DataError(
                f"region {name} of {path} is {mask.shape}", f"the truth's (slices, y, x) {images.shape[1:]}"
            )
        if not mask.any():
            raise DataError(f"region {name} of {path} has no pixel", "at least one", "simulate with a larger matrix")
    return Regions(images, masks, np.asarray(times, np.float64))


def load_curves(
    outputs: Sequence[str | os.PathLike[str]],
    truth: str | os.PathLike[str],
    series: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
) -> Curves:
    """Measure the curves of reconstructions.

    Each series is brought to the truth's scale by one least-squares factor for the pixels of all regions in all frames:
    a factor for each curve would hide the errors that matter, and one for whole images is biased by streaks.

    Parameters
    ----------
    outputs
        Files of images.
    truth
        The truth file of their scan.
    series
        Series indices; None for the refined series (2) of a group, or its live one (1) where there is none.
    groups
        The groups to show; None for all of each file. One that is only a date is shown by its method.

    Raises
    ------
    DataError
        If there is no such file, group or series, or it is not of the truth's scan.
    """
    regions = read_regions(truth)
    found: dict[str, dict[str, np.ndarray]] = {}
    for output in outputs:
        available = list_series(output)
        if not available:
            raise DataError(f"{output} holds no images", "the output of a reconstruction")
        absent = [group for group in groups or () if group not in available]
        if absent:
            raise DataError(f"{output} has no group '{absent[0]}'", f"one of: {', '.join(available)}")
        for group in groups or available:
            chosen = series or ([2] if 2 in available[group] else list(available[group])[:1])
            for index in chosen:
                images, method = _images(output, group, index, regions)
                name = method if method and _DATE.fullmatch(group) else group
                name += f" {SERIES_NAMES.get(index, f'series {index}')}" if len(chosen) > 1 else ""
                label = name if name not in found else f"{Path(output).stem}/{group}"
                found[label] = _measure(images, regions)
    return Curves(regions, _measure(regions.images, regions, scale=1.0), found)


def _images(output: str | os.PathLike[str], group: str, index: int, regions: Regions) -> tuple[np.ndarray, str]:
    """Magnitudes (frames, slices, y, x) float64 and the method that made them, if they say.

    NaN where there is no image; those between the frames are left out, as the truth has none.
    """
    data, headers, meta = read_series(output, index, group)
    n_frames, n_slices, ny, nx = regions.images.shape
    where = f"series {index} of {output}:/{group}"
    if data.shape[1:] != (1, 1, ny, nx):
        raise DataError(f"{where} has images (channels, z, y, x) = {data.shape[1:]}", f"the truth's (1, 1, {ny}, {nx})")
    images = np.full(regions.images.shape, np.nan)
    for image, header, attributes in zip(data[:, 0, 0], headers, meta, strict=True):
        number = float(attributes.get("inr_frame", header.repetition))
        frame = int(number)
        if frame != number:
            continue
        if frame >= n_frames or header.slice >= n_slices:
            raise DataError(
                f"{where} has frame {frame} of slice {header.slice}",
                f"the truth's {n_frames} frames of {n_slices} slices",
                "give the truth of the same scan and reconstruct with its spokes a frame",
            )
        images[frame, header.slice] = np.abs(image)
    return images, str(meta[0].get("inr_method", "")) if meta else ""


def _measure(images: np.ndarray, regions: Regions, scale: float | None = None) -> dict[str, np.ndarray]:
    if scale is None:
        inside = np.any(list(regions.masks.values()), axis=0)
        found, expected = images[:, inside], regions.images[:, inside]
        known = np.isfinite(found)
        scale = fit_scale(found[known], expected[known])
    # A slice that is missing takes the whole region's point with it.
    return {name: scale * images[:, mask].mean(axis=1) for name, mask in regions.masks.items()}
