"""A first series for networks to learn from: a few seconds of GRASP."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory
from inr_core.solvers.slice_data import SliceData
from inr_core.solvers.temporal_tv_cg import GraspObjective, minimise


def grasp_objective(frames: FrameHistory, csm: Tensor, parameters: GraspParameters) -> GraspObjective:
    """The objective of GRASP with these weights; arguments as of :class:`GraspObjective`."""
    p = parameters
    return GraspObjective(frames, csm, p.grasp_weight, p.grasp_tikhonov, noise_weight=p.grasp_noise)


@torch.no_grad()
def grasp_draft(
    data: SliceData, iterations: int, control: Control, parameters: GraspParameters | None = None
) -> Tensor:
    """GRASP from the time average, as far as its time allows; one iteration at least.

    Parameters
    ----------
    data
        Of a single frame, which has no variation along time, it is CG-SENSE.
    iterations
        At most.
    control
        Time, stop and progress.
    parameters
        Weights; the defaults if None.

    Returns
    -------
    (frames, ny, nx), in units of ``data.scale``
    """
    grasp = parameters or GraspParameters()
    objective = grasp_objective(data.frames, data.csm, grasp)
    images = (data.right.mean(0, keepdim=True) / data.strength).expand_as(data.right).contiguous()
    for number, better in enumerate(minimise(objective, images, iterations), start=1):
        images = better
        part = control.part(number, iterations)
        control.progress(part)
        if part >= 1 or control.stopped():
            break
    return images / data.scale
