"""Lengths and angles of complex images, as the solvers need them: real, and without a root that would be squared."""

from __future__ import annotations

import torch
from torch import Tensor


def squares(image: Tensor) -> Tensor:
    """|image|^2 of complex numbers, real and of the same shape; ``abs`` would take a root first."""
    return image.real.square() + image.imag.square()


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Re <a, b> = Re sum conj(a) b over all elements, a scalar."""
    return torch.vdot(a.flatten(), b.flatten()).real


def energy(x: Tensor) -> Tensor:
    """|x|^2 = sum |x_i|^2 over all elements, a scalar."""
    return inner(x, x)


def norm(image: Tensor) -> Tensor:
    """|x| of complex numbers, a scalar."""
    # As real numbers: torch has no vectors for the norm of complex ones.
    size: Tensor = torch.linalg.vector_norm(torch.view_as_real(image.resolve_conj()))
    return size
