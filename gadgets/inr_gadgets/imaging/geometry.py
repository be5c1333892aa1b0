"""Images with the scanner's geometry and time: a frame's header fields on the image that was made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_gadgets.clock import TICK_MS, beat_between, elapsed, later
from inr_gadgets.coordinates import slice_direction
from inr_gadgets.frame import Frame
from inr_gadgets.imaging.attributes import geometry_attributes

LIVE_SERIES, REFINED_SERIES, MOTION_SERIES, DELAYED_SERIES = 1, 2, 3, 4
_WRAP = 65536  # header counters are 16 bits wide, and ismrmrd wraps them without a word
_LONGEST_TRIGGER_MS = 60_000.0  # a larger stamp is no time since a trigger, but a clock


class Between(NamedTuple):
    """The moment of an image in a series that is finer in time than its frames.

    Attributes
    ----------
    part, steps
        Image ``part`` (from 0) of the ``steps`` from the frame to the next; part 0 is the frame itself.
    after
        The next frame; None for part 0.
    """

    part: int
    steps: int
    after: Frame | None = None


AT_THE_FRAME = Between(0, 1)


class ImageNumbers:
    """Gives each image its ``image_index``: the number within its series, in the order in which images leave.

    It is what becomes the InstanceNumber of DICOM, and so must not be that of another slice's image: of several slices
    none has numbers of its own. It begins with 1, and after 65535 again.
    """

    def __init__(self) -> None:
        self._given: Counter[int] = Counter()

    def give(self, items: Iterable[Any]) -> Iterator[Any]:
        """Number images as they pass; what is no image passes, too."""
        for item in items:
            if isinstance(item, ismrmrd.Image):
                series = int(item.image_series_index)
                item.image_index = self._given[series] % (_WRAP - 1) + 1
                self._given[series] += 1
            yield item


def image_for(
    frame: Frame,
    array: NDArray[Any],
    series: int,
    index: int,
    meta: Mapping[str, object] | None = None,
    *,
    matrix: tuple[int, int] | None = None,
    between: Between = AT_THE_FRAME,
) -> ismrmrd.Image:
    """An image of a frame, with the geometry and time of the frame's middle readout.

    The position is that of pixel n // 2 along each axis, whatever the matrix; the field of view is the frame's. A
    missing ``slice_dir`` becomes read_dir x phase_dir. ``image_index`` is left to :class:`ImageNumbers`.

    Parameters
    ----------
    frame
        The frame that was reconstructed.
    array : (y, x) or (channels, z, y, x)
        The image, x along read_dir and y along phase_dir: what ISMRMRD stores, without a transpose.
    series
        ``image_series_index``.
    index
        Number of the image in its slice, from 0: ``repetition`` is the index modulo 65536.
    meta
        Attributes of the image.
    matrix
        (x, y) pixels of the image where they are not those of the frame: the same field of view, sampled more finely.
    between
        Where it lies between the frame, whose geometry it has, and the next: its time stamps are interpolated.

    Raises
    ------
    DataError
        If the array is of another matrix.
    """
    nx, ny = matrix or frame.matrix
    if array.ndim not in (2, 4) or array.shape[-2:] != (ny, nx):
        whose = "the matrix of the frame" if matrix is None else "the matrix that was asked for"
        raise DataError(f"an image of shape {array.shape}", f"(..., y, x) = (.., {ny}, {nx}), {whose}")
    middle = _middle(frame)
    head = ismrmrd.ImageHeader.from_acquisition(
        middle,
        version=1,
        field_of_view=frame.fov_mm,
        image_type=ismrmrd.IMTYPE_COMPLEX if np.iscomplexobj(array) else ismrmrd.IMTYPE_REAL,
        image_series_index=series,
        repetition=index % _WRAP,
    )
    image = ismrmrd.Image(head=head, data=np.array(array, order="C", ndmin=4))
    image.slice_dir[:] = tuple(slice_direction(middle))
    if between.after is not None and between.part:
        _move_stamps(image, frame, between.after, between.part / between.steps)
    attributes = ismrmrd.Meta({**geometry_attributes(image), **_times(frame, image, between.steps)})
    if any(frame.delays):
        attributes["inr_delays"] = [f"{value:.4f}" for value in frame.delays]
    attributes.update(meta or {})
    image.meta = attributes
    return image


def time_stamp(frame: Frame) -> int:
    """Acquisition time stamp of a frame's middle readout, in ticks."""
    return int(_middle(frame).acquisition_time_stamp)


def _middle(frame: Frame) -> Any:
    """The header of the readout in the middle of a frame."""
    headers = frame.headers
    return headers[len(headers) // 2]


def _move_stamps(image: ismrmrd.Image, frame: Frame, after: Frame, part: float) -> None:
    """Interpolate the time stamps; a clock that goes back (begins anew at each heart beat) is the earlier frame's."""
    before, then = _middle(frame), _middle(after)
    lasting = elapsed(before.acquisition_time_stamp, then.acquisition_time_stamp)
    image.acquisition_time_stamp = later(before.acquisition_time_stamp, part * max(lasting, 0))
    pairs = zip(before.physiology_time_stamp, then.physiology_time_stamp, strict=True)
    image.physiology_time_stamp[:] = tuple(beat_between(*pair, lasting, part) for pair in pairs)


def _times(frame: Frame, image: ismrmrd.Image, steps: int) -> dict[str, object]:
    """The attributes that say when an image was acquired, and what heart and breath did."""
    found: dict[str, object] = {}
    if frame.duration_ms > 0:
        found["FrameAcquisitionDuration"] = f"{frame.duration_ms:.3f}"
        found["TemporalResolution"] = f"{frame.step_ms / steps:.3f}"
    stamp, timing = int(image.acquisition_time_stamp), frame.timing
    if frame.physiology is not None and any((timing.first, timing.last)):
        moved = elapsed(time_stamp(frame), stamp)
        found |= frame.physiology.attributes(later(timing.first, moved), frame.duration_ms, stamp)
    since_ms = image.physiology_time_stamp[0] * TICK_MS
    if timing.triggered and since_ms < _LONGEST_TRIGGER_MS:
        found["TriggerTime"] = f"{since_ms:.1f}"
    elif "inr_trigger_ms" in found:
        found["TriggerTime"] = found["inr_trigger_ms"]
    return found
