"""Parameters of the flow-guided INR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inr_core.parameters.declare import parameter
from inr_core.parameters.offline import OfflineParameters


@dataclass(frozen=True)
class FlowInrParameters(OfflineParameters):
    """An image field and a flow field that are trained together."""

    features: int = parameter(4, "features of each level of the image's grid", minimum=1, maximum=32)
    hidden: int = parameter(32, "width of the image's decoder", minimum=1, maximum=1024)
    layers: int = parameter(2, "hidden layers of the image's decoder", minimum=1, maximum=16)
    flow_features: int = parameter(2, "features of each level of the flow's grid", minimum=1, maximum=32)
    flow_hidden: int = parameter(32, "width of the flow's decoder", minimum=1, maximum=1024)
    flow_layers: int = parameter(2, "hidden layers of the flow's decoder", minimum=1, maximum=16)
    flow_pixels: int = parameter(8, "finest cell of the flow's grid", unit="pixels", minimum=1, maximum=1024)
    flow_frames: int = parameter(2, "its duration", unit="frames", minimum=1, maximum=1024)
    flow_weight: float = parameter(
        0.03, "weight of the optical-flow residual, images scaled to maximum 1", minimum=0, maximum=10
    )
    flow_tv: float = parameter(
        0.002, "weight of the flow's total variation in space, in pixels per frame", minimum=0, maximum=10
    )
    flow_start: float = parameter(
        0.2,
        "part of the training after which the flow moves; before, the residual is total variation along time",
        minimum=0,
        maximum=1,
    )
    window: int = parameter(
        6, "consecutive frames of a training step; 0 for all", unit="frames", minimum=0, maximum=100000
    )
    passes: float = parameter(70.0, "times that the training visits each frame", minimum=0, maximum=1e6)
    learning_rate: float = parameter(0.02, "Adam's learning rate at the start", minimum=1e-6, maximum=1)
    draft_weight: float = parameter(
        1.0, "pull towards GRASP's series, relative to the data's; 0 makes none", minimum=0, maximum=1000
    )
    draft_iterations: int = parameter(20, "iterations of GRASP's series", minimum=1, maximum=10000)


# What is public of the article: squared residuals without density weights, no draft, both fields from the start, Adam
# at 1e-4. The rest is not, and is as in the defaults.
FLOW_INR_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {"ramp_exponent": 0.0, "draft_weight": 0.0, "flow_start": 0.0, "learning_rate": 1e-4, "passes": 6000.0}
        )
    }
)
