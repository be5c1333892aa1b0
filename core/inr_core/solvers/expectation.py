"""Whether a frame is what the frames before it let expect: how much of its data the prediction explains."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inr_core.inner_products import norm

LOST = 0.6  # part of what a prediction usually explains that must be missing for a sudden change
LOST_BETWEEN_SCANS = 0.5  # the same where another scan predicts, whose coils may have been others
_FLUCTUATION = 1.25  # times the level a residual may be by chance
_MEMORY = 0.8  # weight of the past in the running level


class Expectation:
    """The running level of the residual |b - G p| / |b| of the predictions p, and what stands out of it.

    The residual is 0 for a prediction that explains the data, and about 1 for one that has nothing to do with them.
    How far a good one is from 0 depends on noise, spokes and motion, so a frame is judged by the level of those before
    it: a change is sudden when the prediction explains less than 0.4 of what it usually does, 1 - r < 0.4 (1 - level),
    and r is a quarter above the level, which counts where noise leaves little to explain. Measured on a real cine at
    21, 13 and 5 spokes: levels of about 0.2, 0.3 and 0.5, single frames at most 0.12, 0.11 and 0.15 above them; a shift
    of all by 3 pixels gives 0.68, 0.79 and 0.92, one by 20 pixels 1.12 to 1.30.

    Attributes
    ----------
    level
        None until a frame has been judged. The first is never a surprise: as the second of a scan it has a poor
        prediction, and to begin anew with it would lose little and gain little.
    """

    def __init__(self, level: float | None = None) -> None:
        self.level = level

    def limit(self, lost: float = LOST) -> float:
        """Residual above which a change is sudden, the prediction having ``lost`` so much of what it explains."""
        if self.level is None:
            return math.inf
        return max(self.level + lost * (1 - self.level), _FLUCTUATION * self.level)

    def met(self, residual: float, lost: float = LOST) -> bool:
        """Judge a frame; one that is as expected moves the level. A residual that is not finite is no surprise."""
        if residual > self.limit(lost):
            return False
        if math.isfinite(residual):
            self.level = residual if self.level is None else _MEMORY * self.level + (1 - _MEMORY) * residual
        return True


def residual(missing: Tensor, right: Tensor) -> float:
    """|b - G p| / |b|: 0 for data of zeros."""
    return float(norm(missing) / norm(right).clamp_min(torch.finfo(right.dtype).tiny))
