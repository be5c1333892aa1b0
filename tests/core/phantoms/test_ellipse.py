"""The transform of the ellipses is what integration over them gives."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms import Ellipses

RNG = np.random.default_rng(0)


def make(edge_mm: float = 0.0, ramp: tuple[float, float] = (0.0, 0.0), times: int = 2) -> Ellipses:
    """Three overlapping ellipses that differ from time to time."""
    step = np.arange(times)[:, None]
    centre = np.array([[3.0, -5.0], [-8.0, 2.0], [0.0, 0.0]]) + step[..., None]
    axes = np.array([[12.0, 5.0], [4.0, 9.0], [20.0, 16.0]]) + 0.5 * step[..., None]
    amplitude = np.broadcast_to(np.array([1.0, -0.4 + 0.3j, 0.7j]), (times, 3))
    return Ellipses(centre, axes, np.array([0.4, -1.1, 0.0]) + 0.2 * step, amplitude, edge_mm, ramp)


def integrate(ellipses: Ellipses, k: np.ndarray, spacing: float = 0.05) -> np.ndarray:
    """Sum over a fine raster, (times, points)."""
    x = np.arange(-30, 30, spacing) + spacing / 2
    raster = ellipses.raster(np.stack(np.meshgrid(x, x), -1))  # (times, y, x)
    waves_x = np.exp(-2j * np.pi * np.outer(k[..., 0].ravel(), x))
    waves_y = np.exp(-2j * np.pi * np.outer(k[..., 1].ravel(), x))
    sums = np.einsum("tyx,kx,ky->tk", raster, waves_x, waves_y, optimize=True) * spacing**2
    points = k.shape[1]
    return np.stack([sums[t, t * points : (t + 1) * points] for t in range(len(raster))])


def test_transform_is_the_integral() -> None:
    ellipses = make()
    k = RNG.uniform(-0.15, 0.15, (2, 6, 2))
    k[:, 0] = 0
    expected = integrate(ellipses, k)
    np.testing.assert_allclose(ellipses.fourier(k)[0], expected, atol=3e-4 * np.abs(expected).max())


def test_centre_of_kspace_is_the_area() -> None:
    ellipses = make()
    area = (np.pi * ellipses.axes.prod(-1) * ellipses.amplitude).sum(-1)
    np.testing.assert_allclose(ellipses.fourier(np.zeros((2, 1, 2)))[0, :, 0], area, rtol=1e-14)


def test_shift_and_ramp_move_kspace() -> None:
    k, shifts = RNG.uniform(-0.3, 0.3, (2, 5, 2)), np.array([[0.01, -0.02], [0.0, 0.005]])
    plain = make()
    shifted = plain.fourier(k, shifts)
    for m, shift in enumerate(shifts):
        np.testing.assert_allclose(shifted[m], plain.fourier(k - shift)[0], rtol=1e-11, atol=1e-10)
        ramped = make(ramp=(float(shift[0]), float(shift[1])))
        np.testing.assert_allclose(ramped.fourier(k)[0], plain.fourier(k - shift)[0], rtol=1e-11, atol=1e-10)


def test_edge_is_a_gaussian_also_under_shifts() -> None:
    k, shifts = RNG.uniform(-0.3, 0.3, (2, 5, 2)), np.array([[0.04, -0.03]])
    moved = ((k - shifts[0]) ** 2).sum(-1)
    expected = make().fourier(k, shifts) * np.exp(-2 * np.pi**2 * 1.5**2 * moved)
    np.testing.assert_allclose(make(edge_mm=1.5).fourier(k, shifts), expected, rtol=1e-11)


def test_refuses() -> None:
    good = make()
    with pytest.raises(ParameterError, match=r"ellipses with centre \(2, 2, 2\).*; expected \(times, n, 2\) twice"):
        Ellipses(good.centre[:, :2], good.axes, good.angle, good.amplitude)
    with pytest.raises(ParameterError, match=r"without a size; expected semi-axes > 0"):
        Ellipses(good.centre, 0 * good.axes, good.angle, good.amplitude)
    with pytest.raises(ParameterError, match=r"k-space positions \(3, 4, 2\); expected \(2, points, 2\)"):
        good.fourier(np.zeros((3, 4, 2)))
