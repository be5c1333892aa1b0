"""A slab of the liver phantom as a stack of stars sees it: exact k-space along z too."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from inr_core.errors import ParameterError
from inr_core.phantoms.dce import DcePhantom
from inr_core.phantoms.ellipse import Ellipses

_EXCITED = 0.85  # part of the encoded slab that the pulse excites; the rest keeps its soft edges from folding
_EDGE_MM = 2.5  # standard deviation of the blur along z


@dataclass(frozen=True)
class Layer:
    """The phantom with a weight for each of its ellipses: a partition of k-space along z, or a slice.

    Attributes
    ----------
    phantom
        The body.
    weights : (ellipses,) complex
        Factors on the amplitudes.
    """

    phantom: DcePhantom
    weights: np.ndarray

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        """The weighted ellipses at ``times_ms`` (times,)."""
        whole = self.phantom.ellipses(times_ms)
        return replace(whole, amplitude=whole.amplitude * self.weights)


@dataclass(frozen=True)
class Slab:
    """``partitions`` of a slab centred on z = 0, whose slices are ``slice_mm`` apart.

    Every part of the body is an elliptic cylinder from z0 to z1, of which the pulse excites what lies in the slab. The
    transform of such an interval, blurred by a Gaussian, is known exactly,

        B(kz) = L sinc(L kz) exp(-2 pi i kz c) exp(-2 (pi sigma kz)^2),   L its length, c its centre,

    so a partition is the phantom with B / (sqrt(P) slice_mm) on each ellipse, and no reconstruction is judged on data
    that a discrete transform made. A slice is the unitary inverse transform of the partitions: what the P encoded
    frequencies say of the plane z, with their ringing, as :func:`inr_core.phantoms.scan.truth` has it in the plane.
    y(kz) = 1/sqrt(P) * sum_z x(z) exp(-2 pi i kz z); partition and slice P // 2 lie at kz = 0 and z = 0.
    """

    phantom: DcePhantom
    partitions: int
    slice_mm: float

    def __post_init__(self) -> None:
        if self.partitions < 1 or not self.slice_mm > 0:
            raise ParameterError(
                f"a slab of {self.partitions} partitions of {self.slice_mm:g} mm", "at least 1 and more than 0 mm"
            )

    @property
    def heights_mm(self) -> np.ndarray:
        """z of the slices, mm."""
        return (np.arange(self.partitions) - self.partitions // 2) * self.slice_mm

    def partition(self, number: int) -> Layer:
        """What partition ``number`` encodes."""
        return Layer(self.phantom, self._encoded[number])

    def slice(self, number: int) -> Layer:
        """What a perfect reconstruction shows in slice ``number``."""
        turns = (np.arange(self.partitions) - self.partitions // 2) * (number - self.partitions // 2) / self.partitions
        return Layer(self.phantom, np.exp(2j * math.pi * turns) @ self._encoded / math.sqrt(self.partitions))

    def regions(self, points: np.ndarray, number: int) -> dict[str, np.ndarray]:
        """The phantom's regions in slice ``number``; none where the slice is not fully excited."""
        height = float(self.heights_mm[number])
        found = self.phantom.regions(points, height, self.slice_mm)
        excited = abs(height) + self.slice_mm / 2 <= self._half
        return {name: mask & excited for name, mask in found.items()}

    @property
    def _half(self) -> float:
        """Half the excited thickness, mm."""
        return 0.5 * _EXCITED * self.partitions * self.slice_mm

    @property
    def _encoded(self) -> np.ndarray:
        """(partitions, ellipses) complex128 weights."""
        kz = ((np.arange(self.partitions) - self.partitions // 2) / (self.partitions * self.slice_mm))[:, None]
        start, end = np.clip(self.phantom.extents, -self._half, self._half).T
        length, centre = end - start, (start + end) / 2
        interval = length * np.sinc(length * kz) * np.exp(-2j * math.pi * kz * centre)
        blur = np.exp(-2 * (math.pi * _EDGE_MM * kz) ** 2)
        return np.asarray(interval * blur / (math.sqrt(self.partitions) * self.slice_mm))
