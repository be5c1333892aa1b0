"""Parameters of the recon gadget and of the method that they name."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from inr_core import methods
from inr_core.errors import ParameterError
from inr_core.methods import Method
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.live import MeasurementParameters
from inr_gadgets.reconstruction import recon_parameters
from inr_gadgets.reconstruction.recon_parameters import (
    check_parameters,
    combined_type,
    known_parameters,
    read_parameters,
)


def test_the_method_decides_which_parameters_there_are() -> None:
    grasp = read_parameters({"method": "grasp", "graspIterations": "7", "virtual_coils": 5})
    assert isinstance(grasp, GraspParameters)
    assert (grasp.method, grasp.grasp_iterations, grasp.virtual_coils, grasp.device) == ("grasp", 7, 5, "auto")
    assert isinstance(read_parameters({"method": "nufft"}), MeasurementParameters)
    assert {"method", "grasp_iterations", "refine_passes"} <= set(known_parameters())


def test_a_parameter_of_another_method_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"^recon.grasp_weight, which method nufft does not have; expected one of .*virtual_coils"
    ):
        read_parameters({"method": "nufft", "graspweight": "1"})
    with pytest.raises(ParameterError, match=r"^recon has no parameter 'gain'; expected one of "):
        read_parameters({"gain": "1"})


def test_settings_without_a_method_may_be_any_methods() -> None:
    check_parameters({"grasp_weight": "0.1"})
    with pytest.raises(ParameterError, match=r"^recon.grasp_weight = 'heavy'; expected a number$"):
        check_parameters({"grasp_weight": "heavy"})
    with pytest.raises(ParameterError, match=r"^recon.grasp_weight, which method nufft does not have"):
        check_parameters({"method": "nufft", "grasp_weight": "1"})


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    presets = MappingProxyType({"paper": MappingProxyType({"grasp_iterations": 100, "virtual_coils": 12})})
    method = Method("slow", "a method", GraspParameters, "nowhere:Slow", streams=False, presets=presets)
    monkeypatch.setattr(methods, "_METHODS", (*methods._METHODS, method))
    monkeypatch.setattr(
        recon_parameters.ReconParameters.__dataclass_fields__["method"],
        "metadata",
        {"help": "", "minimum": None, "maximum": None, "choices": ("inr", "nufft", "slow")},
    )
    combined_type.cache_clear()


@pytest.mark.usefixtures("slow")
def test_presets_replace_defaults_and_give_way_to_values() -> None:
    made = read_parameters({"method": "slow", "offline": True, "preset": "paper", "VirtualCoils": "3"})
    assert isinstance(made, GraspParameters)
    assert (made.grasp_iterations, made.virtual_coils, made.preset) == (100, 3, "paper")
    with pytest.raises(ParameterError, match=r"^preset 'papers' of method slow; expected one of paper; leave it out"):
        read_parameters({"method": "slow", "offline": True, "preset": "papers"})


@pytest.mark.usefixtures("slow")
def test_what_a_method_cannot_do_is_said_before_any_work() -> None:
    with pytest.raises(
        ParameterError,
        match=r"^method slow in a stream; expected one of inr, .*; it takes too long for a scanner: "
        r"inr-recon reconstruct --method slow, or recon.offline=true$",
    ):
        read_parameters({"method": "slow"})
    for query in ({"matrix_scale": "2"}, {"frame_scale": "3"}):
        with pytest.raises(ParameterError, match=r"^images between the pixels or frames of method nufft; expected one"):
            read_parameters({"method": "nufft", **query})


def test_a_deep_image_prior_has_neither_a_stream_nor_pixels_between_pixels() -> None:
    with pytest.raises(ParameterError, match=r"^method td_dip in a stream; expected one of inr, .*; it takes too long"):
        read_parameters({"method": "td_dip"})
    with pytest.raises(ParameterError, match=r"^images between the pixels or frames of method td_dip; expected one of"):
        read_parameters({"method": "td_dip", "offline": True, "matrix_scale": "2"})
    made = read_parameters({"method": "td_dip", "offline": True, "preset": "paper", "cycles": "13"})
    assert (made.channels, made.cycles) == (128, 13.0)  # type: ignore[attr-defined]
