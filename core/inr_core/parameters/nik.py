"""Parameters of NIK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters

COILS = ("outputs", "coordinate")


@dataclass(frozen=True)
class NikParameters(OfflineParameters):
    """A sine network of k-space, and its training."""

    coils: str = parameter(
        "outputs",
        "coils as outputs of one evaluation, several times cheaper, or as a coordinate, as published",
        choices=COILS,
    )
    features: int = parameter(256, "Gaussian features of a point of k-space and time, even", minimum=2, maximum=8192)
    space_frequency: float = parameter(
        4.0,
        "standard deviation of the features' frequencies along kx and ky, from -1 to 1: a 32nd of the matrix",
        unit="cycles",
        minimum=1e-3,
        maximum=1e3,
    )
    time_frequency: float = parameter(
        0.05,
        "the same along time, and along the coils where they are a coordinate; both reach from -1 to 1",
        unit="cycles",
        minimum=1e-3,
        maximum=1e3,
    )
    hidden: int = parameter(192, "width of the sine layers", minimum=1, maximum=4096)
    layers: int = parameter(3, "sine layers", minimum=1, maximum=32)
    omega: float = parameter(30.0, "frequency of the sines", minimum=1e-3, maximum=1e3)
    epsilon: float = parameter(
        0.1,
        "magnitude, of samples divided by the largest, below which errors count absolutely",
        minimum=1e-9,
        maximum=1,
    )
    batch: int = parameter(512, "samples of a training step", minimum=1, maximum=10**7)
    passes: float = parameter(100.0, "times that the training visits each sample, at most", minimum=0, maximum=1e6)
    learning_rate: float = parameter(1e-4, "Adam's learning rate at the start", minimum=1e-7, maximum=1)
    last_rate: float = parameter(
        0.01, "the same at the end, of a cosine, relative to the start; 1 for a constant rate", minimum=0, maximum=1
    )
    smoothing: float = parameter(
        0.0, "weight of the error between k-space and itself times a Gaussian", minimum=0, maximum=1e3
    )
    smoothing_width: float = parameter(
        1.0, "standard deviation of that Gaussian in k-space, which reaches from -1 to 1", minimum=1e-3, maximum=1e3
    )
    held_out: float = parameter(
        0.05, "part of all spokes that is held out to tell when to stop; 0 for none", minimum=0, maximum=0.5
    )
    patience: int = parameter(
        100,
        "passes without a smaller error of the held-out spokes after which training stops",
        minimum=1,
        maximum=10000,
    )


NIK_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "coils": "coordinate",
                "features": 512,
                "space_frequency": 0.15915494,  # 1 / 2 pi: the released features lack the 2 pi of ours
                "time_frequency": 0.15915494,
                "hidden": 512,
                "layers": 8,
                "epsilon": 1e-2,
                "batch": 30000,
                "passes": 1000.0,
                "learning_rate": 3e-5,
                "last_rate": 1.0,
                "held_out": 0.0,
            }
        )
    }
)
