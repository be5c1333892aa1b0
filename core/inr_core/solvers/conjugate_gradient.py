"""The method of conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.inner_products import energy, inner


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
    limit = tolerance * right.norm() if tolerance > 0 else 0.0
    return continue_from(operator, CgPoint(x, residual), iterations, limit).solution


class CgPoint(NamedTuple):
    """A guess and what it leaves: x and b - A x."""

    solution: Tensor
    residual: Tensor


def continue_from(
    operator: Callable[[Tensor], Tensor], point: CgPoint, iterations: int, limit: float | Tensor = 0.0
) -> CgPoint:
    """Conjugate gradients from a guess whose residual is known already, which saves an application of A.

    Parameters
    ----------
    operator
        x -> A x.
    point
        Where to start.
    iterations
        At most so many applications of A.
    limit
        Ends as soon as the residual's norm is not larger; 0 never looks.
    """
    x, residual = point
    direction = residual
    size = energy(residual)
    # A vanishing residual makes 0 / 0: the tiny denominator turns the remaining steps into steps of length zero.
    tiny = torch.finfo(size.dtype).tiny
    looks = isinstance(limit, Tensor) or limit > 0
    for _ in range(iterations):
        if looks and bool(size <= limit**2):
            break
        product = operator(direction)
        step = size / inner(direction, product).clamp_min(tiny)
        x = x + step * direction
        residual = residual - step * product
        previous, size = size, energy(residual)
        direction = residual + size / previous.clamp_min(tiny) * direction
    return CgPoint(x, residual)
