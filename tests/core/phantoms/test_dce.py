"""The liver phantom: its parts never cut one another, its k-space is that of its raster, its slab is exact along z."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_core.phantoms import CoilArray, DcePhantom, Grid, Slab, kspace, truth
from inr_core.phantoms.dce import TISSUES

GRID = Grid((331, 231), (331.0, 231.0))


@pytest.mark.parametrize(("time", "respiration"), [(21e3, 0.0), (22e3, 5.0), (61.7e3, 5.0)])
def test_every_point_is_of_exactly_one_tissue(time: float, respiration: float) -> None:
    phantom = DcePhantom(respiration_mm=respiration)
    raster = phantom.ellipses(np.array([time])).raster(GRID.points)[0]
    signals = np.stack([phantom.signal(name, np.array([time]))[0] for name in TISSUES])
    distance = np.abs(raster - signals[:, None, None])
    assert distance.min(0).max() < 1e-12
    assert {list(TISSUES)[i] for i in np.unique(distance.argmin(0))} == set(TISSUES)


@pytest.mark.parametrize("height", [-90.0, -29.0, -13.0, -7.0, 5.0, 11.0, 25.0, 42.0, 58.0])
def test_so_is_every_point_of_every_slice(height: float) -> None:
    # A part that reached beyond the one that it lies in would leave the difference of two tissues.
    phantom, time = DcePhantom(), np.array([30e3])
    cut = (phantom.extents[:, 0] <= height) & (phantom.extents[:, 1] >= height)
    whole = phantom.ellipses(time)
    points = GRID.points[::3, ::3]
    raster = replace(whole, amplitude=whole.amplitude * cut).raster(points)[0]
    signals = np.stack([phantom.signal(name, time)[0] for name in TISSUES])
    assert np.abs(raster - signals[:, None, None]).min(0).max() < 1e-12
    assert phantom.extents[:, 0].max() < 0 < phantom.extents[:, 1].min(), "all of them are in the slice z = 0"


def test_the_body_fits_its_size() -> None:
    x, y = np.moveaxis(GRID.points, -1, 0)
    raster = np.abs(DcePhantom().ellipses(np.zeros(1)).raster(GRID.points)[0]) > 0
    assert 2 * np.abs(x[raster]).max() == pytest.approx(DcePhantom.SIZE_MM[0], abs=2)
    assert 2 * np.abs(y[raster]).max() == pytest.approx(DcePhantom.SIZE_MM[1], abs=2)


def test_kspace_is_the_transform_of_the_raster() -> None:
    # An explicit sum over 0.8 mm pixels in float64; low frequencies, where a raster's own error is small.
    phantom = DcePhantom(edge_mm=0.0)
    fine = Grid((425, 300), (340.0, 240.0))
    times = np.array([30e3])
    raster = phantom.ellipses(times).raster(fine.points)
    k = np.random.default_rng(0).uniform(-0.012, 0.012, (1, 40, 2))
    # The phase ramp moves k; waves along x and along y, as their product is large.
    moved = k - np.asarray(phantom._RAMP)
    x, y = fine.points[0, :, 0], fine.points[:, 0, 1]
    along_x, along_y = (np.exp(-2j * math.pi * moved[..., i, None] * axis) for i, axis in enumerate((x, y)))
    expected = np.einsum("tkx,tky,tyx->tk", along_x, along_y, raster, optimize=True) * fine.pixel_mm.prod()
    found = phantom.ellipses(times).fourier(k)[0]
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_regions_show_their_tissues_curves() -> None:
    phantom, grid = DcePhantom(), Grid((160, 160), (360.0, 360.0))
    times = np.array([0, 20, 30, 45, 85]) * 1e3
    images = np.abs(truth(phantom, grid, times))
    regions = phantom.regions(grid.points)
    assert tuple(regions) == DcePhantom.REGIONS == ("aorta", "portal_vein", "liver", "lesion")
    for name, mask in regions.items():
        assert mask.sum() > 10
        np.testing.assert_allclose(images[:, mask].mean(1), np.abs(phantom.signal(name, times)), rtol=0.05, atol=0.01)


def test_speed_and_arrival_only_move_time() -> None:
    times = np.linspace(0, 90e3, 20)
    slow, fast = DcePhantom(arrival_s=20), DcePhantom(arrival_s=20, speed=6)
    np.testing.assert_allclose(fast.signal("liver", times / 6), slow.signal("liver", times), rtol=1e-12)
    later = DcePhantom(arrival_s=25).signal("aorta", times + 5e3)
    np.testing.assert_allclose(later, slow.signal("aorta", times), rtol=1e-9)


def test_the_breath_moves_the_liver_and_not_the_aorta() -> None:
    phantom = DcePhantom(respiration_mm=4, respiration_ms=3000)
    still, moved = (phantom.ellipses(np.array([t])).centre[0] for t in (0.0, 1500.0))
    steps = moved - still
    assert {tuple(step) for step in steps.round(9)} == {(0.0, 0.0), (0.0, -4.0)}
    assert DcePhantom().ellipses(np.array([0.0, 1500.0])).centre[0] == pytest.approx(still)


@pytest.mark.parametrize("partitions", [1, 5, 8])
def test_a_partition_is_the_integral_along_z(partitions: int) -> None:
    # Each ellipse's interval, cut by the excited slab, blurred, against a sum over 0.02 mm.
    slab = Slab(DcePhantom(), partitions, 7.0)
    half = 0.5 * 0.85 * partitions * 7.0
    z = np.arange(-60, 60, 0.02) + 0.01
    kernel = np.exp(-0.5 * (np.arange(-15, 15.001, 0.02) / 2.5) ** 2)
    kernel /= kernel.sum()
    for number in range(partitions):
        weights = slab.partition(number).weights
        kz = (number - partitions // 2) / (partitions * 7.0)
        wave = np.exp(-2j * math.pi * kz * z)
        for index in (0, 13, 15, len(weights) - 1):
            low, high = slab.phantom.extents[index]
            profile = ((z >= max(low, -half)) & (z <= min(high, half))).astype(float)
            expected = (np.convolve(profile, kernel, "same") * wave).sum() * 0.02 / (math.sqrt(partitions) * 7.0)
            assert abs(weights[index] - expected) < 2e-3 * math.sqrt(partitions)


def test_slices_are_the_unitary_transform_of_the_partitions() -> None:
    slab = Slab(DcePhantom(), 6, 9.0)
    partitions = np.stack([slab.partition(p).weights for p in range(6)])
    z = np.arange(6) - 3
    waves = np.exp(-2j * math.pi * np.outer(z, z) / 6) / math.sqrt(6)
    slices = np.stack([slab.slice(i).weights for i in range(6)])
    np.testing.assert_allclose(waves @ slices, partitions, atol=1e-12)
    assert slab.heights_mm == pytest.approx([-27, -18, -9, 0, 9, 18])
    # The body goes all through the slab: its middle slices have its full signal, the outermost hardly any.
    assert np.abs(slices[2:5, 0]) == pytest.approx(1, abs=0.12)
    assert abs(slices[0, 0]) < 0.3


def test_a_slab_of_one_partition_is_the_slab_as_one_slice() -> None:
    slab = Slab(DcePhantom(), 1, 8.0)
    np.testing.assert_allclose(slab.slice(0).weights, slab.partition(0).weights)
    grid, coils = Grid((24, 20), (360.0, 300.0)), CoilArray.loops(1, (360.0, 300.0))
    traj = np.random.default_rng(2).uniform(-0.5, 0.5, (3, 7, 2))
    times = np.array([0.0, 20e3, 50e3])
    whole = kspace(slab.phantom, coils, grid, traj, times)
    thick = kspace(slab.partition(0), coils, grid, traj, times)
    # 85 % of the slice is excited, all parts reach beyond it but the gall bladder's and the medulla's upper ends.
    assert np.linalg.norm(thick - 0.85 * whole) < 0.02 * np.linalg.norm(whole)


def test_regions_of_a_slab_are_where_the_organ_fills_the_slice() -> None:
    slab = Slab(DcePhantom(), 8, 8.0)
    found = {name: [] for name in DcePhantom.REGIONS}
    for number in range(8):
        for name, mask in slab.regions(GRID.points, number).items():
            found[name] += [number] if mask.any() else []
    # Slices 8 mm apart, slice 4 at z = 0; excited to +-27.2 mm, lesion from -16 to 10, portal vein from -12 to 14.
    assert found == {"aorta": [2, 3, 4, 5, 6], "portal_vein": [3, 4, 5], "liver": [2, 3, 4, 5, 6], "lesion": [3, 4]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DcePhantom(speed=0), r"contrast of speed 0 and a breath of 4000.0 ms; expected both above 0"),
        (lambda: DcePhantom(respiration_mm=6), r"respiration_mm = 6; expected 0 to 5 mm; further, the liver"),
        (lambda: Slab(DcePhantom(), 0, 5.0), r"a slab of 0 partitions of 5 mm; expected at least 1 and more than 0 mm"),
        (lambda: Slab(DcePhantom(), 4, 0.0), r"a slab of 4 partitions of 0 mm"),
    ],
)
def test_refuses(make: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()  # type: ignore[operator]
