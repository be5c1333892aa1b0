"""Gradient delays: known shifts of an analytic phantom come back, and what says nothing about them is not believed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from inr_core.errors import DataError
from inr_core.gradient_delays import MARGIN, GradientDelays, corrected, estimate_delays
from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace, noise
from inr_core.trajectory import radial_trajectory, spoke_angles

MATRIX = (48, 48)


def scan(
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spokes: int = 39,
    *,
    samples: int = 96,
    center: int | None = None,
    coils: int = 6,
    sigma: float = 0.0,
    tr_ms: float = 0.0,
    matrix: tuple[int, int] = MATRIX,
    fov_mm: tuple[float, float] = (300.0, 300.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Exact k-space at points shifted by S n, n along the spoke in mm, and the trajectory without the shift."""
    grid = Grid(matrix, fov_mm)
    aspect = float(grid.pixel_mm[1] / grid.pixel_mm[0])
    angles = spoke_angles(np.arange(spokes), offset_deg=7)
    spacing = 1 / (2 * matrix[0])
    traj = radial_trajectory(angles, samples, center, spacing=spacing, aspect=aspect)
    sx, sy, sxy = shift
    cos, sin = np.cos(angles), np.sin(angles)
    moved = spacing * np.stack([sx * cos + sxy * sin, aspect * (sxy * cos + sy * sin)], -1)
    array = CoilArray.loops(coils, grid.fov_mm)
    data = kspace(CinePhantom(), array, grid, traj + moved[:, None], tr_ms * np.arange(spokes))
    if sigma:
        data = data + noise(data.shape, sigma * float(np.abs(data).max()), np.random.default_rng(1))
    return data, traj


def found(delays: GradientDelays) -> list[float]:
    return [delays.sx, delays.sy, delays.sxy]


@pytest.mark.parametrize("shift", [(0.3, -0.5, 0.0), (1.0, -0.5, 0.1), (0.2, 0.2, -0.4), (-2.0, 1.5, 0.3)])
@pytest.mark.parametrize("spokes", [5, 13, 39])
def test_known_delays_come_back(shift: tuple[float, float, float], spokes: int) -> None:
    delays = estimate_delays(*scan(shift, spokes))
    assert found(delays) == pytest.approx(shift, abs=0.005)
    assert delays.error < 0.01
    assert delays.significant
    assert delays.n_spokes == spokes


def test_oblique_delays_are_those_of_rotated_axes() -> None:
    """Delays (a, b) of physical axes that lie at 30 degrees in the plane."""
    a, b, turn = 0.8, -0.4, np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    (sx, sxy), (_, sy) = rotation @ np.diag([a, b]) @ rotation.T
    delays = estimate_delays(*scan((sx, sy, sxy)))
    assert found(delays) == pytest.approx([0.5, -0.1, 0.6 * np.sin(2 * turn)], abs=0.005)
    assert np.linalg.eigvalsh(delays.matrix) == pytest.approx([b, a], abs=0.005)
    assert delays.largest == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("samples", "center"), [(97, None), (71, 23), (70, 46), (33, 12)])
def test_odd_and_asymmetric_readouts(samples: int, center: int | None) -> None:
    delays = estimate_delays(*scan((0.6, -0.3, 0.2), samples=samples, center=center))
    assert found(delays) == pytest.approx([0.6, -0.3, 0.2], abs=0.005)


def test_oblong_pixels_leave_samples_what_they_are() -> None:
    data, traj = scan((0.6, -0.3, 0.2), matrix=(48, 40), fov_mm=(300.0, 375.0))
    delays = estimate_delays(data, traj, aspect=1.5)
    assert found(delays) == pytest.approx([0.6, -0.3, 0.2], abs=0.005)
    # One that takes the pixels for square is not the same; else the line above would prove nothing.
    assert found(estimate_delays(data, traj)) != pytest.approx([0.6, -0.3, 0.2], abs=0.05)


