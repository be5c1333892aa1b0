"""What is kept of a measured frame, against the explicit transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.density import ramp_density
from inr_core.errors import DataError
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import explicit_dft, rand
from radial import cine_scan

COILS, SPOKES, SAMPLES = 3, 6, 40


def spokes() -> Tensor:
    return torch.from_numpy(radial_trajectory(spoke_angles(np.arange(SPOKES)), SAMPLES, center_sample=19.0))


def transform(traj: Tensor, shape: tuple[int, int]) -> Tensor:
    """The Fourier transform as a matrix (samples, pixels), float64."""
    ny, nx = shape
    pixels = torch.eye(ny * nx, dtype=torch.complex128).reshape(1, ny * nx, ny, nx)
    return explicit_dft(pixels, traj[None])[0].flatten(1).T


@pytest.mark.parametrize("shape", [(12, 12), (9, 14), (13, 8)])
@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
def test_right_side_and_gram_are_those_of_the_explicit_transform(shape: tuple[int, int], exponent: float) -> None:
    traj, kspace = spokes(), rand(COILS, SPOKES, SAMPLES).to(torch.complex64)
    csm, x = rand(COILS, *shape, seed=1).to(torch.complex64), rand(*shape, seed=2).to(torch.complex64)
    frame = MeasuredFrame.from_samples(7, kspace, traj, shape, exponent)

    density = torch.from_numpy(ramp_density(traj.numpy(), shape[::-1])).double().flatten()
    weights = density**exponent
    weights *= density.mean() / weights.mean()
    fourier, maps = transform(traj, shape), csm.to(torch.complex128).flatten(1)
    backward = fourier.mH * weights
    right = (maps.conj() * (backward @ kspace.to(torch.complex128).flatten(1).T).T).sum(0)
    forth = fourier @ (maps * x.to(torch.complex128).flatten()).T
    gram = (maps.conj() * (backward @ forth).T).sum(0)

    assert frame.index == 7
    assert float((frame.right_side(csm).flatten() - right).norm() / right.norm()) < 3e-4  # FINUFFT's 1e-4
    assert float((frame.gram(csm).forward(x[None]).flatten() - gram).norm() / gram.norm()) < 3e-4
    diagonal = float((fourier.abs().square() * weights[:, None]).sum(0).mean())
    assert frame.strength == pytest.approx(diagonal, rel=1e-3)


@pytest.mark.parametrize(
    ("kspace", "traj", "line"),
    [
        (
            (3, 6, 40),
            (6, 41, 2),
            "k-space (3, 6, 40) with a trajectory (6, 41, 2); "
            "expected (coils, spokes, samples) and (spokes, samples, 2)",
        ),
        (
            (6, 40),
            (6, 40, 2),
            "k-space (6, 40) with a trajectory (6, 40, 2); expected (coils, spokes, samples) and (spokes, samples, 2)",
        ),
    ],
)
def test_samples_and_trajectory_must_fit(kspace: tuple[int, ...], traj: tuple[int, ...], line: str) -> None:
    with pytest.raises(DataError) as caught:
        MeasuredFrame.from_samples(0, torch.zeros(kspace, dtype=torch.complex64), torch.zeros(traj), (8, 8))
    assert str(caught.value) == line


@pytest.mark.parametrize("ramp_exponent", [0.0, 0.5, 1.0])
def test_the_strength_is_the_mean_of_the_kernel(ramp_exponent: float) -> None:
    scan = cine_scan(frames=1)
    frame = MeasuredFrame.from_samples(0, scan.kspace[0], scan.traj[0], scan.shape, ramp_exponent)
    diagonal = float(frame.kernel.sum(1).mean())  # the kernel's own accuracy is 1e-4
    assert frame.strength == pytest.approx(diagonal, rel=2e-4)


# -- history ------------------------------------------------------------------------------------------------------


def frame(index: int) -> MeasuredFrame:
    coil_images = torch.full((2, 3, 4), index, dtype=torch.complex64)
    return MeasuredFrame(index, coil_images, torch.full((1, 6, 8), float(index)), n_spokes=2, strength=1.0)


def test_acceleration_is_matrix_over_spokes() -> None:
    assert frame(0).acceleration == pytest.approx(12**0.5 / 2)


def history(n: int, limit: int) -> FrameHistory:
    made = FrameHistory(limit)
    for index in range(n):
        made.append(frame(index))
    return made


def test_the_last_frames_are_kept_and_no_more() -> None:
    kept = history(10, limit=4)
    assert len(kept) == kept.limit == 4
    assert kept.first == 6
    assert [f.index for f in kept] == [6, 7, 8, 9]
    assert kept[-1].index == 9
    assert kept[0].index == 6


def test_a_window_is_of_frames_by_their_index() -> None:
    assert [f.index for f in history(10, limit=4).window(7, 2)] == [7, 8]


def test_frames_come_in_order() -> None:
    kept = history(3, limit=4)
    with pytest.raises(DataError, match=r"^frame 5 after frame 2; expected frames in order$"):
        kept.append(frame(5))


def test_gridding_is_close_to_the_truth_where_sampling_is_dense() -> None:
    """The scale: a fully sampled frame's right side is the image itself."""
    scan = cine_scan(frames=1, spokes=120, sigma=0.0, beat_frames=1e9)
    image = MeasuredFrame.from_samples(0, scan.kspace[0], scan.traj[0], scan.shape).right_side(scan.maps)
    inside = scan.truth[0].abs() > 0.3 * scan.truth[0].abs().max()
    ratio = (image / scan.truth[0])[inside]
    assert float(ratio.real.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(ratio.imag.mean()) == pytest.approx(0.0, abs=0.03)
