"""DA-INR: the published networks and losses by hand-computed numbers, and what it makes of a small scan."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.mdsr import random_body
from inr_core.fields.networks import count_parameters
from inr_core.methods import da_inr as module
from inr_core.methods import get_method, get_preset, make_live
from inr_core.methods.da_inr import DaInrMethod, make_field
from inr_core.methods.live import RefinedSeries
from inr_core.parameters import parse
from inr_core.parameters.da_inr import DaInrParameters
from inr_core.solvers.control import Control
from inr_core.solvers.data_terms import NufftTerm, l1
from oracles import explicit_dft
from radial import RadialScan, cine_scan, error, gridded, refined_series, slice_data

CPU = torch.device("cpu")


def parameters(preset: str = "", **values: Any) -> Any:
    method = get_method("da_inr")
    return parse(method.parameter_type, {**get_preset(method, preset), **values}, "da_inr")


def refined(scan: RadialScan, **values: Any) -> RefinedSeries:
    return refined_series("da_inr", scan, parameters(**values))


# -- what was published -------------------------------------------------------------------------------------------


def test_the_paper_s_networks() -> None:
    field = make_field((128, 128), 23, parameters("paper"), (lambda t, y, x: torch.zeros(1), 64))
    # sin and cos of 10 octaves of (y, x) and 6 of t; 5 hidden layers of 64.
    assert count_parameters(field.deformation) == 53 * 64 + 4 * 65 * 64 + 65 * 2
    # Two features of 16 levels and 64 of MDSR.
    assert count_parameters(field.decoder) == 97 * 64 + 4 * 65 * 64 + 65 * 2
    cells = [level.resolution[0] for level in field.canonical.levels]
    assert cells == [16 * 2**i for i in range(16)]
    rows = [min((n + 1) ** 2, 2**19) for n in cells]
    assert (
        count_parameters(field.canonical)
        == 2 * sum(rows)
        == 2 * (17**2 + 33**2 + 65**2 + 129**2 + 257**2) + 2 * (513**2 + 10 * 2**19)
    )
    assert [level.kind for level in field.canonical.levels] == ["dense"] * 6 + ["hash"] * 10
    assert field.position is None
    assert field.time is None


def test_the_released_networks() -> None:
    field = make_field((128, 128), 23, parameters("released"), (lambda t, y, x: torch.zeros(1), 128))
    # p itself with sin and cos of 10 octaves, 42, and t with 6, 13; five linear maps without biases.
    assert count_parameters(field.deformation) == (42 + 13) * 128 + 3 * 128 * 128 + 128 * 2
    # 32 of the grid, 42 and 13 as above, 128 of two frames: two linear maps, then three.
    assert count_parameters(field.decoder) == (32 + 42 + 13 + 128) * 64 + 64 * 64 + 2 * 64 * 64 + 64 * 2
    cells = [level.resolution[0] for level in field.canonical.levels]
    assert cells[0] == 16
    assert cells[-1] == 2048
    assert cells[1] == math.floor(16 * 1.381913)
    assert {level.kind for level in field.canonical.levels} == {"dense", "tile"}


def test_the_two_encodings() -> None:
    p, t = 0.3, 0.7
    for preset, first, factor in (("paper", [], math.pi), ("released", [t], 1.0)):
        deformation = make_field((8, 8), 3, parameters(preset, table_log2=6, features="none")).deformation
        waves = [f(factor * 2**i * t) for i in range(6) for f in (math.sin, math.cos)]
        assert deformation.time(torch.tensor([[t]]))[0].tolist() == pytest.approx(first + waves, abs=1e-4)
        assert deformation.position(torch.tensor([[p, p]])).shape[1] == 40 + 2 * len(first)


def test_the_published_losses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    data = slice_data(cine_scan(frames=3, matrix=(12, 10)), DaInrParameters())
    found: dict[str, Any] = {}

    def watched(losses: Any, optimiser: Any, *args: Any, **kwargs: Any) -> Any:
        found["terms"], found["optimiser"], found["rate"] = losses(0), optimiser, kwargs["rate"]
        return train(losses, optimiser, *args, **kwargs)

    train = module.train
    gradients: list[Any] = []
    monkeypatch.setattr(module, "train", watched)
    for preset in ("paper", "released"):
        p = parameters(preset, features="none", table_log2=8, steps=1)
        assert DaInrMethod(data.shape, p, CPU).solve(data, Control()).steps == 1
        assert list(found["terms"]) == ["data consistency"]
        position = int(torch.randint(0, 3, (1,), generator=torch.Generator().manual_seed(0)))
        fresh = make_field(data.shape, 3, p)
        image, displacement = fresh(torch.tensor([float(position)]))
        assert not bool(displacement.any())
        kspace, traj = data.samples[position]
        largest = max(float(sample.kspace.abs().max()) for sample in data.samples)
        predicted = explicit_dft((image.detach() * data.csm)[None], traj[None])[0] * data.scale / largest
        residual = predicted - kspace / largest
        wanted = float((residual.real.abs() + residual.imag.abs()).mean())
        assert float(found["terms"]["data consistency"].detach()) == pytest.approx(wanted, rel=1e-3)
        optimiser = found["optimiser"]
        assert isinstance(optimiser, torch.optim.AdamW)
        assert {(g["lr"], g["betas"], g["eps"], g["weight_decay"]) for g in optimiser.param_groups} == {
            (1e-3, (0.9, 0.999), 1e-8, 0.01)
        }
        assert [found["rate"](part) for part in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
        image = image.detach().requires_grad_()
        NufftTerm(data, l1, ramp_backward=preset == "released")(image, torch.tensor([position])).backward()
        gradients.append(image.grad)
    assert not torch.allclose(gradients[0], gradients[1])


def test_features_are_of_the_frame_or_of_its_neighbours() -> None:
    data = slice_data(cine_scan(frames=4, matrix=(12, 10)), DaInrParameters())
    ys, xs = (torch.arange(10) + 0.5) / 10, (torch.arange(12) + 0.5) / 12
    random, released = parameters(features="random"), parameters("released")
    same = module.frame_features(data, random, module.make_body(random))
    both = module.frame_features(data, released, module.make_body(released))
    assert same is not None
    assert both is not None
    assert (same[1], both[1]) == (64, 128)
    own = same[0](torch.arange(4.0), ys, xs)
    around = both[0](torch.arange(4.0), ys, xs)
    assert own.shape == (4, 10, 12, 64)
    torch.testing.assert_close(around[2], torch.cat([own[1], own[3]], -1))
    torch.testing.assert_close(around[0], torch.cat([own[0], own[1]], -1))
    assert module.make_body(parameters()) is None
    assert module.frame_features(data, parameters(), None) is None


def test_features_of_published_weights(tmp_path: Path) -> None:
    torch.save(random_body(1, 3).state_dict(), tmp_path / "mdsr.pt")
    scan = cine_scan(frames=3, matrix=(12, 10))
    series = refined(scan, preset="paper", features_file=str(tmp_path / "mdsr.pt"), table_log2=8, steps=3)
    assert series.failure is None
    assert series.images.shape == (3, 10, 12)
    with pytest.raises(ParameterError, match=r"^no features_file; expected a file of MDSR's weights, .* or set"):
        make_live("da_inr", (10, 12), parameters("paper"), CPU)


# -- what is the default ------------------------------------------------------------------------------------------


def test_the_series_is_better_than_gridding() -> None:
    scan = cine_scan()
    assert error(refined(scan, steps=60).images, scan.truth) < 0.5 * error(gridded(), scan.truth)


def test_a_loss_that_is_not_finite_ends_with_the_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, calls = cine_scan(frames=3, matrix=(12, 10)), [0]

    def broken(images: Tensor) -> Tensor:
        calls[0] += 1
        return images.abs().sum() * (math.nan if calls[0] == 3 else 0.0)

    monkeypatch.setattr(module, "temporal_tv", broken)
    series = refined(scan, steps=6)
    assert series.steps == 2
    assert str(series.failure).startswith("total variation not finite at step 3; expected a finite loss; lower")
    assert series.images.shape == (3, 10, 12)
    assert bool(torch.isfinite(series.images.abs()).all())
