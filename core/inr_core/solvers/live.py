"""Methods that run while the scan does: a frame's samples in, its image out, and at the end perhaps a better series."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.solvers.calibration import Calibration
from inr_core.solvers.conjugate_gradient import CgPoint, continue_from
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.inr_trainer import InrTrainer
from inr_core.solvers.live_parameters import InrParameters, MeasurementParameters
from inr_core.solvers.motion_prior import MotionPrior
from inr_core.solvers.single_frame import cg_sense, first_frame

_CALIBRATED_FIRST = 2  # frames whose maps need their own data; later ones can do with those of the frame before
_FADE = 0.5  # of the history's k-space coverage from frame to frame: what moves is soon out of date


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
    """

    first: int
    images: Tensor
    steps: int


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
        """Told when receive maps are replaced, before the frame that brought them is reconstructed."""

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


class InrMethod(LiveMethod):
    """Predict, a few CG iterations towards the prediction, and a field that learns meanwhile and refines at the end.

    The live image of frame t is x = p + D z with

        z = argmin |W^1/2 (A_t (p + D z) - y)|^2 + h z^H D H_past D z + g lambda |z|^2

    where p is the prediction (the frame before, moved towards the field's image as far as the new data approve of
    that), D the expected deviation (:class:`MotionPrior`; half of the iterations run with what the last frames say,
    half with what the first half found), and H_past the fading sum of the last frames' grams: where they measured
    k-space, the prediction is known to be right. Everything in it costs one Toeplitz product an iteration.
    """

    def __init__(self, shape: tuple[int, int], parameters: InrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters
        self.history = FrameHistory(parameters.history_frames)
        self.trainer: InrTrainer | None = None
        self._prior = MotionPrior()
        self._previous: Tensor | None = None
        self._scale: Tensor | None = None  # maximum of the first image: one scale for the whole scan
        self._past_kernel: Tensor | None = None

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        strong, maps = self._strongest(frame, csm)
        if self._previous is None or self._past_kernel is None:
            image = first_frame(strong, maps, self.parameters.start_iterations, self.parameters.start_weight)
            self._past_kernel = frame.kernel.clone()
        else:
            prediction = self._predict(strong, maps, self._previous)
            image = self._towards(prediction, strong, maps, self._past_kernel)
            self._prior.update(image - prediction)
            self._past_kernel = _FADE * self._past_kernel + frame.kernel
        self.history.append(frame)
        if self._scale is None:
            self._scale = image.abs().max()
        self._previous = image
        return image

    def settle(self) -> None:
        """Receive maps, and room for the frame in the field."""
        super().settle()
        if self._scale is None or len(self.history) == 0:
            return
        if self.trainer is None:
            strength = self.history[0].strength
            self.trainer = InrTrainer(self.shape, self.parameters, float(self._scale), strength, self.device)
        self.trainer.extend(self.n_frames, self.history)

    def _strongest(self, frame: MeasuredFrame, csm: Tensor) -> tuple[MeasuredFrame, Tensor]:
        """The frame and maps of the first virtual coils, which are the strongest: enough for a live image."""
        n = self.parameters.live_coils
        return MeasuredFrame(frame.index, frame.coil_images[:n], frame.kernel), csm[:n]

    def _predict(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Tensor:
        """The frame before, and as much of the field's opinion as the new data confirm: an exact line search."""
        if self.trainer is None or self.trainer.live_steps == 0:
            return previous
        gram = frame.gram(csm)
        step = self.trainer.predict(frame.index - 1) - previous
        along = gram.forward(step[None])[0]
        slope = torch.vdot(step.flatten(), (frame.right_side(csm) - gram.forward(previous[None])[0]).flatten()).real
        curvature = torch.vdot(step.flatten(), along.flatten()).real
        part = (slope / curvature.clamp_min(torch.finfo(curvature.dtype).tiny)).clamp(0, 1)
        return previous + part * step

    def _towards(self, prediction: Tensor, frame: MeasuredFrame, csm: Tensor, past_kernel: Tensor) -> Tensor:
        gram = frame.gram(csm)
        with_past = type(gram)(frame.kernel + self.parameters.history_weight * past_kernel, csm)
        weight = self.parameters.prior_weight * frame.strength
        missing = frame.right_side(csm) - gram.forward(prediction[None])[0]

        def operator(deviation: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda z: deviation * with_past.forward((deviation * z)[None])[0] + weight * z

        # A lag is worked off an iteration at a time: each is a tenth of a decibel, until there are half of them left.
        iterations = max(-(-self.parameters.iterations // 2), self.parameters.iterations - int(self.behind))
        first = -(-iterations // 2)
        second = iterations - first
        deviation = self._prior.expected(prediction)
        start = CgPoint(torch.zeros_like(missing), deviation * missing)
        z, residual = continue_from(operator(deviation), start, first)
        change = deviation * z
        if second > 0:
            # What the gram makes of the change follows from the residual; the same change in the new variable.
            left = (residual + weight * z) / deviation
            deviation = self._prior.found(change, prediction)
            point = CgPoint(change / deviation, deviation * left - weight * change / deviation)
            change = deviation * continue_from(operator(deviation), point, second).solution
        return prediction + change

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:
        # The maps' phase is free: without this the previous image would not fit the new maps.
        if self._previous is not None:
            self._previous = (after.conj() * before * self._previous).sum(0)

    def tune(self) -> bool:
        """One training step of the field."""
        self.settle()
        if self.trainer is None or self.calibration.csm is None or len(self.history) < 2:
            return False
        self.trainer.tune(self.history, self.calibration.csm)
        self.steps += 1
        return True

    def refine(
        self,
        limit_s: float = math.inf,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda part: None,
    ) -> RefinedSeries | None:
        """Train the field on all frames that are kept; its images are the refined series."""
        self.settle()
        if self.trainer is None or self.calibration.csm is None or len(self.history) < 2:
            return None
        steps = self.trainer.refine(
            self.history, self.calibration.csm, limit_s=limit_s, stopped=stopped, progress=progress
        )
        self.steps += steps
        return RefinedSeries(self.history.first, self.trainer.series(self.history), steps)
