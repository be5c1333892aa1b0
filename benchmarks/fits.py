"""Least squares of a line and of a power law, with the uncertainty of the slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inr_core.errors import DataError


@dataclass(frozen=True)
class Line:
    """y = offset + slope x.

    Attributes
    ----------
    slope_error
        Standard error of the slope, from the scatter of the points around the line; NaN of two points, which have none.
    """

    slope: float
    offset: float
    slope_error: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.offset + self.slope * x


@dataclass(frozen=True)
class Power:
    """y = factor x^exponent.

    Attributes
    ----------
    error
        Standard error of the exponent.
    """

    exponent: float
    factor: float
    error: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.factor * x**self.exponent

    def __str__(self) -> str:
        return f"{self.exponent:.2f} +- {self.error:.2f}" if math.isfinite(self.error) else f"{self.exponent:.2f}"


def fit_line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Line:
    """Fit a line.

    Raises
    ------
    DataError
        For fewer than two different x, points that do not pair, or numbers that are not finite.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or len(np.unique(x)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(f"points x = {x.tolist()}, y = {y.tolist()}", "finite pairs, two different x at least")
    deviation = x - x.mean()
    spread = float(deviation @ deviation)
    slope = float(deviation @ y) / spread
    offset = float(y.mean() - slope * x.mean())
    left = y - offset - slope * x
    error = math.sqrt(float(left @ left) / (len(x) - 2) / spread) if len(x) > 2 else math.nan
    return Line(slope, offset, error)


def fit_power(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Power:
    """Fit a power law, by a line through the logarithms.

    Raises
    ------
    DataError
        As :func:`fit_line`, and for numbers that are not positive.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not ((x > 0).all() and (y > 0).all()):
        raise DataError(f"points x = {x.tolist()}, y = {y.tolist()}", "positive numbers, for their logarithms")
    line = fit_line(np.log(x), np.log(y))
    return Power(line.slope, math.exp(line.offset), line.slope_error)
