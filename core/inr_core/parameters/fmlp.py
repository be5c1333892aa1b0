"""Parameters of FMLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters

DATA_TERMS = ("weighted_l2", "l2")


@dataclass(frozen=True)
class FmlpParameters(OfflineParameters):
    """A perceptron of Fourier features, its training, and the held-out spokes that can stop it."""

    space_features: int = parameter(256, "Gaussian features of space, even", minimum=2, maximum=8192)
    time_features: int = parameter(64, "Gaussian features of time, even", minimum=2, maximum=8192)
    space_frequency: float = parameter(
        12.0, "standard deviation of the features' frequencies", unit="cycles/FOV", minimum=1e-3, maximum=1e3
    )
    time_frequency: float = parameter(0.04, "the same along time", unit="cycles/frame", minimum=1e-6, maximum=10)
    hidden: int = parameter(128, "width of the perceptron", minimum=1, maximum=4096)
    layers: int = parameter(3, "hidden layers", minimum=1, maximum=32)
    data_term: str = parameter(
        "weighted_l2", "data consistency: ramp-weighted squares, or plain ones", choices=DATA_TERMS
    )
    temporal_tv: float = parameter(
        0.0, "weight of the temporal total variation, images scaled to maximum 1", minimum=0, maximum=10
    )
    window: int = parameter(1, "consecutive frames of a training step", unit="frames", minimum=1, maximum=64)
    passes: float = parameter(60.0, "times that the training visits each frame, at most", minimum=0, maximum=1e6)
    learning_rate: float = parameter(1e-3, "Adam's learning rate at the start", minimum=1e-6, maximum=1)
    last_rate: float = parameter(
        0.05, "the same at the end, of a cosine, relative to the start; 1 for a constant rate", minimum=0, maximum=1
    )
    held_out: float = parameter(
        0.0, "part of all spokes that is held out to tell when to stop; 0 for none", minimum=0, maximum=0.5
    )
    patience: int = parameter(
        200,
        "passes without a smaller error of the held-out spokes after which training stops",
        minimum=1,
        maximum=10000,
    )


FMLP_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "space_features": 512,
                "time_features": 128,
                "space_frequency": 4.0,
                "time_frequency": 0.003,
                "hidden": 512,
                "layers": 7,
                "data_term": "l2",
                "window": 1,
                "passes": 2000.0,
                "learning_rate": 2e-4,
                "last_rate": 1.0,
                "held_out": 0.05,
            }
        )
    }
)
