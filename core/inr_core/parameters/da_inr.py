"""Parameters of DA-INR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters

DEFORMATIONS = ("grid", "frequency")
OVERFLOWS = ("hash", "tile")
FEATURES = ("none", "mdsr", "random")
DATA_TERMS = ("weighted_l2", "l1", "l1_ramp_backward")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class DaInrParameters(OfflineParameters):
    """A canonical image, its deformation in time, and their training."""

    deformation: str = parameter(
        "grid", "displacements from a coarse grid, or from frequencies at every pixel", choices=DEFORMATIONS
    )
    deformation_width: int = parameter(32, "width of the deformation's network", minimum=1, maximum=1024)
    deformation_layers: int = parameter(1, "hidden layers of the deformation's network", minimum=1, maximum=16)
    deformation_cells: int = parameter(
        16, "cells of the deformation's finest level along a side, with deformation=grid", minimum=1, maximum=512
    )
    deformation_frames: float = parameter(
        2.0,
        "a cell of the deformation along time, with deformation=grid",
        unit="frames",
        minimum=1,
        maximum=1e4,
    )
    position_octaves: int = parameter(10, "frequencies of the encoding of the position", minimum=1, maximum=24)
    time_octaves: int = parameter(4, "frequencies of the encoding of the time", minimum=1, maximum=24)
    plain_angles: bool = parameter(
        False, "encode p itself and sin(2^i p), cos(2^i p); false: sin(2^i pi p), cos(2^i pi p)"
    )
    levels: int = parameter(
        5,
        "levels of the canonical grid; capped ones that would repeat the one before are left out",
        minimum=1,
        maximum=32,
    )
    features_per_level: int = parameter(4, "features of each level of the grid", minimum=1, maximum=32)
    coarsest: int = parameter(8, "cells of the coarsest level along a side", minimum=1, maximum=4096)
    growth: float = parameter(2.0, "factor on the cells from level to level", minimum=1, maximum=16)
    capped: bool = parameter(True, "no level of the canonical grid is finer than the pixels")
    table_log2: int = parameter(19, "binary logarithm of the rows that a level has at most", minimum=1, maximum=28)
    overflow: str = parameter("hash", "how the nodes of larger levels share rows", choices=OVERFLOWS)
    change_levels: int = parameter(
        3,
        "levels of a grid in space and time that lets the image change without motion: 8, 16, .. cells; 0 for none",
        minimum=0,
        maximum=8,
    )
    width: int = parameter(32, "width of the decoder", minimum=1, maximum=1024)
    layers: int = parameter(2, "hidden layers of the decoder", minimum=1, maximum=16)
    two_networks: bool = parameter(
        False, "decode by a network of one hidden layer to as many features as its width, and then by layers more"
    )
    bias: bool = parameter(True, "whether the networks have biases")
    decode_time: bool = parameter(False, "tell the decoder the frequencies of the time")
    decode_position: bool = parameter(False, "tell the decoder the position before it is displaced")
    features: str = parameter(
        "none", "frozen network whose features of the gridded frames the decoder is given", choices=FEATURES
    )
    features_file: str = parameter(
        "", "weights for features=mdsr: mdsr_baseline-a00cab12.pt or mdsr-4a78bedf.pt of EDSR-PyTorch", path=True
    )
    neighbour_features: bool = parameter(
        False, "features of the frames before and after the one that is decoded, instead of its own"
    )
    data_term: str = parameter(
        "weighted_l2",
        "data consistency: ramp-weighted squares, moduli, or moduli with the density-compensated adjoint as gradient",
        choices=DATA_TERMS,
    )
    temporal_tv: float = parameter(
        0.07, "weight of the temporal total variation, images scaled to maximum 1", minimum=0, maximum=10
    )
    window: int = parameter(
        4, "consecutive frames of a training step; 0 for all", unit="frames", minimum=0, maximum=100000
    )
    steps: int = parameter(1500, "training steps", minimum=0, maximum=10**7)
    learning_rate: float = parameter(0.02, "Adam's learning rate at the start", minimum=1e-6, maximum=1)
    decoder_rate: float = parameter(0.2, "learning rate of the decoder, relative to the grids'", minimum=0, maximum=100)
    deformation_rate: float = parameter(
        1.0, "learning rate of the deformation, relative to the grids'", minimum=0, maximum=100
    )
    beta2: float = parameter(0.99, "Adam's memory of the squared gradient", minimum=0, maximum=0.999999)
    epsilon: float = parameter(1e-10, "Adam's smallest root of the squared gradient", minimum=0, maximum=1)
    weight_decay: float = parameter(0.0, "decoupled weight decay (AdamW)", minimum=0, maximum=1)
    schedule: str = parameter(
        "cosine", "learning rate: to a hundredth along half a cosine, or constant", choices=SCHEDULES
    )


_PUBLISHED: Mapping[str, object] = MappingProxyType(
    {
        "deformation": "frequency",
        "position_octaves": 10,
        "time_octaves": 6,
        "levels": 16,
        "features_per_level": 2,
        "coarsest": 16,
        "capped": False,
        "table_log2": 19,
        "change_levels": 0,
        "temporal_tv": 0.0,
        "window": 1,
        "steps": 1001,
        "learning_rate": 1e-3,
        "decoder_rate": 1.0,
        "deformation_rate": 1.0,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
        "schedule": "constant",
    }
)
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                **_PUBLISHED,
                "deformation_width": 64,
                "deformation_layers": 5,
                "growth": 2.0,
                "width": 64,
                "layers": 5,
                "features": "mdsr",
                "data_term": "l1",
            }
        ),
        "released": MappingProxyType(
            {
                **_PUBLISHED,
                "plain_angles": True,
                "deformation_width": 128,
                "deformation_layers": 4,
                "growth": (2048 / 16) ** (1 / 15),
                "overflow": "tile",
                "two_networks": True,
                "width": 64,
                "layers": 2,
                "bias": False,
                "decode_time": True,
                "decode_position": True,
                "features": "random",
                "neighbour_features": True,
                "data_term": "l1_ramp_backward",
            }
        ),
    }
)
