"""Methods that know only one frame at a time."""

from __future__ import annotations

from torch import Tensor

from inr_core.methods.live import LiveMethod
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.single_frame import cg_sense


class GriddingMethod(LiveMethod):
    """Adjoint NUFFT with density compensation, coils combined by their maps: what the other methods start from."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return frame.right_side(csm)


class CgSenseMethod(LiveMethod):
    """CG-SENSE of each frame by itself (Pruessmann et al., doi 10.1002/mrm.1241), with a little Tikhonov."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return cg_sense(frame, csm, self._measurement.start_iterations, self._measurement.tikhonov)
