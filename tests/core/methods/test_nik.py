"""NIK: its network and loss by hand, its images of an exact k-space and of a small beating heart."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.fields.networks import count_parameters
from inr_core.methods import get_method, get_preset
from inr_core.methods.live import RefinedSeries
from inr_core.methods.nik import KspaceField, outer_part, relative_error
from inr_core.parameters import parse
from inr_core.parameters.nik import NikParameters
from radial import RadialScan, cine_scan, error, gridded, refined_series

SMALL = {
    "features": 64,
    "hidden": 32,
    "layers": 2,
    "space_frequency": 1.0,
    "time_frequency": 0.05,
    "epsilon": 0.1,
    "batch": 512,
    "learning_rate": 5e-4,
    "passes": 2.0,
    "held_out": 0.0,
}


def refined(scan: RadialScan, **values: Any) -> RefinedSeries:
    return refined_series("nik", scan, NikParameters(**(SMALL | values)))


def test_the_published_network_by_hand() -> None:
    method = get_method("nik")
    parameters = parse(NikParameters, get_preset(method, "paper"), "nik")
    field = KspaceField(12, parameters)
    assert count_parameters(field) == 2_102_274
    assert 2_102_274 == 8 * (512 * 512 + 512) + 512 * 2 + 2
    # Released: sin(p B), cos(p B) of (t, coil, kx, ky) with B standard normal and without 2 pi.
    points, coils = torch.tensor([[0.5, -0.25, 1.0]]), torch.tensor([[3]])
    where = torch.tensor([0.5, 2 * 3 / 11 - 1, -0.25, 1.0])
    released = where @ field.encoding.frequencies.T
    wanted = field.siren(torch.cat([released.cos(), released.sin()]))
    torch.testing.assert_close(field(points, coils)[0, 0], torch.view_as_complex(wanted), rtol=1e-4, atol=1e-5)
    assert field.encoding.frequencies.shape == (256, 4)
    assert float(field.encoding.frequencies.std()) == pytest.approx(1.0, rel=0.1)
    assert (parameters.omega, parameters.epsilon, parameters.batch) == (30.0, 1e-2, 30000)
    assert (parameters.learning_rate, parameters.last_rate, parameters.smoothing) == (3e-5, 1.0, 0.0)
    assert not method.continuous
    assert not method.streams


@pytest.mark.parametrize("coils", ["outputs", "coordinate"])
def test_a_value_for_each_coil(coils: str) -> None:
    field = KspaceField(5, NikParameters(**(SMALL | {"coils": coils})))
    assert field(torch.rand(7, 3) * 2 - 1).shape == (7, 5)
    assert count_parameters(field) == 64 * 32 + 32 + 32 * 32 + 32 + (32 + 1) * (2 if coils == "coordinate" else 10)


def test_some_coils_are_those_of_all() -> None:
    field = KspaceField(5, NikParameters(**(SMALL | {"coils": "coordinate"})))
    points = torch.rand(7, 3) * 2 - 1
    torch.testing.assert_close(field(points, torch.tensor([[3, 1]] * 7)), field(points)[:, [3, 1]])


def test_losses_by_hand() -> None:
    predicted = torch.tensor([3 + 4j, 0j], requires_grad=True)
    loss = relative_error(predicted - torch.tensor([3 + 4.5j, 0.02j]), predicted, 0.01)
    assert float(loss.detach()) == pytest.approx(((0.5 / 5.01) ** 2 + 2.0**2) / 2)
    loss.backward()
    # The denominator has no gradient: 2 e / (|p| + eps)^2 / n.
    assert predicted.grad is not None
    assert complex(predicted.grad[0]) == pytest.approx(-0.5j / 5.01**2)
    assert complex(predicted.grad[1]) == pytest.approx(-0.02j / 0.01**2)
    found = outer_part(torch.tensor([[0.0, 0.0], [0.6, 0.8]]), 0.5)
    assert found.tolist() == pytest.approx([0.0, 1 - math.exp(-2)])


def test_its_series_beats_gridding() -> None:
    scan = cine_scan()
    series = refined(scan, passes=15.0, learning_rate=2e-3, hidden=64, epsilon=0.1, time_frequency=0.1)
    assert series.failure is None
    assert series.steps == 15 * math.ceil(24 * 5 * 60 / 512)
    assert error(series.images, scan.truth) < 0.5 * error(gridded(), scan.truth)


def test_a_coil_may_be_a_coordinate() -> None:
    scan = cine_scan(frames=4)
    quick = {"coils": "coordinate", "epsilon": 0.1, "time_frequency": 0.1, "learning_rate": 2e-3, "batch": 1024}
    poor, better = (refined(scan, passes=passes, **quick) for passes in (1.0, 20.0))
    assert better.steps == 20 * math.ceil(4 * 5 * 60 * 6 / 1024)
    assert error(better.images, scan.truth) < 0.8 * error(poor.images, scan.truth)


def test_smoothing_takes_the_outer_part_away() -> None:
    plain, smooth = (
        refined(cine_scan(frames=4), passes=10.0, smoothing=weight, smoothing_width=0.3).images
        for weight in (0.0, 30.0)
    )
    outer = [torch.fft.fftshift(torch.fft.fft2(x), dim=(1, 2))[:, :6].norm() for x in (plain, smooth)]
    assert outer[1] < 0.7 * outer[0]


def test_held_out_spokes_end_the_training() -> None:
    series = refined(
        cine_scan(frames=4, sigma=0.5), passes=500.0, learning_rate=3e-3, last_rate=1.0, held_out=0.2, patience=5
    )
    of_pass = math.ceil(16 * 60 / 512)
    assert 5 * of_pass < series.steps < 300 * of_pass
    assert series.steps % of_pass == 0
    assert bool(torch.isfinite(series.images.abs()).all())


def test_a_loss_that_is_not_finite_keeps_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    from inr_core.methods import nik

    calls = []

    def spoilt(error: Tensor, predicted: Tensor, epsilon: float) -> Tensor:
        calls.append(1)
        return relative_error(error, predicted, epsilon) * (math.nan if len(calls) == 3 else 1.0)

    monkeypatch.setattr(nik, "relative_error", spoilt)
    series = refined(cine_scan(frames=4))
    assert str(series.failure).startswith("data consistency not finite at step 3; expected a finite loss")
    assert series.steps == 2
    assert bool(torch.isfinite(series.images.abs()).all())
