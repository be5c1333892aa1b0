"""The methods by name. Nothing heavy is imported until a method is made."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from inr_core.errors import ParameterError
from inr_core.parameters import DataclassInstance
from inr_core.parameters.da_inr import PRESETS as DA_INR_PRESETS
from inr_core.parameters.da_inr import DaInrParameters
from inr_core.parameters.flow_inr import FLOW_INR_PRESETS, FlowInrParameters
from inr_core.parameters.fmlp import FMLP_PRESETS, FmlpParameters
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.inr import INR_PRESETS, InrParameters
from inr_core.parameters.live import MeasurementParameters
from inr_core.parameters.nik import NIK_PRESETS, NikParameters
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.parameters.stinr import HASH_INR_PRESETS, STINR_PRESETS, HashInrParameters, StinrParameters
from inr_core.parameters.subspace_inr import SubspaceInrParameters
from inr_core.parameters.td_dip import TD_DIP_PRESETS, TdDipParameters

if TYPE_CHECKING:
    import torch

    from inr_core.methods.live import LiveMethod

Preset = Mapping[str, object]


@dataclass(frozen=True)
class Method:
    """What is said of a method before it is made.

    Attributes
    ----------
    name, summary
        For lists; the summary is one line.
    parameter_type
        A frozen dataclass.
    target
        Module and class, separated by a colon.
    refines
        Whether a series of all frames follows the live one.
    streams
        Whether it can run in the stream: its series follows the scan within minutes on two cores.
    continuous
        Whether its series can be asked for between the pixels and between the frames.
    presets
        Named sets of parameters; what they do not name keeps its default.
    """

    name: str
    summary: str
    parameter_type: type[DataclassInstance]
    target: str
    refines: bool = True
    streams: bool = True
    continuous: bool = False
    presets: Mapping[str, Preset] = field(default_factory=lambda: MappingProxyType({}))


_METHODS = (
    Method(
        "inr",
        "capped multi-resolution INR: CG towards its prediction live, refined at the end",
        InrParameters,
        "inr_core.methods.inr:InrMethod",
        continuous=True,
        presets=INR_PRESETS,
    ),
    Method(
        "grasp",
        "temporal total variation of all frames at the end (GRASP); live as inr",
        GraspParameters,
        "inr_core.methods.grasp:GraspMethod",
    ),
    Method(
        "cg_sense",
        "CG-SENSE, each frame by itself",
        SingleFrameParameters,
        "inr_core.methods.single_frame:CgSenseMethod",
        refines=False,
    ),
    Method(
        "nufft",
        "gridding, coils combined by their maps",
        SingleFrameParameters,
        "inr_core.methods.single_frame:GriddingMethod",
        refines=False,
    ),
    Method(
        "stinr",
        "hash grid in space and time with total variation and low rank along time (STINR)",
        StinrParameters,
        "inr_core.methods.stinr:StinrMethod",
        streams=False,
        continuous=True,
        presets=STINR_PRESETS,
    ),
    Method(
        "hash_inr",
        "STINR without a regularisation",
        HashInrParameters,
        "inr_core.methods.stinr:HashInrMethod",
        streams=False,
        continuous=True,
        presets=HASH_INR_PRESETS,
    ),
    Method(
        "subspace_inr",
        "a few images from one network, each with a curve of time: low rank",
        SubspaceInrParameters,
        "inr_core.methods.subspace_inr:SubspaceInrMethod",
        continuous=True,
    ),
    Method(
        "da_inr",
        "one canonical image, moved by a displacement that a network says for each frame (DA-INR)",
        DaInrParameters,
        "inr_core.methods.da_inr:DaInrMethod",
        streams=False,
        continuous=True,
        presets=DA_INR_PRESETS,
    ),
    Method(
        "fmlp",
        "perceptron of Fourier features of space and time (FMLP)",
        FmlpParameters,
        "inr_core.methods.fmlp:FmlpMethod",
        streams=False,
        continuous=True,
        presets=FMLP_PRESETS,
    ),
    Method(
        "nik",
        "network of k-space and time, fitted to the samples without a transform (NIK)",
        NikParameters,
        "inr_core.methods.nik:NikMethod",
        streams=False,
        presets=NIK_PRESETS,
    ),
    Method(
        "flow_inr",
        "a field of the images and one of their motion, coupled by optical flow; the motion is series 3",
        FlowInrParameters,
        "inr_core.methods.flow_inr:FlowInrMethod",
        continuous=True,
        presets=FLOW_INR_PRESETS,
    ),
    Method(
        "td_dip",
        "convolutional network driven by a helix in time: a deep image prior (TD-DIP)",
        TdDipParameters,
        "inr_core.methods.td_dip:TdDipMethod",
        streams=False,
        presets=TD_DIP_PRESETS,
    ),
)
METHOD_NAMES = tuple(method.name for method in _METHODS)


def list_methods() -> list[Method]:
    """All methods, the default first."""
    return list(_METHODS)


def get_method(name: str) -> Method:
    """The method of that name.

    Raises
    ------
    ParameterError
        If there is none; the message lists those that exist.
    """
    for method in _METHODS:
        if method.name == name:
            return method
    raise ParameterError(f"method '{name}'", f"one of {', '.join(METHOD_NAMES)}")


def get_preset(method: Method, name: str) -> Preset:
    """The values of a method's preset; the empty name is the method's defaults.

    Raises
    ------
    ParameterError
        If the method has no preset of that name.
    """
    if not name:
        return {}
    if name not in method.presets:
        good = f"one of {', '.join(method.presets)}" if method.presets else "none: it has no presets"
        raise ParameterError(f"preset '{name}' of method {method.name}", good, "leave it out for the defaults")
    return method.presets[name]


def check_continuous(method: Method, advice: str = "") -> None:
    """Refuse images between the pixels or frames of a method that has none.

    Raises
    ------
    ParameterError
        With the methods that have.
    """
    if not method.continuous:
        able = ", ".join(m.name for m in _METHODS if m.continuous)
        raise ParameterError(f"images between the pixels or frames of method {method.name}", f"one of {able}", advice)


def make_live(name: str, shape: tuple[int, int], parameters: MeasurementParameters, device: torch.device) -> LiveMethod:
    """Make a method for a slice of (ny, nx) pixels.

    Parameters
    ----------
    parameters
        Of the method's ``parameter_type`` or one derived from it.

    Raises
    ------
    ParameterError
        If there is no such method, or the parameters are another method's.
    """
    method = get_method(name)
    if not isinstance(parameters, method.parameter_type):
        raise ParameterError(f"{type(parameters).__name__} for method '{name}'", method.parameter_type.__name__)
    module, _, attribute = method.target.partition(":")
    made: LiveMethod = getattr(importlib.import_module(module), attribute)(shape, parameters, device)
    return made
