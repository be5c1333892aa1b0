"""Images with the scanner's geometry: a frame's header fields on the image that was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_gadgets.frame import Frame

LIVE_SERIES, REFINED_SERIES, MOTION_SERIES, DELAYED_SERIES = 1, 2, 3, 4
_WRAP = 65536  # header counters are 16 bits wide, and ismrmrd wraps them without a word


def image_for(
    frame: Frame,
    array: NDArray[Any],
    series: int,
    index: int,
    meta: Mapping[str, object] | None = None,
    *,
    matrix: tuple[int, int] | None = None,
) -> ismrmrd.Image:
    """An image of a frame, with the geometry and time of the frame's middle readout.

    The position is that of pixel n // 2 along each axis, whatever the matrix; the field of view is the frame's.

    Parameters
    ----------
    frame
        The frame that was reconstructed.
    array : (y, x) or (channels, z, y, x)
        The image, x along read_dir and y along phase_dir: what ISMRMRD stores, without a transpose.
    series
        ``image_series_index``.
    index
        Number of the image in its series, from 0: ``repetition`` is the index modulo 65536, ``image_index`` counts from
        1 and after 65535 starts again at 1.
    meta
        Attributes of the image.
    matrix
        (x, y) pixels of the image where they are not those of the frame: the same field of view, sampled more finely.

    Raises
    ------
    DataError
        If the array is of another matrix.
    """
    nx, ny = matrix or frame.matrix
    if array.ndim not in (2, 4) or array.shape[-2:] != (ny, nx):
        whose = "the matrix of the frame" if matrix is None else "the matrix that was asked for"
        raise DataError(f"an image of shape {array.shape}", f"(..., y, x) = (.., {ny}, {nx}), {whose}")
    headers = frame.headers
    middle = headers[len(headers) // 2]
    image = ismrmrd.Image.from_array(
        np.ascontiguousarray(array),
        acquisition=middle,
        transpose=False,  # the default differs between versions of ismrmrd
        field_of_view=frame.fov_mm,
        image_type=ismrmrd.IMTYPE_COMPLEX if np.iscomplexobj(array) else ismrmrd.IMTYPE_REAL,
        image_series_index=series,
        image_index=index % (_WRAP - 1) + 1,
        repetition=index % _WRAP,
    )
    attributes = ismrmrd.Meta(
        {
            "Keep_image_geometry": 1,
            "ImageRowDir": [f"{value:.18f}" for value in middle.read_dir],
            "ImageColumnDir": [f"{value:.18f}" for value in middle.phase_dir],
        }
    )
    if any(frame.delays):
        attributes["inr_delays"] = [f"{value:.4f}" for value in frame.delays]
    attributes.update(meta or {})
    image.meta = attributes
    return image


def time_stamp(frame: Frame) -> int:
    """Acquisition time stamp of a frame's middle readout, in ticks."""
    return int(frame.headers[len(frame.headers) // 2].acquisition_time_stamp)
