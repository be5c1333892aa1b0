"""Parameters of GRASP."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter
from inr_core.parameters.live import LiveParameters


@dataclass(frozen=True)
class GraspParameters(LiveParameters):
    """Temporal total variation of all frames at once, by nonlinear conjugate gradients."""

    grasp_weight: float = parameter(
        0.012,
        "weight of GRASP's temporal total variation, relative to the maximum of the gridded images",
        minimum=0,
        maximum=10,
    )
    grasp_noise: float = parameter(
        1.25,
        "the same weight at least, relative to what the noise of the gridded images exceeds it by; 0: noise has no say",
        minimum=0,
        maximum=100,
    )
    grasp_tikhonov: float = parameter(
        0.02, "weight of |x|^2 in GRASP, relative to the data's; holds what no spoke measures", minimum=0, maximum=10
    )
    grasp_iterations: int = parameter(20, "nonlinear conjugate gradient iterations of GRASP", minimum=1, maximum=10000)
