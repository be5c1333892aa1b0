"""Analytic phantoms: ellipses with exact k-space, so no reconstruction is judged on data that its own operator made.

``cine`` is a beating heart; ``coils`` are receive maps whose product with any phantom has exact k-space too; ``scan``
puts the two together and gives the truth.
"""

from __future__ import annotations

from inr_core.phantoms.cine import CinePhantom
from inr_core.phantoms.coils import CoilArray
from inr_core.phantoms.ellipse import Ellipses
from inr_core.phantoms.scan import Grid, Phantom, kspace, noise, noise_correlation, truth

__all__ = ["CinePhantom", "CoilArray", "Ellipses", "Grid", "Phantom", "kspace", "noise", "noise_correlation", "truth"]
