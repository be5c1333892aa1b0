"""The objective of GRASP, data consistency with total variation, and its minimisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.batches import at_once
from inr_core.inner_products import inner, squares
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.frames import FrameHistory, check_signal
from inr_core.solvers.noise_level import combined_variance
from inr_core.solvers.variation import SpatialVariation, TemporalVariation, Variation

_BLOCK = 4  # frames whose coils are transformed at once: what the caches hold, and what bounds the memory
_LINE_ROUNDS = 4  # of the line search; they cost no transform
_NEIGHBOURS = 4  # that a pixel has in the plane
_SMOOTH_FIRST, _SMOOTH_LAST, _SMOOTH_FALL = 1e-2, 3e-4, 0.8  # of the modulus, relative to the images' maximum


class GraspObjective:
    """What is minimised over a series x of frames, up to a constant:

        sum_t 1/2 x_t^H G_t x_t - Re x_t^H b_t  +  tau/2 |x - c|^2  +  lambda |D x|_1  +  sigma |grad x|_1

    G_t = S^H F_t^H W F_t S and b_t = S^H F_t^H W y_t make the first two terms 1/2 |W^1/2 (F S x - y)|^2. The modulus
    is that of complex numbers. GRASP has D x = x_{t+1} - x_t, c = 0 and sigma = 0; its paper has no tau, either: what
    no spoke ever measures, the corners of k-space, would grow slowly from iteration to iteration with the errors of
    the data. With a centre c the solution stays near a series that is good already; with sigma, the edges of the image
    say what the corners of k-space may be; with a flow, D follows the motion.

    A weight that removes streaks is too small for noise. With s the standard deviation of the noise in b, lambda is
    raised to ``noise_weight`` (s - lambda) where that is more, and sigma by the same factor. Measured on a real cine at
    5, 13 and 21 spokes with noise of 0.5 to 8 times the usual: the best weights stay as long as s is no more than about
    twice lambda, and then grow faster than it until they are s themselves.

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
    spatial_weight
        sigma, relative as lambda.
    spatial_part : (frames, ny, nx)
        Factor on sigma, pixel by pixel; 1 if None.
    noise_weight
        How lambda grows with the noise, see above; 0 leaves both weights as they are.
    centre : (frames, ny, nx)
        c; zero if None.
    flow : (frames - 1, 2, ny, nx)
        Motion that D follows, see :func:`inr_core.solvers.optical_flow.flow_residual`; none if None.

    Attributes
    ----------
    right : (frames, ny, nx)
        b + tau c.
    strength
        Mean of the gram's diagonal.
    scale
        Maximum of the images, about.
    tikhonov
        tau.
    variations
        Difference operators with their weights.

    Raises
    ------
    DataError
        If the data hold no signal, or samples that are not finite.
    """

    def __init__(
        self,
        frames: FrameHistory,
        csm: Tensor,
        weight: float,
        tikhonov: float,
        *,
        spatial_weight: float = 0.0,
        spatial_part: Tensor | None = None,
        noise_weight: float = 0.0,
        centre: Tensor | None = None,
        flow: Tensor | None = None,
    ) -> None:
        self.frames, self.csm = frames, csm
        self.right, self.strength = frames.right_sides(csm), frames.strength
        largest = float(self.right.abs().max())
        check_signal(largest, self.strength)
        self.scale, self.tikhonov = largest / self.strength, tikhonov * self.strength
        if centre is not None:
            self.right = self.right + self.tikhonov * centre
        noise = math.sqrt(combined_variance(frames.noise, csm)) / largest
        unit = largest * max(1.0, noise_weight * (noise - weight) / weight) if weight > 0 else largest
        self.variations: list[tuple[Variation, float | Tensor]] = [(TemporalVariation(flow), weight * unit)]
        if spatial_weight > 0:
            sigma = spatial_weight * unit
            self.variations.append((SpatialVariation(), sigma if spatial_part is None else sigma * spatial_part))

    def gram(self, x: Tensor) -> Tensor:
        """(G + tau) x; a few frames at a time, for the sake of memory."""
        out = torch.empty_like(x)
        block = at_once(_BLOCK)
        for start in range(0, len(x), block):
            part = slice(start, min(start + block, len(x)))
            kernel = torch.cat([self.frames[i].kernel for i in range(part.start, part.stop)])
            out[part] = ToeplitzGram(kernel, self.csm).forward(x[part])
        return out.add_(x, alpha=self.tikhonov)

    def value(self, x: Tensor) -> float:
        """The objective of a series (frames, ny, nx)."""
        data = inner(x, 0.5 * self.gram(x) - self.right)
        return float(data + sum((weight * _sizes(v.forward(x), 0.0)).sum() for v, weight in self.variations))


class _Line(NamedTuple):
    """Differences of the series, those of a search direction, and the weight of their modulus."""

    differences: Tensor
    along: Tensor
    weight: float | Tensor

    def stiffness(self, length: Tensor | float, smooth: float) -> Tensor:
        """The weight over the modulus, at a point of the line."""
        return self.weight / _sizes(self.differences + length * self.along, smooth)


def minimise(objective: GraspObjective, start: Tensor, iterations: int, first: int = 0) -> Iterator[Tensor]:
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
    first
        Iterations that were done before, with a slightly different objective: the rounding goes on where it was.
    """
    x, gram = start, objective.gram(start)
    old: tuple[Tensor, Tensor, Tensor] | None = None  # gradient, its preconditioned energy, direction
    for number in range(first, first + iterations):
        smooth = objective.scale * max(_SMOOTH_LAST, _SMOOTH_FIRST * _SMOOTH_FALL**number)
        differences = [v.forward(x) for v, _ in objective.variations]
        stiffness = [w / _sizes(d, smooth) for d, (_, w) in zip(differences, objective.variations, strict=True)]
        residual = gram - objective.right
        gradient = residual.clone()
        for (variation, _), weight, d in zip(objective.variations, stiffness, differences, strict=True):
            gradient += variation.adjoint(weight * d)
        # Beside the temporal variation: the mean diagonal of the others.
        base = objective.strength + objective.tikhonov + sum(_NEIGHBOURS * float(w.mean()) for w in stiffness[1:])
        descent = solve_tridiagonal(stiffness[0], base, gradient)
        energy, direction = inner(descent, gradient), -descent
        if old is not None:
            last_gradient, last_energy, last_direction = old
            turn = (energy - inner(descent, last_gradient)) / last_energy.clamp_min(torch.finfo(energy.dtype).tiny)
            direction = direction + turn.clamp_min(0) * last_direction
        old = gradient, energy, direction
        product = objective.gram(direction)
        lines = [_Line(d, v.forward(direction), w) for d, (v, w) in zip(differences, objective.variations, strict=True)]
        length = _line_search(inner(direction, residual), inner(direction, product), lines, smooth)
        x, gram = x + length * direction, gram + length * product
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


def _line_search(slope: Tensor, curvature: Tensor, lines: list[_Line], smooth: float) -> Tensor:
    """The length that minimises the rounded objective along a direction."""
    across = [(line.differences.conj() * line.along).real.sum(0) for line in lines]
    square = [squares(line.along).sum(0) for line in lines]
    tiny = torch.finfo(slope.dtype).tiny
    length = torch.zeros_like(slope)
    for _ in range(_LINE_ROUNDS):
        fall, bend = slope, curvature
        for line, a, b in zip(lines, across, square, strict=True):
            stiffness = line.stiffness(length, smooth)
            fall, bend = fall + (stiffness * a).sum(), bend + (stiffness * b).sum()
        length = -fall / bend.clamp_min(tiny)
    return length


def _sizes(differences: Tensor, smooth: float) -> Tensor:
    """(directions, n, ny, nx) -> (n, ny, nx): the modulus over all directions, its corner rounded."""
    return (squares(differences).sum(0) + smooth**2).sqrt()
