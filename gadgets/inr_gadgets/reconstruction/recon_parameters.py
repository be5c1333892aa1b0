"""Parameters of the recon gadget: its own, and those of the method that it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache

from inr_core.devices import DEVICES
from inr_core.errors import ParameterError
from inr_core.methods import METHOD_NAMES, check_continuous, get_method, get_preset, list_methods
from inr_core.parameters import DataclassInstance, parameter, parse, plain_name
from inr_core.parameters.live import LiveParameters, MeasurementParameters

OWNER = "recon"


@dataclass(frozen=True)
class ReconParameters(MeasurementParameters):
    """Parameters of the recon gadget: which method, where, and what becomes of its images."""

    method: str = parameter("inr", "reconstruction method", choices=METHOD_NAMES)
    preset: str = parameter("", "named set of the method's parameters; inr-recon methods lists them")
    device: str = parameter("auto", "where to compute; auto is CUDA where it works", choices=DEVICES)
    deterministic: bool = parameter(
        False, "fixed numbers of training steps and no clock: a replay is repeatable to the bit on the same machine"
    )
    latency_ms: float = parameter(
        0.0,
        "time from a frame's last readout to its image, to which the work on it is fitted; "
        "0 takes the time from frame to frame, and 40 ms where that is less",
        unit="ms",
        minimum=0,
        maximum=1e5,
    )
    offline: bool = parameter(
        False, "nobody waits: live images are sent only where no series follows, and every method can be used"
    )
    refine: bool = parameter(True, "send a refined series after the scan, for methods that have one")
    refine_seconds: float = parameter(
        150.0, "time limit of the refinement, unless recon.deterministic is true", unit="s", minimum=0, maximum=1e5
    )
    save_state: str = parameter(
        "", "file to write at the end of the scan, for the warm start of another scan of the same slices", path=True
    )
    warm_start: str = parameter(
        "", "file of recon.save_state to begin with; it may be missing if save_state is the same", path=True
    )
    matrix_scale: float = parameter(
        1.0,
        "pixels of the refined series for each measured one along an axis; for continuous methods",
        minimum=1,
        maximum=8,
    )
    frame_scale: int = parameter(
        1,
        "images of the refined series for each step from frame to frame; for continuous methods",
        minimum=1,
        maximum=64,
    )

    @property
    def between(self) -> bool:
        """Whether images between the pixels or frames are asked for."""
        return (self.matrix_scale, self.frame_scale) != (1, 1)


def known_parameters() -> tuple[str, ...]:
    """The names of all parameters of the gadget and of any method."""
    kinds: tuple[type[DataclassInstance], ...] = (
        ReconParameters,
        *(method.parameter_type for method in list_methods()),
    )
    return tuple(dict.fromkeys(f.name for kind in kinds for f in fields(kind)))


def read_parameters(values: Mapping[str, object]) -> ReconParameters:
    """Make the parameters of the gadget and of the method that they name, in one object.

    Parameters
    ----------
    values
        Name to text or value; underscores and case of the name do not matter. What is not named is the preset's, or
        the method's default.

    Returns
    -------
    An instance of the method's ``parameter_type``, too.

    Raises
    ------
    ParameterError
        For a method, preset, name or value that does not exist, a method that cannot do what is asked of it, and
        a parameter that only other methods have.
    """
    own = _only(values, ("method", "preset", "offline", "refine", "matrix_scale", "frame_scale"))
    chosen = parse(ReconParameters, own, OWNER)
    method = get_method(chosen.method)
    kind = combined_type(method.name)
    mine = {plain_name(f.name) for f in fields(kind)}
    others = {plain_name(name): name for name in known_parameters()}
    for name in values:
        if plain_name(name) not in mine and plain_name(name) in others:
            raise ParameterError(
                f"{OWNER}.{others[plain_name(name)]}, which method {method.name} does not have",
                f"one of {', '.join(f.name for f in fields(kind))}",
                "remove it or choose a method that has it (inr-recon methods)",
            )
    if not method.streams and not chosen.offline:
        raise ParameterError(
            f"method {method.name} in a stream",
            f"one of {', '.join(m.name for m in list_methods() if m.streams)}",
            f"it takes too long for a scanner: inr-recon reconstruct --method {method.name}, or recon.offline=true",
        )
    if chosen.between and not chosen.refine:
        raise ParameterError(
            f"{OWNER}.matrix_scale or frame_scale with {OWNER}.refine=false",
            "a refined series, whose images they are for",
            f"set {OWNER}.refine to true or the scales to 1",
        )
    if chosen.between:
        check_continuous(method, "set recon.matrix_scale and recon.frame_scale to 1")
    preset = {name: value for name, value in get_preset(method, chosen.preset).items() if not _named(name, values)}
    made = parse(kind, {**preset, **values}, OWNER)
    if made.offline and isinstance(made, LiveParameters):
        for name in ("delay_frames", "lag_frames"):
            if getattr(made, name) > 0:
                raise ParameterError(
                    f"{OWNER}.{name} = {getattr(made, name)} with {OWNER}.offline=true",
                    "a stream, where somebody waits for each frame",
                    "remove it: the refined series knows what came after a frame",
                )
    return made


def check_parameters(values: Mapping[str, object]) -> None:
    """Check values before it is known which method they are for: some method must take them all.

    Raises
    ------
    ParameterError
        As :func:`read_parameters`.
    """
    if _named("method", values):
        read_parameters(values)
        return
    refusals = []
    for method in list_methods():
        try:
            read_parameters({**values, "method": method.name})
        except ParameterError as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


@cache
def combined_type(method: str) -> type[ReconParameters]:
    """The dataclass of the gadget's parameters and a method's."""
    kind = get_method(method).parameter_type
    bases = (ReconParameters,) if issubclass(ReconParameters, kind) else (kind, ReconParameters)
    return make_dataclass(f"{kind.__name__}OfRecon", [], bases=bases, frozen=True)


def _only(values: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    plain = {plain_name(name) for name in names}
    return {name: value for name, value in values.items() if plain_name(name) in plain}


def _named(name: str, values: Mapping[str, object]) -> bool:
    return plain_name(name) in {plain_name(given) for given in values}
