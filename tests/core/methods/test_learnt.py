"""A scan that begins with what another one of the same slice has learnt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.fields.grid_field import GridField
from inr_core.methods import get_method, make_live
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod
from inr_core.solvers.learnt import Learnt
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")


def scan(**changes: Any) -> RadialScan:
    return cine_scan(frames=18, spokes=6, coils=5, matrix=(40, 34), **changes)


def method(name: str = "inr", **parameters: Any) -> LiveMethod:
    return make_live(name, scan().shape, get_method(name).parameter_type(**parameters), CPU)


def images(running: LiveMethod, frames: range, of: RadialScan | None = None, factor: complex = 1.0) -> Tensor:
    found, source = [], of or scan()
    for i in frames:
        samples = (source.kspace[i] * factor).to(torch.complex64)
        assert running.fits(samples, source.traj[i])
        found.append(running.add_frame(samples, source.traj[i]))
        running.tune()
    return torch.stack(found)


@cache
def learnt(name: str = "inr") -> Learnt:
    running = method(name)
    images(running, range(16))
    known = running.learnt()
    assert known is not None
    return known


def resumed(name: str = "inr", known: Learnt | None = None, **parameters: Any) -> LiveMethod:
    running = method(name, **parameters)
    running.resume(known or learnt(name))
    return running


@pytest.mark.parametrize("name", ["inr", "grasp"])
def test_the_first_frames_are_better(name: str) -> None:
    again, truth = scan(sigma=0.0051), scan().truth[:4]
    cold, warm = images(method(name), range(4), again), images(resumed(name), range(4), again)
    assert error(warm[:1], truth[:1]) < 0.7 * error(cold[:1], truth[:1])
    assert error(warm, truth) < 0.8 * error(cold, truth)


@pytest.mark.parametrize("factor", [7.0, 0.01, 2 * np.exp(2j)])
def test_other_units_and_another_phase_change_nothing(factor: complex) -> None:
    plain, scaled = images(resumed(), range(3)), images(resumed(), range(3), factor=factor)
    torch.testing.assert_close(scaled.abs() / abs(factor), plain.abs(), rtol=1e-2, atol=1e-3 * float(plain.abs().max()))


def test_the_field_goes_on_where_it_was() -> None:
    running = method()
    images(running, range(16))
    assert isinstance(running, InrMethod)
    assert running.trainer is not None
    known, before = running.learnt(), running.trainer.predict(15)
    assert known is not None
    again = resumed(known=known)
    assert isinstance(again, InrMethod)
    again.add_frame(scan().kspace[15], scan().traj[15])
    trainer = again._field()
    assert trainer is not None
    after = trainer.predict(0)
    assert float((after.abs() - before.abs()).norm() / before.norm()) < 0.05


def test_weights_at_a_frame_make_that_frame() -> None:
    field = GridField((12, 10), seed=3)
    field.extend(6, 64)
    generator = torch.Generator().manual_seed(0)
    for grid in field.grids:
        grid.value += torch.rand(grid.value.shape, generator=generator)
    other = GridField((12, 10), seed=4)
    assert not torch.allclose(other(torch.tensor([0])), field(torch.tensor([5])))
    other.begin_with(field.weights_at(5))
    torch.testing.assert_close(other(torch.tensor([0])), field(torch.tensor([5])))


def test_the_maps_are_those_of_the_scan_before_and_are_learnt_on() -> None:
    running = resumed("grasp")
    images(running, range(1))
    csm = running.calibration.csm
    assert csm is not None
    torch.testing.assert_close((csm.conj() * learnt("grasp").csm).sum(0).abs(), torch.ones(scan().shape))
    assert running.calibration.average is not None
    assert running.calibration.average[1] == 8
    images(running, range(1, 6))
    assert not torch.equal(running.calibration.csm, csm)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cg_sense", "nufft"])
def test_methods_of_single_frames_have_maps_to_begin_with(name: str) -> None:
    truth = scan().truth[:1]
    known = learnt(name)
    assert (known.image, known.level, known.field) == (None, None, ())
    cold, warm = images(method(name), range(1)), images(resumed(name), range(1), factor=5.0)
    assert error(warm, truth) < error(cold, truth)


def test_a_method_takes_what_another_has_left() -> None:
    truth = scan().truth[:1]
    cold = images(method("grasp"), range(1))
    for name in ("inr", "cg_sense"):
        assert error(images(resumed("grasp", learnt(name)), range(1)), truth) < error(cold, truth)


def test_a_patient_who_has_moved_does_not_fit() -> None:
    samples, traj = scan().kspace[0], scan().traj[0]
    there = (samples * torch.exp(-2j * torch.pi * 8 * traj[..., 0])).to(torch.complex64)
    assert resumed().fits(samples, traj)
    assert not resumed().fits(there, traj)
    assert not resumed().fits(torch.zeros_like(samples) + 1e-3 * torch.randn(samples.shape), traj)


def test_before_a_frame_nothing_is_learnt() -> None:
    assert method().learnt() is None
    assert method("nufft").learnt() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda known: replace(known, csm=known.csm[:, :, :-1]),
            r"^a state of \(39, 34\) pixels; expected \(40, 34\)$",
        ),
        (
            lambda known: replace(known, compression=known.compression[:3]),
            r"^a state of 3 virtual coils; expected 5 \(recon.virtual_coils\)$",
        ),
        (
            lambda known: replace(known, average=known.average[:3]),
            r"^a state whose parts do not fit together, or are not finite; expected one that this program wrote$",
        ),
        (lambda known: replace(known, image=known.image[1:]), r"^a state whose parts do not fit together"),
        (lambda known: replace(known, n_averaged=0), r"^a state whose parts do not fit together"),
        (lambda known: replace(known, csm=known.csm * torch.nan), r"^a state whose parts .* are not finite"),
        (
            lambda known: replace(known, field=known.field[:-1]),
            r"^a state with a field of another size; expected the same recon.features, hidden and layers$",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        method().resume(change(learnt()))


def test_another_number_of_coils_is_refused_by_the_first_frame() -> None:
    with pytest.raises(DataError, match=r"^a frame of 4 coils; expected 5, as in the first frame$"):
        resumed("grasp").fits(scan().kspace[0][:4], scan().traj[0])
