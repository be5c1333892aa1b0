"""Images of a convolutional network that is driven by a curve in time: a time-dependent deep image prior."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inr_core.errors import ParameterError
from inr_core.fields.networks import Mlp, init_uniform

_LEAST_SIDE = 2  # of the latent image: a single pixel has no variance to be normalised by
_MAPPING_WIDTH = 512

# torch's bare layer would draw its weights from the global generator.
_Conv = functools.partial(nn.utils.skip_init, nn.Conv2d, kernel_size=3, padding=1, bias=False)


def helix(times: Tensor, n_frames: int, cycles: float) -> Tensor:
    """Points (cos 2 pi c s, sin 2 pi c s, s), s from 0 at the first frame to 1 at the last.

    Parameters
    ----------
    times : (n,)
        Frames since the first.
    n_frames
        Of the series.
    cycles
        Turns c from the first frame to the last: heart beats.

    Returns
    -------
    (n, 3)
    """
    s = times / max(n_frames - 1, 1)
    angle = 2 * math.pi * cycles * s
    return torch.stack([angle.cos(), angle.sin(), s], -1)


class ConvBlock(nn.Module):
    """Convolution of 3 x 3, batch normalisation of each image by itself, ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = _Conv(n_in, n_out)
        self.gain, self.offset = nn.Parameter(torch.ones(n_out)), nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in, ny, nx) -> (n, n_out, ny, nx)."""
        return F.relu_(F.instance_norm(self.conv(x), weight=self.gain, bias=self.offset))


class DipField(nn.Module):
    """The generator of TD-DIP (Yoo et al., doi 10.1109/TMI.2021.3084288).

    A point of the helix -> 512 ReLU -> a latent image of one channel -> two blocks -> as often as there are
    upsamplings: nearest neighbours of twice the side, two blocks -> a convolution to real and imaginary part. Images
    are made on the next larger multiple of 2^``n_upsamplings`` and cropped about their centre.

    The published network is normalised over the batch, which is a single frame, in training as in use. Hence each
    image is normalised by itself, and does not depend on those that are made with it.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    n_frames
        Of the series.
    cycles
        See :func:`helix`.
    channels
        Of all convolutions but the last.
    n_upsamplings
        Doublings from the latent image to the image.
    seed
        Of the weights, which are uniform within 1 / sqrt(inputs), as torch's layers are by themselves.

    Raises
    ------
    ParameterError
        Without a frame, a channel or an upsampling.
    """

    def __init__(
        self, shape: tuple[int, int], n_frames: int, *, cycles: float, channels: int, n_upsamplings: int, seed: int
    ) -> None:
        super().__init__()
        if min(n_frames, channels, n_upsamplings) < 1:
            raise ParameterError(
                f"{n_frames} frames of {channels} channels, {n_upsamplings} upsamplings", "at least 1 of each"
            )
        self.shape, self.n_frames, self.cycles = shape, n_frames, cycles
        self.latent_shape = tuple(max(_LEAST_SIDE, -(-side // 2**n_upsamplings)) for side in shape)
        self.mapping = Mlp(3, math.prod(self.latent_shape), _MAPPING_WIDTH, 1, seed=seed)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBlock(1 if stage == 0 else channels, channels), ConvBlock(channels, channels))
            for stage in range(n_upsamplings + 1)
        )
        self.last = _Conv(channels, 2)
        init_uniform(self, seed)

    def forward(self, times: Tensor) -> Tensor:
        """Images at (n,) ``times``, in frames since the first: (n, ny, nx) complex64."""
        points = helix(times.to(self.last.weight), self.n_frames, self.cycles)
        x = self.mapping(points).reshape(-1, 1, *self.latent_shape)
        for i, stage in enumerate(self.stages):
            x = stage(F.interpolate(x, scale_factor=2.0, mode="nearest") if i > 0 else x)
        real, imaginary = _crop(self.last(x), self.shape).unbind(1)
        return torch.complex(real, imaginary)


def _crop(x: Tensor, shape: tuple[int, int]) -> Tensor:
    top, left = ((made - side) // 2 for made, side in zip(x.shape[-2:], shape, strict=True))
    return x[..., top : top + shape[0], left : left + shape[1]]
