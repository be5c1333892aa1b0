"""The angle of a spoke that brings no trajectory: from the header's user_float, or by formula from its number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from inr_core.errors import ParameterError
from inr_core.trajectory import golden_angle, raga_angle, spoke_angles
from inr_gadgets.conventions.buffer_parameters import BufferParameters


@dataclass(frozen=True)
class AngleRule:
    """How the angle of a spoke is found.

    Attributes
    ----------
    source
        ``trajectory`` (no angle is needed), ``user`` or ``formula``.
    text
        The rule in words.
    step_deg, offset_deg, direction
        angle = direction * (number * step + offset), degrees; for ``user`` the number is the angle.
    index
        What the number is: ``counter`` (spokes of the slice and set, lost ones too), ``step_1`` or ``scan_counter``.
    slot
        Position of the angle in user_float.
    """

    source: str
    text: str
    step_deg: float = 0.0
    offset_deg: float = 0.0
    direction: int = 1
    index: str = "counter"
    slot: int = -1

    def angle(self, acquisition: Any, counter: int) -> float:
        """Angle of a spoke, radians."""
        if self.source == "user":
            degrees = float(acquisition.user_float[self.slot]) * self.step_deg
            return math.radians(self.direction * (degrees + self.offset_deg))
        if self.index == "step_1":
            number = acquisition.idx.kspace_encode_step_1
        else:
            number = acquisition.scan_counter if self.index == "scan_counter" else counter
        return float(spoke_angles(number, self.step_deg, self.offset_deg, self.direction))


def angle_rule(parameters: BufferParameters, *, embedded: bool, spokes_per_frame: int) -> AngleRule:
    """The rule that the parameters ask for.

    Raises
    ------
    ParameterError
        If ``angles=user`` without a position in user_float, or a RAGA set that does not exist.
    """
    name = parameters.angles
    if embedded:
        return AngleRule("trajectory", "embedded trajectory")
    direction = 1 if parameters.angle_direction == "forward" else -1
    turned = "" if direction == 1 else ", backward"
    turned += f", {parameters.angle_offset:+g} deg" if parameters.angle_offset else ""
    if name == "user" or (name == "auto" and parameters.angle_user_float >= 0):
        slot = parameters.angle_user_float
        if slot < 0:
            raise ParameterError("buffer.angles = 'user'", "buffer.angle_user_float from 0 to 7 with it")
        unit = 1.0 if parameters.angle_unit == "deg" else math.degrees(1.0)
        text = f"user_float[{slot}] in {parameters.angle_unit}{turned}"
        return AngleRule("user", text, unit, parameters.angle_offset, direction, slot=slot)
    step, offset, index, label = _formula(parameters, spokes_per_frame)
    if parameters.angle_index != "auto":
        index = parameters.angle_index
    words = {"counter": "spoke counter", "step_1": "kspace_encode_step_1", "scan_counter": "scan_counter"}[index]
    text = f"{label}, {words} x {step:.3f} deg{turned}"
    return AngleRule("formula", text, step, offset + parameters.angle_offset, direction, index)


def _formula(parameters: BufferParameters, spokes_per_frame: int) -> tuple[float, float, str, str]:
    """(step deg, offset deg, index, words) of a formula."""
    n, base = parameters.tiny_golden, parameters.angle_base
    match parameters.angles:
        case "gadgetron2":
            return golden_angle(1), 180.0, "counter", "Gadgetron's golden_radial_mode2"
        case "gadgetron3":
            return golden_angle(2), 180.0, "counter", "Gadgetron's golden_radial_mode3"
        case "mrpro":
            return 180.0 * 0.618034, 0.0, "step_1", "MRpro's golden angle"
        case "step":
            return parameters.angle_step, 0.0, "counter", "given step"
        case "uniform":
            circle = 180.0 if base == "pi" else 360.0
            return circle / spokes_per_frame, 0.0, "step_1", "uniform spokes"
        case "raga":
            step = raga_angle(parameters.raga_spokes, n, base)  # type: ignore[arg-type]
            return step, 0.0, "counter", f"RAGA of {parameters.raga_spokes} spokes"
        case _:
            label = "golden angle" if n == 1 else f"tiny golden angle {n}"
            step = golden_angle(n, base)  # type: ignore[arg-type]
            return step, 0.0, "counter", label if base == "pi" else f"{label} of 2 pi"
