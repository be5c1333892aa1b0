"""What a live frame's prior computes pixel by pixel, compiled for a CPU; images as numbers in turn, (ny, 2 nx).

As operations of torch it is a hundred small ones for each frame, and after each of them a thread that reads readouts
may be next to have the interpreter.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from inr_core.compiling import compiled, host_array, in_turn, part

_TINY = float(np.finfo(np.float32).tiny)


@part
def _box_mean(square, window, out):
    """The mean over a square of ``window`` pixels, odd, of those of them that there are.

    Differences of running sums, which are exact enough in double precision.
    """
    ny, nx = square.shape
    half = window // 2
    rows = np.zeros((ny + 1, nx), np.float64)
    for y in range(ny):
        for x in range(nx):
            rows[y + 1, x] = rows[y, x] + square[y, x]
    sums = np.empty(nx + 1, np.float64)
    sums[0] = 0
    for y in range(ny):
        first, last = max(y - half, 0), min(y + half + 1, ny)
        for x in range(nx):
            sums[x + 1] = sums[x] + (rows[last, x] - rows[first, x])
        for x in range(nx):
            left, right = max(x - half, 0), min(x + half + 1, nx)
            out[y, x] = max((sums[right] - sums[left]) / ((last - first) * (right - left)), 0.0)


@part
def _squares(image, out):
    ny, nx = out.shape
    for y in range(ny):
        row, to = image[y], out[y]
        for x in range(nx):
            to[x] = row[2 * x] * row[2 * x] + row[2 * x + 1] * row[2 * x + 1]


@part
def _mean(values):
    total = 0.0
    for y in range(values.shape[0]):
        row, some = values[y], np.float32(0)
        for x in range(row.size):
            some += row[x]
        total += float(some)
    return max(total / values.size, _TINY)


@compiled
def _smoothed_square_of(image, window, out):
    square = np.empty_like(out)
    _squares(image, square)
    _box_mean(square, window, out)


@part
def _root_of_mean_square(image, window, out):
    square = np.empty_like(out)
    _squares(image, square)
    _box_mean(square, window, out)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = math.sqrt(out[y, x])


@part
def _least_squares(image, least, window, out):
    _root_of_mean_square(image, window, out)
    share = np.float32(0.5 / _mean(out))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = least * (np.float32(0.5) + share * out[y, x])


@part
def _deviation(energy, floor, least, out):
    share = np.float32(1 / _mean(energy))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = math.sqrt((share * energy[y, x] + floor[y, x]) / (1 + least))


@compiled
def _floor_of(image, least, window, out):
    _least_squares(image, least, window, out)


@compiled
def _deviation_of(energy, floor, least, out):
    _deviation(energy, floor, least, out)


@compiled
def _found_of(change, change_window, image, least, window, out):
    energy, floor = np.empty_like(out), np.empty_like(out)
    _root_of_mean_square(change, change_window, energy)
    _least_squares(image, least, window, floor)
    _deviation(energy, floor, least, out)


@part
def _log(x):
    """The natural logarithm of a normal number, to 2e-6: the library's own is no operation of vectors.

    Cephes' polynomial for numbers between the roots of a half and of two.
    """
    bits = np.float32(x).view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1)
    square, p = m * m, np.float32(7.0376836292e-2)
    p = p * m - np.float32(1.1514610310e-1)
    p = p * m + np.float32(1.1676998740e-1)
    p = p * m - np.float32(1.2420140846e-1)
    p = p * m + np.float32(1.4249322787e-1)
    p = p * m - np.float32(1.6668057665e-1)
    p = p * m + np.float32(2.0000714765e-1)
    p = p * m - np.float32(2.4999993993e-1)
    p = p * m + np.float32(3.3333331174e-1)
    return p * m * square - np.float32(0.5) * square + m + np.float32(exponent) * np.float32(math.log(2))


@part
def _turned_back(image, scale, a, b, re, im):
    """A row in the phase of another, whose cosines and sines are a and b."""
    for x in range(re.size):
        p, q = scale * image[2 * x], scale * image[2 * x + 1]
        re[x], im[x] = p * a[x] + q * b[x], q * a[x] - p * b[x]


@part
def _logarithms(re, im, corner, out):
    for x in range(out.size):
        size = math.sqrt(re[x] * re[x] + im[x] * im[x])
        out[x] = _log(size + corner) * np.float32(0.25) + np.float32(1)


@compiled
def _maps_of(prediction, missing, last, deviation, scale, missing_scale, corner, deviation_corner, acceleration, maps):
    ny, nx = deviation.shape
    row, a, b = np.empty((9, nx), np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    row[8] = acceleration
    for y in range(ny):
        p, d, size, of_deviation = prediction[y], deviation[y], row[0], row[7]
        for x in range(nx):
            re, im = scale * p[2 * x], scale * p[2 * x + 1]
            square = re * re + im * im
            size[x] = math.sqrt(square)
            # Of less than the smallest number with all its digits a root's reciprocal is none.
            a[x], b[x] = (re / size[x], im / size[x]) if square > _TINY else (np.float32(1), np.float32(0))
        _turned_back(last[y], scale, a, b, row[1], row[2])
        _turned_back(missing[y], missing_scale, a, b, row[3], row[4])
        _logarithms(row[1], row[2], corner, row[5])
        _logarithms(row[3], row[4], corner, row[6])
        for x in range(nx):
            of_deviation[x] = _log(d[x] + deviation_corner)
        for x in range(nx):
            for k in range(9):
                maps[y, x, k] = row[k, x]


def smoothed_square(image: Tensor, window: int) -> Tensor:
    """As :func:`~inr_core.solvers.motion_prior.smoothed_square` of a single image."""
    out = torch.empty(image.shape)
    _smoothed_square_of(in_turn(image), window, out.numpy())
    return out


def floor_of(image: Tensor, least: float, window: int) -> Tensor:
    """Least D^2 of :class:`~inr_core.solvers.motion_prior.MotionPrior`."""
    out = torch.empty(image.shape)
    _floor_of(in_turn(image), np.float32(least), window, out.numpy())
    return out


def deviation_of(energy: Tensor, floor: Tensor, least: float) -> Tensor:
    """D of :class:`~inr_core.solvers.motion_prior.MotionPrior`."""
    out = torch.empty(energy.shape)
    _deviation_of(host_array(energy), host_array(floor), np.float32(least), out.numpy())
    return out


def found_of(change: Tensor, change_window: int, image: Tensor, least: float, window: int) -> Tensor:
    """D of :class:`~inr_core.solvers.motion_prior.MotionPrior` once a change is found."""
    out = torch.empty(image.shape)
    _found_of(in_turn(change), change_window, in_turn(image), np.float32(least), window, out.numpy())
    return out


def maps_of(
    images: tuple[Tensor, Tensor, Tensor],
    deviation: Tensor,
    scales: tuple[float, float],
    corners: tuple[float, float],
    acceleration: float,
) -> Tensor:
    """As :func:`~inr_core.solvers.change_network.network_maps`.

    Parameters
    ----------
    images
        Prediction, what it leaves of the data, the last change, in the data's units.
    deviation
        By rule.
    scales
        What images, and what is left of the data, are divided by.
    corners
        Of the logarithms of changes and of the deviation.
    acceleration
        The last map.
    """
    maps = torch.empty(*deviation.shape, 9)  # side by side, as the network's convolutions take them
    arrays = [in_turn(image) for image in images]
    small = [np.float32(x) for x in (1 / scales[0], 1 / scales[1], *corners, acceleration)]
    _maps_of(*arrays, host_array(deviation), *small, maps.numpy())  # type: ignore[call-arg]
    return maps.permute(2, 0, 1)
