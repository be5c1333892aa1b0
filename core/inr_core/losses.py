"""Terms of the objective, as values and as the gradients that the solvers use without automatic differentiation.

The gradient of a real function of a complex image is taken in PyTorch's convention: d/d(re) + i d/d(im).
"""

from __future__ import annotations

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


def modulus(step: Tensor, smooth: float) -> Tensor:
    """sqrt(|step|^2 + smooth^2): the modulus with its corner at zero rounded."""
    return (step.real**2 + step.imag**2 + smooth**2).sqrt()
