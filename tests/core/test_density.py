"""The ramp against the plateau of an analytic disc, by an explicit transform."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.density import ramp_density, tempered
from inr_core.errors import DataError
from inr_core.trajectory import radial_trajectory, spoke_angles


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """J1 by the trapezium rule on its periodic integral, which converges exponentially (SciPy is no dependency)."""
    tau = (np.arange(512) + 0.5) * np.pi / 512
    return np.cos(tau - x[..., None] * np.sin(tau)).mean(axis=-1)


def disc_kspace(traj: np.ndarray, radius: float, centre: tuple[float, float], matrix: tuple[int, int]) -> np.ndarray:
    """Samples of a unit disc, y = 1/sqrt(nx ny) * its Fourier transform; lengths in pixels."""
    k = np.linalg.norm(traj.astype(np.float64), axis=-1)
    safe = np.where(k > 1e-12, k, 1.0)
    jinc = np.where(k > 1e-12, radius * bessel_j1(2 * np.pi * radius * safe) / safe, np.pi * radius**2)
    phase = np.exp(-2j * np.pi * (traj[..., 0] * centre[0] + traj[..., 1] * centre[1]))
    return jinc * phase / np.sqrt(matrix[0] * matrix[1])


def adjoint(y: np.ndarray, traj: np.ndarray, matrix: tuple[int, int]) -> np.ndarray:
    """A^H y by an explicit sum in float64, image (y, x)."""
    k = traj.astype(np.float64).reshape(-1, 2)
    ex, ey = (np.exp(2j * np.pi * np.outer(np.arange(n) - n // 2, k[:, i])) for i, n in enumerate(matrix))
    return np.einsum("yk,k,xk->yx", ey, y.reshape(-1), ex, optimize=True) / np.sqrt(matrix[0] * matrix[1])


# matrix, samples, centre sample, spacing (cycles per pixel), spokes, aspect
PLATEAUS = {
    "even, twofold oversampling": ((48, 48), 96, None, None, 89, 1.0),
    "odd": ((45, 45), 89, None, 1 / 89, 89, 1.0),
    "no oversampling": ((48, 48), 48, None, None, 89, 1.0),
    "threefold oversampling": ((32, 32), 96, None, None, 55, 1.0),
    "not square": ((56, 39), 112, None, None, 89, 1.0),
    "oblong pixels": ((48, 32), 96, None, None, 89, 1.5),
    "asymmetric echo": ((48, 48), 72, 24, 1 / 96, 144, 1.0),
    "half-spokes": ((48, 48), 48, 0, 1 / 96, 233, 1.0),
    "centre between samples": ((48, 48), 96, 47.6, 1 / 96, 89, 1.0),
}


@pytest.mark.parametrize("case", PLATEAUS, ids=str)
def test_a_disc_comes_out_at_its_value(case: str) -> None:
    matrix, n_samples, center, spacing, spokes, aspect = PLATEAUS[case]
    traj = radial_trajectory(spoke_angles(np.arange(spokes)), n_samples, center, spacing=spacing, aspect=aspect)
    # Gridding sees the object repeated at the sampled field of view: without oversampling it has to be smaller.
    radius, centre = (0.22 if n_samples == matrix[0] else 0.3) * min(matrix), (2.0, -1.0)
    physical = traj / np.array([1.0, aspect], np.float32)  # the disc is round in mm, so an ellipse in oblong pixels
    y = disc_kspace(physical, radius, (centre[0], centre[1] * aspect), matrix) / aspect
    image = adjoint(ramp_density(traj, matrix, aspect=aspect) * y, traj, matrix)
    x, row = (np.arange(n) - n // 2 for n in matrix)
    inside = np.hypot(x[None] - centre[0], (row[:, None] - centre[1]) * aspect) < 0.6 * radius
    assert image[inside].real.mean() == pytest.approx(1.0, abs=0.01)
    assert abs(image[inside].imag.mean()) < 0.01


@pytest.mark.parametrize("spokes", [13, 21])
def test_the_plateau_holds_far_below_nyquist(spokes: int) -> None:
    """Streaks come and go from point to point, but the level inside the disc stays."""
    matrix = (64, 64)
    traj = radial_trajectory(spoke_angles(np.arange(spokes)), 128)
    image = adjoint(ramp_density(traj, matrix) * disc_kspace(traj, 16.0, (0, 0), matrix), traj, matrix)
    x = np.arange(64) - 32
    assert image[np.hypot(*np.meshgrid(x, x)) < 8].real.mean() == pytest.approx(1.0, abs=0.02)


def test_weights_are_ring_areas_with_the_centre_of_euler_and_maclaurin() -> None:
    density = ramp_density(radial_trajectory(spoke_angles(np.arange(7)), 10), (5, 3))
    assert density[0, 5] == pytest.approx(15 * np.pi / 7 * 0.1**2 / 6, rel=1e-5)
    assert density[2, 7] == pytest.approx(15 * np.pi / 7 * 0.2 * 0.1, rel=1e-5)


@pytest.mark.parametrize("aspect", [1.5, 0.7])
@pytest.mark.parametrize("center", [48, 24], ids=["full", "asymmetric"])
def test_the_spokes_tell_the_aspect_of_the_pixels(aspect: float, center: int) -> None:
    traj = radial_trajectory(spoke_angles(np.arange(13)), 96, center, spacing=0.4 / 96, aspect=aspect)
    told = ramp_density(traj, (48, 32), aspect=aspect)
    assert ramp_density(traj, (48, 32)) == pytest.approx(told, rel=1e-4, abs=1e-9)
    assert ramp_density(traj, (48, 32), aspect=1.0) != pytest.approx(told, rel=0.05)


@pytest.mark.parametrize("angles", [[0.3], [0.3, 0.3, 0.3]], ids=["one spoke", "one direction"])
def test_spokes_of_one_direction_tell_no_aspect(angles: list[float]) -> None:
    traj = radial_trajectory(angles, 16)
    assert np.array_equal(ramp_density(traj, (8, 8)), ramp_density(traj, (8, 8), aspect=1.0))


def test_square_pixels_are_square_to_the_bit() -> None:
    traj = radial_trajectory(spoke_angles(np.arange(1000, 1013)), 192)
    assert np.array_equal(ramp_density(traj, (96, 96)), ramp_density(traj, (96, 96), aspect=1.0))


def test_samples_beyond_the_band_have_no_weight() -> None:
    traj = radial_trajectory([0.0, np.pi / 2, 0.8], 48, aspect=1.5)
    density = ramp_density(traj, (48, 32))
    outside = np.abs(traj).max(axis=-1) > 0.5005
    assert outside.sum() == 15 + 3  # of the upright spoke, and of the oblique one
    assert not density[outside].any()
    assert (density[~outside] > 0).all()


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 2), (4, 8, 3), (0, 8, 2)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"a trajectory of shape \(.*\); expected \(spokes, samples, 2\)"):
        ramp_density(np.zeros(shape, np.float32), (8, 8))


def test_a_spoke_without_length_is_refused() -> None:
    with pytest.raises(DataError, match="all lie on one point of k-space; expected straight spokes"):
        ramp_density(np.zeros((2, 8, 2), np.float32), (8, 8))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_power_of_the_density_keeps_its_mean_and_weights_nothing_beyond_the_band(exponent: float) -> None:
    density = ramp_density(radial_trajectory([0.0, np.pi / 2, 0.8], 48, aspect=1.5), (48, 32))
    made = tempered(density, exponent)
    assert made.mean() == pytest.approx(density.mean(), rel=1e-5)
    assert np.array_equal(made > 0, density > 0)
    expected = np.where(density > 0, (density / density.mean()) ** exponent, 0)
    assert made == pytest.approx(expected * density.mean() / expected.mean(), rel=1e-4)
