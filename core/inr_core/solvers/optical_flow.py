"""The optical-flow residual of a series: what is left of its steps in time once the motion has been taken out.

A flow is (steps, 2, ny, nx) real: (u, v) along x and y, in pixels per frame, half-way between two frames.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inr_core.errors import DataError
from inr_core.losses import modulus

_ROUNDS = 4  # of the fixed point; each shrinks the error by the flow's change over half a displacement


def difference(x: Tensor, dim: int) -> Tensor:
    """Central differences along an axis, per pixel; at its ends the difference to the only neighbour.

    Exact for what is linear. An axis of one pixel has the difference zero.
    """
    x = x.movedim(dim, -1)
    out = torch.zeros_like(x)
    out[..., 1:-1] = 0.5 * (x[..., 2:] - x[..., :-2])
    if x.shape[-1] > 1:
        out[..., 0], out[..., -1] = x[..., 1] - x[..., 0], x[..., -1] - x[..., -2]
    return out.movedim(-1, dim)


def difference_adjoint(y: Tensor, dim: int) -> Tensor:
    """The adjoint of :func:`difference`."""
    y = y.movedim(dim, -1)
    out = torch.zeros_like(y)
    if y.shape[-1] > 1:
        half = 0.5 * y[..., 1:-1]
        out[..., 2:] += half
        out[..., :-2] -= half
        out[..., 1] += y[..., 0]
        out[..., 0] -= y[..., 0]
        out[..., -1] += y[..., -1]
        out[..., -2] -= y[..., -1]
    return out.movedim(-1, dim)


def flow_residual(images: Tensor, flow: Tensor) -> Tensor:
    """r = x_{t+1} - x_t + u d_x m + v d_y m, m the mean of the two frames: zero where the images moved by the flow.

    The brightness constancy of Horn and Schunck (doi 10.1016/0004-3702(81)90024-2), for complex images: their phase
    moves with them. Mean and flow belong to the same moment, half-way between the frames, so that the error is of
    third order in the motion.

    Parameters
    ----------
    images : (frames, ny, nx)
    flow : (frames - 1, 2, ny, nx)

    Returns
    -------
    (frames - 1, ny, nx), in the units of the images

    Raises
    ------
    DataError
        If the shapes do not fit.
    """
    return _residual(images, flow)[0]


def flow_residual_adjoint(residual: Tensor, flow: Tensor) -> Tensor:
    """The adjoint of :func:`flow_residual` in the images: (frames - 1, ny, nx) -> (frames, ny, nx)."""
    mean = 0.5 * (difference_adjoint(flow[:, 0] * residual, -1) + difference_adjoint(flow[:, 1] * residual, -2))
    images = residual.new_zeros(len(residual) + 1, *residual.shape[1:])
    images[1:] += mean + residual
    images[:-1] += mean - residual
    return images


def flow_penalty(images: Tensor, flow: Tensor, smooth: float = 1e-3) -> Tensor:
    """sum_t,r sqrt(|r|^2 + smooth^2) of the residual: total variation along the paths of motion instead of along time.

    Without motion it is :func:`inr_core.losses.temporal_tv`. Both gradients are closed forms:

        d/dx_{t+1} = n + h,  d/dx_t = h - n,  h = 1/2 (D_x^T u n + D_y^T v n),  d/du = Re n* d_x m,  n = r / sqrt(..)
    """
    return _Penalty.apply(images, flow, smooth)  # type: ignore[no-untyped-call, no-any-return]


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, flow: Tensor, smooth: float) -> Tensor:
        residual, along_x, along_y = _residual(images, flow)
        size = modulus(residual, smooth)
        ctx.save_for_backward(residual / size, along_x, along_y, flow)
        return size.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        unit, along_x, along_y, flow = ctx.saved_tensors
        of_images = of_flow = None
        if ctx.needs_input_grad[0]:
            of_images = gradients[0] * flow_residual_adjoint(unit, flow)
        if ctx.needs_input_grad[1]:
            of_flow = gradients[0] * torch.stack([_inner(unit, along_x), _inner(unit, along_y)], 1)
        return of_images, of_flow, None


def from_the_first_frame(flow: Tensor) -> Tensor:
    """Displacements of what lies at a pixel in the first of two frames, from the flow half-way between them.

    The displacement w of a pixel r satisfies w(r) = flow(r + w / 2), a fixed point; the flow is interpolated linearly.

    Parameters
    ----------
    flow : (steps, 2, ny, nx)

    Returns
    -------
    (steps, 2, ny, nx)
    """
    displacement = flow
    for _ in range(_ROUNDS):
        displacement = warped(flow, 0.5 * displacement)
    return displacement


def warped(values: Tensor, displacement: Tensor) -> Tensor:
    """Values at the points r + displacement(r), linearly interpolated; beyond the edge they go on as they are.

    Parameters
    ----------
    values : (n, channels, ny, nx) real
    displacement : (n, 2, ny, nx)
        Along x and y, in pixels.
    """
    ny, nx = values.shape[-2:]
    y, x = (torch.arange(n, device=values.device, dtype=values.dtype) for n in (ny, nx))
    at_x, at_y = x + displacement[:, 0], y[:, None] + displacement[:, 1]
    # grid_sample counts from -1 to 1, here from the first pixel's centre to the last one's.
    at = torch.stack([2 * at_x / max(nx - 1, 1) - 1, 2 * at_y / max(ny - 1, 1) - 1], -1)
    return F.grid_sample(values, at, padding_mode="border", align_corners=True)


def _residual(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The residual, and d_x and d_y of the mean of neighbouring frames; (frames - 1, ny, nx) each."""
    if images.ndim != 3 or tuple(flow.shape) != (len(images) - 1, 2, *images.shape[1:]):
        raise DataError(
            f"a flow {tuple(flow.shape)} of images {tuple(images.shape)}",
            "(frames - 1, 2, ny, nx) and (frames, ny, nx)",
        )
    mean = 0.5 * (images[1:] + images[:-1])
    along_x, along_y = difference(mean, -1), difference(mean, -2)
    return images[1:] - images[:-1] + flow[:, 0] * along_x + flow[:, 1] * along_y, along_x, along_y


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Re a* b, pixel by pixel."""
    return a.real * b.real + a.imag * b.imag
