"""Ellipses with exact Fourier transform, each with its own motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inr_core.errors import ParameterError


@dataclass(frozen=True)
class Ellipses:
    """A sum of ``n`` filled ellipses at each of ``times`` moments.

    The object at r = (x, y) mm is the ellipses' sum, convolved with a Gaussian of standard deviation ``edge_mm``, times
    exp(2 pi i ramp . r). Its transform, integral rho(r) exp(-2 pi i k . r) dr, is the sum over the ellipses of

        A pi a b  2 J1(2 pi kappa) / (2 pi kappa)  exp(-2 pi i k . c)  exp(-2 (pi edge |k|)^2)

    taken at k - ramp, with kappa = |(a k_u, b k_v)| in the frame of the ellipse (Kak and Slaney, doi
    10.1137/1.9780898719277, for the ellipse). The Gaussian stands for the partial volume of a thick slice, which no
    real edge is without.

    Attributes
    ----------
    centre : (times, n, 2) mm
    axes : (times, n, 2) semi-axes, mm
    angle : (times, n) rad, from x towards y
    amplitude : (times, n) complex
    edge_mm
        Standard deviation of the Gaussian that blurs every edge.
    ramp : (2,) cycles per mm
        Linear phase of the object.
    """

    centre: np.ndarray
    axes: np.ndarray
    angle: np.ndarray
    amplitude: np.ndarray
    edge_mm: float = 0.0
    ramp: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        times_n = self.amplitude.shape
        if (
            len(times_n) != 2
            or self.angle.shape != times_n
            or not self.centre.shape == self.axes.shape == (*times_n, 2)
        ):
            raise ParameterError(
                f"ellipses with centre {self.centre.shape}, axes {self.axes.shape}, angle {self.angle.shape}, "
                f"amplitude {self.amplitude.shape}",
                "(times, n, 2) twice and (times, n) twice",
            )
        if not (self.axes > 0).all() or self.edge_mm < 0:
            raise ParameterError("an ellipse or its edge without a size", "semi-axes > 0 and an edge >= 0 mm")

    def fourier(self, k: np.ndarray, shifts: np.ndarray | None = None) -> np.ndarray:
        """Evaluate the transform, in float64.

        Parameters
        ----------
        k : (times, points, 2) cycles per mm
            Where to evaluate it at each of the moments.
        shifts : (m, 2) cycles per mm, optional
            Evaluate at ``k - shift`` for each: the object multiplied by exp(2 pi i shift . r). None for no shift.

        Returns
        -------
        (m, times, points) complex128, mm^2 times amplitude
        """
        import torch

        shifts = np.zeros((1, 2)) if shifts is None else np.asarray(shifts, np.float64)
        if k.ndim != 3 or k.shape[0] != len(self.amplitude) or k.shape[-1] != 2:
            raise ParameterError(f"k-space positions {k.shape}", f"({len(self.amplitude)}, points, 2)")
        points = torch.from_numpy(np.asarray(k, np.float64) - np.asarray(self.ramp))  # (times, points, 2)
        moved = points - torch.from_numpy(shifts)[:, None, None]  # (m, times, points, 2)
        kx, ky = moved[..., 0].contiguous(), moved[..., 1].contiguous()
        result = torch.zeros(kx.shape, dtype=torch.complex128)
        offset = torch.from_numpy(shifts)  # (m, 2)
        for e in range(self.amplitude.shape[1]):
            centre, axes, angle, amplitude = (
                torch.from_numpy(np.ascontiguousarray(part[:, e]))
                for part in (self.centre, self.axes, self.angle, self.amplitude)
            )
            # 2 pi (a k_u, b k_v): the rotation and the scaling are one 2 x 2 matrix per moment.
            cos, sin = torch.cos(angle) * 2 * math.pi, torch.sin(angle) * 2 * math.pi
            a, b = axes[:, :1], axes[:, 1:]
            u = a * cos[:, None] * kx + a * sin[:, None] * ky
            v = b * cos[:, None] * ky - b * sin[:, None] * kx
            radius = torch.hypot(u, v).clamp_(min=1e-12)  # J1(x)/x is 1/2 to the last bit there
            jinc = torch.special.bessel_j1(radius).div_(radius)
            # exp(-2 pi i (k - shift) . c) splits into a factor per point and one per shift: one exponential, not m.
            phase = -2 * math.pi * (points * centre[:, None]).sum(-1)
            size = (2 * math.pi * axes.prod(-1) * amplitude)[:, None]
            wave = torch.polar(torch.ones_like(phase), phase) * size
            turn = torch.exp(2j * math.pi * (offset @ centre.T))[..., None]
            result += jinc * (wave * turn)
        if self.edge_mm:
            result *= torch.exp(-2 * (math.pi * self.edge_mm) ** 2 * (kx * kx + ky * ky))
        return result.numpy()

    def raster(self, points: np.ndarray) -> np.ndarray:
        """Evaluate the sum of the ellipses itself, with hard edges and without the ramp.

        Parameters
        ----------
        points : (..., 2) mm

        Returns
        -------
        (times, ...) complex128
        """
        result = np.zeros((len(self.amplitude), *points.shape[:-1]), np.complex128)
        for t, e in np.ndindex(self.amplitude.shape):
            result[t] += self.amplitude[t, e] * (self.level(points, t, e) <= 1)
        return result

    def level(self, points: np.ndarray, time: int, index: int) -> np.ndarray:
        """Squared distance from the centre of one ellipse in units of its boundary's: (...,), 1 on the boundary."""
        x, y = np.moveaxis(points - self.centre[time, index], -1, 0)
        cos, sin = np.cos(self.angle[time, index]), np.sin(self.angle[time, index])
        a, b = self.axes[time, index]
        return np.asarray(((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2)
