"""Encodings against sines and cosines written out number by number."""

from __future__ import annotations

import math

import pytest
import torch

from inr_core.errors import ParameterError
from inr_core.fields.encodings import FrequencyEncoding, GaussianEncoding


@pytest.mark.parametrize(("n_dims", "n_frequencies"), [(1, 6), (2, 10), (3, 1)])
@pytest.mark.parametrize("include_input", [True, False])
@pytest.mark.parametrize("multiplier", [1.0, math.pi])
def test_frequencies_one_by_one(n_dims: int, n_frequencies: int, include_input: bool, multiplier: float) -> None:
    encoding = FrequencyEncoding(n_dims, n_frequencies, include_input=include_input, multiplier=multiplier).double()
    points = torch.rand(5, 3, n_dims, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    encoded = encoding(points)
    assert encoded.shape == (5, 3, encoding.n_out)
    for point, features in zip(points.reshape(-1, n_dims).tolist(), encoded.reshape(15, -1).tolist(), strict=True):
        expected = list(point) if include_input else []
        for i in range(n_frequencies):
            expected += [math.sin(multiplier * 2**i * p) for p in point]
            expected += [math.cos(multiplier * 2**i * p) for p in point]
        assert features == pytest.approx(expected, abs=1e-12)


def test_feature_counts_of_published_networks() -> None:
    """DA-INR's released code encodes space with 42 and time with 13 features."""
    assert FrequencyEncoding(2, 10, include_input=True, multiplier=1.0).n_out == 42
    assert FrequencyEncoding(1, 6, include_input=True, multiplier=1.0).n_out == 13


def test_gaussian_features_one_by_one() -> None:
    encoding = GaussianEncoding(3, 10, sigma=2.0, seed=4).double()
    points = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    encoded = encoding(points)
    assert encoded.shape == (7, encoding.n_out) == (7, 10)
    for point, features in zip(points.tolist(), encoded.tolist(), strict=True):
        angles = [2 * math.pi * sum(b * p for b, p in zip(row, point, strict=True)) for row in encoding.frequencies]
        assert features == pytest.approx([*map(math.cos, angles), *map(math.sin, angles)], abs=1e-12)


def test_gaussian_frequencies_are_normal_reproducible_and_saved() -> None:
    state = torch.get_rng_state()
    encoding = GaussianEncoding(2, 20000, sigma=3.0, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert float(encoding.frequencies.std()) == pytest.approx(3, rel=0.02)
    assert float(encoding.frequencies.mean()) == pytest.approx(0, abs=0.1)
    assert torch.equal(encoding.frequencies, GaussianEncoding(2, 20000, sigma=3.0, seed=0).frequencies)
    other = GaussianEncoding(2, 20000, sigma=3.0, seed=1)
    assert not torch.equal(encoding.frequencies, other.frequencies)
    other.load_state_dict(encoding.state_dict())
    assert torch.equal(encoding.frequencies, other.frequencies)
    assert not list(encoding.parameters())


@pytest.mark.parametrize(
    "encoding",
    [FrequencyEncoding(2, 3, include_input=True, multiplier=math.pi), GaussianEncoding(2, 6, sigma=1.0, seed=0)],
)
def test_gradient_of_points(encoding: FrequencyEncoding | GaussianEncoding) -> None:
    points = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(encoding.double(), points)


def test_bad_arguments() -> None:
    with pytest.raises(ParameterError, match="2 coordinates at 0 frequencies; expected at least 1"):
        FrequencyEncoding(2, 0, include_input=True, multiplier=1.0)
    with pytest.raises(ParameterError, match="7 Gaussian features of 2 coordinates; expected an even number"):
        GaussianEncoding(2, 7, sigma=1.0, seed=0)
    for encoding in (FrequencyEncoding(2, 3, include_input=False, multiplier=1.0), GaussianEncoding(2, 4, 1.0, 0)):
        with pytest.raises(ParameterError, match=r"points of shape \(5, 3\); expected \(\.\.\., 2\)"):
            encoding(torch.zeros(5, 3))
