"""The last step from a network's series to images: the data's own solution near it."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.parameters.polish import PolishParameters
from inr_core.solvers.control import Control
from inr_core.solvers.flow_estimate import estimate_flow
from inr_core.solvers.frames import FrameHistory
from inr_core.solvers.temporal_tv_cg import GraspObjective, minimise


@torch.no_grad()
def polish(frames: FrameHistory, csm: Tensor, series: Tensor, parameters: PolishParameters, control: Control) -> Tensor:
    """The data's own solution near a series, smooth along the paths of motion and piecewise in the plane:

        argmin 1/2 |W^1/2 (F S x - y)|^2  +  mu/2 |x - series|^2  +  lambda |D_flow x|_1  +  sigma |grad x|_1

    A network that was trained for minutes has not fitted what the data say last: its images lack what is quick and
    fine. Its series is the centre of a convex problem that some conjugate gradient iterations solve. The first round
    knows no motion; each later one estimates it from the images so far. The edges in the plane say what the corners
    of k-space may be, which no radial spoke measures and where a third to a half of the error was found.

    Parameters
    ----------
    frames
        That the series shows, at least two.
    csm : (coils, ny, nx)
        Receive maps.
    series : (frames, ny, nx)
        In the data's units.
    parameters
        Rounds, iterations and weights.
    control
        Time and stop; what has been reached by then is returned.

    Returns
    -------
    (frames, ny, nx)
    """
    images, flow = series, None
    total = parameters.polish_rounds * parameters.polish_iterations
    done = 0
    if control.part(0, max(total, 1)) >= 1 or control.stopped():
        return series
    for _ in range(parameters.polish_rounds):
        objective = GraspObjective(
            frames,
            csm,
            parameters.polish_tv,
            parameters.polish_pull,
            spatial_weight=parameters.polish_spatial,
            centre=series,
            flow=flow,
        )
        for better in minimise(objective, images, parameters.polish_iterations, done):
            images, done = better, done + 1
            part = control.part(done, total)
            control.progress(part)
            if part >= 1 or control.stopped():
                return images
        flow = estimate_flow(images)
    return images
