"""What the methods that see all frames at once have in common."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter
from inr_core.parameters.live import LiveParameters


@dataclass(frozen=True)
class OfflineParameters(LiveParameters):
    """A series from all frames at once; the live image before it is a conjugate gradient image."""

    seed: int = parameter(0, "seed of the initial weights and of the training's draws", minimum=0, maximum=2**31 - 1)
