"""The state that the host keeps of a method is all that it needs to go on."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from inr_core.methods import get_method, list_methods, make_live
from inr_core.methods.host_copy import HostCopy
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod
from radial import RadialScan, cine_scan

CPU = torch.device("cpu")
OTHER = torch.device("cpu", 0)  # compares as another device than CPU, and computes as it does
CASES: list[tuple[str, dict[str, Any]]] = [*((m.name, {}) for m in list_methods()), ("inr", {"delay_frames": 2})]
FRAMES, LAST = 5, 7


def scan() -> RadialScan:
    return cine_scan(frames=LAST, matrix=(22, 17))


def made(name: str, device: torch.device = CPU, **values: Any) -> LiveMethod:
    return make_live(name, scan().shape, get_method(name).parameter_type(**values), device)  # type: ignore[arg-type]


def add(method: LiveMethod, first: int, last: int) -> torch.Tensor:
    return torch.stack([method.add_frame(scan().kspace[i], scan().traj[i]) for i in range(first, last)])


@pytest.mark.parametrize(("name", "values"), CASES)
def test_a_method_goes_on_from_its_copy_as_if_nothing_had_happened(name: str, values: dict[str, Any]) -> None:
    method, copy = made(name, OTHER, **values), HostCopy()
    for index in range(FRAMES):
        add(method, index, index + 1)
        copy.update(method)
    expected = add(method, FRAMES, LAST)
    copy.restore(method, CPU)
    assert method.n_frames == FRAMES
    assert method.device == CPU
    assert torch.equal(add(method, FRAMES, LAST), expected)


def test_it_refines_from_its_copy_and_makes_the_field_anew() -> None:
    series = []
    for restores in (False, True):
        method, copy = made("inr", refine_passes=3.0, polish_rounds=0), HostCopy()
        add(method, 0, FRAMES)
        copy.update(method)
        if restores:
            method.tune()
            assert isinstance(method, InrMethod)
            assert method.trainer is not None
            copy.restore(method, CPU)
            assert method.trainer is None
        series.append(method.refine())
    assert series[0] is not None and series[1] is not None
    assert torch.equal(series[0].images, series[1].images)


def test_what_is_done_after_a_copy_does_not_change_it() -> None:
    method, copy = made("inr"), HostCopy()
    add(method, 0, FRAMES)
    copy.update(method)
    expected = add(method, FRAMES, LAST)
    for _ in range(2):
        copy.restore(method, CPU)
        assert torch.equal(add(method, FRAMES, LAST), expected)


def test_only_what_is_new_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    method, copy, moved = made("grasp"), HostCopy(), list[torch.Tensor]()
    to = torch.Tensor.to

    def counted(tensor: torch.Tensor, *how: Any, **more: Any) -> torch.Tensor:
        if more.get("copy"):
            moved.append(tensor)
        return to(tensor, *how, **more)

    add(method, 0, LAST)
    copy.update(method)
    monkeypatch.setattr(torch.Tensor, "to", counted)
    copy.update(method)
    assert not moved
    method.history[2].kernel.mul_(2)  # type: ignore[attr-defined]
    copy.update(method)
    assert [tuple(tensor.shape) for tensor in moved] == [(1, 4, *scan().shape)]


def test_parameters_are_those_of_the_method_and_not_copies() -> None:
    parameters = dataclasses.make_dataclass("Unnamed", [], bases=(get_method("inr").parameter_type,), frozen=True)()
    method, copy = make_live("inr", scan().shape, parameters, OTHER), HostCopy()
    add(method, 0, 2)
    copy.update(method)
    copy.restore(method, CPU)
    assert isinstance(method, InrMethod)
    assert method.parameters is parameters


def test_a_copy_that_fails_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    method, copy = made("inr"), HostCopy()
    add(method, 0, FRAMES)
    copy.update(method)
    expected = add(method, FRAMES, LAST)

    def lost(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("CUDA error: unspecified launch failure")

    with monkeypatch.context() as broken:
        broken.setattr(torch.Tensor, "to", lost)
        with pytest.raises(RuntimeError, match="unspecified launch failure"):
            copy.update(method)
    copy.restore(method, CPU)
    assert torch.equal(add(method, FRAMES, LAST), expected)
