"""Parameters of the live methods: the names that XML, command line and vendor JSON use."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters import parameter


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


@dataclass(frozen=True)
class RefinementParameters(LiveParameters):
    """What follows the scan."""

    refine_seconds: float = parameter(
        150.0, "time limit of the refinement, unless recon.deterministic is true", unit="s", minimum=0, maximum=1e5
    )


@dataclass(frozen=True)
class GraspParameters(RefinementParameters):
    """Temporal total variation of all frames at once, by nonlinear conjugate gradients."""

    grasp_weight: float = parameter(
        0.012,
        "weight of GRASP's temporal total variation, relative to the maximum of the gridded images",
        minimum=0,
        maximum=10,
    )
    grasp_tikhonov: float = parameter(
        0.02, "weight of |x|^2 in GRASP, relative to the data's; holds what no spoke measures", minimum=0, maximum=10
    )
    grasp_iterations: int = parameter(20, "nonlinear conjugate gradient iterations of GRASP", minimum=1, maximum=10000)


@dataclass(frozen=True)
class InrParameters(GraspParameters):
    """The implicit neural representation: its training while the scan runs, and its refinement."""

    features: int = parameter(4, "features of each level of the grid", minimum=1, maximum=32)
    hidden: int = parameter(32, "width of the decoder", minimum=1, maximum=512)
    layers: int = parameter(2, "hidden layers of the decoder", minimum=1, maximum=8)
    temporal_tv: float = parameter(
        0.03, "weight of the temporal total variation, images scaled to maximum 1", minimum=0, maximum=10
    )
    window: int = parameter(6, "consecutive frames of a training step", unit="frames", minimum=2, maximum=64)
    tune_window: int = parameter(
        3, "the same while the scan runs, when steps must be short", unit="frames", minimum=2, maximum=64
    )
    learning_rate: float = parameter(
        0.02, "Adam's learning rate at the start of the refinement", minimum=1e-6, maximum=1
    )
    tune_rate: float = parameter(0.01, "Adam's learning rate while the scan runs", minimum=1e-6, maximum=1)
    replay: float = parameter(
        0.4, "part of the live steps that revisit older frames, lest they be forgotten", minimum=0, maximum=1
    )
    tune_steps: int = parameter(
        2,
        "training steps after each frame when recon.deterministic is true; else the time left decides",
        minimum=0,
        maximum=1000,
    )
    draft_weight: float = parameter(
        1.0, "pull of the refinement towards GRASP's series, relative to the data's", minimum=0, maximum=1000
    )
    refine_passes: float = parameter(70.0, "times that the refinement visits each frame", minimum=0, maximum=1e5)
    seed: int = parameter(0, "seed of the initial weights and of the training's draws", minimum=0, maximum=2**31 - 1)


@dataclass(frozen=True)
class MethodParameters(InrParameters):
    """What any method may ask for: the parameters of a host that lets its user choose."""
