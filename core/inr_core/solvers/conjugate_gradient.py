"""The method of conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    operator: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor | None = None,
    iterations: int = 10,
    tolerance: float = 0.0,
) -> Tensor:
    """Solve A x = b for a Hermitian positive operator A (Hestenes and Stiefel, doi 10.6028/jres.049.044).

    Parameters
    ----------
    operator
        x -> A x.
    right
        b, of any shape, complex or real.
    start
        First guess; zero if None.
    iterations
        At most so many applications of A (one more for a start).
    tolerance
        Ends as soon as |residual| <= tolerance |b|. 0 never looks, which on a GPU also spares waiting for it.
    """
    x = torch.zeros_like(right) if start is None else start
    residual = right if start is None else right - operator(start)
    direction = residual
    energy = _energy(residual)
    # A vanishing residual makes 0 / 0: the tiny denominator turns the remaining steps into steps of length zero.
    tiny = torch.finfo(energy.dtype).tiny
    limit = tolerance**2 * _energy(right)
    for _ in range(iterations):
        if tolerance > 0 and bool(energy <= limit):
            break
        product = operator(direction)
        step = energy / torch.vdot(direction.flatten(), product.flatten()).real.clamp_min(tiny)
        x = x + step * direction
        residual = residual - step * product
        previous, energy = energy, _energy(residual)
        direction = residual + energy / previous.clamp_min(tiny) * direction
    return x


def _energy(x: Tensor) -> Tensor:
    return torch.vdot(x.flatten(), x.flatten()).real
