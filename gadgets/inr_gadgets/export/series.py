"""Stored image series put in order: planes into stacks, images into frames, with place, time and name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError, ParameterError
from inr_gadgets.export.grid import PixelGrid, has_directions, pixel_grid
from inr_gadgets.export.kinds import common_window, image_kinds, kind_label, positive, series_label
from inr_gadgets.export.stacks import Plane, planes_of, stacks_of
from inr_gadgets.export.timing import frame_ms, frame_numbers, stamps_ms, trigger_ms
from inr_gadgets.image_file import list_series, read_series
from inr_gadgets.lines import operator_line

# DICOM's letters for what an image holds.
_COMPONENTS = {
    ismrmrd.IMTYPE_MAGNITUDE: "M",
    ismrmrd.IMTYPE_PHASE: "P",
    ismrmrd.IMTYPE_REAL: "R",
    ismrmrd.IMTYPE_IMAG: "I",
}


@dataclass(frozen=True, eq=False)
class PlacedImage:
    """One plane of one frame.

    Attributes
    ----------
    pixels : (y, x)
        Real values.
    grid
        Where they lie.
    stack, position
        Of which stack of parallel planes, from 0, and which plane of it, from 0 along the normal.
    frame
        From 0, in order of time; frames of all stacks are counted together.
    time_ms
        Time of day of its middle readout.
    trigger_ms
        Since the last trigger; None if unknown.
    duration_ms
        That its readouts took; None if unknown.
    """

    pixels: NDArray[Any]
    grid: PixelGrid
    stack: int
    position: int
    frame: int
    time_ms: float
    trigger_ms: float | None
    duration_ms: float | None


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that differ in place and time alone: what becomes one DICOM series.

    Attributes
    ----------
    number
        Of the DICOM series.
    label
        What it is called, ``"INR live"``.
    contrast
        Number of the echo, from 0.
    component
        ``M``, ``P``, ``R`` or ``I``.
    images
        By frame, stack and position.
    frame_ms
        From frame to frame.
    meta
        Attributes of the first image.
    window
        Centre and width, where all images have the same; else None.
    """

    number: int
    label: str
    contrast: int
    component: str
    images: list[PlacedImage]
    frame_ms: float
    meta: Mapping[str, Any]
    window: tuple[float, float] | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return 1 + max(image.frame for image in self.images)

    @property
    def n_stacks(self) -> int:
        """Number of stacks."""
        return 1 + max(image.stack for image in self.images)

    @property
    def has_fractions(self) -> bool:
        """Whether it has magnitudes, in units of nobody's, that are not whole numbers."""
        return self.component == "M" and not np.issubdtype(self.images[0].pixels.dtype, np.integer)

    @cached_property
    def plane_distances_mm(self) -> dict[int, float]:
        """Mean distance from plane to plane of each stack; 0 if it has but one."""
        places: dict[int, dict[int, float]] = {}
        for image in self.images:
            planes = places.setdefault(image.stack, {})
            if image.position not in planes:
                planes[image.position] = image.grid.location_mm
        return {
            stack: round((max(planes.values()) - min(planes.values())) / max(len(planes) - 1, 1), 3)
            for stack, planes in places.items()
        }

    def multiplied(self, factor: float) -> ImageSet:
        """The same images, their values and window multiplied."""
        images = [replace(image, pixels=image.pixels * factor) for image in self.images]
        window = None if self.window is None else (self.window[0] * factor, self.window[1] * factor)
        return replace(self, images=images, window=window)


def newest_group(path: str | os.PathLike[str], group: str | None = None) -> str:
    """The group of that name, or else the last that holds images.

    Raises
    ------
    DataError
        If there is none.
    """
    found = list_series(path)
    if group is None and found:
        return list(found)[-1]
    if group not in found:
        what = "holds no images" if group is None else f"has no group '{group}'"
        raise DataError(f"{path} {what}", f"one of: {', '.join(found)}" if found else "the output of a reconstruction")
    return group


