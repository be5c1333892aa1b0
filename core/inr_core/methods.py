"""The methods by name. Nothing heavy is imported until a method is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inr_core.errors import ParameterError
from inr_core.parameters import DataclassInstance
from inr_core.solvers.live_parameters import GraspParameters, InrParameters, MeasurementParameters

if TYPE_CHECKING:
    import torch

    from inr_core.solvers.live import LiveMethod


@dataclass(frozen=True)
class Method:
    """What is said of a method before it is made.

    Attributes
    ----------
    name, summary
        For lists; the summary is one line.
    parameter_type
        A frozen dataclass.
    refines
        Whether a refined series follows the live one.
    """

    name: str
    summary: str
    parameter_type: type[DataclassInstance]
    refines: bool


_METHODS = (
    Method(
        "inr", "capped multi-resolution INR: CG towards its prediction live, refined at the end", InrParameters, True
    ),
    Method("grasp", "temporal total variation of all frames at the end (GRASP); live as inr", GraspParameters, True),
    Method("cg_sense", "CG-SENSE, each frame by itself", MeasurementParameters, False),
    Method("nufft", "gridding, coils combined by their maps", MeasurementParameters, False),
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


def make_live(name: str, shape: tuple[int, int], parameters: MeasurementParameters, device: torch.device) -> LiveMethod:
    """Make a method for a slice of (ny, nx) pixels.

    Parameters
    ----------
    parameters
        Of the method's ``parameter_type`` or one derived from it: methods take what they know, so
        :class:`~inr_core.solvers.live_parameters.MethodParameters` serves them all.

    Raises
    ------
    ParameterError
        If there is no such method, or the parameters are another method's.
    """
    from inr_core.solvers import grasp, inr, live

    wanted = get_method(name).parameter_type
    if not isinstance(parameters, wanted):
        raise ParameterError(f"{type(parameters).__name__} for method '{name}'", wanted.__name__)
    if name == "inr" and isinstance(parameters, InrParameters):
        return inr.InrMethod(shape, parameters, device)
    if name == "grasp" and isinstance(parameters, GraspParameters):
        return grasp.GraspMethod(shape, parameters, device)
    simple = live.CgSenseMethod if name == "cg_sense" else live.GriddingMethod
    return simple(shape, parameters, device)
