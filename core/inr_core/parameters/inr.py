"""Parameters of the project's own method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.polish import PolishParameters


@dataclass(frozen=True)
class InrParameters(PolishParameters, GraspParameters):
    """The implicit neural representation: its training while the scan runs, and its refinement."""

    features: int = parameter(4, "features of each level of the grid", minimum=1, maximum=32)
    hidden: int = parameter(32, "width of the decoder", minimum=1, maximum=512)
    layers: int = parameter(2, "hidden layers of the decoder", minimum=1, maximum=8)
    temporal_tv: float = parameter(
        0.03,
        "weight of the temporal total variation at a tenfold acceleration, images scaled to maximum 1",
        minimum=0,
        maximum=10,
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
        1.0, "pull of the refinement towards its draft, relative to the data's", minimum=0, maximum=1000
    )
    refine_passes: float = parameter(50.0, "times that the refinement visits each frame", minimum=0, maximum=1e5)
    early_stop: bool = parameter(
        True, "end the refinement's training when the spokes held out of it are no longer explained better"
    )
    companion_passes: float = parameter(
        0.0,
        "times that a convolutional prior visits each frame, whose series is averaged with the field's; 0 for none",
        minimum=0,
        maximum=1e5,
    )
    seed: int = parameter(0, "seed of the initial weights and of the training's draws", minimum=0, maximum=2**31 - 1)


INR_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"best": MappingProxyType({"companion_passes": 150})}
)
