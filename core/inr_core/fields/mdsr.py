"""Image features of a frozen network: the body of MDSR, with its published weights or with random ones."""

from __future__ import annotations

import functools
import itertools
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inr_core.errors import DataError, ParameterError
from inr_core.fields.coordinates import sampling_grid
from inr_core.fields.networks import init_uniform

CHECKPOINTS = ("mdsr_baseline-a00cab12.pt", "mdsr-4a78bedf.pt")
"""The published weights: of 16 and of 80 blocks."""

N_FEATURES = 64

_SCALES = 3  # magnifications, each with a pre-processing of its own
_SCALE = 0  # the smallest magnification, of 2: the features of no magnification at all were never trained
_RANGE = 255.0
_RGB_MEAN = (0.4488, 0.4371, 0.4040)
_UNUSED = ("sub_mean.", "add_mean.", "upsample.", "tail.")  # what follows the body, and the mean that is known
_LAST = re.compile(r"body\.(\d+)\.weight")

# torch's bare layer would draw its weights from the global generator.
_Conv = functools.partial(nn.utils.skip_init, nn.Conv2d)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convs = [_Conv(N_FEATURES, N_FEATURES, width, padding=width // 2) for _ in range(2)]
        self.body = nn.Sequential(convs[0], nn.ReLU(), convs[1])

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64, ny, nx) -> the same."""
        return x + self.body(x)  # type: ignore[no-any-return]


class MdsrBody(nn.Module):
    """MDSR (Lim et al., doi 10.1109/CVPRW.2017.151) up to the features that it would magnify; nothing is trained.

    A 3 x 3 convolution of the colours, two residual blocks of 5 x 5, ``n_blocks`` of 3 x 3, a convolution, and the
    input of these blocks added. Weights carry the names of the authors' PyTorch code; the weights themselves are not
    set: see :func:`random_body` and :func:`load_body`.

    Parameters
    ----------
    n_blocks
        Residual blocks of 3 x 3.
    """

    def __init__(self, n_blocks: int) -> None:
        super().__init__()
        if n_blocks < 1:
            raise ParameterError(f"an MDSR body of {n_blocks} blocks", "at least 1")
        self.head = nn.Sequential(_Conv(3, N_FEATURES, 3, padding=1))
        self.pre_process = nn.ModuleList(nn.Sequential(ResidualBlock(5), ResidualBlock(5)) for _ in range(_SCALES))
        last = _Conv(N_FEATURES, N_FEATURES, 3, padding=1)
        self.body = nn.Sequential(*[ResidualBlock(3) for _ in range(n_blocks)], last)
        self.requires_grad_(False)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Features of grey images.

        Parameters
        ----------
        magnitudes : (n, ny, nx)
            From 0 to 1. They become grey colours from 0 to 255 less the mean colour of the training images.

        Returns
        -------
        (n, 64, ny, nx)
        """
        mean = magnitudes.new_tensor(_RGB_MEAN)[:, None, None]
        x: Tensor = self.pre_process[_SCALE](self.head(_RANGE * (magnitudes[:, None] - mean)))
        return x + self.body(x)  # type: ignore[no-any-return]


def random_body(n_blocks: int, seed: int) -> MdsrBody:
    """A body with random weights, uniform within 1 / sqrt(inputs) as torch's own layers have them."""
    body = MdsrBody(n_blocks)
    init_uniform(body, seed)
    return body


def load_body(path: Path) -> MdsrBody:
    """A body with the weights of a published file of EDSR-PyTorch; the number of its blocks is the file's.

    Raises
    ------
    ParameterError
        Without a path or a file.
    DataError
        If the file does not hold the weights of an MDSR.
    """
    expected = f"a file of MDSR's weights, {' or '.join(CHECKPOINTS)}"
    advice = "EDSR-PyTorch's page has them; name the file in recon.features_file, or set recon.features=none"
    if not path.is_file():
        given = "no features_file" if path == Path() else f"features_file {path}, which is not there"
        raise ParameterError(given, expected, advice)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}, which torch cannot read ({type(error).__name__})", expected, advice) from error
    named = isinstance(state, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not named:
        raise DataError(f"{path}, which holds no weights by name", expected, advice)
    lasts = [match for match in map(_LAST.fullmatch, state) if match]
    if len(lasts) != 1 or lasts[0][1] == "0":
        raise DataError(f"{path}, whose weights end no body of blocks", expected, advice)
    body = MdsrBody(int(lasts[0][1]))
    used = {name: value for name, value in state.items() if not name.startswith(_UNUSED)}
    _check(path, used, body.state_dict(), expected)
    body.load_state_dict(used)
    return body


def _check(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], expected: str) -> None:
    """Say of the first name that differs how it does."""
    for name in itertools.chain(wanted, found):
        if name not in found:
            raise DataError(f"{path} without {name}", expected)
        if name not in wanted:
            raise DataError(f"{path} with {name}, which MDSR does not have", expected)
        if found[name].shape != wanted[name].shape:
            shapes = tuple(found[name].shape), tuple(wanted[name].shape)
            raise DataError(f"{path}: {name} of shape {shapes[0]}", f"{shapes[1]}, as in {expected}")


class FrameFeatures:
    """Features of a series' frames, computed once and sampled anywhere.

    Parameters
    ----------
    body
        That computes them, a frame at a time.
    images : (frames, ny, nx)
        Complex; their magnitudes, divided by the largest of all, are looked at.
    """

    @torch.no_grad()
    def __init__(self, body: MdsrBody, images: Tensor) -> None:
        magnitudes = images.abs()
        magnitudes = magnitudes / magnitudes.max().clamp_min(torch.finfo(magnitudes.dtype).tiny)
        body = body.to(images.device)
        features = torch.cat([body(image[None]) for image in magnitudes])
        # Networks are made for inputs of about one; the published weights give tens.
        self.maps = features / features.square().mean().sqrt().clamp_min(torch.finfo(features.dtype).tiny)

    def sample(self, times: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
        """Linear between frames and between pixels; beyond the first and last the value is theirs.

        Parameters
        ----------
        times : (n,)
            Frames since the first.
        ys, xs : (ny,), (nx,)
            From 0 to 1; the pixel of index i of N is at (i + 1/2) / N.

        Returns
        -------
        (n, ny, nx, 64)
        """
        n_frames = len(self.maps)
        times = times.to(self.maps).clamp(0, n_frames - 1)
        low = times.floor()
        part = (times - low)[:, None, None, None]
        first = low.long()
        maps = torch.lerp(self.maps[first], self.maps[(first + 1).clamp_max(n_frames - 1)], part)
        grid = sampling_grid(ys, xs).to(maps)
        sampled = F.grid_sample(
            maps, grid.expand(len(maps), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled.permute(0, 2, 3, 1)
