"""Parameters of the methods that know one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter
from inr_core.parameters.live import MeasurementParameters


@dataclass(frozen=True)
class SingleFrameParameters(MeasurementParameters):
    """A frame's own data, and for the outer k-space those of its predecessors."""

    share_frames: int = parameter(
        0,
        "earlier frames whose spokes may fill the outer k-space of a frame, where its own are far apart; 0 for none",
        unit="frames",
        minimum=0,
        maximum=64,
    )
