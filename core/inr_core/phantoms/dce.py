"""An axial slab through the liver under a bolus of contrast agent, made of elliptic cylinders."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from inr_core.errors import ParameterError
from inr_core.phantoms.contrast import concentration, spoiled_gradient_echo
from inr_core.phantoms.ellipse import Ellipses


class Tissue(NamedTuple):
    """Proton density (blood 0.9; fat is suppressed), T1 at 3 T in s, and the phase in rad."""

    density: float
    t1_s: float
    phase: float = 0.0


# T1 of organs after de Bazelaire et al. (doi 10.1148/radiol.2303021331), of blood after Stanisz et al. (doi
# 10.1002/mrm.20605). A tissue takes up agent as the kinetics of its name say.
TISSUES: dict[str, Tissue] = {
    "air": Tissue(0.0, 1.0),
    "fat": Tissue(0.09, 0.38, 0.4),
    "muscle": Tissue(0.75, 0.90, 0.1),
    "bone": Tissue(0.08, 0.60, 0.1),
    "marrow": Tissue(0.35, 0.59, 0.2),
    "fluid": Tissue(1.0, 4.0),
    "liver": Tissue(0.75, 0.81, 0.05),
    "lesion": Tissue(0.80, 1.00, 0.05),
    "spleen": Tissue(0.80, 1.33),
    "cortex": Tissue(0.85, 1.14),
    "medulla": Tissue(0.90, 1.55),
    "pancreas": Tissue(0.75, 0.73),
    "stomach": Tissue(0.75, 1.00),
    "aorta": Tissue(0.90, 1.93, -0.2),
    "vena_cava": Tissue(0.90, 1.93, -0.1),
    "portal_vein": Tissue(0.90, 1.93, -0.1),
    "hepatic_vein": Tissue(0.90, 1.93, -0.1),
}


class _Part(NamedTuple):
    """An elliptic cylinder: tissue, the tissue it lies in, centre and semi-axes (x, y) mm, degrees, (from, to) z mm.

    x goes to the patient's left, y to the back, z to the head; all of them are cut by the plane z = 0.
    """

    name: str
    tissue: str
    within: str
    centre: tuple[float, float]
    axes: tuple[float, float]
    angle: float
    extent: tuple[float, float]


_EVERYWHERE = (-300.0, 300.0)
_PARTS = (
    _Part("skin fat", "fat", "air", (0, 0), (165, 115), 0, _EVERYWHERE),
    _Part("body wall", "muscle", "fat", (0, 1), (152, 102), 0, _EVERYWHERE),
    _Part("belly", "fat", "muscle", (0, -22), (135, 66), 0, _EVERYWHERE),
    _Part("vertebra", "marrow", "muscle", (0, 66), (23, 17), 0, _EVERYWHERE),
    _Part("spinal canal", "fluid", "muscle", (0, 91), (8, 6), 0, _EVERYWHERE),
    _Part("rib 1", "bone", "muscle", (-143, -10), (3.5, 14), 2, _EVERYWHERE),
    _Part("rib 2", "bone", "muscle", (143, -10), (3.5, 14), -2, _EVERYWHERE),
    _Part("rib 3", "bone", "muscle", (-108, 52), (15, 4), 38, _EVERYWHERE),
    _Part("rib 4", "bone", "muscle", (108, 52), (15, 4), -38, _EVERYWHERE),
    _Part("aorta", "aorta", "fat", (14, 29), (11, 11), 0, _EVERYWHERE),
    _Part("vena cava", "vena_cava", "fat", (-18, 30), (11, 8.5), 0, _EVERYWHERE),
    _Part("left kidney", "cortex", "fat", (66, 20), (18, 13), 0, (-120, 8)),
    _Part("left kidney's medulla", "medulla", "cortex", (66, 20), (10, 6), 0, (-112, 3)),
)
# These move with the breath.
_MOVING = (
    _Part("liver", "liver", "fat", (-52, -26), (70, 47), 0, (-70, 60)),
    _Part("left lobe", "liver", "fat", (39, -52), (27, 17), 0, (-24, 45)),
    _Part("portal vein", "portal_vein", "liver", (-9, -17), (12, 7), 20, (-12, 14)),
    _Part("right portal branch", "portal_vein", "liver", (-46, -23), (15, 4.5), -8, (-8, 12)),
    _Part("left portal branch", "portal_vein", "liver", (35, -50), (10, 3), 15, (-6, 14)),
    _Part("right hepatic vein", "hepatic_vein", "liver", (-88, -36), (11, 3), 20, (-10, 40)),
    _Part("middle hepatic vein", "hepatic_vein", "liver", (-52, -50), (4, 11), 25, (-12, 40)),
    _Part("gall bladder", "fluid", "liver", (-24, 4), (8, 5), 20, (-40, 3)),
    _Part("lesion", "lesion", "liver", (-82, -6), (14, 12), 0, (-16, 10)),
    _Part("spleen", "spleen", "fat", (100, -20), (22, 34), 0, (-30, 35)),
    _Part("stomach", "stomach", "fat", (50, -15), (23, 17), 0, (-25, 60)),
    _Part("stomach's content", "fluid", "stomach", (50, -15), (18, 12), 0, (-22, 56)),
    _Part("pancreas", "pancreas", "fat", (23, 8), (13, 6), 0, (-30, 8)),
)
_ALL = (*_PARTS, *_MOVING)

# Regions of interest: the part whose curve is measured, and how much of its radius belongs to the region.
_REGIONS = {
    "aorta": ("aorta", 0.7),
    "portal_vein": ("portal vein", 0.7),
    "liver": ("liver", 0.8),
    "lesion": ("lesion", 0.7),
}
_CLEARANCE = 1.5  # from what lies within a region, in radii of that


@dataclass(frozen=True)
class DcePhantom:
    """Liver, spleen, kidney, stomach, pancreas and vessels while contrast agent passes.

    Every tissue's signal is that of a spoiled gradient echo at its own concentration
    (:mod:`inr_core.phantoms.contrast`): the aorta first, then spleen, cortex and the lesion, which is fed by arteries
    alone and washes out, then portal vein, liver and hepatic veins. Taken as it is, it is the slice at z = 0;
    :class:`inr_core.phantoms.slab.Slab` cuts a slab of it into the partitions of a stack of stars.

    Attributes
    ----------
    arrival_s
        When the bolus reaches the aorta, s of the patient's time.
    speed
        How much faster than in a patient the agent passes: a scan of 9 s sees with 10 what a patient shows in 90 s.
    respiration_mm, respiration_ms
        Path of the organs towards the front with the breath, 0 to 5 mm (the great vessels and the kidney rest), and
        the duration of a breath.
    edge_mm
        Standard deviation of the blur of every edge: the partial volume of a thick slice.
    """

    arrival_s: float = 12.0
    speed: float = 1.0
    respiration_mm: float = 0.0
    respiration_ms: float = 4000.0
    edge_mm: float = 1.5

    # What the body needs, (x, y) mm; a smaller field of view would fold.
    SIZE_MM: ClassVar[tuple[float, float]] = (330.0, 230.0)
    # A passage with its wash-out, s of the patient's time.
    PASSAGE_S: ClassVar[float] = 90.0
    REGIONS: ClassVar[tuple[str, ...]] = tuple(_REGIONS)

    _RAMP = (0.0006, -0.0004)  # cycles per mm

    def __post_init__(self) -> None:
        if not (self.speed > 0 and self.respiration_ms > 0):
            raise ParameterError(
                f"contrast of speed {self.speed} and a breath of {self.respiration_ms} ms", "both above 0"
            )
        if not 0 <= self.respiration_mm <= 5:
            raise ParameterError(
                f"respiration_mm = {self.respiration_mm}", "0 to 5 mm", "further, the liver would leave the belly"
            )

    def signal(self, tissue: str, times_ms: np.ndarray) -> np.ndarray:
        """Complex signal of a tissue, a key of :data:`TISSUES`, at ``times_ms``, in their shape."""
        about = TISSUES[tissue]
        seconds = self.speed * np.asarray(times_ms, np.float64) / 1e3 - self.arrival_s
        magnitude = spoiled_gradient_echo(about.density, about.t1_s, concentration(tissue, seconds))
        return np.asarray(magnitude * complex(math.cos(about.phase), math.sin(about.phase)))

    def breath(self, times_ms: np.ndarray) -> np.ndarray:
        """Displacement of the organs (..., 2) mm by the breath: towards the front."""
        phase = 2 * math.pi * np.asarray(times_ms, np.float64) / self.respiration_ms
        path = -0.5 * self.respiration_mm * (1 - np.cos(phase))
        return np.stack([np.zeros_like(path), path], -1)

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        """All ellipses at ``times_ms`` (times,), those of the slice z = 0."""
        times_ms = np.asarray(times_ms, np.float64)
        n = len(times_ms)
        signals = {name: self.signal(name, times_ms) for name in TISSUES}
        centre = np.tile(np.array([part.centre for part in _ALL], np.float64), (n, 1, 1))
        centre[:, len(_PARTS) :] += self.breath(times_ms)[:, None]
        return Ellipses(
            centre,
            np.tile(np.array([part.axes for part in _ALL], np.float64), (n, 1, 1)),
            np.tile(np.radians([part.angle for part in _ALL]), (n, 1)),
            np.stack([signals[part.tissue] - signals[part.within] for part in _ALL], 1),
            edge_mm=self.edge_mm,
            ramp=self._RAMP,
        )

    @property
    def extents(self) -> np.ndarray:
        """(ellipses, 2): from where to where along z each of the ellipses reaches, mm."""
        return np.array([part.extent for part in _ALL], np.float64)

    def regions(self, points: np.ndarray, z_mm: float = 0.0, thickness_mm: float = 0.0) -> dict[str, np.ndarray]:
        """Regions whose mean signal is the curve of one tissue: well within it, and clear of what lies in it.

        They are those of the organs at rest (of the end of the breath).

        Parameters
        ----------
        points : (..., 2) mm
        z_mm, thickness_mm
            The slice; an organ that does not fill it has no region there.

        Returns
        -------
        name, one of :attr:`REGIONS`, to (...,) bool
        """
        still = replace(self, respiration_mm=0.0).ellipses(np.zeros(1))
        low, high = z_mm - thickness_mm / 2, z_mm + thickness_mm / 2
        regions = {}
        for region, (name, radius) in _REGIONS.items():
            index = next(i for i, part in enumerate(_ALL) if part.name == name)
            owner = _ALL[index]
            mask = still.level(points, 0, index) <= radius**2
            for i, part in enumerate(_ALL):
                if part.within == owner.tissue and part.extent[0] < high and part.extent[1] > low:
                    mask &= still.level(points, 0, i) > _CLEARANCE**2
            regions[region] = mask & (owner.extent[0] <= low and high <= owner.extent[1])
        return regions
