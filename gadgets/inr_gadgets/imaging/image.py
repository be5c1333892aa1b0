"""Complex images in, images for the host out: magnitude, one scale a scan, one data type, attributes for viewers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_core.parameters import parameter
from inr_gadgets.coordinates import direction_faults, is_left_handed
from inr_gadgets.gadget import Gadget
from inr_gadgets.heads import head_of
from inr_gadgets.imaging.attributes import (
    Display,
    geometry_attributes,
    header_attributes,
    naming_attributes,
    scan_attributes,
)
from inr_gadgets.imaging.geometry import DELAYED_SERIES, LIVE_SERIES, MOTION_SERIES, REFINED_SERIES
from inr_gadgets.lines import operator_line

BRIGHTEST = 4095  # of whole numbers; 12 bits: what DICOM viewers and vendor databases expect of MR images
_PERCENTILE = 99.5
_EMPTY = 1e-30  # below it an image is rounding; its scale would be more than a float32 holds
_MOST_DIRECTIONS, _MOST_TOLD = 1024, 8  # what is remembered of the directions, and lines about them
_SERIES_NAMES = {LIVE_SERIES: "live", REFINED_SERIES: "refined", MOTION_SERIES: "motion", DELAYED_SERIES: "delayed"}


@dataclass(frozen=True)
class ImageParameters:
    """What the images that leave look like."""

    dtype: str = parameter(
        "float32", "data type; complex64 keeps the phase", choices=("float32", "uint16", "int16", "complex64")
    )
    scale: float = parameter(
        0.0, "factor on every image of the scan; 0 takes it from the first image, so that it fits level", minimum=0.0
    )
    level: float = parameter(
        1000.0, "value at which the first image's 99.5th percentile leaves, with scale=0", minimum=1.0, maximum=1e9
    )


class ImageGadget(Gadget):
    """Magnitude, scale, data type and attributes of the images.

    There is one scale for all series of a scan, fixed by the first image that is not empty: a scale of their own would
    make the frames flicker. Whole numbers stop at 4095, four times the default level, so that contrast may still
    arrive.
    Real-valued images (a motion field) keep their values. Items of other types are handed on.
    """

    name: ClassVar[str] = "image"
    parameter_type: ClassVar[type] = ImageParameters

    def __init__(self, header: Any, parameters: ImageParameters | None = None) -> None:
        super().__init__(header, parameters)
        self._scale: float | None = self.parameters.scale or None
        self._window = 0.0
        self._formats: dict[int, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._directions: set[bytes] = set()
        self._told: set[str] = set()
        self._n_clipped = 0
        self._n_broken = 0

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        """Finished images of the complex ones among ``items``.

        Raises
        ------
        DataError
            If the shape changes within a series, which a client would answer with its own death.
        """
        for item in items:
            yield self._finish(item) if isinstance(item, ismrmrd.Image) else item
        if self._n_clipped:
            self.announce(
                f"{self._n_clipped} pixels were brighter than {BRIGHTEST} and were clipped; lower image.level"
            )
        if self._n_broken:
            text = f"{self._n_broken} pixels were NaN or infinite and were set to zero"
            self.announce(operator_line("WARNING", text))

    def _finish(self, image: ismrmrd.Image) -> ismrmrd.Image:
        data = image.data
        head = head_of(image)
        if np.iscomplexobj(data):
            data = self._convert(data)
            head.image_type = (
                ismrmrd.IMTYPE_COMPLEX if self.parameters.dtype == "complex64" else ismrmrd.IMTYPE_MAGNITUDE
            )
        self._check_series(head.image_series_index, data)
        self._check_directions(head)
        finished = ismrmrd.Image(head=head, data=np.ascontiguousarray(data))
        finished.meta = self._attributes(image, head, np.iscomplexobj(image.data))
        return finished

    def _convert(self, data: NDArray[Any]) -> NDArray[Any]:
        data = self._without_broken(data)
        values = data if self.parameters.dtype == "complex64" else np.abs(data)
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._without_broken(values * np.float32(self._scale_for(data)))
        if self.parameters.dtype not in ("uint16", "int16"):
            return np.asarray(values, dtype=self.parameters.dtype)
        self._n_clipped += int((values > BRIGHTEST).sum())
        return np.asarray(np.clip(np.rint(values), 0, BRIGHTEST), dtype=self.parameters.dtype)

    def _without_broken(self, data: NDArray[Any]) -> NDArray[Any]:
        broken = ~np.isfinite(data)
        if not broken.any():
            return data
        self._n_broken += int(broken.sum())
        return np.where(broken, 0, data)

    def _scale_for(self, data: NDArray[Any]) -> float:
        """The scan's scale; fixed by this image if none before it was anything but empty."""
        if self._scale is None or self._window == 0:
            bright = float(np.percentile(np.abs(data), _PERCENTILE)) or float(np.abs(data).max())
            if bright < _EMPTY:
                return self._scale or 1.0
            self._scale = self._scale or self.parameters.level / bright
            self._window = self._scale * bright
        return self._scale

    def _check_series(self, series: int, data: NDArray[Any]) -> None:
        known = self._formats.setdefault(series, (data.shape, data.dtype))
        if known != (data.shape, data.dtype):
            raise DataError(
                f"an image of {data.shape} {data.dtype} in series {series}",
                f"{known[0]} {known[1]} as before in that series",
                "send encoding spaces of different matrices as scans of their own",
            )

    def _check_directions(self, head: Any) -> None:
        """Say, once, what is unusual about where the images lie; they are sent as they are."""
        key = bytes(head.read_dir) + bytes(head.phase_dir) + bytes(head.slice_dir)
        if key in self._directions:
            return
        if len(self._directions) < _MOST_DIRECTIONS:
            self._directions.add(key)
        faults = direction_faults(head)
        lines = [operator_line("WARNING", f"the images' directions: {fault}") for fault in faults]
        if not faults and is_left_handed(head):
            lines = ["the images' directions are left-handed (slice_dir opposite to read_dir x phase_dir): kept"]
        for line in lines:
            if line not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(line)
                self.announce(line)

    def _attributes(self, image: ismrmrd.Image, head: Any, scaled: bool) -> ismrmrd.Meta:
        series = int(head.image_series_index)
        # What a viewer shows must not call gridding an INR: the method that made the image names it.
        method = str(image.meta.get("inr_method", "INR")).upper()
        label = f"{method} {_SERIES_NAMES.get(series, f'series {series}')}"
        role = "Quantitative" if head.image_type == ismrmrd.IMTYPE_REAL else "Image"
        meta = ismrmrd.Meta(naming_attributes(method, label, role))
        meta.update(geometry_attributes(head) | header_attributes(head))
        meta.update(scan_attributes(self.header, int(head.contrast)))
        if scaled and (self._window or not self.parameters.scale):
            # One window for the scan, as there is one scale; under a scale of its own an image that is not empty tells.
            meta.update(Display(self._window or self.parameters.level, self._scale or 1.0).attributes())
        meta.update(image.meta)
        arrived = meta.pop("inr_arrived", None)
        if arrived is not None and series == LIVE_SERIES:
            meta["inr_latency_ms"] = f"{1000 * (time.monotonic() - float(arrived)):.3f}"
        return meta
