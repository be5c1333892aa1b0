"""What a computation must at least do: operations and bytes, counted from the shapes.

A complex FFT of N points counts 5 N log2 N operations, a product of matrices 2 m k n. Bytes are those of every operand
and result once, as if all that lies between stayed in the caches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from inr_core.fields.grid_field import GridField
from inr_core.fields.weights import Parts
from inr_core.solvers.change_network import N_MAPS, ChangeNetwork

# FINUFFT as FinufftBackend asks for it: fine grid 1.25 times the image, relative accuracy 1e-4.
_FINE, _TOLERANCE = 1.25, 1e-4
_COMPLEX, _REAL = 8, 4  # bytes


@dataclass(frozen=True)
class Cost:
    """Floating point operations, and bytes to and from memory.

    Attributes
    ----------
    fft
        Operations of Fourier transforms.
    product
        Multiplications and additions of products of matrices, and of gridding.
    bytes
        Read and written.
    """

    fft: float = 0.0
    product: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.fft + other.fft, self.product + other.product, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.fft * times, self.product * times, self.bytes * times)


def fft_operations(*sizes: int) -> float:
    """Of one complex transform."""
    points = math.prod(sizes)
    return 5 * points * math.log2(points)


def toeplitz_cost(frames: int, coils: int, shape: tuple[int, int]) -> Cost:
    """A product with S^H F^H W F S: for each coil and frame four transforms there and four back.

    Read: images, maps, kernels; written: images.
    """
    ny, nx = shape
    fft = frames * coils * 8 * fft_operations(ny, nx)
    moved = _COMPLEX * ny * nx * (2 * frames + coils) + _REAL * frames * 4 * ny * nx
    return Cost(fft, 0, moved)


def gridding_cost(coils: int, samples: int, shape: tuple[int, int]) -> Cost:
    """The adjoint NUFFT of the coils, and the kernel: one of the weights on the doubled grid, and its transform.

    Every sample is spread onto w x w points of the fine grid with a real weight (4 operations), which is transformed.
    Read: samples, weights, trajectory; written: coil images and kernel.
    """
    ny, nx = shape
    spread = 4 * kernel_width() ** 2 * samples * (coils + 1)
    fft = coils * fft_operations(fine_size(ny), fine_size(nx)) + fft_operations(fine_size(2 * ny), fine_size(2 * nx))
    moved = samples * (_COMPLEX * coils + 3 * _REAL) + _COMPLEX * coils * ny * nx + _REAL * 4 * ny * nx
    return Cost(fft + fft_operations(2 * ny, 2 * nx), spread, moved)


def kernel_width() -> int:
    """Width of the spreading kernel (Barnett et al., doi 10.1137/18M120885X)."""
    return math.ceil(-math.log(_TOLERANCE) / (math.pi * math.sqrt(1 - 1 / _FINE)))


def fine_size(n: int) -> int:
    """The fine grid: the next even number of factors 2, 3 and 5 from 1.25 n on, and room for two kernels."""
    size = max(math.ceil(_FINE * n), 2 * kernel_width())
    while size % 2 or not _is_smooth(size):
        size += 1
    return size


def _is_smooth(n: int) -> bool:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n == 1


def field_cost(field: GridField, values: Sequence[torch.Tensor], n: int, *, backward: bool) -> Cost:
    """``n`` images of a grid field of the ``values`` that they touch, and with ``backward`` the gradient of these.

    Each level is interpolated along x, along y and along time by a product with a matrix each, which is constant: so
    one product forward and one backward. Each layer of the decoder is one product forward and two backward. Read:
    touched weights; written: images. Backward the gradient of the images is read and those of the weights are written;
    the decoder's inputs are written forward and read backward.
    """
    (ny, nx), pixels = field.shape, math.prod(field.shape)
    weights, interpolation = 0, 0.0
    for value in values[: len(field.levels)]:
        nodes, features, cells_y, cells_x = value.shape
        weights += nodes * features * cells_y * cells_x
        along_x = 0 if cells_x == nx else 2 * nodes * features * cells_y * cells_x * nx
        along_y = 0 if cells_y == ny else 2 * nodes * features * ny * cells_y * nx
        interpolation += along_x + along_y + 2 * n * nodes * features * pixels
    layers = [matrix.value.shape for matrix, _ in field.layers]  # (outputs, inputs) of each
    decoder = sum(2 * n_out * n_in * n * pixels for n_out, n_in in layers)
    forward = Cost(0, interpolation + decoder, _REAL * weights + _COMPLEX * n * pixels)
    if not backward:
        return forward
    kept = _REAL * n * pixels * sum(n_in for _, n_in in layers)
    return Cost(0, 2 * interpolation + 3 * decoder, 2 * (forward.bytes + kept))


def network_cost(network: ChangeNetwork, shape: tuple[int, int]) -> Cost:
    """The maps (9, ny, nx) of one image through its convolutions: each output is a sum over a window of all channels.

    Read: maps and weights; written: one map.
    """
    half = math.prod(-(-n // 4) * 2 for n in shape)  # pixels at half the resolution, padded to whole quarters
    fine = (network.begin, network.fine, network.join, network.end)
    coarse = (network.down, network.up, *(block[i] for block in network.blocks for i in (0, 2)))
    operations = sum(2 * layer.weight.numel() * half for layer in fine)
    operations += sum(2 * layer.weight.numel() * half // 4 for layer in coarse)
    weights = sum(weight.numel() for weight in network.parameters())
    return Cost(0, operations, _REAL * (weights + (N_MAPS + 1) * math.prod(shape)))


def adam_cost(weights: int) -> Cost:
    """A step: weight, gradient and two moments are read, weight and moments are written."""
    return Cost(0, 0, 7 * _REAL * weights)


def catch_up_cost(parts: Parts, missed: Sequence[torch.Tensor]) -> Cost:
    """Steps that rows have missed: their weights and moments are read and written."""
    rows = [int((count > 0).sum()) for count in missed]
    late = sum(n * math.prod(value.shape[1:]) for n, value in zip(rows, parts.values, strict=True))
    return Cost(0, 0, 6 * _REAL * late)


class OperationCounter(TorchDispatchMode):
    """Counts, while it is entered, what torch is really asked to do: the check of the formulae.

    Attributes
    ----------
    fft, product
        Operations of complex transforms, and of products of matrices and convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fft = self.product = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name == "_fft_c2c":
            along = [made.shape[axis] for axis in args[1]]
            self.fft += made.numel() / math.prod(along) * fft_operations(*along)
        elif name in ("mm", "bmm", "addmm"):
            left = args[1] if name == "addmm" else args[0]
            self.product += 2 * made.numel() * left.shape[-1]
        elif name == "convolution":
            self.product += 2 * made.numel() * args[1][0].numel()
        return made


CostOf = Callable[..., Cost]
"""The arguments of a call -> what it costs."""
