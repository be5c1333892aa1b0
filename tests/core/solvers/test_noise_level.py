"""The noise of a frame, from the frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.noise_level import combined_variance, noise_variance
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import rand
from radial import cine_scan


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_the_noise_of_a_scan_is_found_beside_the_heart(sigma: float) -> None:
    """sigma is the standard deviation of the real and of the imaginary part."""
    scan = cine_scan(frames=4, sigma=sigma)
    found = [noise_variance(k, t, scan.shape) for k, t in zip(scan.kspace, scan.traj, strict=True)]
    assert np.mean(found) == pytest.approx(2 * sigma**2, rel=0.15)


def test_without_oversampling_the_periphery_tells_it() -> None:
    traj = torch.from_numpy(radial_trajectory(spoke_angles(np.arange(40)), 32))
    kspace = rand(3, 40, 32).to(torch.complex64)
    signal = 100 * torch.exp(-((traj.norm(dim=-1) / 0.1) ** 2))
    assert noise_variance(kspace + signal, traj, (32, 32)) == pytest.approx(
        float(kspace.abs().square().mean()), rel=0.2
    )


def test_a_frame_knows_the_noise_of_its_gridded_pixels() -> None:
    scan = cine_scan(frames=1)
    traj, quiet = scan.traj[0], torch.zeros_like(scan.kspace[0])
    noise = 0.3 * rand(*quiet.shape, seed=5).to(torch.complex64)
    frame = MeasuredFrame.from_samples(0, noise, traj, scan.shape)
    assert frame.noise == pytest.approx(float(frame.coil_images.abs().square().mean()), rel=0.25)
    assert MeasuredFrame.from_samples(0, quiet, traj, scan.shape).noise == 0.0


def test_a_combined_image_has_the_noise_of_its_coils() -> None:
    maps = rand(4, 21, 18, seed=6).to(torch.complex64)
    coils = 0.3 * rand(200, 4, 21, 18, seed=7).to(torch.complex64)
    combined = (maps.conj() * coils).sum(1)
    variance = float(coils.abs().square().mean())
    assert combined_variance(variance, maps) == pytest.approx(float(combined.abs().square().mean()), rel=0.02)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("spacing", [1e-3, 0.3])
def test_of_readouts_of_a_few_samples_it_is_a_number(n: int, spacing: float) -> None:
    traj = torch.stack([spacing * torch.arange(n), torch.zeros(n)], -1)[None]
    assert 0 <= noise_variance(rand(2, 1, n).to(torch.complex64), traj, (16, 16)) < 100


def test_of_an_even_number_of_samples_it_is_the_smaller_of_the_middle_ones() -> None:
    traj, kspace = (
        torch.tensor([[[0.5, 0.0], [-0.5, 0.0]] * 2]),
        torch.tensor([[[1.0, 2, 3, 4]]], dtype=torch.complex64),
    )
    assert noise_variance(kspace, traj, (16, 16)) == pytest.approx(4 / np.log(2))


def test_a_trajectory_that_is_not_finite_is_refused_by_who_grids() -> None:
    scan = cine_scan(frames=1)
    traj = scan.traj[0].clone()
    traj[1, 3] = torch.nan
    assert noise_variance(scan.kspace[0], traj, scan.shape) == 0.0
