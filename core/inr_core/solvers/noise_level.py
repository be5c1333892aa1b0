"""The noise of a frame, from its own samples: a scan need not bring a noise scan to be told how noisy it is."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from inr_core.inner_products import squares

_OUTER = 0.75  # of the half width of a projection: beyond it an image that the readout oversamples twice has no corner
_OVERSAMPLED = 1.9  # width of the projections over the image's from which on this is so
_PERIPHERY = 0.9  # of the largest |k|: beyond it, in other readouts, there is little but noise


def noise_variance(kspace: Tensor, traj: Tensor, shape: tuple[int, int]) -> float:
    """Variance of a sample's noise, E|n|^2, the same in all coils.

    A readout is oversampled as a rule, so its Fourier transform, a projection of the object, is twice as wide as the
    image, and its ends hold noise alone; a Hann window keeps the object from leaking there. The median over coils,
    spokes and positions does not mind an arm outside the field of view. Readouts that are not oversampled have their
    periphery in k-space instead, whose rest of signal makes the estimate too large rather than too small.

    Parameters
    ----------
    kspace : (coils, spokes, samples) complex
    traj : (spokes, samples, 2)
        (kx, ky) in cycles per pixel.
    shape
        (ny, nx) of the image.

    Returns
    -------
    0 where nothing tells.
    """
    # On the host even where the samples are on a device: there it is ten launches, and the number is waited for anyway.
    n, samples, points = kspace.shape[-1], kspace.cpu().resolve_conj().numpy(), traj.cpu().numpy()
    steps = np.square(points[:, 1:] - points[:, :-1]).sum(-1).max() ** 0.5 if n > 1 else math.inf
    if steps * max(shape) * _OVERSAMPLED <= 1:
        window = np.hanning(n).astype(samples.real.dtype)
        first = math.floor(_OUTER * n / 2) + 1  # position 0 comes first: the ends of the projection are in the middle
        outer, energy = np.fft.fft(window * samples)[..., first : n - first + 1], float(np.square(window).sum())
    else:
        radius = np.sqrt(np.square(points).sum(-1))
        outer, energy = samples[:, radius >= _PERIPHERY * radius.max()], 1.0
    powers = (np.square(outer.real) + np.square(outer.imag)).ravel()
    if not powers.size or not energy > 0:
        return 0.0  # readouts of two or three samples; of points that are no numbers gridding complains
    middle = (powers.size - 1) // 2
    # The median of an exponential distribution is ln 2 of its mean.
    return float(np.partition(powers, middle)[middle]) / (energy * math.log(2))


def combined_variance(variance: float, csm: Tensor) -> float:
    """Variance of the noise in an image combined from coil images of that variance, S^H of them, on average.

    Parameters
    ----------
    variance
        In a pixel of a coil image.
    csm : (coils, ny, nx)
        Receive maps.
    """
    return variance * float(squares(csm).sum(0).mean())
