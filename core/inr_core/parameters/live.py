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
    """The live image: conjugate gradients towards a prediction, see ``solvers/live_solver.py``."""

    quick_iterations: int = parameter(
        8, "conjugate gradient iterations that find where a live frame differs and how it moved", minimum=1, maximum=200
    )
    quick_coils: int = parameter(2, "strongest virtual coils that these iterations use", minimum=1, maximum=64)
    iterations: int = parameter(
        10, "conjugate gradient iterations that follow; fewer where time is short", minimum=1, maximum=200
    )
    live_coils: int = parameter(
        8, "strongest virtual coils that the live image is made of; fewer where time is short", minimum=1, maximum=64
    )
    start_weight: float = parameter(
        0.2, "weight of the brightness prior of the first frame, relative to the data's", minimum=0, maximum=100
    )
    prior_weight: float = parameter(
        0.15, "pull of a live frame towards its prediction, relative to the data's", minimum=0, maximum=100
    )
    noise_weight: float = parameter(
        8.0,
        "further pull for each unit of the noise's energy over that of what the prediction leaves of the data",
        minimum=0,
        maximum=1000,
    )
    change_network: bool = parameter(
        True,
        "whether a network, trained on random scenes, says where a live frame may differ from its prediction; "
        "else the last frames' changes do",
    )
    motion_weight: float = parameter(
        2.5, "ease of smooth motion between live frames, against changes of single pixels", minimum=0, maximum=100
    )
    phase_changes: float = parameter(
        0.6,
        "size of a pixel's changes of phase between live frames, relative to those of its brightness; "
        "1 where both are as likely",
        minimum=0.01,
        maximum=100,
    )
    live_spatial: float = parameter(
        0.0015,
        "weight of the total variation in the plane of a live frame, relative to the image's maximum",
        minimum=0,
        maximum=10,
    )
    live_spatial_noise: float = parameter(
        0.07,
        "the same weight at least, relative to the standard deviation of the noise of the gridded image",
        minimum=0,
        maximum=100,
    )
    history_weight: float = parameter(
        0.1,
        "trust in the prediction where the last frames measured k-space, relative to the data's, "
        "at an acceleration of 25; it falls with the acceleration's cube, and is 0 below 0.02",
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
    look_ahead: bool = parameter(
        True,
        "whether a live image of few spokes (an acceleration of 12 or more), where frames come faster than a display "
        "shows them, waits for the data of the next frame",
    )
    delay_frames: int = parameter(
        0,
        "send each frame once more, so much later and improved by what came in between, as series 4; 0 for none",
        unit="frames",
        minimum=0,
        maximum=4,
    )
    lag_frames: int = parameter(
        0,
        "frames that a live image waits for, and is made better by",
        unit="frames",
        minimum=0,
        maximum=4,
    )
