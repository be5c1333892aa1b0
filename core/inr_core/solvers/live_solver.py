"""The live image of a frame, from its data and a prediction of it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inr_core.inner_products import squares
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.parameters.live import LiveParameters
from inr_core.solvers.change_model import ChangeModel, SmoothDisplacement
from inr_core.solvers.conjugate_gradient import CgPoint, continue_from
from inr_core.solvers.effort import Effort, EffortPlan, Spent, Times, times_of
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from inr_core.solvers.motion_prior import MotionPrior
from inr_core.solvers.noise_level import combined_variance
from inr_core.solvers.variation import SpatialVariation

_FADE = 0.5  # of the history's k-space coverage from frame to frame: what moves is soon out of date
_CORNER = 3e-3  # of the image's maximum: differences in the plane below it are smoothed, larger ones may be edges
_SPARSE, _SPARSE_POWER = 25.0, 3.0  # history_weight is for this acceleration; how it grows with it
_PRODUCTS = 1  # with the gram, on all coils, that are no iterations
_THOROUGH = 2  # times the iterations of a frame that follows a pause
_TINY = 1e-30
_LEAST_SIGNAL = 0.01

_PLANE = SpatialVariation()


@dataclass(frozen=True)
class Outlook:
    """A frame and what some of its coils say of a prediction.

    Attributes
    ----------
    frame
        The data.
    csm : (coils, ny, nx)
        Receive maps of as many of its coils as are used.
    prediction : (ny, nx)
        The image that is expected.
    right, missing : (ny, nx)
        What the data pull towards, S^H F^H W y, and what the prediction does not explain of it.
    scale
        Maximum of the prediction's magnitude.
    noise
        Variance of the noise in ``right``: what noise of a few coils leaves in an image that is combined from them.
    """

    frame: MeasuredFrame
    csm: Tensor
    prediction: Tensor
    right: Tensor
    missing: Tensor
    scale: float
    noise: float


class _Found(NamedTuple):
    """The change that the first part found, (ny, nx), and its numbers."""

    change: Tensor
    numbers: Tensor


class LiveSolver:
    """Solves one frame after the other of a slice, each towards its prediction p:

        argmin  1/2 |W^1/2 (A x - y)|^2  +  sigma |grad x|_1  +  h/2 |W_past^1/2 A_past (x - p)|^2  +  g lambda/2 |c|^2

    over the numbers c of a :class:`ChangeModel`, x = p + D z + motion: changes are free where they are expected, those
    of brightness more than those of phase, and whatever is smooth motion costs next to nothing. The modulus of the
    gradient is replaced by the parabola that touches it at the last image. The work has two parts. A few iterations on
    the few strongest coils start from what the last frames say of D, and from the prediction's edges; the second part,
    on all coils, from what the first has found (FOCUSS, see :class:`MotionPrior`), with the slopes of the mean of both
    images, so that the motion is of second order. lambda is no constant of the scan,

        lambda = lambda_0 + n v / (|S^H F^H W (y - F S p)|^2 - v)

    with v the noise's part of the mean square that the prediction leaves of the gridded data: the noisier a frame, and
    the less it differs, the more the prediction counts; sigma grows with the noise, too. On a real cine the best
    constant is ten times as large with four times the noise, and this one is better than the best constant on both.

    Measured on a real cine (12 coils, from the tenth frame on) at 21 / 13 / 5 spokes: 39.8 / 37.4 / 31.9 dB.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    parameters
        Weights, coils, iterations.
    device
        Where tensors live.

    Attributes
    ----------
    plan
        Measured times; decides the effort.
    last_effort
        What the last frame got; None before the first.
    """

    def __init__(self, shape: tuple[int, int], parameters: LiveParameters, device: torch.device) -> None:
        self.parameters = parameters
        self.prior = MotionPrior()
        most = Effort(parameters.quick_iterations, parameters.iterations, parameters.live_coils)
        self._times_of = shape, parameters.quick_coils, device
        self.plan = EffortPlan(most, parameters.quick_coils, _PRODUCTS, self._times())
        self.last_effort: Effort | None = None
        self._displacement = SmoothDisplacement(shape, device)
        self._past_kernel: Tensor | None = None
        self._thorough = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on, perhaps on another device: with a GPU's times a CPU would be late for fifty frames."""
        vars(self).update(state)
        self.plan.times = self._times()

    def _times(self) -> Times:
        shape, coils, device = self._times_of
        return times_of(shape, coils, str(device))

    def first(self, frame: MeasuredFrame) -> None:
        """Learn of a frame that was solved without a prediction."""
        self._past_kernel = frame.kernel.clone()

    def forget(self) -> None:
        """What moves may be anywhere when the next frame comes: neither past changes nor past k-space count for it.

        It gets twice the iterations: after half a heart beat this was worth 1.5 dB at 13 spokes and 0.6 dB at 5.
        """
        self.prior, self._past_kernel, self._thorough = MotionPrior(), None, True

    def look(self, frame: MeasuredFrame, csm: Tensor, prediction: Tensor) -> Outlook:
        """What the strongest coils say of a prediction, (ny, nx)."""
        return _outlook(frame, csm[: self.parameters.quick_coils], prediction)

    def __call__(self, outlook: Outlook, csm: Tensor, remaining_s: float = math.inf) -> Tensor:
        """The image, (ny, nx).

        Parameters
        ----------
        outlook
            The frame with its prediction, from :meth:`look`.
        csm : (coils, ny, nx)
            Receive maps.
        remaining_s
            Time that is left for it; at least half of the first part's iterations are done.
        """
        frame = outlook.frame
        effort = self._effort(frame, len(csm), remaining_s)
        watch = _Watch(frame.kernel.device)
        past = self._past_kernel if self._past_kernel is not None else torch.zeros_like(frame.kernel)
        kernel = frame.kernel + self._history_weight(frame) * past
        weight = self._weight(outlook)
        found = self._first_part(outlook, kernel, weight, effort.first, watch)
        change = found.change
        if effort.second > 0:
            change = self._second_part(outlook, csm[: effort.coils], kernel, weight, found, effort.second, watch)
        self.plan.measured(effort, *watch.spent())
        self.last_effort, self._thorough = effort, False
        self.prior.update(change)
        self._past_kernel = _FADE * past + frame.kernel
        return outlook.prediction + change

    def _effort(self, frame: MeasuredFrame, coils: int, remaining_s: float) -> Effort:
        effort = self.plan.choose(remaining_s, frame.acceleration)
        if isinstance(frame, JointFrames):
            effort = replace(effort, second=0)  # a prediction and a change meet different kernels
        times = _THOROUGH if self._thorough else 1
        return Effort(times * effort.first, times * effort.second, min(effort.coils, coils))

    def _first_part(self, data: Outlook, kernel: Tensor, weight: float, iterations: int, watch: _Watch) -> _Found:
        prediction, scale = data.prediction, data.scale
        model = self._model(self.prior.expected(prediction), prediction, scale)
        edges = self._edges(prediction, data)
        right = model.adjoint(data.missing - edges.pull(prediction))
        point = CgPoint(torch.zeros_like(right), right)
        operator = self._operator(data, kernel, edges, model, weight)
        numbers = watch.timed(lambda: continue_from(operator, point, iterations)).solution
        return _Found(model.forward(numbers), numbers)

    def _second_part(
        self, few: Outlook, csm: Tensor, kernel: Tensor, weight: float, found: _Found, iterations: int, watch: _Watch
    ) -> Tensor:
        prediction, change = few.prediction, found.change
        # Past k-space is trusted to hold what has been found, which spares a product with its kernel.
        data = _outlook(few.frame, csm, prediction + change, few.scale)
        model = self._model(self.prior.found(change, prediction), prediction + 0.5 * change, data.scale)
        edges = self._edges(data.prediction, data)
        numbers = model.with_motion_of(found.numbers, change)
        left = model.adjoint(data.missing - edges.pull(data.prediction))
        point = CgPoint(numbers, left - weight * numbers)
        operator = self._operator(data, kernel, edges, model, weight)
        return model.forward(watch.timed(lambda: continue_from(operator, point, iterations)).solution)

    def _model(self, deviation: Tensor, image: Tensor, scale: float) -> ChangeModel:
        p = self.parameters
        return ChangeModel(deviation, image, self._displacement, p.motion_weight / scale, p.phase_changes)

    def _edges(self, image: Tensor, data: Outlook) -> _Edges:
        p = self.parameters
        weight = max(p.live_spatial * data.frame.strength * data.scale, p.live_spatial_noise * math.sqrt(data.noise))
        return _Edges(image, weight, _CORNER * data.scale)

    def _operator(
        self, data: Outlook, kernel: Tensor, edges: _Edges, model: ChangeModel, weight: float
    ) -> Callable[[Tensor], Tensor]:
        gram = ToeplitzGram(kernel, data.csm)

        def apply(numbers: Tensor) -> Tensor:
            change = model.forward(numbers)
            return model.adjoint(gram.forward(change[None])[0] + edges.pull(change)).add_(numbers, alpha=weight)

        return apply

    def _weight(self, data: Outlook) -> float:
        """G lambda, see the class."""
        noise, g, energy = data.noise, data.frame.strength, float(squares(data.missing).mean())
        share = noise / max(energy - noise, _LEAST_SIGNAL * energy)
        return g * (self.parameters.prior_weight + self.parameters.noise_weight * share)

    def _history_weight(self, frame: MeasuredFrame) -> float:
        return self.parameters.history_weight * math.pow(frame.acceleration / _SPARSE, _SPARSE_POWER)