@pytest.mark.parametrize("spokes", [13, 39])
def test_no_delays_are_found_where_there_are_none(spokes: int) -> None:
    delays = estimate_delays(*scan(spokes=spokes, tr_ms=3.0, sigma=1e-3))
    assert delays.largest < 0.01
    assert delays.credible
    assert not delays.significant


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.3, -0.5, 0.1)])
def test_the_error_tells_how_noise_moves_the_estimate(shift: tuple[float, float, float]) -> None:
    delays = estimate_delays(*scan(shift, sigma=0.02, tr_ms=3.0))
    away = np.abs(np.subtract(found(delays), shift)).max()
    assert away < 0.1
    assert away < 4 * delays.error < 0.2
    assert delays.residual == pytest.approx(0.05, abs=0.03)


def test_neither_motion_nor_steady_state_nor_phase_moves_it() -> None:
    data, traj = scan((0.3, -0.5, 0.1), tr_ms=3.0)
    rng = np.random.default_rng(2)
    growing = 1 + np.exp(-np.arange(39) / 10)
    data = data * (growing * np.exp(1j * rng.uniform(0, 6, 39)))[:, None] * np.exp(0.02j * np.arange(96))
    delays = estimate_delays(data, traj)
    assert found(delays) == pytest.approx([0.3, -0.5, 0.1], abs=0.01)


def test_a_single_coil_is_compared_in_magnitude() -> None:
    data, traj = scan((0.3, -0.5, 0.1), coils=1)
    delays = estimate_delays(data * np.exp(1j * np.arange(39))[:, None], traj)
    assert found(delays) == pytest.approx([0.3, -0.5, 0.1], abs=0.01)
    assert delays.significant


def test_many_coils_and_spokes_and_the_middle_alone() -> None:
    data, traj = scan((0.3, -0.5, 0.1), 70, coils=20, sigma=1e-3)
    whole = estimate_delays(data, traj)
    assert whole.n_spokes == 64
    assert found(whole) == pytest.approx([0.3, -0.5, 0.1], abs=0.005)
    middle = slice(48 - MARGIN, 48 + MARGIN + 1)
    assert found(estimate_delays(data[..., middle], traj[:, middle])) == pytest.approx(found(whole), abs=1e-6)


def test_what_says_nothing_is_not_believed() -> None:
    data, traj = scan((0.3, -0.5, 0.1))
    rng = np.random.default_rng(0)
    nothing = rng.standard_normal(data.shape) + 1j * rng.standard_normal(data.shape)
    assert estimate_delays(nothing, traj).residual > 0.5
    assert not estimate_delays(nothing, traj).credible
    for unknown in (
        estimate_delays(np.ones_like(data), traj),
        estimate_delays(data[:, :4], traj[:4]),
        estimate_delays(data[:, [0] * 20], traj[[0] * 20]),
        estimate_delays(data[:, [0] * 10 + [1] * 10], traj[[0] * 10 + [1] * 10]),
    ):
        assert np.isinf(unknown.error)
        assert not unknown.significant


def test_what_is_significant() -> None:
    assert GradientDelays(0.1, 0.02, error=0.01).significant
    assert not GradientDelays(0.1, 0.02, error=0.03).significant  # not beyond its error
    assert not GradientDelays(0.03, 0.02, error=1e-4).significant  # too small to be seen
    assert not GradientDelays(0.1, 0.02, error=0.01, residual=0.5).significant
    assert not GradientDelays(3.5, 0.02, error=0.01).significant  # at the edge of what is searched


def test_units_and_words() -> None:
    delays = estimate_delays(*scan((0.3, -0.5, 0.1)))
    assert delays.spacing == pytest.approx(1 / 96, rel=1e-5)
    assert delays.cycles_per_pixel == pytest.approx([0.3 / 96, -0.5 / 96, 0.1 / 96], abs=1e-4)
    assert str(GradientDelays(0.3, -0.5, 0.1, error=0.004)) == "Sx +0.300, Sy -0.500, Sxy +0.100 samples (+-0.004)"


