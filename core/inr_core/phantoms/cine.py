"""A beating heart in short axis, made of ellipses that lie in or beside one another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from inr_core.errors import ParameterError
from inr_core.phantoms.ellipse import Ellipses

# Magnitude and phase (rad) of the tissues in a balanced SSFP image, blood = 1.
TISSUES: dict[str, complex] = {
    name: magnitude * complex(math.cos(phase), math.sin(phase))
    for name, (magnitude, phase) in {
        "air": (0.0, 0.0),
        "fat": (0.62, 0.5),
        "muscle": (0.24, 0.1),
        "lung": (0.05, 0.0),
        "bone": (0.12, 0.1),
        "marrow": (0.42, 0.3),
        "liver": (0.40, 0.05),
        "vessel": (0.75, -0.1),
        "myocardium": (0.32, 0.05),
        "blood": (1.0, -0.05),
    }.items()
}

# name, tissue, the tissue it lies in, centre (x, y) mm, semi-axes mm, angle in degrees.
# x goes to the patient's left, y to the back, so that the image stands upright as radiologists read it.
_Row = tuple[str, str, str, tuple[float, float], tuple[float, float], float]
_BODY: tuple[_Row, ...] = (
    ("skin fat", "fat", "air", (0, 0), (138, 106), 0),
    ("chest wall", "muscle", "fat", (0, 1), (127, 95), 0),
    ("lungs", "lung", "muscle", (2, -7), (112, 74), 0),
    ("vertebra", "marrow", "muscle", (-4, 80), (15, 9), 0),
    ("rib 1", "bone", "muscle", (-119, 10), (4, 14), 4),
    ("rib 2", "bone", "muscle", (120, 10), (4, 14), -4),
    ("rib 3", "bone", "muscle", (-84, 63), (13, 4), 34),
    ("rib 4", "bone", "muscle", (86, 63), (13, 4), -34),
    ("rib 5", "bone", "muscle", (-68, -76), (10, 2.5), -32),
    ("rib 6", "bone", "muscle", (69, -74.5), (10, 2.5), 31),
    ("aorta", "blood", "lung", (36, 52), (10, 10), 0),
    ("lung vessel 1", "vessel", "lung", (92, -6), (2.4, 2.4), 0),
    ("lung vessel 2", "vessel", "lung", (82, 22), (3.2, 2.2), 40),
    ("lung vessel 3", "vessel", "lung", (88, -28), (2.0, 2.8), 20),
    ("lung vessel 4", "vessel", "lung", (64, 42), (2.5, 2.0), 0),
    ("lung vessel 5", "vessel", "lung", (-84, -22), (2.8, 2.2), -30),
    ("lung vessel 6", "vessel", "lung", (-66, -38), (2.2, 2.2), 0),
    ("lung vessel 7", "vessel", "lung", (-95, 0), (2.0, 3.0), 10),
)
# These move with the diaphragm when the patient breathes.
_BELLY: tuple[_Row, ...] = (
    ("liver", "liver", "lung", (-46, 30), (46, 19), 20),
    ("liver vessel 1", "vessel", "liver", (-58, 24), (4.0, 2.4), 30),
    ("liver vessel 2", "vessel", "liver", (-36, 34), (5.5, 2.0), 50),
    ("liver vessel 3", "vessel", "liver", (-68, 16), (2.4, 2.4), 0),
    ("liver vessel 4", "vessel", "liver", (-18, 42), (2.6, 2.0), 0),
)


@dataclass(frozen=True)
class CinePhantom:
    """A short-axis slice through a beating heart, with its chest.

    Left ventricle of 58 % ejection fraction (by area) whose wall thickens from 9 to about 13 mm, right-ventricular
    crescent, papillary muscles that twist with it, chest wall, ribs, spine, lungs, liver, aorta and vessels. The wall's
    area is kept, but for the growth that shortening along the long axis brings; so its motion is known everywhere in it
    (:meth:`motion`).

    Attributes
    ----------
    period_ms
        Duration of a heart beat.
    first_phase
        Where in the beat (0 to 1, 0 the R wave) time 0 lies.
    respiration_mm, respiration_ms
        Path of heart and liver with the breath, 0 to 5 mm, and duration of a breath.
    edge_mm
        Standard deviation of the blur of every edge: the partial volume of a thick slice.
    """

    period_ms: float = 900.0
    first_phase: float = 0.0
    respiration_mm: float = 0.0
    respiration_ms: float = 4000.0
    edge_mm: float = 1.5

    # What the body needs, (x, y) mm; a smaller field of view would fold.
    SIZE_MM: ClassVar[tuple[float, float]] = (276.0, 212.0)

    # The heart's own constants, mm: end-diastole and end-systole.
    _CENTRE = (24.0, -12.0)
    _ANGLE = math.radians(28.0)
    _ENDO = (24.0, 15.5)
    _EPI_DIASTOLE = 33.0
    _OVAL = 1.06  # left ventricle, height over width
    _WALL_GROWTH = 0.12
    _RV = (46.0, 36.5)  # semi-axis of the ellipse that both ventricles' outline makes
    _TWIST = math.radians(8.0)
    _RAMP = (0.0011, -0.0007)  # cycles per mm

    def __post_init__(self) -> None:
        if not (self.period_ms > 0 and self.respiration_ms > 0):
            raise ParameterError(f"periods of {self.period_ms} and {self.respiration_ms} ms", "more than 0 ms")
        if not 0 <= self.respiration_mm <= 5:
            raise ParameterError(
                f"respiration_mm = {self.respiration_mm}", "0 to 5 mm", "further, the heart would leave the chest"
            )

    def phase(self, times_ms: np.ndarray) -> np.ndarray:
        """Phase of the beat, 0 to 1, 0 at the R wave; shape of ``times_ms``."""
        return np.asarray((np.asarray(times_ms, np.float64) / self.period_ms + self.first_phase) % 1.0)

    def contraction(self, times_ms: np.ndarray) -> np.ndarray:
        """0 at end-diastole, 1 at end-systole; shape of ``times_ms``.

        Isovolumic to 5 % of the beat, ejection to 37 %, isovolumic to 43 %, rapid filling to 63 %, diastasis, and from
        87 % on the atrial kick.
        """
        phase = self.phase(times_ms)
        ejection, filling, kick = (_step(phase, *span) for span in ((0.05, 0.37), (0.43, 0.63), (0.87, 1.0)))
        return np.asarray(ejection - 0.82 * filling - 0.18 * kick)

    def breath(self, times_ms: np.ndarray) -> np.ndarray:
        """Displacement of heart and liver (..., 2) mm by the breath: towards the back."""
        path = (
            0.5
            * self.respiration_mm
            * (1 - np.cos(2 * math.pi * np.asarray(times_ms, np.float64) / self.respiration_ms))
        )
        return np.stack([np.zeros_like(path), path], -1)

    def ellipses(self, times_ms: np.ndarray) -> Ellipses:
        """All ellipses at ``times_ms`` (times,)."""
        times_ms = np.asarray(times_ms, np.float64)
        n = len(times_ms)
        rows = [*_BODY, *_BELLY]
        centre = np.broadcast_to(np.array([row[3] for row in rows], np.float64), (n, len(rows), 2)).copy()
        centre[:, len(_BODY) :] += self.breath(times_ms)[:, None]
        axes = np.broadcast_to(np.array([row[4] for row in rows], np.float64), (n, len(rows), 2))
        angle = np.broadcast_to(np.radians([row[5] for row in rows]), (n, len(rows)))
        amplitude = np.broadcast_to([TISSUES[row[1]] - TISSUES[row[2]] for row in rows], (n, len(rows)))
        heart = self._heart(times_ms)
        return Ellipses(
            np.concatenate([centre, heart.centre], 1),
            np.concatenate([axes, heart.axes], 1),
            np.concatenate([angle, heart.angle], 1),
            np.concatenate([amplitude, heart.amplitude], 1),
            edge_mm=self.edge_mm,
            ramp=self._RAMP,
        )

    def motion(self, points: np.ndarray, from_ms: float, to_ms: float) -> tuple[np.ndarray, np.ndarray]:
        """True displacement of the tissue that lies at ``points`` at ``from_ms``, until ``to_ms``.

        In the wall of the left ventricle a point keeps its share of the wall's area (r^2 grows as the wall needs) and
        turns with the twist; the body outside the lungs rests. Elsewhere (blood, right ventricle, lungs) it is unknown.

        Parameters
        ----------
        points : (..., 2) mm

        Returns
        -------
        displacement : (..., 2) mm, 0 where unknown
        known : (...,) bool
        """
        endo, epi = self._left_ventricle(np.array([from_ms, to_ms]))
        breath = self.breath(np.array([from_ms, to_ms]))
        contraction = self.contraction(np.array([from_ms, to_ms]))
        u, v = self._in_ventricle(points, from_ms)
        radius2, direction = u**2 + v**2, np.arctan2(v, u) + self._TWIST * (contraction[1] - contraction[0])
        wall = self.wall(points, from_ms)
        growth = (epi[1] ** 2 - endo[1] ** 2) / (epi[0] ** 2 - endo[0] ** 2)
        radius = np.sqrt(np.maximum(endo[1] ** 2 + (radius2 - endo[0] ** 2) * growth, 0))
        moved = np.stack([radius * np.cos(direction), self._OVAL * radius * np.sin(direction)], -1)
        displacement = np.where(wall[..., None], self._from_heart(moved) + breath[1] - points, 0.0)
        rest = self.ellipses(np.array([from_ms])).level(points, 0, [row[0] for row in _BODY].index("lungs")) > 1
        return displacement, wall | rest

    def wall(self, points: np.ndarray, time_ms: float) -> np.ndarray:
        """Whether ``points`` (..., 2) mm lie in the myocardium of the left ventricle at ``time_ms``; (...,) bool."""
        (endo,), (epi,) = self._left_ventricle(np.array([time_ms]))
        u, v = self._in_ventricle(points, time_ms)
        return np.asarray((u**2 + v**2 >= endo**2) & (u**2 + v**2 <= epi**2))

    def _in_ventricle(self, points: np.ndarray, time_ms: float) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) of ``points`` (..., 2) mm where the left ventricle is round and in its centre, mm; (...,) each."""
        u, v = np.moveaxis(self._to_heart(points - self.breath(np.array([time_ms]))[0]), -1, 0)
        return u, v / self._OVAL

    def _left_ventricle(self, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inner and outer radius of the left ventricle (before its ovality), mm, shape of ``times_ms``."""
        contraction = self.contraction(times_ms)
        endo = self._ENDO[0] + (self._ENDO[1] - self._ENDO[0]) * contraction
        area = (self._EPI_DIASTOLE**2 - self._ENDO[0] ** 2) * (1 + self._WALL_GROWTH * contraction)
        return endo, np.sqrt(endo**2 + area)

    def _to_heart(self, points: np.ndarray) -> np.ndarray:
        return np.asarray((points - np.asarray(self._CENTRE)) @ _rotation(self._ANGLE))

    def _from_heart(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(points @ _rotation(self._ANGLE).T + np.asarray(self._CENTRE))

    def _heart(self, times_ms: np.ndarray) -> Ellipses:
        """The heart's ellipses, built in its own frame: left ventricle at the origin, right ventricle towards -u."""
        contraction = self.contraction(times_ms)
        endo, epi = self._left_ventricle(times_ms)
        # The crescent is an ellipse of blood around the left ventricle. They touch at the lateral wall, where the outer
        # one must not be the more curved of the two: b^2 / a >= (oval^2) epi.
        a = self._RV[0] + (self._RV[1] - self._RV[0]) * contraction
        b = 1.01 * self._OVAL * np.sqrt(a * epi)
        middle = epi + 0.4 - a
        zero = np.zeros_like(endo)
        parts = [  # tissue, parent, u, v, semi-axis u, semi-axis v, own angle
            # Shifted, so that the free wall has its thickness and the lateral wall of the left ventricle gains none.
            ("myocardium", "lung", middle - 1.7, zero, a + 2.5, b + 3.0, zero),
            ("blood", "myocardium", middle, zero, a, b, zero),
            ("myocardium", "blood", zero, zero, epi, self._OVAL * epi, zero),
            ("blood", "myocardium", zero, zero, endo, self._OVAL * endo, zero),
        ]
        for place, share, thickness in ((0.75, 0.60, 4.6), (-1.05, 0.62, 4.2)):
            turned = math.pi * place / 2 + self._TWIST * contraction
            u, v = share * endo * np.cos(turned), share * endo * self._OVAL * np.sin(turned)
            parts.append(("myocardium", "blood", u, v, zero + thickness, zero + 0.8 * thickness, turned))
        # The moderator band, in the middle of the crescent.
        thickness = a - epi - 0.2
        parts.append(("myocardium", "blood", -epi - thickness, 0.25 * b, 0.45 * thickness, zero + 1.8, zero + 0.5))
        centre = self._from_heart(np.stack([np.stack([part[2], part[3]], -1) for part in parts], 1))
        centre = centre + self.breath(times_ms)[:, None]
        amplitude = np.array([TISSUES[part[0]] - TISSUES[part[1]] for part in parts])
        return Ellipses(
            centre,
            np.stack([np.stack([part[4], part[5]], -1) for part in parts], 1),
            np.stack([part[6] + self._ANGLE for part in parts], 1),
            np.broadcast_to(amplitude, centre.shape[:2]),
        )


def _step(phase: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 before ``start``, 1 after ``end``, smooth (two continuous derivatives) between."""
    x = np.clip((phase - start) / (end - start), 0, 1)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))


def _rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
