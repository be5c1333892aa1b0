"""FMLP: its network by hand, its images of a small beating heart, and what it does with little data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.fields.networks import count_parameters
from inr_core.losses import temporal_tv
from inr_core.methods import get_method, get_preset
from inr_core.methods.fmlp import make_field
from inr_core.methods.live import RefinedSeries
from inr_core.parameters import parse
from inr_core.parameters.fmlp import FmlpParameters
from inr_core.solvers.data_terms import l2
from radial import RadialScan, cine_scan, error, gridded, refined_series

SMALL = {
    "hidden": 32,
    "layers": 2,
    "space_features": 64,
    "time_features": 16,
    "space_frequency": 4.0,
    "time_frequency": 0.04,
    "learning_rate": 1e-3,
    "window": 1,
    "passes": 2.0,
}


def refined(scan: RadialScan, **values: Any) -> RefinedSeries:
    return refined_series("fmlp", scan, FmlpParameters(**(SMALL | values)))


def test_the_published_network_by_hand() -> None:
    method = get_method("fmlp")
    parameters = parse(FmlpParameters, get_preset(method, "paper"), "fmlp")
    assert count_parameters(make_field((128, 128), parameters)) == 1_905_154
    assert 1_905_154 == 640 * 512 + 512 + 6 * (512 * 512 + 512) + 512 * 2 + 2
    assert (parameters.learning_rate, parameters.last_rate, parameters.window) == (2e-4, 1.0, 1)
    assert (parameters.data_term, parameters.held_out, parameters.temporal_tv) == ("l2", 0.05, 0.0)
    assert method.continuous
    assert not method.streams


def test_its_squares_by_hand() -> None:
    assert float(l2(torch.tensor([3 + 4j, 1j]), torch.tensor([0j, 0j]))) == (25 + 1) / 2


@pytest.mark.parametrize("values", [{}, {"data_term": "l2", "passes": 16.0}])
def test_its_series_beats_gridding(values: dict[str, Any]) -> None:
    scan = cine_scan()
    series = refined(scan, **({"passes": 10.0, "learning_rate": 3e-3} | values))
    assert series.failure is None
    assert series.steps == values.get("passes", 10) * 24
    assert error(series.images, scan.truth) < 0.75 * error(gridded(), scan.truth)


def test_total_variation_makes_it_smoother_in_time() -> None:
    plain, smooth = (refined(cine_scan(), passes=6.0, window=4, temporal_tv=weight).images for weight in (0.0, 1.0))
    assert float(temporal_tv(smooth)) < 0.7 * float(temporal_tv(plain))


def test_held_out_spokes_end_the_training() -> None:
    scan = cine_scan(frames=6, sigma=0.5)
    series = refined(scan, passes=500.0, learning_rate=1e-2, last_rate=1.0, held_out=0.2, patience=5)
    assert 5 * 6 < series.steps < 300 * 6
    assert series.steps % 6 == 0
    assert bool(torch.isfinite(series.images.abs()).all())


def test_a_loss_that_is_not_finite_keeps_the_last_good_images() -> None:
    series = refined_with_nan()
    assert str(series.failure).startswith("data consistency not finite at step 3; expected a finite loss")
    assert series.steps == 2
    assert bool(torch.isfinite(series.images.abs()).all())


def refined_with_nan() -> RefinedSeries:
    from inr_core.solvers import data_terms

    calls = []
    original = data_terms.ToeplitzL2.__call__

    def spoilt(self: Any, images: Tensor, positions: Tensor) -> Tensor:
        calls.append(1)
        return original(self, images, positions) * (float("nan") if len(calls) == 3 else 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_terms.ToeplitzL2, "__call__", spoilt)
        return refined(cine_scan(frames=4))
