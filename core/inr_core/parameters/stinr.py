"""Parameters of STINR, and of HashINR, which is STINR without a regularisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters

DATA_TERMS = ("weighted_l2", "relative_l2")
SCHEDULES = ("cosine", "halved")


@dataclass(frozen=True)
class HashInrParameters(OfflineParameters):
    """A hash grid in space and time, its decoder, and their training."""

    levels: int = parameter(
        4, "levels of the grid; capped ones that would repeat the one before are left out", minimum=1, maximum=32
    )
    features: int = parameter(4, "features of each level of the grid", minimum=1, maximum=32)
    coarsest: int = parameter(8, "cells of the coarsest level along a side of the image", minimum=1, maximum=4096)
    growth: float = parameter(2.0, "factor on the cells from level to level", minimum=1, maximum=16)
    capped: bool = parameter(
        True, "no level is finer than pixels and frames, and time has cells of its own; false: STINR's endless cubes"
    )
    coarsest_frames: float = parameter(
        24.0, "a cell of the coarsest level along time, of capped levels", unit="frames", minimum=1, maximum=1e4
    )
    table_log2: int = parameter(24, "binary logarithm of the rows that a level has at most", minimum=1, maximum=28)
    hidden: int = parameter(32, "width of the decoder", minimum=1, maximum=1024)
    layers: int = parameter(2, "hidden layers of the decoder", minimum=1, maximum=16)
    data_term: str = parameter(
        "weighted_l2",
        "data consistency: ramp-weighted squares, or squares relative to the prediction",
        choices=DATA_TERMS,
    )
    window: int = parameter(
        4, "consecutive frames of a training step; 0 for all", unit="frames", minimum=0, maximum=100000
    )
    passes: float = parameter(40.0, "times that the training visits each frame", minimum=0, maximum=1e6)
    learning_rate: float = parameter(0.01, "Adam's learning rate at the start", minimum=1e-6, maximum=1)
    beta2: float = parameter(0.99, "Adam's memory of the squared gradient", minimum=0, maximum=0.999999)
    epsilon: float = parameter(1e-15, "Adam's smallest root of the squared gradient", minimum=0, maximum=1)
    schedule: str = parameter(
        "cosine", "learning rate: to a hundredth along half a cosine, or halved at half time", choices=SCHEDULES
    )
    weight_decay: float = parameter(0.0, "Adam's weight decay, of the decoder only", minimum=0, maximum=1)
    coarse_to_fine: float = parameter(
        0.0, "part of the training in which the levels join in, one after the other", minimum=0, maximum=1
    )


@dataclass(frozen=True)
class StinrParameters(HashInrParameters):
    """HashINR with total variation and low rank along time, which let it have finer levels and more time."""

    levels: int = parameter(
        16, "levels of the grid; capped ones that would repeat the one before are left out", minimum=1, maximum=32
    )
    coarsest_frames: float = parameter(
        8.0, "a cell of the coarsest level along time, of capped levels", unit="frames", minimum=1, maximum=1e4
    )
    passes: float = parameter(200.0, "times that the training visits each frame", minimum=0, maximum=1e6)
    temporal_tv: float = parameter(
        0.04, "weight of the temporal total variation, images scaled to maximum 1", minimum=0, maximum=10
    )
    tv_least: float = parameter(
        1.0, "total variation is divided by the images' maximum, or by this where that is less", minimum=0, maximum=1e3
    )
    low_rank: float = parameter(
        0.0, "weight of the nuclear norm of the images, frames by pixels, over the frames", minimum=0, maximum=10
    )


_PAPER: Mapping[str, object] = MappingProxyType(
    {
        "levels": 16,
        "features": 2,
        "coarsest": 16,
        "growth": 2.0,
        "capped": False,
        "table_log2": 24,
        "hidden": 128,
        "layers": 5,
        "data_term": "relative_l2",
        "window": 0,
        "passes": 1600.0,
        "learning_rate": 1e-3,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "schedule": "halved",
        "weight_decay": 1e-6,
        "coarse_to_fine": 1.0,
    }
)
HASH_INR_PRESETS = MappingProxyType({"paper": _PAPER})
STINR_PRESETS = MappingProxyType(
    {"paper": MappingProxyType({**_PAPER, "temporal_tv": 0.02, "tv_least": 0.0, "low_rank": 2e-4})}
)
