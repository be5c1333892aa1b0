"""Methods that run while the scan does: a frame's samples in, its image out, and at the end perhaps a better series."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.solvers.calibration import Calibration
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.live_parameters import MeasurementParameters
from inr_core.solvers.single_frame import cg_sense

_CALIBRATED_FIRST = 2  # frames whose maps need their own data; later ones can do with those of the frame before


@dataclass(frozen=True)
class RefinedSeries:
    """What the end of a scan gives.

    Attributes
    ----------
    first : int
        Index of the first frame; earlier ones are no longer kept.
    images : (frames, ny, nx) complex64
    steps : int
        Training steps that were taken.
    remark : str
        What the operator should know of it: that it is not what was asked for, and why. Empty if it is.
    """

    first: int
    images: Tensor
    steps: int
    remark: str = ""


class LiveMethod(ABC):
    """One slice's running reconstruction; its state is bounded however long the scan.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    parameters
        Of the method.
    device
        Where tensors live.
    """

    def __init__(self, shape: tuple[int, int], parameters: MeasurementParameters, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self._measurement = parameters
        self.calibration = Calibration(parameters.virtual_coils, parameters.map_degree)
        self.n_frames = 0
        self.steps = 0
        self.behind = 0.0  # set by the host: frame durations that this frame has waited already
        self._unsettled: MeasuredFrame | None = None

    @torch.no_grad()
    def add_frame(self, kspace: Tensor, traj: Tensor) -> Tensor:
        """Reconstruct the next frame.

        Parameters
        ----------
        kspace : (coils, spokes, samples) complex64
            Whitened samples.
        traj : (spokes, samples, 2) float32
            (kx, ky) in cycles per pixel.

        Returns
        -------
        (ny, nx) complex64, in the units of the unitary transform (see :class:`inr_core.operators.nufft.Nufft`).
        """
        self.settle()
        kspace, traj = kspace.to(self.device), traj.to(self.device)
        frame = MeasuredFrame.from_samples(
            self.n_frames, self.calibration.compress(kspace), traj, self.shape, self._measurement.ramp_exponent
        )
        self._unsettled = frame
        if self.n_frames < _CALIBRATED_FIRST:
            self._calibrate(frame)
        if self.calibration.csm is None:
            raise RuntimeError("the first frame must make receive maps")
        image = self._reconstruct(frame, self.calibration.csm)
        self.n_frames += 1
        return image

    @torch.no_grad()
    def settle(self) -> None:
        """Do what the last frame left to do and its image did not need: call it once the image has been sent.

        Where it is not called, the next frame begins with it, and nothing comes out differently.
        """
        frame, self._unsettled = self._unsettled, None
        if frame is not None and frame.index >= _CALIBRATED_FIRST:
            self._calibrate(frame)

    def _calibrate(self, frame: MeasuredFrame) -> None:
        before = self.calibration.csm
        changed = self.calibration.update(frame.coil_images)
        if changed and before is not None and self.calibration.csm is not None:
            self._maps_changed(before, self.calibration.csm)

    @abstractmethod
    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        """The image of a frame, (ny, nx)."""

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:  # noqa: B027 - most methods have nothing to do
        """Told when receive maps are replaced; ``before`` and ``after`` are (coils, ny, nx)."""

    def tune(self) -> bool:
        """Use a moment in which no frame is waiting; False if there is nothing to do."""
        return False

    def refine(
        self,
        limit_s: float = math.inf,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda part: None,
    ) -> RefinedSeries | None:
        """What the whole scan says about its frames, once it has ended; None for methods that have nothing to add."""
        return None


class GriddingMethod(LiveMethod):
    """Adjoint NUFFT with density compensation, coils combined by their maps: what the other methods start from."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return frame.right_side(csm)


class CgSenseMethod(LiveMethod):
    """CG-SENSE of each frame by itself (Pruessmann et al., doi 10.1002/mrm.1241), with a little Tikhonov."""

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        return cg_sense(frame, csm, self._measurement.start_iterations, self._measurement.tikhonov)
