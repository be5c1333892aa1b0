"""Trainable weights together with their optimiser's moments, so that a field can grow, forget and be saved as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass
class Weights:
    """One tensor of weights with the moments that Adam keeps for it; all have the same number of rows (first axis).

    Attributes
    ----------
    value : Tensor
    moment1, moment2 : Tensor
        Running means of the gradient and of its square, as they were at the row's last step.
    last_step : (rows,) float32, on the host
        The optimiser's count at each row's last step.
    """

    value: Tensor
    moment1: Tensor = field(init=False)
    moment2: Tensor = field(init=False)
    last_step: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Set the moments to zero: a new training begins."""
        self.moment1, self.moment2 = torch.zeros_like(self.value), torch.zeros_like(self.value)
        self.last_step = torch.zeros(self.value.shape[0])

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` more rows of the first axis, zero for now."""
        self.value, self.moment1, self.moment2, self.last_step = (
            torch.cat([part, part.new_zeros(rows, *part.shape[1:])]) for part in self._parts()
        )

    def drop(self, rows: int) -> None:
        """Forget the first ``rows`` rows and move the others up; as many zero rows follow at the end."""
        for part in self._parts():
            part[: part.shape[0] - rows] = part[rows:].clone()
            part[part.shape[0] - rows :] = 0

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.value, self.moment1, self.moment2, self.last_step


Rows = tuple[Weights, slice]
"""Rows of the first axis of some weights."""


class Parts(NamedTuple):
    """What a step changes of some rows, a tensor for each of them: views of the weights, or buffers in their place."""

    values: list[Tensor]
    moments1: list[Tensor]
    moments2: list[Tensor]

    @classmethod
    def of(cls, touched: list[Rows]) -> Parts:
        """Views of these rows."""
        return cls(
            [w.value[rows] for w, rows in touched],
            [w.moment1[rows] for w, rows in touched],
            [w.moment2[rows] for w, rows in touched],
        )


N_SCALES = 4  # numbers of Adam that depend on the count of steps


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) at the cost of the rows that a step touches.

    Ordinary Adam moves every weight at every step, on the momentum of gradients long past. Here a row that no frame of
    the step looks at is left alone, and makes good all the steps that it missed at once when it is looked at again
    (:meth:`catch_up`): with the gradient zero, both moments decay geometrically, so the missed steps are a geometric
    series. The weights that are seen are those of ordinary Adam, and a step of a long scan costs no more than one of a
    short scan. (Leaving the missed steps out, as sparse Adam does, cost 2 dB at equal steps.)

    The bookkeeping is the host's: :meth:`begin` counts a step and says in a few numbers all that depends on the count;
    :meth:`make_good` and :meth:`move` do the arithmetic, on whatever device, with tensors alone. So nothing waits for
    the device, and the arithmetic can be recorded once and repeated with other numbers.
    """

    def __init__(self, betas: tuple[float, float] = (0.9, 0.99), epsilon: float = 1e-8) -> None:
        self.betas, self.epsilon, self.steps = betas, epsilon, 0
        self._rate = 0.0

    def catch_up(self, touched: list[Rows]) -> None:
        """Bring rows to the present, before they are looked at."""
        late = [(weights, rows) for weights, rows in touched if (weights.last_step[rows] < self.steps).any()]
        if late:
            parts = Parts.of(late)
            numbers = torch.cat([*self._missed(late), self._scales()]).to(parts.values[0].device)
            *missed, scales = torch.split(numbers, [*map(len, parts.values), N_SCALES])
            self.make_good(parts, missed, scales)

    def begin(self, touched: list[Rows], learning_rate: float) -> tuple[list[Tensor], Tensor]:
        """Count a step on some rows.

        Returns
        -------
        missed : (rows,) float32 of each
            Steps that the rows have missed before this one.
        scales : (N_SCALES,) float32
            What depends on the count. Both are on the host.
        """
        missed = self._missed(touched)
        before = self._scales()
        self.steps += 1
        self._rate = learning_rate
        for weights, rows in touched:
            weights.last_step[rows] = self.steps
        return missed, torch.cat([before[:2], self._scales()[2:]])

    @torch.no_grad()
    def make_good(self, parts: Parts, missed: list[Tensor], scales: Tensor) -> None:
        """Take the steps that rows have missed.

        Parameters
        ----------
        parts
            The rows.
        missed, scales
            From :meth:`begin`, on the device of the rows.
        """
        beta1, beta2 = self.betas
        decay = beta1 / beta2**0.5
        travel, root = scales[0], scales[1]
        for value, moment1, moment2, count in zip(*parts, missed, strict=True):
            # On a CPU looking is free, and mostly spares the work. CUDA would have to wait to know, and does the work.
            if count.device.type == "cpu" and not count.any():
                continue
            n = count.reshape(-1, *[1] * (value.ndim - 1))
            # sum over the missed steps of (beta1 / sqrt(beta2))^j; the bias corrections are those of the present.
            # Rows that never had a step have no momentum, and stay.
            way = travel * (decay / (1 - decay)) * (1 - decay**n)
            value -= way * moment1 / (moment2.sqrt().mul_(root)).add_(self.epsilon)
            moment1 *= beta1**n
            moment2 *= beta2**n

    @torch.no_grad()
    def move(self, parts: Parts, gradients: list[Tensor], scales: Tensor) -> None:
        """Take one step on rows that were brought to the present.

        Parameters
        ----------
        parts
            The rows.
        gradients
            Of the objective, one tensor for each of them.
        scales
            From :meth:`begin`, on the device of the rows.
        """
        beta1, beta2 = self.betas
        torch._foreach_lerp_(parts.moments1, gradients, 1 - beta1)
        torch._foreach_mul_(parts.moments2, beta2)
        torch._foreach_addcmul_(parts.moments2, gradients, gradients, 1 - beta2)
        root = torch._foreach_sqrt(parts.moments2)
        torch._foreach_mul_(root, scales[2])
        torch._foreach_add_(root, scales[3], alpha=1.0)  # without alpha it would be read as a number
        torch._foreach_addcdiv_(parts.values, parts.moments1, root, -1.0)

    def _missed(self, touched: list[Rows]) -> list[Tensor]:
        """Steps that each row has missed; from now on the rows count as caught up."""
        missed = [self.steps - weights.last_step[rows] for weights, rows in touched]
        for weights, rows in touched:
            weights.last_step[rows] = self.steps
        return missed

    def _scales(self) -> Tensor:
        """Of the present count n: r / (1 - beta1^n), 1 / sqrt(1 - beta2^n), and a and b of a step of learning rate r

        r m / (1 - beta1^n) / (sqrt(v / (1 - beta2^n)) + epsilon) = m / (a sqrt(v) + b)
        """
        if self.steps == 0:
            return torch.zeros(N_SCALES)  # nothing was missed
        slower = (1 - self.betas[0] ** self.steps) / self._rate
        root = (1 - self.betas[1] ** self.steps) ** -0.5
        return torch.tensor([1 / slower, root, slower * root, slower * self.epsilon])
