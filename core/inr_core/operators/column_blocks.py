"""How images, maps and transfer functions lie where compiled products take them: in blocks of a few columns.

In a block, W columns of an image lie side by side, all real parts before all imaginary ones, so that what is done to a
block's rows is done to vectors, and a block with all that is computed in it stays in a core's first cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from inr_core.compiling import Array, compiled

W = 16
"""Columns of a block: two vectors of 8 numbers; 128 rows of them, complex, are half of a first cache."""


@njit(forceinline=True)
def n_blocks(n: int) -> int:
    """Blocks of n columns."""
    return -(-n // W)


@compiled
def to_blocks(images, ny, nx, out):
    """Images of numbers in turn, (images, 2 ny nx), as blocks."""
    for i in range(images.shape[0]):
        for b in range(out.shape[1]):
            for y in range(ny):
                row, to = images[i, 2 * (y * nx + b * W) :], out[i, b, y * W :]
                for j in range(min(W, nx - b * W)):
                    to[j], to[j + ny * W] = row[2 * j], row[2 * j + 1]


@compiled
def from_blocks_in_turn(blocks, ny, nx, out):
    """An image's blocks as numbers in turn, (2 ny nx,)."""
    for b in range(blocks.shape[0]):
        for y in range(ny):
            row, to = blocks[b, y * W :], out[2 * (y * nx + b * W) :]
            for j in range(min(W, nx - b * W)):
                to[2 * j], to[2 * j + 1] = row[j], row[j + ny * W]


@compiled
def _sorted(kernel, y_order, x_order, blocks, scale, out):
    _, ny, nx = kernel.shape
    for wave in range(4):
        for y in range(ny):
            c, j = y_order[y] // W, y_order[y] % W
            o = (2 * (wave // 2 * blocks + c) + wave % 2) * nx * W + j
            for x in range(nx):
                out[o + x_order[x] * W] = kernel[wave, y, x] * scale


def in_blocks(images: Array) -> Array:
    """Images or maps, (images, ny, nx) complex64, as (images, blocks, 2 ny W) float32."""
    n, ny, nx = images.shape
    out = np.zeros((n, n_blocks(nx), 2 * ny * W), np.float32)
    to_blocks(np.ascontiguousarray(images).reshape(n, -1).view(np.float32), ny, nx, out)
    return out


def from_blocks(blocks: Array, shape: tuple[int, int]) -> Array:
    """An image (ny, nx) complex64 from its (blocks, 2 ny W)."""
    out = np.empty(shape, np.complex64)
    from_blocks_in_turn(blocks, *shape, out.reshape(-1).view(np.float32))
    return out


def sorted_kernel(kernel: Array, y_order: Array, x_order: Array) -> Array:
    """A frame's transfer function, (4, ny, nx) float32, in the order in which a product meets it.

    Frequencies along y are columns of a block and those along x its rows, both where the orders say. For each two
    blocks of the same frequencies along y, those odd along x come after the even ones.
    """
    _, ny, nx = kernel.shape
    out = np.zeros(4 * n_blocks(ny) * W * nx, np.float32)
    _sorted(kernel, y_order, x_order, n_blocks(ny), np.float32(1 / (ny * nx)), out)
    return out
