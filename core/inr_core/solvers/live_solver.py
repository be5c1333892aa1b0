"""The live image of a frame, from its data and a prediction of it."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inr_core.parameters.live import LiveParameters
from inr_core.solvers.change_solver import ChangeSolver, Iterations, Outlook, outlook
from inr_core.solvers.effort import Effort, EffortPlan, Spent, Times, times_of
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.learned_prior import LearnedPrior
from inr_core.solvers.motion_prior import MotionPrior

_FADE = 0.5  # of the history's k-space coverage from frame to frame: what moves is soon out of date
_SPARSE, _SPARSE_POWER = 25.0, 3.0  # history_weight is for this acceleration; how it grows with it
_NO_HISTORY = 0.02  # weight of the history's k-space below which it is left out: it gains nothing, and takes time
_PRODUCTS = 1  # with the gram, on all coils, that are no iterations
_THOROUGH = 2  # times the iterations of a frame that follows a pause


class LiveSolver:
    """Solves one frame after the other of a slice, each towards its prediction p:

        argmin  (what ChangeSolver minimises over x = p + c)  +  h/2 |W_past^1/2 A_past (x - p)|^2

    The work has two parts. A few iterations on the few strongest coils start from what a network says of where changes
    are (:class:`LearnedPrior`), and from the prediction's edges; the second part, on all coils, from what the first has
    found (FOCUSS, see :class:`MotionPrior`). The weight of the prediction follows the noise: on a real cine the best
    constant is ten times as large with four times the noise, and what :class:`ChangeSolver` makes of it is better than
    either.

    Measured on a real cine (12 coils, from the tenth frame on) at 21 / 13 / 5 spokes: 39.9 / 37.8 / 32.8 dB,
    33.7 at 5 where a frame is solved with the one after it.

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
        self.prior = self._new_prior()
        most = Effort(parameters.quick_iterations, parameters.iterations, parameters.live_coils)
        self._times_of = shape, parameters.quick_coils, device
        self.plan = EffortPlan(most, parameters.quick_coils, _PRODUCTS, self._times())
        self.last_effort: Effort | None = None
        self._solver = ChangeSolver(shape, parameters, device)
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
        self._past_kernel = frame.kernel

    def forget(self) -> None:
        """What moves may be anywhere when the next frame comes: neither past changes nor past k-space count for it.

        It gets twice the iterations: after half a heart beat this was worth 1.5 dB at 13 spokes and 0.6 dB at 5.
        """
        self.prior, self._past_kernel, self._thorough = self._new_prior(), None, True

    def _new_prior(self) -> MotionPrior:
        return LearnedPrior() if self.parameters.change_network else MotionPrior()

    def look(self, frame: MeasuredFrame, csm: Tensor, prediction: Tensor) -> Outlook:
        """What the strongest coils say of a prediction, (ny, nx)."""
        return outlook(frame, csm[: self.parameters.quick_coils], prediction)

    def __call__(self, seen: Outlook, csm: Tensor, remaining_s: float = math.inf) -> Tensor:
        """The image, (ny, nx).

        Parameters
        ----------
        seen
            The frame with its prediction, from :meth:`look`.
        csm : (coils, ny, nx)
            Receive maps.
        remaining_s
            Time that is left for it; at least half of the first part's iterations are done.
        """
        frame = seen.frame
        effort = self._effort(frame, len(csm), remaining_s)
        watch = _Watch(frame.kernel.device)
        past, weight, kernel = self._past_kernel, self._history_weight(frame), frame.kernel
        if past is not None and weight >= _NO_HISTORY:
            kernel = torch.add(kernel, past, alpha=weight)
        expected = self.prior.expected(seen)
        found = self._solver.first(seen, kernel, expected, effort.first, watch.timed)
        change = found.change
        if effort.second > 0:
            likely, more = self.prior.found(change, seen.prediction), csm[: effort.coils]
            change = self._solver.second(seen, more, kernel, likely, found, effort.second, watch.timed)
        self.plan.measured(effort, *watch.spent())
        self.last_effort, self._thorough = effort, False
        self.prior.update(change)
        self._past_kernel = frame.kernel if past is None else torch.add(frame.kernel, past, alpha=_FADE)
        return seen.prediction + change

    def _effort(self, frame: MeasuredFrame, coils: int, remaining_s: float) -> Effort:
        # How few spokes they are does not change with those of the frames that they are solved with.
        effort = self.plan.choose(remaining_s, frame.parts[-1].acceleration)
        if len(frame.parts) > 1:
            effort = replace(effort, second=0)  # they came too late: the delay is made up for first
        times = _THOROUGH if self._thorough else 1
        return Effort(times * effort.first, times * effort.second, min(effort.coils, coils))

    def _history_weight(self, frame: MeasuredFrame) -> float:
        return self.parameters.history_weight * math.pow(frame.acceleration / _SPARSE, _SPARSE_POWER)


class _Watch:
    """Takes the times of a frame's parts: of the iterations of each, and of what comes before them."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._moments = device, list[float]()
        self._look()

    def timed(self, iterations: Iterations) -> None:
        """Do the iterations of a part."""
        self._look()
        iterations()
        self._look()

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
