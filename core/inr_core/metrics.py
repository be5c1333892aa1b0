"""How far a series of images is from the truth: PSNR and SSIM, on one scale for the whole series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inr_core.errors import DataError, MissingDependencyError

_TINY = 1e-30


@dataclass(frozen=True)
class Score:
    """The score of a series.

    All on magnitudes after ONE least-squares scale for the series; the range is the truth's maximum.

    Attributes
    ----------
    psnr, ssim : (frames,)
        Of each frame. PSNR in dB.
    psnr_moving, ssim_moving : (frames,)
        The same over the bounding box of what moves in the truth.
    psnr_minmax
        STINR's convention: series and truth each stretched to 0..1 by its own minimum and maximum, one mean squared
        error over all frames.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    psnr_moving: np.ndarray
    ssim_moving: np.ndarray
    psnr_minmax: float

    def summary(self) -> dict[str, float]:
        """Means and standard deviations over the frames, as plain numbers."""
        values: dict[str, float] = {"frames": len(self.psnr)}
        for name in ("psnr", "ssim", "psnr_moving", "ssim_moving"):
            per_frame = getattr(self, name)
            values[name], values[f"{name}_std"] = float(per_frame.mean()), float(per_frame.std())
        return values | {"psnr_minmax": self.psnr_minmax}


def score(images: np.ndarray, truth: np.ndarray) -> Score:
    """Score a series against the truth.

    Parameters
    ----------
    images, truth : (frames, y, x)
        Real or complex; their magnitudes are compared.

    Raises
    ------
    DataError
        If the shapes differ, something is not finite, or the truth is empty.
    MissingDependencyError
        Without scikit-image (extra ``pictures``).
    """
    images, truth = _magnitudes(images, truth)
    images = images * fit_scale(images, truth)
    box = moving_box(truth)
    peak = float(truth.max())
    return Score(
        psnr(images, truth, peak),
        ssim(images, truth, peak),
        psnr(images[box], truth[box], peak),
        ssim(images[box], truth[box], peak),
        _psnr_minmax(images, truth),
    )


def fit_scale(images: np.ndarray, truth: np.ndarray) -> float:
    """The one factor by which ``images`` comes closest to ``truth`` in the least-squares sense."""
    return float((images * truth).sum() / max(float((images * images).sum()), _TINY))


def psnr(images: np.ndarray, truth: np.ndarray, peak: float) -> np.ndarray:
    """Peak signal-to-noise ratio of each frame (frames,), dB, of real images (frames, y, x) with range ``peak``."""
    error = ((images - truth) ** 2).mean(axis=(1, 2))
    return np.asarray(10 * np.log10(peak**2 / np.maximum(error, _TINY)))


def ssim(images: np.ndarray, truth: np.ndarray, peak: float) -> np.ndarray:
    """Structural similarity of each frame (frames,), of real images (frames, y, x) with range ``peak``.

    Windows of 7 x 7 (doi 10.1109/TIP.2003.819861, as scikit-image computes it); less where the image is smaller.

    Raises
    ------
    MissingDependencyError
        Without scikit-image (extra ``pictures``).
    """
    similarity = _structural_similarity()
    window = min(7, *truth.shape[1:])
    window -= 1 - window % 2
    return np.array([similarity(a, b, data_range=peak, win_size=window) for a, b in zip(images, truth, strict=True)])


def moving_box(truth: np.ndarray) -> tuple[slice, slice, slice]:
    """The bounding box of the pixels that vary by more than a quarter of the most varying one's standard deviation.

    Parameters
    ----------
    truth : (frames, y, x), real

    Returns
    -------
    Slices of frames (all), y and x; the whole image where nothing moves.
    """
    deviation = truth.std(axis=0)
    moving = deviation > 0.25 * deviation.max()
    if not moving.any():
        return slice(None), slice(None), slice(None)
    ys, xs = np.where(moving)
    return slice(None), slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1)


def _magnitudes(images: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if images.shape != truth.shape or images.ndim != 3 or not images.size:
        raise DataError(f"images {images.shape} against truth {truth.shape}", "two series (frames, y, x) of one shape")
    images, truth = (np.abs(np.asarray(series)).astype(np.float64) for series in (images, truth))
    for name, series in (("images", images), ("truth", truth)):
        if not np.isfinite(series).all():
            bad = int((~np.isfinite(series)).any(axis=(1, 2)).sum())
            raise DataError(f"{bad} frames of the {name} have values that are not finite", "finite values")
    if not truth.any():
        raise DataError("the truth is zero everywhere", "an object to compare with")
    return images, truth


def _psnr_minmax(images: np.ndarray, truth: np.ndarray) -> float:
    stretched = [(series - series.min()) / max(float(np.ptp(series)), _TINY) for series in (images, truth)]
    error = ((stretched[0] - stretched[1]) ** 2).mean()
    return float(-10 * np.log10(max(float(error), _TINY)))


def _structural_similarity() -> Any:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MissingDependencyError.of_extra("SSIM needs scikit-image", "pictures", error) from error
    return structural_similarity
