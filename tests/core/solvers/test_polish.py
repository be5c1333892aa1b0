"""The polish: from a series that is nearly right to what the data say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.operators.nufft import Nufft
from inr_core.parameters.polish import PolishParameters
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.polish import edge_weights, polish
from inr_core.trajectory import radial_trajectory, spoke_angles
from radial import RadialScan, cine_scan, error


def history(scan: RadialScan) -> FrameHistory:
    made = FrameHistory(len(scan.kspace))
    for index, (samples, traj) in enumerate(zip(scan.kspace, scan.traj, strict=True)):
        made.append(MeasuredFrame.from_samples(index, samples, traj, scan.shape))
    return made


def blurred(scan: RadialScan) -> Tensor:
    """A series as a network gives it: the truth without what is quick."""
    return (scan.truth + scan.truth.roll(1, 0) + scan.truth.roll(-1, 0)) / 3


def polished(series: Tensor, **parameters: float) -> Tensor:
    scan = cine_scan()
    return polish(history(scan), scan.maps, series, PolishParameters(**parameters), Control())  # type: ignore[arg-type]


def test_it_brings_back_what_was_lost() -> None:
    scan, series = cine_scan(), blurred(cine_scan())
    assert error(polished(series), scan.truth) < 0.95 * error(series, scan.truth)


def test_motion_helps() -> None:
    """A texture that moves by a pixel from frame to frame, from four spokes each."""
    n, frames, truth = 32, FrameHistory(8), []
    y, x = torch.meshgrid(torch.arange(n) - n // 2.0, torch.arange(n) - n // 2.0, indexing="ij")
    maps = torch.ones(1, n, n, dtype=torch.complex64)
    for t in range(8):
        at = x - t + 4
        image = torch.exp(-(at**2 + y**2) / 60) * (1.5 + torch.sin(0.9 * at + 0.4 * y) + torch.cos(0.8 * y - 0.3 * at))
        traj = torch.from_numpy(radial_trajectory(spoke_angles(range(4 * t, 4 * t + 4)), 2 * n)).float()
        samples = Nufft(traj[None], (n, n)).forward(image[None, None].to(torch.complex64))[0]
        frames.append(MeasuredFrame.from_samples(t, samples, traj, (n, n)))
        truth.append(image)
    series = torch.stack(truth).to(torch.complex64)
    series = (series + series.roll(1, 0) + series.roll(-1, 0)) / 3
    errors = []
    for rounds, iterations in ((4, 8), (1, 32)):
        settings = PolishParameters(polish_tv=0.02, polish_rounds=rounds, polish_iterations=iterations)
        errors.append(error(polish(frames, maps, series, settings, Control()), torch.stack(truth)))
    assert errors[0] < 0.8 * errors[1]


def test_noisy_data_are_smoothed_as_their_noise_wants() -> None:
    scan = cine_scan(sigma=0.06)
    series = history(scan).right_sides(scan.maps) / history(scan).strength
    errors = [
        error(polish(history(scan), scan.maps, series, PolishParameters(polish_noise=weight), Control()), scan.truth)
        for weight in (0.0, 1.0)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_edges_are_smoothed_less() -> None:
    """Beside a step the weight is low, three pixels wide; elsewhere the same everywhere, and 1 on average."""
    series = torch.ones(2, 9, 12, dtype=torch.complex64)
    series[:, :, 6:] *= 3.0
    weights = edge_weights(series, 0.05)
    assert weights.shape == (2, 9, 12)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    low = weights[0, 4] < 0.5 * weights.max()
    assert low.nonzero().flatten().tolist() == [4, 5, 6]
    torch.testing.assert_close(weights[..., ~low].std(), torch.tensor(0.0), atol=1e-6, rtol=0)
    # Half of the weight where the mean size of the steps is the corner: a third of the columns has a step of 2 of 3.
    expected = 0.05 / ((2 / 3) / 3**0.5 + 0.05)
    torch.testing.assert_close(weights[0, 4, 5] / weights[0, 4, 0], torch.tensor(expected))


def test_a_strong_pull_and_no_rounds_leave_the_series() -> None:
    series = blurred(cine_scan())
    torch.testing.assert_close(
        polished(series, polish_pull=1000.0), series, rtol=0, atol=2e-2 * float(series.abs().max())
    )
    assert polished(series, polish_rounds=0) is series


def test_it_stops_when_told_to_and_when_time_is_over() -> None:
    scan, told = cine_scan(), list[float]()
    series = blurred(scan)
    frames, settings = history(scan), PolishParameters()
    assert polish(frames, scan.maps, series, settings, Control(limit_s=0.0)) is series
    assert polish(frames, scan.maps, series, settings, Control(stopped=lambda: True)) is series
    stopped = Control(stopped=lambda: len(told) >= 3, progress=told.append)
    assert polish(frames, scan.maps, series, settings, stopped) is not series
    assert told == pytest.approx([1 / 32, 2 / 32, 3 / 32])