def load_sets(
    path: str | os.PathLike[str],
    group: str,
    series: Sequence[int] | None = None,
    *,
    frame_time_ms: float | None = None,
    phase: bool = False,
    anonymous: bool = False,
    announce: Callable[[str], None],
) -> list[ImageSet]:
    """Read series of an image file as image sets, one for each set, contrast and average in them.

    Parameters
    ----------
    path, group
        The file and its group.
    series
        Series indices; None for all that hold pictures (of one channel).
    frame_time_ms
        From frame to frame; None for what the time stamps say.
    phase
        The phase of complex images, instead of their magnitude.
    anonymous
        Name series by their numbers where another program named them, as that may be anybody's name.
    announce
        Takes lines for the operator: what was left out, what had to be assumed.

    Raises
    ------
    DataError
        If there are no such images, or they do not say where or when they are.
    ParameterError
        If the phase is asked of images that are not complex, or a frame is to last no time.
    """
    if frame_time_ms is not None and not frame_time_ms > 0:
        raise ParameterError(f"a frame of {frame_time_ms} ms", "more than 0 ms")
    sets: list[ImageSet] = []
    for index in series or list(list_series(path)[group]):
        stored = _Stored(index, *read_series(path, index, group), f"series {index} of {path}")
        n_channels = stored.data.shape[1]
        motion = n_channels == 2 and not np.iscomplexobj(stored.data)
        if not len(stored.data):
            announce(f"{stored.where} is empty and is left out")
            continue
        if series is None and n_channels > 1:
            announce(
                f"{stored.where} ({'motion' if motion else f'{n_channels} channels'}) is left out: ask by --series"
            )
            continue
        if n_channels > 1 and not motion:
            raise DataError(f"{stored.where} has images of {n_channels} channels", "one, or the two of a motion")
        if phase and not np.iscomplexobj(stored.data):
            raise ParameterError(
                f"the phase of {stored.where}, which is {stored.data.dtype}",
                "complex images",
                "reconstruct with image.dtype=complex64",
            )
        if not all(has_directions(header) for header in stored.headers):
            announce(operator_line("WARNING", f"{stored.where} does not say how its images lie: taken as axial"))
        known = not anonymous or "inr_method" in stored.meta[0]
        label = series_label(index, stored.meta[0] if known else {})
        sets += _sets_of(stored, label, frame_time_ms, phase)
    if not sets:
        raise DataError(f"{path}:/{group} holds no pictures", "a series of one channel")
    return sets


@dataclass(frozen=True, eq=False)
class _Stored:
    """A series, or some of its images, as it was read: ``data`` is (n, channels, z, y, x)."""

    index: int
    data: NDArray[Any]
    headers: Sequence[Any]
    meta: Sequence[Mapping[str, Any]]
    where: str

    def part(self, chosen: Sequence[int], channel: int) -> _Stored:
        """Some images of one channel."""
        headers, meta = [self.headers[i] for i in chosen], [self.meta[i] for i in chosen]
        return _Stored(self.index, self.data[chosen, channel : channel + 1], headers, meta, self.where)


def _sets_of(stored: _Stored, label: str, frame_time_ms: float | None, phase: bool) -> list[ImageSet]:
    """The image sets of one series."""
    kinds = image_kinds(stored.headers, stored.meta)
    channels = [""] if stored.data.shape[1] == 1 else ["x", "y"]
    wanted = [(kind, channel) for kind in sorted(set(kinds)) for channel in range(len(channels))]
    sets = []
    for number, (kind, channel) in enumerate(wanted, 1):
        part = stored.part([i for i, other in enumerate(kinds) if other == kind], channel)
        images = _placed(part, phase)
        parts = (label, kind_label(kind, kinds), channels[channel], "phase" if phase else "")
        real = "R" if len(channels) > 1 else _COMPONENTS.get(part.headers[0].image_type, "M")
        sets.append(
            ImageSet(
                number=stored.index if len(wanted) == 1 else 100 * stored.index + number,
                label=" ".join(text for text in parts if text),
                contrast=kind[1],
                component=("P" if phase else "M") if np.iscomplexobj(part.data) else real,
                images=images,
                frame_ms=frame_time_ms or _frame_time(part),
                meta=part.meta[0],
                window=None if phase or real != "M" else common_window(part.meta),
            )
        )
    return sets


def _placed(stored: _Stored, phase: bool) -> list[PlacedImage]:
    """The images of a set in order."""
    planes, numbers = _numbered(stored)
    frames = {number: i for i, number in enumerate(sorted(set(numbers)))}
    volumes = [
        [pixel_grid(header, attributes, z) for z in range(stored.data.shape[2])]
        for header, attributes in zip(stored.headers, stored.meta, strict=True)
    ]
    places, times = stacks_of(planes, volumes), stamps_ms(stored.headers)
    images = []
    for i, volume in enumerate(volumes):
        since = trigger_ms(stored.headers[i], stored.meta[i])
        duration = positive(stored.meta[i].get("FrameAcquisitionDuration"))
        for z, grid in enumerate(volume):
            stack, position = places[planes[i], z]
            pixels = stored.data[i, 0, z]
            if np.iscomplexobj(pixels):
                pixels = np.angle(pixels) if phase else np.abs(pixels)
            frame = frames[numbers[i]]
            images.append(PlacedImage(pixels, grid, stack, position, frame, times[i], since, duration))
    return sorted(images, key=lambda image: (image.frame, image.stack, image.position))


def _numbered(stored: _Stored) -> tuple[list[Plane], list[float]]:
    """Plane and frame number of each image."""
    grids = [pixel_grid(header, attributes) for header, attributes in zip(stored.headers, stored.meta, strict=True)]
    planes = planes_of(grids, [int(header.slice) for header in stored.headers])
    return planes, frame_numbers(planes, stored.headers, stored.meta)


def _frame_time(stored: _Stored) -> float:
    """From image to image of one plane, ms."""
    planes, numbers = _numbered(stored)
    one = [i for i, plane in enumerate(planes) if plane == planes[0]]
    part = stored.part(one, 0)
    return frame_ms([numbers[i] for i in one], part.headers, part.meta, stored.where)
