"""Which frame an image is, and when: numbers and clocks of headers and attributes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.clock import DAY_TICKS, TICK_MS, elapsed

_LONGEST_BEAT_MS = 60_000.0  # as Gadgetron's DICOM writer: a larger physiology stamp is no time since a trigger


def frame_numbers(planes: Sequence[Hashable], headers: Sequence[Any], meta: Sequence[Mapping[str, Any]]) -> list[float]:
    """The frame that each image of a series is.

    Our own images say it (``inr_frame``, with a fraction between two frames). Of others it is the first of these that
    tells a plane's images apart: repetition and cardiac phase; their order by image index; their order in the file.

    Parameters
    ----------
    planes
        What each image is of: images of one plane are its frames.
    headers, meta
        Of the images.
    """
    if all("inr_frame" in attributes for attributes in meta):
        return [float(attributes["inr_frame"]) for attributes in meta]
    phases = 1 + max((header.phase for header in headers), default=0)
    counted = [float(header.repetition * phases + header.phase) for header in headers]
    if len(set(zip(planes, counted, strict=True))) == len(headers):
        return counted
    indices = [int(header.image_index) for header in headers]
    if len(set(zip(planes, indices, strict=True))) < len(headers):
        indices = list(range(len(headers)))
    frames: dict[Hashable, int] = {}
    numbers = [0.0] * len(headers)
    for i in sorted(range(len(headers)), key=indices.__getitem__):
        numbers[i] = float(frames.get(planes[i], 0))
        frames[planes[i]] = frames.get(planes[i], 0) + 1
    return numbers


def stamps_ms(headers: Sequence[Any]) -> list[float]:
    """Time of day of each image, ms, by its acquisition time stamp; counted on beyond midnight."""
    stamps = [int(header.acquisition_time_stamp) for header in headers]
    since = [elapsed(stamps[0], stamp) for stamp in stamps]
    begun = (stamps[0] + min(since)) % DAY_TICKS
    return [(begun + ticks - min(since)) * TICK_MS for ticks in since]


def trigger_ms(header: Any, meta: Mapping[str, Any]) -> float | None:
    """Time since the last trigger, ms, by the attributes or else by the first physiology clock; None if unknown."""
    try:
        return float(meta["TriggerTime"])
    except (KeyError, TypeError, ValueError):
        time = header.physiology_time_stamp[0] * TICK_MS
        return time if 0 < time < _LONGEST_BEAT_MS else None


def frame_ms(numbers: Sequence[float], headers: Sequence[Any], meta: Sequence[Mapping[str, Any]], where: str) -> float:
    """Time from one image of a plane to the next, ms.

    By the time stamps, over the whole series, as one tick is coarse beside one frame; by the times since the trigger
    where all frames have one stamp, as in a gated cine.

    Parameters
    ----------
    numbers, headers, meta
        Of the images of one plane.
    where
        For the message.

    Raises
    ------
    DataError
        If the times do not grow.
    """
    if len(set(numbers)) < 2:
        return 100.0  # a single frame stands still at any rate
    frames = sorted(set(numbers))
    clocks = [stamps_ms(headers), [trigger_ms(*of_image) or 0.0 for of_image in zip(headers, meta, strict=True)]]
    for times in clocks:
        by_number = dict(zip(numbers, times, strict=True))
        duration = by_number[frames[-1]] - by_number[frames[0]]
        if duration > 0:
            return duration / (frames[-1] - frames[0]) * step(frames)
    raise DataError(
        f"the time stamps of {where} do not grow",
        "2.5 ms ticks that give the frame rate",
        "say how many ms a frame lasts (--frame-ms)",
    )


def step(frames: Sequence[float]) -> float:
    """The smallest step between numbers of frames, which are rounded: a whole number of steps makes the series."""
    if len(frames) < 2:
        return 1.0
    span = frames[-1] - frames[0]
    return span / round(span / float(np.diff(frames).min()))
