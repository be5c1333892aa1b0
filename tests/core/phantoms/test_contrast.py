"""Contrast curves: the published arterial input, exact compartments, and what an abdomen does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms.contrast import (
    KINETICS,
    PORTAL,
    Kinetics,
    arterial,
    compartment,
    concentration,
    spoiled_gradient_echo,
)

SECONDS = np.arange(-12, 80, 0.05)


def test_the_arterial_input_is_parkers() -> None:
    # At the middle of the first Gaussian and long after, where one term each is left; A / (sigma sqrt(2 pi)).
    first = 0.809 / (0.0563 * math.sqrt(2 * math.pi))
    second = 0.330 / (0.132 * math.sqrt(2 * math.pi)) * math.exp(-(((0.17046 - 0.365) / 0.132) ** 2) / 2)
    assert arterial(np.array([60 * 0.17046]))[0] == pytest.approx(first + second, rel=1e-4)
    assert arterial(np.array([300.0]))[0] == pytest.approx(1.050 * math.exp(-0.1685 * 5), rel=1e-9)
    assert arterial(np.array([-10.0, -400.0])) == pytest.approx([0, 0], abs=1e-3)
    curve = arterial(SECONDS)
    assert curve.max() == pytest.approx(6.07, abs=0.01)
    assert SECONDS[curve.argmax()] == pytest.approx(10.35, abs=0.1)


@pytest.mark.parametrize("step", [0.5, 0.05])
def test_a_compartment_is_exact_for_what_is_linear(step: float) -> None:
    # exp(-k t) convolved with the ramp a t is a (t / k - (1 - exp(-k t)) / k^2), at any step.
    k, a = 0.13, 0.7
    time = np.arange(0, 40, step)
    expected = a * (time / k - (1 - np.exp(-k * time)) / k**2)
    np.testing.assert_allclose(compartment(a * time, k, step), expected, rtol=1e-9, atol=1e-12)


def test_a_compartment_of_an_exponential() -> None:
    k, b, step = 0.2, 0.05, 0.05
    time = np.arange(0, 60, step)
    expected = (np.exp(-b * time) - np.exp(-k * time)) / (k - b)
    np.testing.assert_allclose(compartment(np.exp(-b * time), k, step), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "kinetics"), [("portal_vein", PORTAL), *KINETICS.items()])
def test_curves_solve_their_differential_equation(name: str, kinetics: Kinetics) -> None:
    # v dC_out/dt = flow (inflow - C_out) by central differences.
    scale = 1.0 if name == "portal_vein" else kinetics.volume
    outflow = concentration(name, SECONDS) / scale
    inflow = kinetics.arterial * concentration("aorta", SECONDS - kinetics.delay_s)
    if kinetics.arterial < 1:
        inflow = inflow + (1 - kinetics.arterial) * concentration("portal_vein", SECONDS - kinetics.delay_s)
    change = kinetics.volume * np.gradient(outflow, SECONDS)
    np.testing.assert_allclose(change[1:-1], (kinetics.flow / 60 * (inflow - outflow))[1:-1], atol=2e-4)


def test_the_order_of_an_abdomen() -> None:
    curves = {
        name: concentration(name, SECONDS) for name in ("aorta", "portal_vein", "liver", "lesion", "hepatic_vein")
    }
    peak = {name: SECONDS[curve.argmax()] for name, curve in curves.items()}
    assert peak["aorta"] + 8 < peak["portal_vein"] < peak["liver"]
    assert peak["lesion"] < peak["portal_vein"]
    late = SECONDS > 60
    assert (curves["lesion"][late] < curves["liver"][late]).all(), "the lesion washes out"
    np.testing.assert_allclose(curves["hepatic_vein"] * KINETICS["liver"].volume, curves["liver"], rtol=1e-12)
    assert not concentration("fluid", SECONDS).any()


def test_the_signal_of_a_spoiled_gradient_echo() -> None:
    e = math.exp(-0.004 / 0.8)
    expected = 0.7 * (1 - e) / (1 - e * math.cos(math.radians(12)))
    assert spoiled_gradient_echo(0.7, 0.8, np.zeros(1))[0] == pytest.approx(expected, rel=1e-12)
    signal = spoiled_gradient_echo(0.9, 1.9, np.linspace(0, 6, 50))
    assert (np.diff(signal) > 0).all()
    assert spoiled_gradient_echo(0.9, 1.9, np.array([1e6]))[0] == pytest.approx(0.9)


def test_refuses_what_was_not_integrated() -> None:
    with pytest.raises(ParameterError, match=r"contrast 601 s after its arrival; expected at most 600 s; make the"):
        concentration("liver", np.array([0.0, 601.0]))
