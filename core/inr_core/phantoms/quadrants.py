"""A body with another mark in each quadrant: no flip, rotation or exchange of its axes leaves it as it is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from inr_core.phantoms.ellipse import Ellipses


class QuadrantPhantom:
    """A still elliptic body with four round marks of different brightness and distance from the axes.

    Their edges are soft, so that the brightest point of each is its centre; nothing else is as bright as any of them.

    Attributes
    ----------
    MARKS : ((x mm, y mm), brightness above the body)
        Centres of the marks, brightest first: in the quadrants (+x, +y), (-x, +y), (-x, -y) and (+x, -y).
    RADIUS_MM
        Of a mark.
    SIZE_MM
        (x, y) of the body.
    """

    MARKS: ClassVar[tuple[tuple[tuple[float, float], float], ...]] = (
        ((58.0, 31.0), 1.0),
        ((-67.0, 43.0), 0.8),
        ((-39.0, -37.0), 0.6),
        ((48.0, -52.0), 0.4),
    )
    RADIUS_MM = 6.0
    SIZE_MM = (220.0, 180.0)
    _BODY, _EDGE_MM = 0.2, 2.5

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        """Body and marks at ``times_ms`` (times,), at all of them the same."""
        centres = np.array([(0.0, 0.0), *(centre for centre, _ in self.MARKS)])
        axes = np.array([np.divide(self.SIZE_MM, 2), *([self.RADIUS_MM] * 2 for _ in self.MARKS)])
        amplitude = np.array([self._BODY, *(level for _, level in self.MARKS)])
        shape = (len(times_ms), len(centres))
        return Ellipses(
            np.tile(centres, (len(times_ms), 1, 1)),
            np.tile(axes, (len(times_ms), 1, 1)),
            np.zeros(shape),
            np.tile(amplitude, (len(times_ms), 1)),
            edge_mm=self._EDGE_MM,
        )
