"""What a simulated scan's images should be: the .truth.npz file beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_core.errors import DataError


@dataclass(frozen=True)
class Truth:
    """The object of a simulated scan.

    Attributes
    ----------
    images : (frames, y, x) float64
        Magnitudes. The file has x before y.
    times_ms : (frames,) or None
        The moment that each frame shows; None where the file does not say.
    spokes
        Spokes of a frame; None where the file does not say.
    """

    images: np.ndarray
    times_ms: np.ndarray | None = None
    spokes: int | None = None


def truth_path(scan: str | os.PathLike[str]) -> Path:
    """Where the truth of a scan lies."""
    return Path(scan).with_suffix(".truth.npz")


def read_truth(path: str | os.PathLike[str]) -> Truth:
    """Read a truth file.

    Raises
    ------
    DataError
        If it is absent, damaged, or has no series ``truth`` (frames, x, y).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there", "the .truth.npz beside a simulated scan", "simulate the scan again")
    try:
        with np.load(path) as file:
            images, times, spokes = file["truth"], file.get("times_ms"), file.get("spokes")
    except (KeyError, OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error})", "'truth' (frames, x, y)", "simulate the scan again"
        ) from error
    if images.ndim != 3:
        raise DataError(f"{path} has a truth {images.shape}", "(frames, x, y)", "give the scan of a single slice")
    return Truth(
        np.abs(images).astype(np.float64).transpose(0, 2, 1),
        None if times is None else np.asarray(times, np.float64),
        None if spokes is None else int(spokes),
    )
