"""A phantom seen through coils along a trajectory, and the truth beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inr_core.errors import ParameterError
from inr_core.phantoms.coils import CoilArray
from inr_core.phantoms.ellipse import Ellipses

# Positions per pass, times the coils' exponentials: some 4 MiB an array, which stays in the cache.
_BATCH = 1 << 14


class Phantom(Protocol):
    """An object made of ellipses, at any time."""

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        """Its ellipses at ``times_ms`` (times,)."""


@dataclass(frozen=True)
class Grid:
    """The reconstructed matrix: ``matrix`` (x, y) pixels over ``fov_mm`` (x, y); pixel n // 2 is the centre."""

    matrix: tuple[int, int]
    fov_mm: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.matrix) < 1 or not min(self.fov_mm) > 0:
            raise ParameterError(f"matrix {self.matrix} over {self.fov_mm} mm", "pixels and millimetres above 0")

    @property
    def pixel_mm(self) -> np.ndarray:
        """(x, y) size of a pixel."""
        return np.divide(self.fov_mm, self.matrix, dtype=np.float64)

    @property
    def points(self) -> np.ndarray:
        """Centres of the pixels: (y, x, 2) as (x, y) in mm."""
        x, y = ((np.arange(n) - n // 2) * size for n, size in zip(self.matrix, self.pixel_mm, strict=True))
        return np.stack(np.meshgrid(x, y), -1)


def kspace(phantom: Phantom, coils: CoilArray, grid: Grid, traj: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
    """Exact k-space of the phantom through the coils, without noise: every spoke sees the object at its own time.

    The scale is  y(k) = 1/sqrt(nx ny) * sum_r x(r) exp(-2 pi i k . r)  for the image x of :func:`truth`.

    Parameters
    ----------
    phantom, coils, grid
        What is seen, by what, and the matrix that the trajectory refers to.
    traj : (spokes, samples, 2) cycles per pixel
        (kx, ky), -0.5 to 0.5.
    times_ms : (spokes,)
        When each spoke is read.

    Returns
    -------
    (coils, spokes, samples) complex64; float64 inside

    Raises
    ------
    ParameterError
        If the shapes do not fit.
    """
    times_ms = np.asarray(times_ms, np.float64)
    if traj.ndim != 3 or traj.shape[-1] != 2 or times_ms.shape != traj.shape[:1]:
        raise ParameterError(
            f"trajectory {traj.shape} with times {times_ms.shape}", "(spokes, samples, 2) with (spokes,)"
        )
    n_spokes, n_samples, _ = traj.shape
    result = np.empty((coils.n_coils, n_spokes, n_samples), np.complex64)
    scale = 1 / (math.sqrt(math.prod(grid.matrix)) * grid.pixel_mm.prod())
    step = max(1, _BATCH // max(n_samples, 1))
    for first in range(0, n_spokes, step):
        part = slice(first, first + step)
        k = np.asarray(traj[part], np.float64) / grid.pixel_mm
        shifted = phantom.ellipses(times_ms[part]).fourier(k, coils.frequencies)
        result[:, part] = scale * np.tensordot(coils.weights, shifted, axes=1)
    return result


def truth(phantom: Phantom, grid: Grid, times_ms: np.ndarray, coils: CoilArray | None = None) -> np.ndarray:
    """What a perfect reconstruction at this matrix would show.

    It is band-limited, not rasterised: its discrete Fourier transform is the phantom's own transform at the matrix's
    frequencies, so it rings at edges exactly as the data make it ring.

    Parameters
    ----------
    phantom, grid
        What is seen and on which matrix.
    times_ms : (frames,)
        The moments.
    coils
        Multiply by their root-sum-of-squares, which a reconstruction with normalised maps cannot tell from the object;
        None for the bare object.

    Returns
    -------
    (frames, y, x) complex64
    """
    nx, ny = grid.matrix
    kx, ky = ((np.arange(n) - n // 2) / n / size for n, size in zip(grid.matrix, grid.pixel_mm, strict=True))
    k = np.stack(np.meshgrid(kx, ky), -1).reshape(1, -1, 2)
    shading = 1.0 if coils is None else coils.rss(grid.points)
    images = np.empty((len(times_ms), ny, nx), np.complex64)
    for frame, time in enumerate(times_ms):
        spectrum = phantom.ellipses(np.array([time], np.float64)).fourier(k)[0].reshape(ny, nx)
        image = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum))) / grid.pixel_mm.prod()
        images[frame] = shading * image
    return images


def noise_correlation(n_coils: int, correlation: float) -> np.ndarray:
    """Noise covariance (coils, coils): 1 on the diagonal, falling by ``correlation`` from neighbour to neighbour.

    Real arrays have neighbours at 0.1 to 0.4. Its phase turns, so that whitening by real arithmetic fails.

    Raises
    ------
    ParameterError
        If ``correlation`` is not in [0, 1).
    """
    if not 0 <= correlation < 1:
        raise ParameterError(f"noise correlation {correlation}", "0 to below 1")
    index = np.arange(n_coils)
    distance = index[:, None] - index
    return np.asarray(correlation ** np.abs(distance) * np.exp(0.7j * distance))


def noise(
    shape: tuple[int, ...], sigma: float, rng: np.random.Generator, covariance: np.ndarray | None = None
) -> np.ndarray:
    """Complex Gaussian noise.

    Parameters
    ----------
    shape
        (coils, ...).
    sigma
        Standard deviation of the real part, and of the imaginary.
    rng
        The source.
    covariance : (coils, coils), optional
        Hermitian, with a unit diagonal; None for independent coils.

    Returns
    -------
    ``shape`` complex64
    """
    white = sigma * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    if covariance is not None:
        white = np.tensordot(np.linalg.cholesky(covariance), white, axes=1)
    return np.asarray(white, np.complex64)
