"""K-space through coils, truth, and noise."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms import CinePhantom, CoilArray, Ellipses, Grid, kspace, noise, noise_correlation, truth


class Disc:
    """A disc of radius 60 mm around (20, -10) mm that jumps by 10 mm in x at time 100."""

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        centre = np.array([[[20.0, -10.0]]]) + np.where(times_ms >= 100, 10, 0)[:, None, None] * np.array([1.0, 0.0])
        n = len(times_ms)
        return Ellipses(centre, np.full((n, 1, 2), 60.0), np.zeros((n, 1)), np.full((n, 1), 2.0), edge_mm=4.0)


def ndft(images: np.ndarray, traj: np.ndarray) -> np.ndarray:
    """y(k) of the contract, by its own sum: images (coils, y, x), traj (spokes, samples, 2)."""
    _, ny, nx = images.shape
    x, y = np.arange(nx) - nx // 2, np.arange(ny) - ny // 2
    waves_x = np.exp(-2j * np.pi * traj[..., 0, None] * x)
    waves_y = np.exp(-2j * np.pi * traj[..., 1, None] * y)
    return np.einsum("cyx,srx,sry->csr", images, waves_x, waves_y, optimize=True) / np.sqrt(nx * ny)


@pytest.mark.parametrize("matrix", [(32, 32), (33, 27), (40, 31)])
def test_data_are_the_transform_of_truth_times_maps(matrix: tuple[int, int]) -> None:
    grid = Grid(matrix, (300.0, 280.0))
    coils = CoilArray.loops(5, grid.fov_mm)
    # Within the inner third of k-space, where the band limit of the truth does not show.
    traj = np.random.default_rng(0).uniform(-0.16, 0.16, (3, 8, 2))
    data = kspace(Disc(), coils, grid, traj, np.zeros(3))
    image = truth(Disc(), grid, np.zeros(1))[0]
    expected = ndft(coils.maps(grid.points) * image, traj)
    np.testing.assert_allclose(data, expected, atol=2e-3 * np.abs(expected).max())


def test_truth_is_the_object_in_the_image_frame() -> None:
    grid = Grid((60, 50), (300.0, 250.0))
    image = truth(Disc(), grid, np.array([0.0, 200.0]))
    assert image.shape == (2, 50, 60)
    assert image.dtype == np.complex64
    for frame, centre in zip(image, (20.0, 30.0), strict=True):
        distance = np.hypot(grid.points[..., 0] - centre, grid.points[..., 1] + 10)
        np.testing.assert_allclose(frame[distance < 45], 2, atol=0.03)
        np.testing.assert_allclose(frame[distance > 75], 0, atol=0.03)


def test_truth_with_coils_has_their_shading() -> None:
    grid = Grid((24, 24), (300.0, 300.0))
    coils = CoilArray.loops(2, grid.fov_mm)
    expected = truth(Disc(), grid, np.zeros(1)) * coils.rss(grid.points)
    np.testing.assert_allclose(truth(Disc(), grid, np.zeros(1), coils), expected, rtol=1e-6)


def test_every_spoke_sees_the_object_at_its_own_time() -> None:
    grid = Grid((24, 24), (300.0, 300.0))
    coils = CoilArray.loops(3, grid.fov_mm)
    traj = np.random.default_rng(1).uniform(-0.5, 0.5, (700, 24, 2))  # more than one batch
    times = np.arange(700) * 3.1
    phantom = CinePhantom()
    together = kspace(phantom, coils, grid, traj, times)
    for spoke in (0, 150, 682, 683, 699):
        alone = kspace(phantom, coils, grid, traj[spoke : spoke + 1], times[spoke : spoke + 1])
        np.testing.assert_allclose(together[:, spoke], alone[:, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(together - kspace(phantom, coils, grid, traj, times + 100)).max() > 0.01


def test_noise_has_the_deviation_and_the_correlation_asked_for() -> None:
    rng = np.random.default_rng(2)
    plain = noise((4, 20000), 0.5, rng)
    assert plain.dtype == np.complex64
    np.testing.assert_allclose([plain.real.std(), plain.imag.std()], 0.5, rtol=0.02)
    covariance = noise_correlation(4, 0.4)
    samples = noise((4, 50000), 1.0, rng, covariance)
    measured = samples @ samples.conj().T / (2 * 50000)
    np.testing.assert_allclose(measured, covariance, atol=0.02)
    np.testing.assert_allclose(np.abs(covariance[0]), [1, 0.4, 0.16, 0.064])


def test_refuses() -> None:
    grid = Grid((8, 8), (1.0, 1.0))
    coils = CoilArray.loops(1, (1.0, 1.0))
    with pytest.raises(
        ParameterError, match=r"trajectory \(2, 3, 2\) with times \(3,\); expected \(spokes, samples, 2\)"
    ):
        kspace(Disc(), coils, grid, np.zeros((2, 3, 2)), np.zeros(3))
    with pytest.raises(
        ParameterError, match=r"matrix \(0, 8\) over \(1, 1\) mm; expected pixels and millimetres above 0"
    ):
        Grid((0, 8), (1, 1))
    with pytest.raises(ParameterError, match=r"noise correlation 1; expected 0 to below 1"):
        noise_correlation(3, 1)
