"""The normal operator of a weighted radial measurement as a convolution: FFTs instead of two NUFFTs.

On a grid of 2n the convolution is circular and exact (Fessler et al., doi 10.1109/TSP.2005.853152), and an image of n
padded to it has a spectrum whose even frequencies are those of the image, and whose odd ones are those of the image
times exp(-pi i r / n). So nothing is padded: along two axes there are four spectra of n x n, each multiplied by the
transfer function at its own frequencies, and what lies in the image's field of view is the sum of what they give. A
spectrum of n x n stays in a core's cache where one of 2n x 2n does not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from functools import cache, partial
from weakref import ref

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from inr_core.batches import at_once
from inr_core.compiling import Array, host_array, is_single_on_host
from inr_core.errors import DataError
from inr_core.lanes import in_lanes, n_lanes
from inr_core.operators.column_blocks import in_blocks
from inr_core.operators.compiled_gram import compiled_product
from inr_core.operators.compiled_transfer import transfer_function
from inr_core.operators.linear_operator import LinearOperator
from inr_core.operators.nufft_backends import CompiledBackend, make_backend
from inr_core.operators.prepared import is_prepared

_SPECTRA_BYTES = 2**27  # of one batch on a device; a product holds about three times as much
_KEPT_BLOCKS: MutableMapping[Tensor, tuple[int, Array]] = WeakIdKeyDictionary()  # of maps, of some version
# The newest kernels as compiled products take them: a live frame has up to nine, and sums of some of them.
_KEPT_KERNELS = deque[tuple[ref[Tensor], int, Array]](maxlen=20)
_ALONE = 2  # coils of a frame that a core does by itself: sharing half a millisecond of work costs as much
_FEW_LANES = 2  # lanes that other threads of a scan need as well: a frame then goes on without waiting for one

Piece = Callable[[int, slice], Tensor]
"""The product of a frame with some coils, (1, ny, nx)."""


def toeplitz_kernel(
    traj: Tensor, weights: Tensor, shape: tuple[int, int], backend: str = "auto", tolerance: float | None = None
) -> Tensor:
    """Transfer function of F^H W F on the doubled grid, at even and odd frequencies.

    F^H W F is a Toeplitz matrix: entry (r, s) is the point spread function w(r - s) = 1/(nx ny) sum_j w_j exp(2 pi i
    k_j (r - s)), for differences up to n - 1 in each direction. Real weights make it Hermitian, and its transform real.

    Parameters
    ----------
    traj : (frames, spokes, samples, 2)
        (kx, ky) in cycles per pixel.
    weights : (frames, spokes, samples)
        Real weights of the samples.
    shape
        (ny, nx) of the images.

    Returns
    -------
    (frames, 4, ny, nx) real
        A quarter of the function at frequencies even along both axes, odd along x, odd along y, odd along both: their
        sum's mean is that of the gram's diagonal.
    """
    ny, nx = shape
    library = make_backend(backend, traj.device, traj.dtype, tolerance)
    points = traj.reshape(traj.shape[0], -1, 2)
    if isinstance(library, CompiledBackend) and is_prepared(shape):
        pairs = zip(points, weights.reshape(len(points), -1).to(traj.dtype), strict=True)
        made = [transfer_function(host_array(p), host_array(w), shape) for p, w in pairs]
        return torch.from_numpy(made[0][None] if len(made) == 1 else np.stack(made))
    strengths = weights.reshape(weights.shape[0], 1, -1).to(traj.dtype.to_complex())
    psf = torch.cat([library.type1(p, c, (2 * ny, 2 * nx)) for p, c in zip(points, strengths, strict=True)])
    # Differences of -n occur in no pair of pixels and have no mirror image; without them the transform is exactly real.
    psf[:, 0, :] = 0
    psf[:, :, 0] = 0
    transfer = torch.fft.fft2(psf).real
    # A quarter, as each of the four inverse transforms divides by n x n, and that of the doubled grid by four times it.
    # A difference of zero is pixel (ny, nx), and not the first: the odd frequencies along an axis have changed sign.
    quarter = 0.25 / (nx * ny)
    return torch.stack([transfer[:, y::2, x::2] * (-quarter if x != y else quarter) for y in (0, 1) for x in (0, 1)], 1)


class ToeplitzGram(LinearOperator):
    """S^H F^H W F S: its own adjoint, one frame of images in, one out.

    Parameters
    ----------
    kernel : (frames, 4, ny, nx)
        From :func:`toeplitz_kernel`.
    csm : (coils, ny, nx)
        Receive maps.

    Raises
    ------
    DataError
        If shapes do not fit.
    """

    def __init__(self, kernel: Tensor, csm: Tensor) -> None:
        ny, nx = csm.shape[-2:]
        if kernel.ndim != 4 or tuple(kernel.shape[1:]) != (4, ny, nx):
            raise DataError(f"a kernel of shape {tuple(kernel.shape)}", f"(frames, 4, {ny}, {nx})")
        self.kernel, self.csm = kernel, csm
        self._maps = list[tuple[Tensor, Tensor]]()  # as products of torch take them, once there was one
        self._sorted: Array | None = None  # a single frame's kernel, as compiled products take it

    def with_kernel(self, kernel: Tensor) -> ToeplitzGram:
        """The same with another kernel, and without bringing the maps into their form again."""
        gram = ToeplitzGram(kernel, self.csm)
        gram._maps = self._maps
        return gram

    def forward(self, x: Tensor) -> Tensor:
        """(frames, ny, nx) -> (frames, ny, nx)."""
        ny, nx = self.csm.shape[-2:]
        if x.ndim != 3 or tuple(x.shape) != (self.kernel.shape[0], ny, nx):
            raise DataError(f"images of shape {tuple(x.shape)}", f"({self.kernel.shape[0]}, {ny}, {nx})")
        if x.device.type == "cpu":
            return self._in_lanes(len(x), self._compiled(x) if self._is_compiled(x) else self._by_torch(x))
        n, maps = at_once(_SPECTRA_BYTES // (len(self.csm) * self.kernel[0].numel() * x.element_size())), self._turned()
        parts = zip(x.split(n), self.kernel.split(n), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([_product(images, kernel, *maps) for images, kernel in parts])

    def _in_lanes(self, frames: int, piece: Piece) -> Tensor:
        """A frame, or a part of a single frame's coils, after the other in each lane.

        One frame's spectra stay in a CPU's caches, and those of many do not: two to three times as fast.
        """
        n_coils, alone = len(self.csm), slice(None)
        if frames > 1:
            return torch.cat(in_lanes([partial(piece, t, alone) for t in range(frames)]))
        if n_coils <= _ALONE or n_lanes() == 1:
            return piece(0, alone)
        # Twice as many as lanes: one that begins late, or has to wait, leaves more of them to the other.
        each = -(-n_coils // (2 * n_lanes()))
        coils = [slice(i, i + each) for i in range(0, n_coils, each)]
        return torch.stack(in_lanes([partial(piece, 0, part) for part in coils])).sum(0)

    @property
    def runs_alone(self) -> bool:
        """Whether products with a single frame are compiled ones on one thread."""
        alone = len(self.csm) <= _ALONE or n_lanes() <= _FEW_LANES
        return alone and len(self.kernel) == 1 and self._is_compiled(self.csm)

    def in_blocks(self) -> tuple[Array, Array]:
        """A single frame's kernel and the maps, as compiled products take them."""
        if self._sorted is None:
            self._sorted = _sorted(self.kernel)
        return self._sorted, _maps_in_blocks(self.csm)

    def _is_compiled(self, x: Tensor) -> bool:
        """Whether products with x, or with images like it, are compiled ones."""
        shape = self.csm.shape[-2], self.csm.shape[-1]
        return is_single_on_host(x) and is_single_on_host(self.csm) and is_prepared(shape)

    def _compiled(self, x: Tensor) -> Piece:
        product, kernels = compiled_product(self.csm.shape[-2:]), host_array(self.kernel)
        images, maps = in_blocks(host_array(x)), _maps_in_blocks(self.csm)
        alone = self.in_blocks()[0] if len(x) == 1 else None

        def piece(t: int, coils: slice) -> Tensor:
            kernel = product.sorted(kernels[t]) if alone is None else alone
            return torch.from_numpy(product(images[t], maps[coils], kernel))[None]

        return piece

    def _by_torch(self, x: Tensor) -> Piece:
        maps, conjugate = self._turned()
        return lambda t, coils: _product(x[t : t + 1], self.kernel[t : t + 1], maps[coils], conjugate[coils])

    def _turned(self) -> tuple[Tensor, Tensor]:
        """Maps (coils, 4, ny, nx) of each wave, and their conjugate."""
        if not self._maps:
            ny, nx = self.csm.shape[-2:]
            maps = self.csm[:, None] * _waves((ny, nx), self.csm.dtype, self.csm.device)
            self._maps.append((maps, maps.conj().resolve_conj()))
        return self._maps[0]

    def adjoint(self, y: Tensor) -> Tensor:
        """The same as forward: weights are real."""
        return self.forward(y)


