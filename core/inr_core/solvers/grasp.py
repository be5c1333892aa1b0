"""GRASP: all frames at once, with total variation along time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.coils import recombine
from inr_core.errors import DataError
from inr_core.losses import modulus
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.live import RefinedSeries
from inr_core.solvers.live_parameters import GraspParameters
from inr_core.solvers.predicted_cg import PredictedCg

_BLOCK = 4  # frames whose coils are transformed at once: what the caches hold, and what bounds the memory
_LINE_ROUNDS = 4  # of the line search; they cost no transform
_SMOOTH_FIRST, _SMOOTH_LAST, _SMOOTH_FALL = 1e-2, 3e-4, 0.8  # of the modulus, relative to the images' maximum


class GraspMethod(PredictedCg):
    """Golden-angle radial sparse parallel MRI (GRASP; Feng et al., doi 10.1002/mrm.24980).

    Live images are those of :class:`PredictedCg`. The refined series minimises :class:`GraspObjective` over all frames
    that are kept, begun from the live images.

    State: that of :class:`PredictedCg`, and one image for each frame of its history.
    """

    def __init__(self, shape: tuple[int, int], parameters: GraspParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters
        self._images: deque[Tensor] = deque(maxlen=parameters.history_frames)

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        image = super()._reconstruct(frame, csm)
        self._images.append(image)
        return image

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:
        super()._maps_changed(before, after)
        for i, image in enumerate(self._images):
            self._images[i] = recombine(image, before, after)

    @torch.no_grad()
    def refine(
        self,
        limit_s: float = math.inf,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda part: None,
    ) -> RefinedSeries | None:
        """GRASP of all frames that are kept; None for a single frame, which has no variation along time.

        A time limit or a stop leaves the images as good as they have become by then.
        """
        self.settle()
        csm, total = self.calibration.csm, self.parameters.grasp_iterations
        if csm is None or len(self.history) < 2:
            return None
        begin, steps, images = time.monotonic(), 0, torch.stack(list(self._images))
        objective = GraspObjective(self.history, csm, self.parameters.grasp_weight, self.parameters.grasp_tikhonov)
        if stopped() or limit_s <= 0:
            return RefinedSeries(self.history.first, images, 0)
        for better in minimise(objective, images, total):
            images, steps = better, steps + 1
            progress(steps / total)
            if steps == total or stopped() or time.monotonic() - begin >= limit_s:
                break
        self.steps += steps
        return RefinedSeries(self.history.first, images, steps)


class GraspObjective:
    """What GRASP minimises over a series x of frames, up to a constant:

        sum_t 1/2 x_t^H G_t x_t - Re x_t^H b_t  +  tau/2 |x|^2  +  lambda sum_t |x_{t+1} - x_t|_1

    G_t = S^H F_t^H W F_t S and b_t = S^H F_t^H W y_t make the first two terms 1/2 |W^1/2 (F S x - y)|^2. The modulus
    is that of complex numbers. tau |x|^2 is not in the paper: what no spoke ever measures, the corners of k-space,
    would grow slowly from iteration to iteration with the errors of the data.

    Parameters
    ----------
    frames
        At least two consecutive frames.
    csm : (coils, ny, nx)
        Receive maps.
    weight
        lambda relative to max |b|, the maximum of the gridded images, as in the paper's code.
    tikhonov
        tau relative to the mean of the gram's diagonal.

    Attributes
    ----------
    right : (frames, ny, nx)
        b.
    strength
        Mean of the gram's diagonal.
    scale
        Maximum of the images, about.
    weight, tikhonov
        lambda and tau.

    Raises
    ------
    DataError
        If the data hold no signal, or samples that are not finite.
    """

    def __init__(self, frames: FrameHistory, csm: Tensor, weight: float, tikhonov: float) -> None:
        self.frames, self.csm = frames, csm
        self.right = torch.stack([frame.right_side(csm) for frame in frames])
        self.strength = sum(frame.strength for frame in frames) / len(frames)
        largest = float(self.right.abs().max())
        if not (math.isfinite(largest) and largest > 0 and self.strength > 0):
            raise DataError(
                f"gridded images of maximum {largest:g} from data of weight {self.strength:g}",
                "a signal",
                "check the receivers",
            )
        self.scale = largest / self.strength
        self.weight, self.tikhonov = weight * largest, tikhonov * self.strength

    def gram(self, x: Tensor) -> Tensor:
        """(G + tau) x; a few frames at a time, for the sake of memory."""
        out = torch.empty_like(x)
        for start in range(0, len(x), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(x)))
            kernel = torch.cat([self.frames[i].kernel for i in range(part.start, part.stop)])
            out[part] = ToeplitzGram(kernel, self.csm).forward(x[part])
        return out.add_(x, alpha=self.tikhonov)

    def value(self, x: Tensor) -> float:
        """The objective of a series (frames, ny, nx)."""
        data = _inner(x, 0.5 * self.gram(x) - self.right)
        return float(data + self.weight * (x[1:] - x[:-1]).abs().sum())


class _Direction(NamedTuple):
    """A search direction, its steps in time, and what the gram makes of it."""

    images: Tensor
    steps: Tensor
    gram: Tensor


def minimise(objective: GraspObjective, start: Tensor, iterations: int) -> Iterator[Tensor]:
    """Preconditioned nonlinear conjugate gradients (Polak and Ribiere), the series after each iteration.

    As in the paper the corner of the modulus is rounded, |d| ~ sqrt(|d|^2 + e^2), here by an e that falls from 1e-2 to
    3e-4 of the images' maximum, so that first the large and then the small steps in time are settled. Two things make
    ten iterations do the work of twenty. The preconditioner g + D^H diag(lambda / |Dx|) D is the Hessian with the
    time-averaged gram, which is about g, for the gram: a tridiagonal system along time in each pixel, solved exactly.
    And the line search is exact: along a line the data term is a parabola, and the total variation is replaced by
    touching parabolas a few times over. An iteration takes one product with the gram.

    Parameters
    ----------
    objective
        What is minimised.
    start : (frames, ny, nx)
        First guess.
    iterations
        At most; sets nothing else.
    """
    x, gram = start, objective.gram(start)
    old: tuple[Tensor, Tensor, Tensor] | None = None  # gradient, its preconditioned energy, direction
    for number in range(iterations):
        smooth = objective.scale * max(_SMOOTH_LAST, _SMOOTH_FIRST * _SMOOTH_FALL**number)
        steps = x[1:] - x[:-1]
        stiffness = objective.weight / modulus(steps, smooth)
        gradient = (gram - objective.right).add_(_difference_adjoint(stiffness * steps))
        descent = solve_tridiagonal(stiffness, objective.strength + objective.tikhonov, gradient)
        energy, images = _inner(descent, gradient), -descent
        if old is not None:
            last_gradient, last_energy, last_direction = old
            turn = (energy - _inner(descent, last_gradient)) / last_energy.clamp_min(torch.finfo(energy.dtype).tiny)
            images = images + turn.clamp_min(0) * last_direction
        old = gradient, energy, images
        direction = _Direction(images, images[1:] - images[:-1], objective.gram(images))
        length = _line_search(objective, steps, gram - objective.right, direction, smooth)
        x, gram = x + length * direction.images, gram + length * direction.gram
        yield x


def solve_tridiagonal(stiffness: Tensor, base: float, right: Tensor) -> Tensor:
    """Solve (base + D^H diag(stiffness) D) z = right along the frames, D the difference of neighbours.

    Elimination without pivots (Thomas), stable since the matrix is diagonally dominant.

    Parameters
    ----------
    stiffness : (frames - 1, ny, nx) real, not negative
    base
        Positive.
    right : (frames, ny, nx)
    """
    solution, ratios = right.clone(), torch.empty_like(stiffness)
    for i in range(len(right)):
        pivot = torch.full_like(right[0].real, base)
        if i < len(stiffness):
            pivot += stiffness[i]
        if i > 0:
            pivot += stiffness[i - 1] * (1 - ratios[i - 1])
            solution[i] += stiffness[i - 1] * solution[i - 1]
        solution[i] /= pivot
        if i < len(stiffness):
            ratios[i] = stiffness[i] / pivot
    for i in range(len(right) - 2, -1, -1):
        solution[i] += ratios[i] * solution[i + 1]
    return solution


def _line_search(
    objective: GraspObjective, steps: Tensor, residual: Tensor, direction: _Direction, smooth: float
) -> Tensor:
    """The length that minimises the rounded objective along a direction."""
    slope, curvature = _inner(direction.images, residual), _inner(direction.images, direction.gram)
    across = steps.real * direction.steps.real + steps.imag * direction.steps.imag
    square = direction.steps.real**2 + direction.steps.imag**2
    tiny = torch.finfo(slope.dtype).tiny
    length = torch.zeros_like(slope)
    for _ in range(_LINE_ROUNDS):
        stiffness = objective.weight / modulus(steps + length * direction.steps, smooth)
        bend = curvature + (stiffness * square).sum()
        length = -(slope + (stiffness * across).sum()) / bend.clamp_min(tiny)
    return length


def _difference_adjoint(steps: Tensor) -> Tensor:
    zero = torch.zeros_like(steps[:1])
    return -torch.diff(steps, dim=0, prepend=zero, append=zero)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return torch.vdot(a.flatten(), b.flatten()).real
