"""The motion between frames as images of a series of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import ismrmrd

from inr_gadgets.clock import TICK_MS, elapsed
from inr_gadgets.frame import Frame
from inr_gadgets.imaging.geometry import MOTION_SERIES, image_for, time_stamp

if TYPE_CHECKING:
    from inr_core.methods.live import RefinedSeries


def motion_images(
    series: RefinedSeries,
    geometry: Mapping[int, Frame],
    repetition_ms: float,
    meta: Mapping[str, object],
    first: int = 0,
) -> Iterator[ismrmrd.Image]:
    """An image of two real channels (u, v) for each step from a frame to the next; none if the series has no flow.

    Values are pixels per frame along x (``read_dir``) and y (``phase_dir``), on the measured pixels whatever the matrix
    of the refined images. Each has the geometry and time of the step's first frame, whose number is its
    ``inr_frame``. ``inr_flow_mm_per_s`` are the two factors that make mm/s of them; it is absent where neither time
    stamps nor the repetition time say how long a frame lasts.

    Parameters
    ----------
    series
        With or without a flow.
    geometry
        Frames by index, without data.
    repetition_ms
        The sequence's repetition time; 0 if unknown.
    meta
        Attributes that every image gets.
    first
        Number in the slice of the method's frame 0.
    """
    if series.flow is None:
        return
    frames = [geometry[series.first + i] for i in range(len(series.flow) + 1)]
    meta = {**meta, "inr_flow_unit": "pixels/frame"}
    duration_ms = frame_ms(frames, repetition_ms)
    if duration_ms > 0:
        sizes_mm = (size / n for size, n in zip(frames[0].fov_mm, frames[0].matrix, strict=False))
        meta["inr_flow_mm_per_s"] = [f"{1e3 * size / duration_ms:.6g}" for size in sizes_mm]
    for i, flow in enumerate(series.flow.cpu().numpy()):
        index = series.first + i
        number = first + index
        yield image_for(geometry[index], flow[:, None], MOTION_SERIES, number, {**meta, "inr_frame": number})


def frame_ms(frames: Sequence[Frame], repetition_ms: float) -> float:
    """Mean time from frame to frame; 0 if unknown.

    By the time stamps where they grow, which they do not in clocks that begin anew at each heart beat: there, and with
    a single frame, by the repetition time. Over all frames, as a tick is coarse beside a frame.
    """
    stamps = [time_stamp(frame) for frame in frames]
    steps = [elapsed(a, b) for a, b in itertools.pairwise(stamps)]
    if steps and min(steps) > 0:
        return sum(steps) * TICK_MS / len(steps)
    return repetition_ms * frames[0].spokes * frames[0].partitions
