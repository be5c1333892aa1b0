"""Contrast agent in the abdomen: concentrations in blood and organs over time, and the signal that they make."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from inr_core.errors import ParameterError

# Concentrations are integrated once, on this grid of seconds since the bolus reached the aorta, and interpolated.
_BEFORE_S, _LONGEST_S, _STEP_S = 30.0, 600.0, 0.05

# Spoiled gradient echo of abdominal dynamic scans; relaxivity of gadolinium chelates in blood, 1 / (mM s).
_TR_S, _FLIP, _RELAXIVITY = 0.004, math.radians(12.0), 4.5


@dataclass(frozen=True)
class Kinetics:
    """One compartment fed by the aorta and, in the liver, by the portal vein too.

    v dC_out / dt = flow (part C_a(t - delay) + (1 - part) C_p(t - delay) - C_out)  and  C = v C_out, which is the
    dual-input model of the liver (Materne et al., doi 10.1002/mrm.10045). A vessel that only delays and disperses what
    came in has v = 1.

    Attributes
    ----------
    flow
        Blood through a volume of tissue, 1/min.
    volume
        Part v of the tissue that the agent spreads in.
    arterial
        Part of the flow that comes from the aorta; the rest comes from the portal vein.
    delay_s
        From the aorta or portal vein to the tissue, s.
    """

    flow: float
    volume: float
    arterial: float = 1.0
    delay_s: float = 0.0

    @property
    def rate(self) -> float:
        """Of the wash-out, flow over volume, 1/s; its inverse is the mean transit time."""
        return self.flow / self.volume / 60


# The gut and spleen delay and disperse the bolus on its way to the portal vein.
PORTAL = Kinetics(flow=5.0, volume=1.0, delay_s=6.0)
KINETICS: dict[str, Kinetics] = {
    "liver": Kinetics(flow=1.1, volume=0.27, arterial=0.2, delay_s=1.0),
    # Fed by arteries only and with little room: bright before the liver is, darker than the liver after it.
    "lesion": Kinetics(flow=1.5, volume=0.17, arterial=1.0, delay_s=1.5),
    "spleen": Kinetics(flow=1.6, volume=0.32, delay_s=1.0),
    "cortex": Kinetics(flow=2.6, volume=0.45, delay_s=0.5),
    "medulla": Kinetics(flow=0.6, volume=0.45, delay_s=4.0),
    "pancreas": Kinetics(flow=1.3, volume=0.28, delay_s=1.0),
    "stomach": Kinetics(flow=0.4, volume=0.20, delay_s=2.0),
    "muscle": Kinetics(flow=0.08, volume=0.12, delay_s=2.0),
    "marrow": Kinetics(flow=0.15, volume=0.15, delay_s=2.0),
    "vena_cava": Kinetics(flow=4.0, volume=1.0, delay_s=7.0),
}


def arterial(seconds: np.ndarray) -> np.ndarray:
    """Concentration in the aorta, mM, ``seconds`` after the bolus arrived (negative before); its shape.

    The population average of Parker et al. (doi 10.1002/mrm.21066): the first pass and the recirculation as Gaussians,
    then an exponential wash-out behind a sigmoid. It peaks at 6.1 mM, 10 s after the arrival.
    """
    t = np.asarray(seconds, np.float64) / 60
    first = 0.809 / (0.0563 * math.sqrt(2 * math.pi)) * np.exp(-((t - 0.17046) ** 2) / (2 * 0.0563**2))
    second = 0.330 / (0.132 * math.sqrt(2 * math.pi)) * np.exp(-((t - 0.365) ** 2) / (2 * 0.132**2))
    return np.asarray(first + second + 1.050 * np.exp(-0.1685 * t) / (1 + np.exp(-38.078 * (t - 0.483))))


def compartment(values: np.ndarray, rate: float, step_s: float) -> np.ndarray:
    """Convolve with exp(-rate t), exactly for what is linear between samples.

    Parameters
    ----------
    values : (n,)
        Samples ``step_s`` apart; before them there was nothing.
    rate
        1/s.
    step_s
        s.

    Returns
    -------
    (n,) float64, the unit of ``values`` times s
    """
    decay = math.exp(-rate * step_s)
    mean = (1 - decay) / (rate * step_s)
    old, new = (mean - decay) / rate, (1 - mean) / rate
    result = np.zeros(len(values))
    for i in range(1, len(values)):
        result[i] = decay * result[i - 1] + old * values[i - 1] + new * values[i]
    return result


def concentration(name: str, seconds: np.ndarray) -> np.ndarray:
    """Concentration of the agent in a tissue, mM per volume of tissue; the shape of ``seconds``.

    Parameters
    ----------
    name
        ``aorta``, ``portal_vein``, ``hepatic_vein``, a key of :data:`KINETICS`, or any other tissue, which takes up
        nothing.
    seconds
        Since the bolus reached the aorta.

    Raises
    ------
    ParameterError
        For a time more than 600 s after the arrival.
    """
    seconds = np.asarray(seconds, np.float64)
    if seconds.size and seconds.max() > _LONGEST_S:
        raise ParameterError(
            f"contrast {seconds.max():.0f} s after its arrival", f"at most {_LONGEST_S:.0f} s", "make the scan shorter"
        )
    if name == "aorta":
        return arterial(seconds)
    curves = _curves()
    return np.interp(seconds, curves["time"], curves[name]) if name in curves else np.zeros_like(seconds)


@functools.cache
def _curves() -> dict[str, np.ndarray]:
    """All integrated concentrations, mM, and their ``time``, s."""
    time = np.arange(-_BEFORE_S, _LONGEST_S + _STEP_S, _STEP_S)

    def outflow(kinetics: Kinetics) -> np.ndarray:
        inflow = kinetics.arterial * arterial(time - kinetics.delay_s)
        if kinetics.arterial < 1:
            inflow += (1 - kinetics.arterial) * np.interp(time - kinetics.delay_s, time, curves["portal_vein"])
        return kinetics.rate * compartment(inflow, kinetics.rate, _STEP_S)

    curves = {"time": time, "portal_vein": outflow(PORTAL)}
    for name, kinetics in KINETICS.items():
        curves[name] = kinetics.volume * outflow(kinetics)
    # What leaves the liver is as concentrated as what is in its vessels.
    curves["hepatic_vein"] = curves["liver"] / KINETICS["liver"].volume
    return curves


def spoiled_gradient_echo(density: float, t1_s: float, concentration_mm: np.ndarray) -> np.ndarray:
    """Signal of a spoiled gradient echo in steady state, in units of a fully relaxed one; the concentration's shape.

    density (1 - E) / (1 - E cos(flip))  with  E = exp(-TR (1 / T1 + r c)),  TR 4 ms, flip angle 12 degrees, relaxivity
    r of 4.5 / (mM s). The agent's T2* is left out, as it is at echo times of a millisecond or two.
    """
    recovery = np.exp(-_TR_S * (1 / t1_s + _RELAXIVITY * np.asarray(concentration_mm, np.float64)))
    return np.asarray(density * (1 - recovery) / (1 - recovery * math.cos(_FLIP)))
