"""Parameters of the subspace INR."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters.declare import parameter
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.offline import OfflineParameters


@dataclass(frozen=True)
class SubspaceInrParameters(GraspParameters, OfflineParameters):
    """A few images from one network, each with a curve of time; GRASP's are those of the draft that it begins with."""

    grasp_iterations: int = parameter(
        24, "nonlinear conjugate gradient iterations of GRASP, the draft", minimum=1, maximum=10000
    )
    rank: int = parameter(8, "images and curves that the series is made of", minimum=1, maximum=64)
    features: int = parameter(8, "features of each level of the grid", minimum=1, maximum=32)
    hidden: int = parameter(64, "width of the decoder", minimum=1, maximum=512)
    layers: int = parameter(2, "hidden layers of the decoder", minimum=1, maximum=8)
    fit_steps: int = parameter(
        500, "steps in which the network learns the draft, without a transform", minimum=0, maximum=100000
    )
    fit_rate: float = parameter(
        0.02, "Adam's learning rate at the start of learning the draft", minimum=1e-6, maximum=1
    )
    passes: float = parameter(50.0, "times that the training on the data visits each frame", minimum=0, maximum=1e6)
    window: int = parameter(
        24, "consecutive frames of a training step; 0 for all", unit="frames", minimum=0, maximum=100000
    )
    learning_rate: float = parameter(
        0.003, "Adam's learning rate at the start of the training on the data", minimum=1e-6, maximum=1
    )
    curve_rate: float = parameter(
        0.1, "factor on that rate for the curves of time; 0 leaves them as the draft has them", minimum=0, maximum=100
    )
    temporal_tv: float = parameter(
        0.03, "weight of the temporal total variation, images scaled to maximum 1", minimum=0, maximum=10
    )
    draft_weight: float = parameter(
        1.0, "pull of the training towards the draft, relative to the data's", minimum=0, maximum=1000
    )
    polish_iterations: int = parameter(
        0, "conjugate gradient iterations at the end, from each image towards its frame's data", minimum=0, maximum=1000
    )
    polish_weight: float = parameter(
        0.3, "pull of these iterations towards the network's image, relative to the data's", minimum=0, maximum=1000
    )
