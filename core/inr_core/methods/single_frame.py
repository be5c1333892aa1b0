"""Methods that know only one frame at a time, and perhaps the outer k-space of its predecessors."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from inr_core.methods.live import LiveMethod
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.single_frame import cg_sense
from inr_core.solvers.slice_data import FrameSamples
from inr_core.solvers.view_sharing import with_shared_views


class SingleFrameMethod(LiveMethod):
    """Each frame by itself; with ``share_frames`` by :func:`~inr_core.solvers.view_sharing.with_shared_views`.

    State: the samples of as many frames as are shared.
    """

    def __init__(self, shape: tuple[int, int], parameters: SingleFrameParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        shared = parameters.share_frames
        self._recent: deque[FrameSamples] = deque(maxlen=shared + 1 if shared > 0 else 0)

    def _keep_samples(self, kspace: Tensor, traj: Tensor) -> None:
        self._recent.append(FrameSamples(kspace, traj))

    def _shared(self, frame: MeasuredFrame) -> MeasuredFrame:
        """The frame with what it has of its predecessors."""
        if len(self._recent) < 2:
            return frame
        return with_shared_views(frame, self._recent, self.shape, self._measurement.ramp_exponent)


class GriddingMethod(SingleFrameMethod):
    """Adjoint NUFFT with density compensation, coils combined by their maps: what the other methods start from."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return self._shared(frame).right_side(csm)


class CgSenseMethod(SingleFrameMethod):
    """CG-SENSE of each frame by itself (Pruessmann et al., doi 10.1002/mrm.1241), with a little Tikhonov."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return cg_sense(self._shared(frame), csm, self._measurement.start_iterations, self._measurement.tikhonov)
