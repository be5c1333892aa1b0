"""The methods by name. Nothing heavy is imported until a method is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inr_core.errors import ParameterError
from inr_core.parameters import DataclassInstance
from inr_core.solvers.live_parameters import InrParameters, MeasurementParameters

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


def make_live(name: str, shape: tuple[int, int], parameters: InrParameters, device: torch.device) -> LiveMethod:
    """Make a method for a slice of (ny, nx) pixels; methods take what they know from ``parameters``."""
    from inr_core.solvers import inr, live

    get_method(name)
    if name == "inr":
        return inr.InrMethod(shape, parameters, device)
    simple = live.CgSenseMethod if name == "cg_sense" else live.GriddingMethod
    return simple(shape, parameters, device)
