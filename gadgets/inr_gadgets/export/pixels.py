"""Image values as the whole numbers that DICOM stores: one scale and one window for a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 65535
GREY_LEVELS = 500  # that are enough: rounding to them is below the noise of an image, and not seen
_BRIGHT = 99.5  # percentile that is white where the images do not say


@dataclass(frozen=True)
class PixelScale:
    """Value = slope * stored + intercept, stored from 0 to 65535.

    Attributes
    ----------
    slope, intercept
        In values; both have at most 16 characters, as DICOM's numbers must.
    centre, width
        Of the window, in values.
    """

    slope: float
    intercept: float
    centre: float
    width: float

    @classmethod
    def of(
        cls, images: Sequence[NDArray[Any]], window: tuple[float, float] | None, *, plain: bool = False
    ) -> PixelScale:
        """The scale of a series: 1 for whole numbers that fit, else what its range needs.

        Parameters
        ----------
        images
            All of the series.
        window
            Centre and width; None for one that the brightest pixels just fill.
        plain
            Round values to whole numbers where they are grey levels enough: for files whose readers do not expect a
            slope.
        """
        low = min(0.0, *(float(np.min(finite(image))) for image in images))
        high = max(0.0, *(float(np.max(finite(image))) for image in images))
        whole = all(np.issubdtype(image.dtype, np.integer) for image in images) or (plain and high - low >= GREY_LEVELS)
        slope = 1.0 if whole and high - low <= MOST else short_number((high - low) / MOST) or 1.0
        low = float(np.floor(low)) if slope == 1.0 else short_number(low)
        if window is None:
            bright = float(np.percentile(np.concatenate([finite(image).ravel() for image in images]), _BRIGHT))
            top = bright if bright > low else high
            window = (low + top) / 2, max(top - low, 1.0 if whole else slope)
        return cls(slope, low, *window)

    @property
    def is_plain(self) -> bool:
        """Whether what is stored is the value itself."""
        return self.slope == 1.0 and self.intercept == 0.0

    def stored(self, image: NDArray[Any]) -> NDArray[np.uint16]:
        """The whole numbers of an image; what is not finite is 0 in value."""
        numbers = np.rint((finite(image).astype(np.float64) - self.intercept) / self.slope)
        return np.clip(numbers, 0, MOST).astype("<u2")


def short_number(value: float) -> float:
    """The number that 16 characters can say."""
    digits = 16
    while len(f"{value:.{digits}g}") > 16:
        digits -= 1
    return float(f"{value:.{digits}g}")


def finite(image: NDArray[Any]) -> NDArray[Any]:
    """Values, 0 where there is none."""
    return image if np.issubdtype(image.dtype, np.integer) else np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
