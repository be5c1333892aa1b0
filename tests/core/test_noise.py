"""Whitening: what comes out is white, known scalings are honoured, and what cannot be whitened is refused."""

from __future__ import annotations

import numpy as np
import pytest

from inr_core.errors import DataError
from inr_core.noise import NoiseCovariance, is_white, prewhitening_matrix, whiten

N_COILS = 5


def unit_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Complex noise of unit variance."""
    return ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def mixing(rng: np.random.Generator) -> np.ndarray:
    return unit_noise(rng, N_COILS, N_COILS) + 2 * np.eye(N_COILS, dtype=np.complex64)


def test_covariance_gathered_in_pieces_is_that_of_the_whole(rng: np.random.Generator, mixing: np.ndarray) -> None:
    noise = mixing @ unit_noise(rng, N_COILS, 600)
    covariance = NoiseCovariance(N_COILS)
    for piece in np.split(noise, 4, axis=1):
        covariance.add(piece)
    assert covariance.n_samples == 600
    assert np.allclose(covariance.matrix(), noise @ noise.conj().T / 600, rtol=1e-4)


def test_whitened_noise_is_white(rng: np.random.Generator, mixing: np.ndarray) -> None:
    covariance = NoiseCovariance(N_COILS)
    covariance.add(mixing @ unit_noise(rng, N_COILS, 20_000))
    matrix = prewhitening_matrix(covariance.matrix())
    fresh = whiten((mixing @ unit_noise(rng, N_COILS, 20_000)).reshape(N_COILS, 100, 200), matrix)
    assert fresh.shape == (N_COILS, 100, 200)
    assert fresh.dtype == np.complex64
    flat = fresh.reshape(N_COILS, -1)
    assert np.abs(flat @ flat.conj().T / flat.shape[1] - np.eye(N_COILS)).max() < 0.05


def test_dwell_time_and_bandwidth_scale_the_variance(rng: np.random.Generator) -> None:
    covariance = NoiseCovariance(N_COILS)
    covariance.add(unit_noise(rng, N_COILS, 400))
    assert np.allclose(covariance.matrix(dwell_ratio=2.0, bandwidth=0.8), covariance.matrix() / 1.6)


@pytest.mark.parametrize("unit", [1.0, 2.0])
def test_white_noise_is_recognised(unit: float) -> None:
    covariance = unit * np.eye(4, dtype=complex)
    assert is_white(covariance)
    covariance[0, 1] = covariance[1, 0] = 0.09 * unit
    assert is_white(covariance)
    covariance[0, 1] = covariance[1, 0] = 0.11 * unit
    assert not is_white(covariance)


@pytest.mark.parametrize("unit", [0.85, 1.5, 2.4, 1e-6])
def test_other_levels_are_not_white(unit: float) -> None:
    assert not is_white(unit * np.eye(4, dtype=complex))


def test_a_dead_coil_is_refused_and_named(rng: np.random.Generator) -> None:
    noise = unit_noise(rng, N_COILS, 300)
    noise[3] = 0
    covariance = NoiseCovariance(N_COILS)
    covariance.add(noise)
    with pytest.raises(DataError, match=r"of 5 coils is singular .*; expected independent noise .*look at coil 3") as e:
        prewhitening_matrix(covariance.matrix())
    assert "\n" not in str(e.value)


def test_a_covariance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="noise covariance of 2 coils is not finite; expected finite noise readouts"):
        prewhitening_matrix(np.full((2, 2), np.nan, complex))


def test_too_short_a_noise_scan_is_refused(rng: np.random.Generator) -> None:
    covariance = NoiseCovariance(N_COILS)
    covariance.add(unit_noise(rng, N_COILS, 4))
    with pytest.raises(DataError, match="noise scan of 4 samples for 5 coils; expected at least 5 samples"):
        covariance.matrix()


def test_impossible_factors_are_refused(rng: np.random.Generator) -> None:
    covariance = NoiseCovariance(N_COILS)
    covariance.add(unit_noise(rng, N_COILS, 40))
    with pytest.raises(DataError, match="dwell time ratio 0, noise bandwidth 1; expected positive numbers"):
        covariance.matrix(dwell_ratio=0)


def test_coil_counts_must_agree(rng: np.random.Generator) -> None:
    covariance = NoiseCovariance(N_COILS)
    with pytest.raises(DataError, match=r"a noise readout of shape \(4, 9\); expected \(5 coils, samples\)"):
        covariance.add(unit_noise(rng, 4, 9))
    with pytest.raises(DataError, match="k-space of 4 coils; expected 5 coils, as in the noise scan"):
        whiten(unit_noise(rng, 4, 9), np.eye(5, dtype=np.complex64))


def test_more_coils_than_there_can_be_are_refused_before_their_covariance_is_made() -> None:
    with pytest.raises(DataError, match="a noise scan of 65535 coils; expected at most 1024; look at the sender"):
        NoiseCovariance(65535)