def test_corrected_points_are_the_shifted_ones() -> None:
    traj = radial_trajectory([0.0, np.pi / 2, np.pi, np.pi / 4], 7, aspect=1.5)
    before = traj.copy()
    moved = corrected(traj, GradientDelays(0.3, -0.5, 0.1, aspect=1.5))
    half = np.sqrt(0.5)
    expected = np.array([[0.3, 0.1], [0.1, -0.5], [-0.3, -0.1], [half * 0.4, half * -0.4]]) / 7 * [1, 1.5]
    assert moved - traj == pytest.approx(np.repeat(expected[:, None], 7, axis=1), abs=1e-6)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(traj, before)


def test_corrected_is_a_delay_in_time_of_any_waveform() -> None:
    """k(t - 0.2) of a gradient that ramps up: its samples on the ramp are shifted less."""

    def waveform(t: np.ndarray) -> np.ndarray:
        return np.where(t < 20, t**2 / 40, t - 10) / 100

    t = np.arange(60.0)
    traj = np.stack([waveform(t), np.zeros(60)], -1)[None]
    moved = corrected(traj, GradientDelays(sx=-0.2))
    assert moved[0, 1:, 0] == pytest.approx(waveform(t - 0.2)[1:], abs=2e-5)
    assert traj[0, 1:, 0] != pytest.approx(waveform(t - 0.2)[1:], abs=1e-3)


def test_corrected_of_estimated_is_where_the_samples_are() -> None:
    data, traj = scan((0.6, -0.3, 0.2))
    left = estimate_delays(data, corrected(traj, estimate_delays(data, traj)))
    assert left.largest < 0.002


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k, t: (k, t[:, :, :1]), r"a trajectory of shape \(39, 96, 1\); expected \(spokes, samples, 2\)"),
        (lambda k, t: (k[:, :30], t), r"k-space of shape \(6, 30, 96\) for a trajectory of \(39, 96, 2\); expected"),
        (lambda k, t: (np.where(k == k[0, 3, 4], np.nan, k), t), "NaN or infinity; expected finite"),
        (lambda k, t: (0 * k, t), "all zero near the centre of k-space; expected spokes of an object"),
        (
            lambda k, t: (k[..., 48:], t[:, 48:]),
            "spokes with 0 samples before the centre of k-space and 47 after it; expected at least 10 to either side",
        ),
        (lambda k, t: (k, np.sign(t) * t**2), "curved or uneven near the centre of k-space; expected straight"),
        (
            lambda k, t: (k, t + 6 / 96 * np.stack([-t[:, -1, 1], t[:, -1, 0]], -1)[:, None] * 2),
            "spokes that do not cross near the centre of k-space; expected radial spokes",
        ),
    ],
)
def test_errors(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(DataError, match=message):
        estimate_delays(*change(*scan()))


def test_corrected_refuses_other_shapes() -> None:
    with pytest.raises(DataError, match=r"a trajectory of shape \(4, 2\); expected \(spokes, samples, 2\)"):
        corrected(np.zeros((4, 2)), GradientDelays())


@pytest.mark.peer
@pytest.mark.parametrize("shift", [(0.3, -0.5, 0.1), (1.0, -0.4, -0.2)])
def test_barts_ring_finds_the_same(shift: tuple[float, float, float], tmp_path: Path) -> None:
    """In its convention, too: the same sign, with x and y exchanged."""
    if shutil.which("bart") is None:
        pytest.skip("BART is not installed")
    data, traj = scan(shift, sigma=1e-3)
    in_fov = np.concatenate([traj * MATRIX[0], np.zeros_like(traj[..., :1])], -1)
    for name, array in {"t": in_fov.transpose(2, 1, 0), "k": data.transpose(2, 1, 0)[None]}.items():
        dimensions = [*array.shape] + [1] * (16 - array.ndim)
        (tmp_path / f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
        array.astype(np.complex64).ravel(order="F").tofile(tmp_path / f"{name}.cfl")
    said = subprocess.run(
        ["bart", "estdelay", "-R", "-r", "6", "-n", "5", "t", "k"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    sy, sx, sxy = (float(word) for word in said.stdout.strip().split(":"))
    assert [sx, sy, sxy] == pytest.approx(shift, abs=0.02)
    assert found(estimate_delays(data, traj)) == pytest.approx([sx, sy, sxy], abs=0.02)