def _outlook(frame: MeasuredFrame, csm: Tensor, prediction: Tensor, scale: float | None = None) -> Outlook:
    right = frame.right_side(csm)
    missing = right - frame.gram(csm).forward(prediction[None])[0]
    scale = max(math.sqrt(float(squares(prediction).max())), _TINY) if scale is None else scale
    return Outlook(frame, csm, prediction, right, missing, scale, combined_variance(frame.noise, csm))


class _Edges:
    """The variation in the plane, by parabolas that touch its modulus at an image (ny, nx)."""

    def __init__(self, image: Tensor, weight: float, corner: float) -> None:
        self._stiffness = weight * (squares(_steps(image)).sum(0) + corner**2).rsqrt()

    def pull(self, image: Tensor) -> Tensor:
        """The gradient at an image; linear in it."""
        return _PLANE.adjoint(self._stiffness * _steps(image))[0]


def _steps(image: Tensor) -> Tensor:
    """(2, 1, ny, nx): differences of an image to the next pixel along x and y."""
    return _PLANE.forward(image[None])


class _Watch:
    """Takes the times of a frame's parts: of the iterations of each, and of what comes before them."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._moments = device, list[float]()
        self._look()

    def timed(self, iterations: Callable[[], CgPoint]) -> CgPoint:
        """Do the iterations of a part."""
        self._look()
        found = iterations()
        self._look()
        return found

    def _look(self) -> None:
        """Once what this thread asked of the device is done.

        The whole device is not waited for: training has a stream of its own, and a recording in another thread forbids
        it.
        """
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        self._moments.append(time.monotonic())

    def spent(self) -> list[Spent]:
        """Of each part."""
        seconds = [after - before for before, after in itertools.pairwise(self._moments)]
        return [Spent(*pair) for pair in zip(seconds[::2], seconds[1::2], strict=True)]
