"""Stopping by held-out spokes: a network that explains them worse and worse has begun to learn the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.operators.nufft import Nufft
from inr_core.solvers.slice_data import FrameSamples, SliceData

Predict = Callable[[int, Tensor], Tensor]
"""Position of a frame, its (spokes, samples, 2) trajectory -> the (coils, spokes, samples) that the model expects."""


class HeldOut:
    """The error of spokes that a model was not trained on, the weights with which it was least, and when to stop.

    The error is |predicted - measured| / |measured| over all held-out samples of all coils. Without weights its inverse
    square in decibels is the signal-to-error ratio of Kunz et al. (arXiv 2305.06822); weighted by the ramp it is the
    error of the images, in which the noise of the periphery counts by the area that it fills. Frames are predicted a
    few at a time, in turn; the error takes those of the others from the last time, so that it is of the same samples
    whenever it is looked at.

    An instance is an ``after_step`` of :func:`inr_core.solvers.training.train`.

    Parameters
    ----------
    held
        One a frame, from :meth:`SliceData.split`; without spokes where none are held out.
    predict
        The model; called without a gradient.
    weights
        What training changes: parameters, and buffers that follow them.
    every
        Steps between two looks.
    patience
        Looks without a smaller error after which training ends.
    at_once
        Frames that are predicted at a look; 0 for all. The first look is at all of them.
    first
        Steps before the first look.
    density : (spokes, samples), one a frame
        Weights of the squared errors; 1 if None.

    Attributes
    ----------
    errors : list of (int, float)
        Step and error of each look.

    Raises
    ------
    DataError
        If no held-out sample has a signal.
    """

    def __init__(
        self,
        held: Sequence[FrameSamples],
        predict: Predict,
        weights: Iterable[Tensor],
        *,
        every: int,
        patience: int,
        at_once: int = 4,
        first: int = 0,
        density: Sequence[Tensor] | None = None,
    ) -> None:
        self._held = [(i, samples) for i, samples in enumerate(held) if samples.traj.shape[0] > 0]
        self._density = density
        self._energy = sum(self._square(i, samples.kspace) for i, samples in self._held)
        if not (math.isfinite(self._energy) and self._energy > 0):
            raise DataError("held-out spokes without a signal", "a signal", "check the receivers")
        self._predict, self._every, self._patience, self._first = predict, every, patience, first
        self._at_once = min(at_once, len(self._held)) or len(self._held)
        self._weights = list(weights)
        self._best = [w.detach().clone() for w in self._weights]
        self._squares = [math.inf] * len(self._held)
        self._next, self._least, self._since = 0, math.inf, 0
        self.errors: list[tuple[int, float]] = []

    def __call__(self, steps: int) -> bool:
        """Look if it is time to; True if there is no use in going on."""
        if not self.due(steps):
            return False
        self._judge(steps)
        return self.useless

    def due(self, steps: int) -> bool:
        """Whether it is time to look."""
        return steps >= self._first and steps % self._every == 0

    @property
    def useless(self) -> bool:
        """Whether there is no use in going on."""
        return self._since >= self._patience

    def conclude(self, steps: int) -> None:
        """Look at where the training has ended, and give the weights the values with which the error was least."""
        if not self.errors or self.errors[-1][0] != steps:
            self._judge(steps)
        self.restore()

    def _judge(self, steps: int) -> None:
        error = self._look()
        self.errors.append((steps, error))
        if error < self._least:
            self._least, self._since = error, 0
            for kept, weight in zip(self._best, self._weights, strict=True):
                kept.copy_(weight.detach())
        else:
            self._since += 1

    def restore(self) -> None:
        """Give the weights the values with which the error was least; none if nobody has looked."""
        if not self.errors:
            return
        with torch.no_grad():
            for kept, weight in zip(self._best, self._weights, strict=True):
                weight.copy_(kept)

    @torch.no_grad()
    def _look(self) -> float:
        n = self._at_once if self.errors else len(self._held)
        for turn in range(self._next, self._next + n):
            i = turn % len(self._held)
            position, (kspace, traj) = self._held[i]
            self._squares[i] = self._square(position, self._predict(position, traj) - kspace)
        self._next = (self._next + n) % len(self._held)
        return math.sqrt(sum(self._squares) / self._energy)

    def _square(self, position: int, samples: Tensor) -> float:
        squares = samples.abs().square()
        return float((squares if self._density is None else self._density[position] * squares).sum())


def samples_of_images(render: Callable[[Tensor], Tensor], data: SliceData) -> Predict:
    """The samples of a model of images: its image of the frame, through maps and transform.

    Parameters
    ----------
    render
        Positions (n,) -> images (n, ny, nx) in units of ``data.scale``.
    data
        What the model is trained on.
    """

    def predict(position: int, traj: Tensor) -> Tensor:
        image = render(torch.tensor([position], device=data.device))
        return Nufft(traj[None], data.shape).forward(data.scale * image[:, None] * data.csm)[0]

    return predict
