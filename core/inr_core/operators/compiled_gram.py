"""The Toeplitz product of one frame, compiled for a CPU's caches and vectors by numba (doi 10.1145/2833157.2833162).

A library's FFT of 128 x 128 does 13 GFLOP/s on a core where this was measured, and what is multiplied between two of
them goes through the memory each time. Here a block of columns goes through a transform, what it is multiplied by and
the transform back while it is in the first cache: three times as fast. The odd frequencies of the doubled grid (see
:mod:`inr_core.operators.toeplitz`) need no transforms along y for each of the two along x, so there are 12 sets of
columns instead of 16.

Each size is compiled once, in ten seconds, and kept on disk for the next process (:mod:`inr_core.operators.prepared`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from inr_core.compiling import Array, compiled, part
from inr_core.operators import column_transform
from inr_core.operators.column_blocks import W, from_blocks, n_blocks, sorted_kernel
from inr_core.operators.column_transform import ROOM, back, stages, tables, there, turned


@part
def _maps_in(x, s, wave, even, odd, m):
    """even = s x and odd = wave s x, m numbers."""
    for j in range(m):
        a, b = turned(x[j], x[j + m], s[j], s[j + m])
        even[j], even[j + m] = a, b
        odd[j], odd[j + m] = turned(a, b, wave[j], wave[j + m])


@part
def _maps_out(even, odd, wave, s, out, m):
    """Add conj(s) (even + conj(wave) odd) to out, m numbers."""
    for j in range(m):
        a, b = turned(odd[j], odd[j + m], wave[j], -wave[j + m])
        a, b = turned(even[j] + a, even[j + m] + b, s[j], -s[j + m])
        out[j] += a
        out[j + m] += b


@part
def _turn(t, wave, d, m):
    """d = wave t, m numbers."""
    for j in range(m):
        d[j], d[j + m] = turned(t[j], t[j + m], wave[j], wave[j + m])


@part
def _join(even, odd, wave, t, m):
    """t = even + conj(wave) odd, m numbers."""
    for j in range(m):
        a, b = turned(odd[j], odd[j + m], wave[j], -wave[j + m])
        t[j], t[j + m] = even[j] + a, even[j + m] + b


@part
def _scale(d, factors, m):
    for j in range(m):
        d[j] *= factors[j]
        d[j + m] *= factors[j]


@part
def _transpose(source, d, rows, columns):
    """d = the transpose of a tile of W x W numbers, of at most so many rows and columns of d."""
    if rows >= W and columns >= W:  # compiled without loops
        for i in range(W):
            for j in range(W):
                d[i * W + j] = source[j * W + i]
    else:
        for i in range(min(rows, W)):
            for j in range(min(columns, W)):
                d[i * W + j] = source[j * W + i]


@part
def _along_y(x, s, spectra, pair, tables, stages, shape):
    """Both sets of frequencies along y of the image x times a map s, in blocks of them."""
    ny, nx = shape
    twiddles, roots, wave = tables
    for b in range(n_blocks(nx)):
        _maps_in(x[b], s[b], wave, pair[0], pair[1], ny * W)
        for p in range(2):
            d = pair[p]
            there(d, ny * W, twiddles, roots, ny, stages)
            for c in range(n_blocks(ny)):
                i, o = c * W * W, 2 * (p * n_blocks(ny) + c) * nx * W + b * W * W
                _transpose(d[i:], spectra[o:], nx - b * W, ny - c * W)
                _transpose(d[ny * W + i :], spectra[o + nx * W :], nx - b * W, ny - c * W)


@part
def _along_x(t, kernel, pair, tables, stages, nx):
    """The convolution along x of a block of frequencies along y, in its place."""
    twiddles, roots, wave = tables
    for p in range(2):
        d = pair[p]
        if p == 0:
            for j in range(2 * nx * W):
                d[j] = t[j]
        else:
            _turn(t, wave, d, nx * W)
        there(d, nx * W, twiddles, roots, nx, stages)
        _scale(d, kernel[p * nx * W :], nx * W)
        back(d, nx * W, twiddles, roots, nx, stages)
    _join(pair[0], pair[1], wave, t, nx * W)


@part
def _back_along_y(spectra, s, out, pair, tables, stages, shape):
    """Add the image that the frequencies along y are of, times the conjugate of a map s, to out."""
    ny, nx = shape
    twiddles, roots, wave = tables
    for b in range(n_blocks(nx)):
        for p in range(2):
            d = pair[p]
            for c in range(n_blocks(ny)):
                i, o = c * W * W, 2 * (p * n_blocks(ny) + c) * nx * W + b * W * W
                _transpose(spectra[o:], d[i:], ny - c * W, nx - b * W)
                _transpose(spectra[o + nx * W :], d[ny * W + i :], ny - c * W, nx - b * W)
            back(d, ny * W, twiddles, roots, ny, stages)
        _maps_out(pair[0], pair[1], wave, s[b], out[b], ny * W)


@part
def add_product(x, csm, kernel, y_tables, x_tables, spectra, pair, out, y_stages, x_stages, shape):
    """Add sum_c conj(s_c) T (s_c x) to out; arguments as of :class:`CompiledProduct`, with room from :func:`room_of`.

    The stages and the shape must be constants of what it is compiled into.
    """
    ny, nx = shape
    tile = 2 * nx * W
    for coil in range(csm.shape[0]):
        _along_y(x, csm[coil], spectra, pair, y_tables, y_stages, shape)
        for c in range(2 * n_blocks(ny)):
            _along_x(spectra[c * tile :], kernel[c * tile :], pair, x_tables, x_stages, nx)
        _back_along_y(spectra, csm[coil], out, pair, y_tables, y_stages, shape)


@part
def room_of(ny, nx):
    """What a product takes beside its arguments: spectra, and two blocks."""
    spectra = np.zeros(2 * n_blocks(ny) * 2 * nx * W, np.float32)
    return spectra, np.zeros((2, 2 * max(ny, nx) * W + ROOM), np.float32)


def _product_of(ny: int, nx: int) -> Callable[..., None]:
    y_stages, x_stages = stages(ny), stages(nx)

    def product(x, csm, kernel, y_tables, x_tables, out):
        spectra, pair = room_of(ny, nx)
        add_product(x, csm, kernel, y_tables, x_tables, spectra, pair, out, y_stages, x_stages, (ny, nx))

    return compiled(product, column_transform)


@cache
def compiled_product(shape: tuple[int, int]) -> CompiledProduct:
    """The product for images of (ny, nx), of which each has :func:`radices`; compiled when it is first used."""
    return CompiledProduct(shape)


class CompiledProduct:
    """sum_c conj(s_c) T (s_c x) of one frame, T the convolution with a transfer function; in single precision.

    Parameters
    ----------
    shape
        (ny, nx) of the images.

    Attributes
    ----------
    tables
        Of the transforms along y and x, for what the product is a part of.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        y, x = (tables(n) for n in shape)
        self._orders = y.order, x.order
        self.tables = (y.twiddles, y.roots, y.wave), (x.twiddles, x.roots, x.wave)
        self._product = _product_of(*shape)

    def sorted(self, kernel: Array) -> Array:
        """(4, ny, nx) float32, see :func:`~inr_core.operators.toeplitz.toeplitz_kernel`, as a call takes it."""
        return sorted_kernel(kernel, *self._orders)

    def __call__(self, x: Array, csm: Array, kernel: Array) -> Array:
        """The product, (ny, nx) complex64, on the thread that calls it and without the interpreter's lock.

        Parameters
        ----------
        x : (blocks, 2 ny W) float32
            The image, from :func:`~inr_core.operators.column_blocks.in_blocks`.
        csm : (coils, blocks, 2 ny W) float32
            Receive maps, from there.
        kernel
            From :meth:`sorted`.
        """
        out = np.zeros_like(x)
        self._product(x, csm, kernel, *self.tables, out)
        return from_blocks(out, self.shape)
