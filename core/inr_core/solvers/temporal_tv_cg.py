"""The objective of GRASP, data consistency with total variation along time, and its minimisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.losses import modulus
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.frames import FrameHistory

_BLOCK = 4  # frames whose coils are transformed at once: what the caches hold, and what bounds the memory
_LINE_ROUNDS = 4  # of the line search; they cost no transform
_SMOOTH_FIRST, _SMOOTH_LAST, _SMOOTH_FALL = 1e-2, 3e-4, 0.8  # of the modulus, relative to the images' maximum


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
