"""A small convolutional network that says how large a frame's deviation from its prediction will be, pixel by pixel.

It draws nothing: what it gives are weights of a problem that the data solve. Its own weights, ``change_network.npz``
beside this file, are learnt from scenes made of random numbers (``training/``), so that it knows nothing of anatomy.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inr_core.compiling import is_single_on_host
from inr_core.errors import DataError
from inr_core.solvers.compiled_prior import maps_of

N_MAPS = 9
"""Maps that it looks at, see :func:`network_maps`."""

_WEIGHTS = Path(__file__).with_suffix(".npz")
_FINE, _COARSE = 16, 32  # channels at half and at a quarter of the resolution
_BLOCKS = 2
_LEAST, _LARGEST = -14.0, 2.0  # logarithm of a variance, in squares of the image's maximum
_MULTIPLE = 4  # pixels: two halvings
_CORNER = 3e-3  # of the image's maximum: changes below it are all alike
_DEVIATION_CORNER = 0.1


class ChangeNetwork(nn.Module):
    """The logarithm of the expected square of a change, in squares of the image's maximum.

    A U-net (Ronneberger et al., doi 10.1007/978-3-319-24574-4_28) at half and at a quarter of the resolution; 0.17
    GFLOP at 128 x 128. Trained by the likelihood of a Gaussian, log v + |e|^2 / v, whose minimum is the mean square of
    e given what the network sees.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Conv2d(N_MAPS, _FINE, 4, padding=1, stride=2)
        self.fine = nn.Conv2d(_FINE, _FINE, 3, padding=1)
        self.down = nn.Conv2d(_FINE, _COARSE, 3, padding=1, stride=2)
        self.blocks = nn.ModuleList(nn.Sequential(_coarse(), nn.ReLU(inplace=True), _coarse()) for _ in range(_BLOCKS))
        self.up = nn.Conv2d(_COARSE, 4 * _FINE, 1)
        self.join = nn.Conv2d(2 * _FINE, _FINE, 3, padding=1)
        self.end = nn.Conv2d(_FINE, 4, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, maps: Tensor) -> Tensor:
        """(images, maps, ny, nx) -> (images, ny, nx)."""
        ny, nx = maps.shape[-2:]
        if nx % _MULTIPLE or ny % _MULTIPLE:  # padding by nothing is a copy
            maps = functional.pad(maps, (0, -nx % _MULTIPLE, 0, -ny % _MULTIPLE), mode="replicate")
        fine = self.begin(maps.contiguous(memory_format=torch.channels_last)).relu_()
        fine = self.fine(fine).relu_()
        coarse = self.down(fine).relu_()
        for block in self.blocks:
            coarse = (coarse + block(coarse)).relu_()
        above = functional.pixel_shuffle(self.up(coarse), 2).relu_()
        joined = self.join(torch.cat([fine, above], 1)).relu_()
        return functional.pixel_shuffle(self.end(joined).clamp(_LEAST, _LARGEST), 2)[:, 0, :ny, :nx]


def _coarse() -> nn.Conv2d:
    return nn.Conv2d(_COARSE, _COARSE, 3, padding=1)


def network_maps(
    images: tuple[Tensor, Tensor, Tensor], deviation: Tensor, scale: float, strength: float, acceleration: float
) -> Tensor:
    """What the network looks at: it knows neither units nor phase.

    Parameters
    ----------
    images : three of (ny, nx)
        The one that is expected, what it does not explain of the gridded data, and how the frame before differed from
        its prediction.
    deviation : (ny, nx)
        What the last frames' changes alone let expect; see :class:`~inr_core.solvers.motion_prior.MotionPrior`.
    scale
        Maximum of the image that is expected.
    strength
        Of the gridded data, see :class:`~inr_core.solvers.frames.MeasuredFrame`.
    acceleration
        Matrix over spokes.

    Returns
    -------
    (9, ny, nx) float32
    """
    acceleration = math.log2(acceleration) / 4
    if is_single_on_host(images[0]):
        scales, corners = (scale, strength * scale), (_CORNER, _DEVIATION_CORNER)
        return maps_of(images, deviation, scales, corners, acceleration)
    prediction, missing, last_change = images[0] / scale, images[1] / (strength * scale), images[2] / scale
    back = torch.where(prediction == 0, 1, prediction.sgn()).conj()
    changed, missed = last_change * back, missing * back
    known = prediction.abs()
    return torch.stack(
        [
            known,
            changed.real,
            changed.imag,
            missed.real,
            missed.imag,
            _logarithm(changed),
            _logarithm(missed),
            torch.log(deviation + _DEVIATION_CORNER),
            torch.full_like(known, acceleration),
        ]
    )


def _logarithm(change: Tensor) -> Tensor:
    return torch.log(change.abs() + _CORNER) / 4 + 1


@cache
def change_network(device: torch.device) -> ChangeNetwork:
    """The network with the weights that come with the package, on a device."""
    return read_network(_WEIGHTS).to(device)


def read_network(path: Path) -> ChangeNetwork:
    """A network with the weights of a file, on the host, in evaluation.

    Raises
    ------
    DataError
        If they are not those of such a network.
    """
    network = ChangeNetwork()
    with np.load(path) as stored:
        weights = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}
    wanted = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    if {name: tuple(weight.shape) for name, weight in weights.items()} != wanted:
        raise DataError(
            f"{path.name} with other weights than the network's", "those of training/train.py of this version"
        )
    network.load_state_dict(weights)
    return network.requires_grad_(False).eval()


def write_network(path: Path, network: ChangeNetwork) -> None:
    """Write a network's weights, as float16: they are small, and 3 digits are more than training settles."""
    weights = {name: weight.detach().cpu().numpy() for name, weight in network.state_dict().items()}
    np.savez_compressed(path, **{name: weight.astype(np.float16) for name, weight in weights.items()})
