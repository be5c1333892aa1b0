"""A live frame's change model and the variation of its image, compiled for a CPU.

What :class:`~inr_core.solvers.change_model.ChangeModel` and the variation of a change do pixel by pixel is a score of
passes over the image as operations of torch, and two here. Complex images are real and imaginary parts in turn.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from inr_core.operators.column_blocks import Array, compiled, host_array


def is_single_on_host(image: Tensor) -> bool:
    """Whether an image is one that these functions can take."""
    return image.device.type == "cpu" and image.dtype == torch.complex64


def numbers(tensor: Tensor) -> Array:
    """A tensor's own memory, if it is contiguous, as a row of real numbers."""
    return np.ascontiguousarray(host_array(tensor)).reshape(-1).view(np.float32)


@compiled
def change_of(
    free: Array,
    turned: Array,
    quadrature: np.float32,
    u: Array,
    v: Array,
    along_x: Array,
    along_y: Array,
    out: Array,
) -> None:
    """The change of a model, as its ``forward``.

    Parameters
    ----------
    free : (2 n,) real
        a and b, pixel by pixel.
    turned : (2 n,) real
        D exp(i arg m).
    quadrature
        q
    u, v : (n,) real
        The displacement.
    along_x, along_y : (2 n,) real
        s d_x m and s d_y m.
    out : (2 n,) real
        Where the change goes.
    """
    for i in range(u.size):
        re, im, a, b = turned[2 * i], turned[2 * i + 1], free[2 * i], quadrature * free[2 * i + 1]
        out[2 * i] = re * a - im * b + u[i] * along_x[2 * i] + v[i] * along_y[2 * i]
        out[2 * i + 1] = re * b + im * a + u[i] * along_x[2 * i + 1] + v[i] * along_y[2 * i + 1]


@compiled
def pull_variation(image: Array, stiffness: Array, out: Array) -> None:
    """Add the gradient of the sum of stiffness |difference to the next pixel|^2 / 2, along x and y, to out.

    Parameters
    ----------
    image, out : (ny, 2 nx) real
        Images.
    stiffness : (ny, 2 nx) real
        Of both differences of each pixel, for both parts.
    """
    ny, n = image.shape
    for y in range(ny):
        row, stiff, to = image[y], stiffness[y], out[y]
        for j in range(2, n - 2):
            to[j] += stiff[j - 2] * (row[j] - row[j - 2]) - stiff[j] * (row[j + 2] - row[j])
        if n > 2:
            for j in range(2):
                to[j] -= stiff[j] * (row[j + 2] - row[j])
                to[n - 2 + j] += stiff[n - 4 + j] * (row[n - 2 + j] - row[n - 4 + j])
        if y > 0:
            above, stiff_above = image[y - 1], stiffness[y - 1]
            for j in range(n):
                to[j] += stiff_above[j] * (row[j] - above[j])
        if y + 1 < ny:
            below = image[y + 1]
            for j in range(n):
                to[j] -= stiff[j] * (below[j] - row[j])


@compiled
def numbers_of(
    image: Array,
    turned: Array,
    quadrature: np.float32,
    along_x: Array,
    along_y: Array,
    free: Array,
    u: Array,
    v: Array,
) -> None:
    """The adjoint of :func:`change_of`: from an image (2 n,) to free, u and v."""
    for i in range(u.size):
        a, b, re, im = image[2 * i], image[2 * i + 1], turned[2 * i], turned[2 * i + 1]
        free[2 * i] = re * a + im * b
        free[2 * i + 1] = quadrature * (re * b - im * a)
        u[i] = a * along_x[2 * i] + b * along_x[2 * i + 1]
        v[i] = a * along_y[2 * i] + b * along_y[2 * i + 1]
