"""Parameters of the live methods: the names that XML, command line and vendor JSON use."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter


@dataclass(frozen=True)
class MeasurementParameters:
    """How a frame's data become images: shared by every method."""

    virtual_coils: int = parameter(8, "virtual coils after compression", minimum=1, maximum=64)
    map_degree: int = parameter(
        6, "polynomial degree of the receive maps; more for small coils near the skin", minimum=1, maximum=16
    )
    ramp_exponent: float = parameter(
        1.0, "power of the ramp that weights the data; less holds back noise", minimum=0, maximum=1
    )
    start_iterations: int = parameter(
        21, "conjugate gradient iterations of a frame that has no predecessor", minimum=1, maximum=500
    )
    tikhonov: float = parameter(0.02, "weight of |x|^2 in CG-SENSE, relative to the data's", minimum=0, maximum=10)


@dataclass(frozen=True)
class LiveParameters(MeasurementParameters):
    """The live image: conjugate gradients towards a prediction."""

    iterations: int = parameter(8, "conjugate gradient iterations of a live frame", minimum=1, maximum=200)
    live_coils: int = parameter(4, "strongest virtual coils that the live image is made of", minimum=1, maximum=64)
    start_weight: float = parameter(
        0.2, "weight of the brightness prior of the first frame, relative to the data's", minimum=0, maximum=100
    )
    prior_weight: float = parameter(
        0.3, "pull of a live frame towards its prediction, relative to the data's", minimum=0, maximum=100
    )
    history_weight: float = parameter(
        0.05,
        "trust in the prediction where the last frames measured k-space, relative to the data's",
        minimum=0,
        maximum=10,
    )
    history_frames: int = parameter(
        256,
        "frames kept for the refinement; of a longer scan the last ones are refined",
        unit="frames",
        minimum=2,
        maximum=100000,
    )
    delay_frames: int = parameter(
        0,
        "send each frame once more, so much later and improved by what came in between, as series 4; 0 for none",
        unit="frames",
        minimum=0,
        maximum=16,
    )
