"""Lines and power laws with the error of their slope."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import DataError
from programs import program

fits = program("fits")


def test_a_power_law_comes_back() -> None:
    x = np.array([16, 32, 64, 200])
    fit = fits.fit_power(x, 3.5 * x**1.75)
    assert (fit.exponent, fit.factor, fit.error) == pytest.approx((1.75, 3.5, 0), abs=1e-12)
    assert fit(np.array([9.0])) == pytest.approx(3.5 * 9**1.75)
    assert str(fit) == "1.75 +- 0.00"


def test_the_slopes_error_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 7, 11)
    y = 2 - 0.3 * x + rng.normal(0, 0.5, 11)
    line = fits.fit_line(x, y)
    (slope, offset), covariance = np.polyfit(x, y, 1, cov=True)
    assert (line.slope, line.offset, line.slope_error) == pytest.approx((slope, offset, covariance[0, 0] ** 0.5))


def test_two_points_have_no_error() -> None:
    fit = fits.fit_power([2, 8], [1, 4])
    assert fit.exponent == pytest.approx(1)
    assert np.isnan(fit.error)
    assert str(fit) == "1.00"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 1], [1, 2], r"points x = \[1.0, 1.0\], .*; expected finite pairs, two different x at least"),
        ([1, 2], [1, np.nan], "expected finite pairs"),
        ([1, 2, 3], [1, 2], "expected finite pairs"),
    ],
)
def test_no_line(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fits.fit_line(x, y)


def test_no_power_law() -> None:
    with pytest.raises(DataError, match=r"y = \[1.0, 0.0\]; expected positive numbers, for their logarithms"):
        fits.fit_power([1, 2], [1, 0])
