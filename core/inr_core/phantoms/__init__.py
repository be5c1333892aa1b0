"""Analytic phantoms: ellipses with exact k-space, so no reconstruction is judged on data that its own operator made.

``cine`` is a beating heart, ``dce`` a liver under contrast agent, of which ``slab`` cuts the partitions of a stack of
stars, ``quadrants`` a body with another mark in each quadrant; ``coils`` are receive maps whose product with any
phantom has exact k-space too; ``scan`` puts the two together and gives the truth.
"""

from __future__ import annotations

from inr_core.phantoms.cine import CinePhantom
from inr_core.phantoms.coils import CoilArray
from inr_core.phantoms.dce import DcePhantom
from inr_core.phantoms.ellipse import Ellipses
from inr_core.phantoms.quadrants import QuadrantPhantom
from inr_core.phantoms.scan import Grid, Phantom, kspace, noise, noise_correlation, truth
from inr_core.phantoms.slab import Slab

__all__ = [
    "CinePhantom",
    "CoilArray",
    "DcePhantom",
    "Ellipses",
    "Grid",
    "Phantom",
    "QuadrantPhantom",
    "Slab",
    "kspace",
    "noise",
    "noise_correlation",
    "truth",
]
