"""Oracles that the operators are held against."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.operators.linear_operator import LinearOperator


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def explicit_dft(x: Tensor, traj: Tensor) -> Tensor:
    """(frames, coils, ny, nx) -> (frames, coils, spokes, samples), by the sum itself in float64."""
    ny, nx = x.shape[-2:]
    ys = torch.arange(ny, dtype=torch.float64) - ny // 2
    xs = torch.arange(nx, dtype=torch.float64) - nx // 2
    out = []
    for frame, points in zip(x, traj.double(), strict=True):
        ey = torch.exp(-2j * torch.pi * points[..., 1, None] * ys)  # (spokes, samples, ny)
        ex = torch.exp(-2j * torch.pi * points[..., 0, None] * xs)
        out.append(torch.einsum("cyx,smy,smx->csm", frame.to(torch.complex128), ey, ex))
    return torch.stack(out) / (nx * ny) ** 0.5


def adjointness_error(operator: LinearOperator, x: Tensor, y: Tensor) -> float:
    """|<Ax, y> - <x, A^H y>| relative to |Ax||y|."""
    ax, ahy = operator.forward(x), operator.adjoint(y)
    left, right = torch.vdot(ax.flatten(), y.flatten()), torch.vdot(x.flatten(), ahy.flatten())
    return float((left - right).abs() / (ax.norm() * y.norm()))


def check_gradient(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    """The gradient of Re<y, A x> with respect to x is A^H y, and ``A(x)`` is ``A.forward(x)``."""
    variable = x.clone().requires_grad_()
    output = operator(variable)
    torch.testing.assert_close(output.detach(), operator.forward(x))
    output.backward(y)
    torch.testing.assert_close(variable.grad, operator.adjoint(y))
