"""Parameters of the step that follows the training of a field."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter


@dataclass(frozen=True)
class PolishParameters:
    """Conjugate gradients from a field's series to the data's own solution near it."""

    polish_rounds: int = parameter(
        4,
        "rounds of the polish, each with the motion found by the one before; 0 leaves the field's images",
        minimum=0,
        maximum=20,
    )
    polish_iterations: int = parameter(8, "conjugate gradient iterations of a round", minimum=1, maximum=1000)
    polish_pull: float = parameter(
        0.15, "pull of the polish towards the field's series, relative to the data's", minimum=0, maximum=1000
    )
    polish_tv: float = parameter(
        0.005,
        "weight of the polish's total variation along time or motion, relative as grasp_weight",
        minimum=0,
        maximum=10,
    )
    polish_spatial: float = parameter(
        0.0008,
        "weight of the polish's total variation in the plane, relative as grasp_weight; it grows with polish_tv",
        minimum=0,
        maximum=10,
    )
    polish_noise: float = parameter(1.25, "least polish_tv, relative as grasp_noise", minimum=0, maximum=100)
    polish_edge: float = parameter(
        0.01,
        "steps in the plane from which on the polish smooths less, relative to the images' maximum; "
        "0 to smooth all of them alike",
        minimum=0,
        maximum=10,
    )
