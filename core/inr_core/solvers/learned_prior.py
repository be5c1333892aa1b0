"""The live solver's weights as a network knows them that has seen many scenes move."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.solvers.change_network import ChangeNetwork, change_network, network_maps
from inr_core.solvers.change_solver import Outlook
from inr_core.solvers.motion_prior import MotionPrior

_FLOOR = 0.2  # least D^2, relative to the mean of what changes


class LearnedPrior(MotionPrior):
    """A :class:`MotionPrior` that asks a network before a frame is solved.

    The rule looks at how large the last changes were, in windows of nine pixels. The network sees in their shape what
    moves, and what of it the new data contradict: which edges, and how far. Measured on a real cine at 5 spokes, first
    part alone: 30.1 dB by the rule, 31.2 by the network, 32.6 by the true change's own square over 3 x 3 pixels.

    State: that of :class:`MotionPrior`, and the last change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: Tensor | None = None

    def update(self, change: Tensor) -> None:
        """Learn from how a frame differed from its prediction, (ny, nx) complex."""
        super().update(change)
        self._last = change

    def expected(self, seen: Outlook) -> Tensor:
        """D, (ny, nx), before anything of the frame is known but what its prediction leaves."""
        maps = self.maps(seen)
        variance = self._network(maps.device)(maps[None])[0].exp()
        floor = torch.full_like(variance, _FLOOR)
        return self._deviation(variance, floor)

    def _network(self, device: torch.device) -> ChangeNetwork:
        return change_network(device)

    def maps(self, seen: Outlook) -> Tensor:
        """(9, ny, nx): what the network is asked with."""
        last = torch.zeros_like(seen.prediction) if self._last is None else self._last
        images = seen.prediction, seen.missing, last
        return network_maps(images, super().expected(seen), seen.scale, seen.frame.strength, seen.frame.acceleration)