Product = tuple[ToeplitzGram, Tensor]
"""A gram of a single frame, and an image (ny, nx) that it is to be applied to."""


def sum_of(products: Sequence[Product]) -> Tensor:
    """(ny, nx): the sum of products, of one at least."""
    first, *more = (gram.forward(image[None])[0] for gram, image in products)
    for one in more:
        first = first + one
    return first


def bring_in_order(kernel: Tensor) -> None:
    """Bring a frame's kernel, (1, 4, ny, nx), into the form of compiled products before there are any.

    Where there will be none nothing happens.
    """
    if _meets_compiled_products(kernel):
        _sorted(kernel)


def sum_of_kernels(weights: Sequence[float], kernels: Sequence[Tensor]) -> Tensor:
    """Sum of frames' kernels, (1, 4, ny, nx), each with its weight; in the form of compiled products, too, for these.

    To bring one into that form takes four times as long as to add two that are in it, and most are. It is always made
    so: what is repeated must not depend on what other threads have used meanwhile.
    """
    total = weighted_sum(weights, kernels)
    if _meets_compiled_products(total):
        blocks = weighted_sum(weights, [torch.from_numpy(_sorted(kernel)) for kernel in kernels])
        _KEPT_KERNELS.append((ref(total), total._version, blocks.numpy()))
    return total


