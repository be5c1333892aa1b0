"""Values as DICOM's whole numbers: one scale, no clipping, nothing lost that is seen."""

from __future__ import annotations

import numpy as np
import pytest

from inr_gadgets.export.pixels import PixelScale, short_number


def test_whole_numbers_stay_what_they_are() -> None:
    image = np.array([[0, 7], [4095, 65535]], np.uint16)
    scale = PixelScale.of([image], None)
    assert scale.is_plain
    np.testing.assert_array_equal(scale.stored(image), image)


def test_signed_whole_numbers_are_shifted() -> None:
    image = np.array([[-1024, 0, 3000]], np.int16)
    scale = PixelScale.of([image], None)
    assert (scale.slope, scale.intercept) == (1, -1024)
    np.testing.assert_array_equal(scale.stored(image), [[0, 1024, 4024]])


@pytest.mark.parametrize("high", [0.7, 1173.0, 3e6])
def test_values_come_back(high: float) -> None:
    image = np.linspace(-0.1 * high, high, 77).reshape(7, 11).astype(np.float32)
    scale = PixelScale.of([image[:3], image[3:]], None)
    assert max(len(repr(number)) for number in (scale.slope, scale.intercept)) <= 16
    back = scale.slope * scale.stored(image).astype(float) + scale.intercept
    np.testing.assert_allclose(back, image, atol=0.51 * 1.1 * high / 65535)


def test_plain_files_round_what_has_greys_enough() -> None:
    image = np.linspace(0, 1172.4, 60).reshape(6, 10).astype(np.float32)
    assert PixelScale.of([image], None, plain=True).is_plain
    np.testing.assert_array_equal(PixelScale.of([image], None, plain=True).stored(image), np.rint(image))
    assert not PixelScale.of([image / 3], None, plain=True).is_plain
    assert not PixelScale.of([100 * image], None, plain=True).is_plain
    assert PixelScale.of([image - 500.5], None, plain=True).intercept == -501


def test_window() -> None:
    image = np.append(np.full(999, 200.0), 5000.0).reshape(10, 100)
    scale = PixelScale.of([image], None)
    assert (scale.centre, scale.width) == (100, 200)
    scale = PixelScale.of([image], (64, 32))
    assert (scale.centre, scale.width) == (64, 32)
    empty = PixelScale.of([np.zeros((3, 3))], None)
    assert (empty.slope, empty.intercept, empty.width) == (1, 0, 1)


def test_what_is_not_finite_is_nothing() -> None:
    scale = PixelScale.of([np.array([[np.nan, np.inf, 2.0]])], None)
    np.testing.assert_array_equal(scale.stored(np.array([[np.nan, -np.inf, 2.0]])), [[0, 0, 65535]])


@pytest.mark.parametrize("value", [1 / 3, 123456.789012345678, 1.23456789e-9, -2 / 3e5, 0.0])
def test_short_number(value: float) -> None:
    assert short_number(value) == pytest.approx(value, rel=1e-8)
    assert len(repr(short_number(value))) <= 16
