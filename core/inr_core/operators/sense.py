"""Coil sensitivities."""

from __future__ import annotations

from torch import Tensor

from inr_core.errors import DataError
from inr_core.operators.linear_operator import LinearOperator


class Sense(LinearOperator):
    """Multiplies images by the receive maps of the coils (Pruessmann et al., doi 10.1002/mrm.1241).

    Parameters
    ----------
    csm : (coils, ny, nx)
        Complex receive maps; with unit root-sum-of-squares S^H S is the identity.

    Raises
    ------
    DataError
        If the maps or an argument have another shape.
    """

    def __init__(self, csm: Tensor) -> None:
        if csm.ndim != 3:
            raise DataError(f"coil maps of shape {tuple(csm.shape)}", "(coils, ny, nx)")
        self.csm = csm

    def forward(self, x: Tensor) -> Tensor:
        """(frames, ny, nx) -> (frames, coils, ny, nx)."""
        if x.ndim != 3 or x.shape[1:] != self.csm.shape[1:]:
            raise DataError(f"images of shape {tuple(x.shape)}", f"(frames, {self.csm.shape[1]}, {self.csm.shape[2]})")
        return x[:, None] * self.csm

    def adjoint(self, y: Tensor) -> Tensor:
        """(frames, coils, ny, nx) -> (frames, ny, nx)."""
        if y.ndim != 4 or y.shape[1:] != self.csm.shape:
            raise DataError(
                f"coil images of shape {tuple(y.shape)}", f"(frames, {', '.join(map(str, self.csm.shape))})"
            )
        return (self.csm.conj() * y).sum(1)
