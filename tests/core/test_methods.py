"""The table of methods."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from inr_core.errors import ParameterError
from inr_core.methods import METHOD_NAMES, Method, get_method, get_preset, list_methods, make_live
from inr_core.parameters import describe, parse
from inr_core.parameters.grasp import GraspParameters

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
def test_each_is_made_from_its_own_parameters(name: str) -> None:
    method = make_live(name, (8, 9), get_method(name).parameter_type(), CPU)  # type: ignore[arg-type]
    assert method.shape == (8, 9)
    assert method.n_frames == method.steps == 0


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_presets_are_legal(method: Method) -> None:
    for name in ("", *method.presets):
        parse(method.parameter_type, get_preset(method, name), method.name)


def test_an_unknown_preset_is_refused() -> None:
    message = r"^preset 'fast' of method nufft; expected none: it has no presets; leave it out for the defaults$"
    with pytest.raises(ParameterError, match=message):
        get_preset(get_method("nufft"), "fast")


@pytest.mark.parametrize("name", ["inr", "grasp", "cg_sense", "nufft"])
def test_only_what_is_said_to_refine_does(name: str) -> None:
    quick = {"refine_passes": 1, "grasp_iterations": 1}
    kind = get_method(name).parameter_type
    known = {f.name for f in fields(kind)}
    method = make_live(name, (16, 16), kind(**{k: v for k, v in quick.items() if k in known}), CPU)
    for _ in range(2):
        method.add_frame(torch.ones(2, 8, 32, dtype=torch.complex64), _traj())
    assert (method.refine() is not None) == get_method(name).refines
    assert method.tune() == (name == "inr")


@pytest.mark.parametrize("use", [get_method, lambda name: make_live(name, (8, 8), GraspParameters(), CPU)])
def test_an_unknown_method_is_refused(use: object) -> None:
    with pytest.raises(ParameterError, match=rf"^method 'graps'; expected one of {', '.join(METHOD_NAMES)}$"):
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


def test_each_has_a_page() -> None:
    pages = Path(__file__).parents[2] / "docs" / "methods"
    index = (pages / "README.md").read_text()
    for method in list_methods():
        row = next(line for line in index.splitlines() if line.startswith(f"| [{method.name}]("))
        page = row.partition("](")[2].partition(")")[0]
        assert f"# {page.removesuffix('.md')}" in (pages / page).read_text()
        _, _, _, streams, continuous, _ = (cell.strip() for cell in row.split("|"))
        assert (streams == "yes") == method.streams
        assert (continuous == "yes") == method.continuous
