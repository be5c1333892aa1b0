"""The loop that trains a network on a sum of named terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.errors import DataError, InrError
from inr_core.solvers.control import Control

Losses = Callable[[int], Mapping[str, Tensor]]
"""The number of the step, from 0 -> the weighted terms of its loss, by name."""


@dataclass(frozen=True)
class Training:
    """How a training went.

    Attributes
    ----------
    steps
        That were taken.
    failure
        What ended it before its time; the weights are those before the step that failed. None if nothing did.
    """

    steps: int
    failure: InrError | None = None


def train(
    losses: Losses,
    optimiser: torch.optim.Optimizer,
    steps: int,
    control: Control,
    *,
    rate: Callable[[float], float] = lambda part: 1.0,
    after_step: Callable[[int], bool] = lambda steps: False,
) -> Training:
    """Minimise the sum of the terms.

    Every loss and gradient is looked at before it is used: weights that a NaN has reached are lost.

    Parameters
    ----------
    losses
        Called once a step.
    optimiser
        With its weights.
    steps
        At most; a time limit shortens the schedule.
    control
        Time, stop and progress.
    rate
        Finished part, 0 to 1 -> factor on the learning rates.
    after_step
        Told the number of steps taken; True ends the training, as a held-out error that no longer falls does.
    """
    weights = [w for group in optimiser.param_groups for w in group["params"]]
    initial = [group["lr"] for group in optimiser.param_groups]
    taken, part = 0, control.part(0, steps)
    while part < 1.0 and not control.stopped():
        for group, first in zip(optimiser.param_groups, initial, strict=True):
            group["lr"] = first * rate(part)
        optimiser.zero_grad(set_to_none=True)
        terms = losses(taken)
        total = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
        if not bool(torch.isfinite(total + norm)):
            return Training(taken, _failure(terms, taken + 1))
        optimiser.step()
        taken += 1
        part = control.part(taken, steps)
        control.progress(part)
        if after_step(taken):
            break
    return Training(taken)


def cosine(last: float = 0.01) -> Callable[[float], float]:
    """A learning rate that falls from 1 to ``last`` along half a cosine."""
    return lambda part: last + (1 - last) * 0.5 * (1 + math.cos(math.pi * part))


def halved(*parts: float) -> Callable[[float], float]:
    """A learning rate that is halved at each of the finished ``parts``."""
    return lambda part: 0.5 ** sum(part >= at for at in parts)


def levels_at(part: float, n_levels: int, until: float = 1.0) -> int:
    """From coarse to fine: the levels that are active at a finished ``part``, one more each ``until`` / n_levels.

    From ``until`` on all of them are; 0 for all from the start.
    """
    return n_levels if part >= until else min(n_levels, int(part / until * n_levels) + 1)


def random_window(n_frames: int, length: int, generator: torch.Generator) -> Tensor:
    """(length,): consecutive positions among ``n_frames``, all of them if ``length`` is 0 or more than there are.

    Windows may overhang both ends before they are pushed inside, so that the first and last frames are drawn nearly as
    often as the others.
    """
    if not 0 < length < n_frames:
        return torch.arange(n_frames)
    start = int(torch.randint(1 - length, n_frames, (1,), generator=generator))
    return torch.arange(length) + max(0, min(n_frames - length, start))


def _failure(terms: Mapping[str, Tensor], step: int) -> InrError:
    bad = [name for name, term in terms.items() if not bool(torch.isfinite(term))]
    what = " and ".join(bad) if bad else "the gradient of " + " and ".join(terms)
    return DataError(
        f"{what} not finite at step {step}", "a finite loss", "lower recon.learning_rate; the last good images are kept"
    )
