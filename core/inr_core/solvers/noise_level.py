"""The noise of a frame, from its own samples: a scan need not bring a noise scan to be told how noisy it is."""

from __future__ import annotations

import math

import torch
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
    """
    n = kspace.shape[-1]
    steps = (traj[:, 1:] - traj[:, :-1]).norm(dim=-1) if n > 1 else torch.full((1, 1), math.inf)
    if float(steps.max()) * max(shape) * _OVERSAMPLED <= 1:
        window = torch.hann_window(n, periodic=False, device=kspace.device)
        energy = torch.fft.fft(window * kspace).abs().square() / window.square().sum()
        first = math.floor(_OUTER * n / 2) + 1  # position 0 comes first: the ends of the projection are in the middle
        outer = energy[..., first : n - first + 1]
    else:
        radius = traj.norm(dim=-1)
        outer = kspace.abs().square()[:, radius >= _PERIPHERY * radius.max()]
    # The median of an exponential distribution is ln 2 of its mean.
    return float(outer.median()) / math.log(2)


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
