"""Parameters of TD-DIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters

DATA_TERMS = ("weighted_l2", "ramp_backward")
SCHEDULES = ("cosine", "halved")


@dataclass(frozen=True)
class TdDipParameters(OfflineParameters):
    """A convolutional network driven by a helix in time, and its training."""

    cycles: float = parameter(
        1.0, "turns of the helix from the first frame to the last: the heart beats of the scan", minimum=0, maximum=1e4
    )
    channels: int = parameter(32, "channels of the convolutions", minimum=1, maximum=1024)
    upsamplings: int = parameter(4, "doublings from the latent image to the image", minimum=1, maximum=8)
    data_term: str = parameter(
        "weighted_l2",
        "data consistency: ramp-weighted squares, or plain ones with the ramp in their gradient, as published",
        choices=DATA_TERMS,
    )
    frames_per_step: int = parameter(1, "frames of a training step, drawn at random", minimum=1, maximum=4096)
    training_steps: int = parameter(3500, "training steps, however many frames", minimum=0, maximum=10**7)
    learning_rate: float = parameter(2e-3, "Adam's learning rate at the start", minimum=1e-6, maximum=1)
    beta2: float = parameter(0.9, "Adam's memory of the squared gradient", minimum=0, maximum=0.999999)
    schedule: str = parameter(
        "cosine", "learning rate: to a hundredth along half a cosine, or halved at each fifth", choices=SCHEDULES
    )
    held_out: float = parameter(
        0.0, "part of all spokes that is held out to tell when to stop; 0 for none", minimum=0, maximum=0.5
    )
    patience: int = parameter(
        20,
        "visits of all frames without a smaller error of the held-out spokes after which training stops",
        minimum=1,
        maximum=10000,
    )


TD_DIP_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "channels": 128,
                "data_term": "ramp_backward",
                "frames_per_step": 1,
                "training_steps": 10000,
                "learning_rate": 1e-3,
                "beta2": 0.999,
                "schedule": "halved",
            }
        )
    }
)
