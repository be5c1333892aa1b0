"""The flow between the frames of a finished series: robust, coarse to fine, all steps at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.conjugate_gradient import conjugate_gradient
from inr_core.solvers.optical_flow import difference, warped
from inr_core.solvers.variation import SpatialVariation

_SMALLEST = 12  # pixels of the coarsest level: motions of a few pixels are then of a fraction of one
_WARPS, _ITERATIONS = 4, 12  # at each level; conjugate gradient iterations of each
_CORNER_IMAGE, _CORNER_FLOW = 0.01, 0.05  # where the norms turn from square to modulus: of the maximum; in pixels
_LARGEST_STEP = 1.0  # pixels by which a warp may change the flow: beyond, the linear model says nothing

_PLANE = SpatialVariation()


def estimate_flow(images: Tensor, smoothness: float = 0.03) -> Tensor:
    """Half-way flows (u, v) along x and y between neighbouring frames, in pixels per frame.

    Minimises, with magnitudes m of maximum 1 and rounded moduli,

        sum |m_{t+1}(r + w/2) - m_t(r - w/2)|  +  smoothness sum |grad w|

    by reweighted least squares on an image pyramid (Brox et al., doi 10.1007/978-3-540-24673-2_3; the symmetric form
    makes the flow belong to the moment half-way between the frames, as :func:`flow_residual` wants it).

    Parameters
    ----------
    images : (frames, ny, nx)
        Real or complex; magnitudes are matched.
    smoothness
        More for less detail.

    Returns
    -------
    (frames - 1, 2, ny, nx) float32

    Raises
    ------
    DataError
        For fewer than two frames, or images without a signal.
    """
    size = images.abs().float()
    if images.ndim != 3 or len(images) < 2 or not bool(size.max() > 0):
        raise DataError(f"images {tuple(images.shape)} of maximum {float(size.max()):g}", "two frames with a signal")
    size = size / size.max()
    shapes = [tuple(size.shape[1:])]
    while min(shapes[-1]) >= 2 * _SMALLEST:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    flow = size.new_zeros(len(size) - 1, 2, *shapes[-1])
    for shape in reversed(shapes):
        flow = _resized(flow, shape)
        level = F.interpolate(size[:, None], shape, mode="area")[:, 0]
        for _ in range(_WARPS):
            flow = flow + _step(level, flow, smoothness).clamp(-_LARGEST_STEP, _LARGEST_STEP)
    return flow


def _step(size: Tensor, flow: Tensor, smoothness: float) -> Tensor:
    """The change of the flow that the linearised objective asks for, (steps, 2, ny, nx)."""
    before, after = warped(size[:-1, None], -0.5 * flow)[:, 0], warped(size[1:, None], 0.5 * flow)[:, 0]
    mean = 0.5 * (before + after)
    along = torch.stack([difference(mean, -1), difference(mean, -2)], 1)
    left = after - before
    data = 1 / (left**2 + _CORNER_IMAGE**2).sqrt()
    stiffness = smoothness / (_PLANE.forward(flow).square().sum((0, 2)) + _CORNER_FLOW**2).sqrt()[:, None]

    def smooth(w: Tensor) -> Tensor:
        return _PLANE.adjoint(stiffness * _PLANE.forward(w))

    def operator(w: Tensor) -> Tensor:
        return data[:, None] * (along * w).sum(1, keepdim=True) * along + smooth(w)

    # The diagonal as a preconditioner, by a change of the variable.
    scale = (data[:, None] * along**2 + 4 * stiffness).rsqrt()
    right = scale * (-data[:, None] * left[:, None] * along - smooth(flow))
    return scale * conjugate_gradient(lambda z: scale * operator(scale * z), right, iterations=_ITERATIONS)


def _resized(flow: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A flow on another grid of the same field of view, in that grid's pixels."""
    factors = flow.new_tensor([shape[1] / flow.shape[3], shape[0] / flow.shape[2]])[:, None, None]
    return F.interpolate(flow, shape, mode="bilinear", align_corners=False) * factors