def _meets_compiled_products(kernel: Tensor) -> bool:
    shape = kernel.shape[-2], kernel.shape[-1]
    return len(kernel) == 1 and kernel.device.type == "cpu" and kernel.dtype == torch.float32 and is_prepared(shape)


def weighted_sum(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    """Of one and more, the first of which has a weight of 1 as a rule: it is not copied first."""
    if len(parts) == 1:
        return weights[0] * parts[0]
    first = parts[0] if weights[0] == 1 else weights[0] * parts[0]
    total = torch.add(first, parts[1], alpha=weights[1])
    for weight, part in zip(weights[2:], parts[2:], strict=True):
        total.add_(part, alpha=weight)
    return total


def _sorted(kernel: Tensor) -> Array:
    """A frame's kernel as compiled products take it."""
    for kept, version, blocks in list(_KEPT_KERNELS):
        if kept() is kernel and version == kernel._version:
            return blocks
    blocks = compiled_product(kernel.shape[-2:]).sorted(host_array(kernel)[0])
    _KEPT_KERNELS.append((ref(kernel), kernel._version, blocks))
    return blocks


def _maps_in_blocks(csm: Tensor) -> Array:
    """As compiled products take them; made once for maps and for those of some coils in a row, as long as they live."""
    whole = csm if csm._base is None else csm._base
    same = csm.shape[1:] == whole.shape[1:] and csm.stride() == whole.stride() and csm.is_conj() == whole.is_conj()
    away = int(csm.storage_offset() - whole.storage_offset())
    begin, rest = divmod(away, max(int(whole.stride(0)), 1)) if same else (0, 1)
    if rest:
        return in_blocks(host_array(csm))
    version, blocks = _KEPT_BLOCKS.get(whole, (-1, None))
    if blocks is None or version != whole._version:
        blocks = in_blocks(host_array(whole))
        _KEPT_BLOCKS[whole] = whole._version, blocks
    kept: Array = blocks[begin : begin + len(csm)]
    return kept


def _product(x: Tensor, kernel: Tensor, maps: Tensor, conjugate: Tensor) -> Tensor:
    """Of (frames, ny, nx) and (frames, 4, ny, nx) with maps (coils, 4, ny, nx) of each wave, and their conjugate."""
    spectra = torch.fft.fft2(maps * x[:, None, None])
    spectra *= kernel[:, None]
    images = torch.fft.ifft2(spectra)
    images *= conjugate
    combined: Tensor = images.sum((1, 2))
    return combined


@cache
def _waves(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(4, ny, nx): exp(-pi i r / n) along no axis, x, y, both."""
    along_y, along_x = (torch.arange(n, dtype=torch.float64, device=device) * (-math.pi / n) for n in shape)
    none_y, none_x = torch.zeros_like(along_y), torch.zeros_like(along_x)
    turns = torch.stack([y[:, None] + x for y in (none_y, along_y) for x in (none_x, along_x)])
    return torch.polar(torch.ones_like(turns), turns).to(dtype)
