"""The table of methods."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from inr_core.errors import ParameterError
from inr_core.methods import METHOD_NAMES, get_method, list_methods, make_live
from inr_core.parameters import describe
from inr_core.solvers.live_parameters import GraspParameters, MethodParameters

CPU = torch.device("cpu")


def test_names_and_table_agree() -> None:
    assert tuple(method.name for method in list_methods()) == METHOD_NAMES
    assert METHOD_NAMES[0] == "inr"
    for name in METHOD_NAMES:
        method = get_method(name)
        assert method.name == name
        assert "\n" not in method.summary


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_defaults_are_legal_and_described(method: object) -> None:
    for row in describe(method.parameter_type):  # type: ignore[attr-defined]
        assert row["help"]
        if row["minimum"] is not None:
            assert row["minimum"] <= row["default"] <= row["maximum"]


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_each_is_made_from_the_parameters_of_the_largest(name: str) -> None:
    wanted = {f.name for f in fields(get_method(name).parameter_type)}
    assert wanted <= {f.name for f in fields(MethodParameters)}
    method = make_live(name, (8, 9), MethodParameters(), CPU)
    assert method.shape == (8, 9)
    assert method.n_frames == method.steps == 0


def test_only_what_is_said_to_refine_does() -> None:
    kspace, traj = torch.ones(2, 8, 32, dtype=torch.complex64), _traj()
    for name in METHOD_NAMES:
        method = make_live(name, (16, 16), MethodParameters(refine_passes=1, grasp_iterations=1), CPU)
        for _ in range(2):
            method.add_frame(kspace, traj)
        assert (method.refine() is not None) == get_method(name).refines
        assert method.tune() == (name == "inr")


@pytest.mark.parametrize("use", [get_method, lambda name: make_live(name, (8, 8), MethodParameters(), CPU)])
def test_an_unknown_method_is_refused(use: object) -> None:
    with pytest.raises(ParameterError, match=r"^method 'graps'; expected one of inr, grasp, cg_sense, nufft$"):
        use("graps")  # type: ignore[operator]


def test_parameters_of_another_method_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^GraspParameters for method 'inr'; expected InrParameters$"):
        make_live("inr", (8, 8), GraspParameters(), CPU)


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, inr_core.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _traj() -> torch.Tensor:
    from inr_core.trajectory import radial_trajectory, spoke_angles

    return torch.from_numpy(radial_trajectory(spoke_angles(range(8)), 32))
