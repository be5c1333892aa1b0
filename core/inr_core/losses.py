"""Terms of the objective, as values and as the gradients that the solvers use without automatic differentiation.

The gradient of a real function of a complex image is taken in PyTorch's convention: d/d(re) + i d/d(im).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def temporal_tv(x: Tensor, smooth: float = 1e-3) -> Tensor:
    """Temporal total variation sum_t,r sqrt(|x_{t+1} - x_t|^2 + smooth^2), of complex (frames, y, x).

    ``smooth``, in the units of x, rounds the corner at zero; both parts of a complex step share one modulus, so that
    the penalty does not depend on the image's phase.
    """
    return modulus(x[1:] - x[:-1], smooth).sum()


def temporal_tv_gradient(x: Tensor, consecutive: Tensor | None = None, smooth: float = 1e-3) -> Tensor:
    """Gradient of :func:`temporal_tv`.

    Parameters
    ----------
    x : (frames, y, x)
    consecutive : (frames - 1,) bool
        Which of the steps count: False between frames that are not neighbours in time. All of them if None.
    """
    step = x[1:] - x[:-1]
    unit = step / modulus(step, smooth)
    if consecutive is not None:
        unit = unit * consecutive[:, None, None]
    gradient = torch.zeros_like(x)
    gradient[1:] += unit
    gradient[:-1] -= unit
    return gradient


def temporal_tv_of_parts(x: Tensor, least: float = 0.0) -> Tensor:
    """Temporal total variation of the real and of the imaginary part, a pixel and frame, over max |x| (STINR).

    sum_t,r (|Re x_{t+1} - Re x_t| + |Im x_{t+1} - Im x_t|) / (frames pixels max |x|), of complex (frames, y, x). The
    maximum has no gradient; ``least`` stands in for it where it is less: images that are nearly zero, as a network's
    first ones, vary by as much as their maximum, and would be held there.
    """
    parts = torch.view_as_real(x)
    largest = x.detach().abs().max().clamp_min(max(least, torch.finfo(parts.dtype).tiny))
    return (parts[1:] - parts[:-1]).abs().sum() / (x.numel() * largest)


def nuclear_norm(x: Tensor) -> Tensor:
    """Sum of the singular values of the Casorati matrix X, frames by pixels, of (frames, y, x).

    They are the roots of the eigenvalues of the small matrix X X^H, and the gradient is (X X^H)^-1/2 X: no singular
    value decomposition of a matrix of all pixels. Eigenvalues are rounded up by the precision of X X^H, below which
    they are not known.
    """
    return _NuclearNorm.apply(x.flatten(1))  # type: ignore[no-untyped-call, no-any-return]


class _NuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gram = x @ x.mH
        eigenvalues, vectors = torch.linalg.eigh(gram)
        precision = torch.finfo(eigenvalues.dtype)
        known = len(x) * precision.eps * eigenvalues[-1]
        roots = eigenvalues.clamp_min(known).sqrt().clamp_min(precision.tiny)
        ctx.save_for_backward((vectors / roots) @ vectors.mH @ x)
        norm: Tensor = roots.sum()
        return norm

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient: Tensor = ctx.saved_tensors[0]
        return gradients[0] * gradient


def modulus(step: Tensor, smooth: float) -> Tensor:
    """sqrt(|step|^2 + smooth^2): the modulus with its corner at zero rounded."""
    return (step.real**2 + step.imag**2 + smooth**2).sqrt()
