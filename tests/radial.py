"""Small radial scans of the beating heart for the tests of the core: no header, no wire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.methods import make_live
from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_core.methods.offline import OfflineMethod
from inr_core.operators import nufft, toeplitz
from inr_core.operators.nufft_backends import DirectBackend
from inr_core.parameters.offline import OfflineParameters
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace, noise, truth
from inr_core.solvers.control import Control
from inr_core.solvers.slice_data import SliceData
from inr_core.trajectory import radial_trajectory, spoke_angles


@dataclass(frozen=True)
class RadialScan:
    """Frames of readouts and what they show.

    Attributes
    ----------
    kspace : (coils, spokes, samples) complex64, one a frame
    traj : (spokes, samples, 2) float32, one a frame
    truth : (frames, ny, nx) complex64
    maps : (coils, ny, nx) complex64, unit root-sum-of-squares
    """

    kspace: list[Tensor]
    traj: list[Tensor]
    truth: Tensor
    maps: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.truth.shape[1], self.truth.shape[2]


@cache
def cine_scan(
    frames: int = 24,
    spokes: int = 5,
    coils: int = 6,
    matrix: tuple[int, int] = (30, 24),
    sigma: float = 0.005,
    beat_frames: float = 16.0,
) -> RadialScan:
    """Scan the beating heart; ``matrix`` is (x, y), ``sigma`` the noise, a beat lasts ``beat_frames`` frames."""
    grid = Grid(matrix, (300.0, 300.0 * matrix[1] / matrix[0]))
    phantom, array = CinePhantom(), CoilArray.loops(coils, grid.fov_mm)
    traj = radial_trajectory(spoke_angles(np.arange(frames * spokes)), 2 * max(matrix))
    times = phantom.period_ms / beat_frames * (np.arange(frames * spokes) + 0.5) / spokes
    samples = kspace(phantom, array, grid, traj, times)
    samples += noise(samples.shape, sigma, np.random.default_rng(0))
    maps = array.maps(grid.points)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    middle = times.reshape(frames, spokes).mean(1)
    return RadialScan(
        list(torch.from_numpy(samples).split(spokes, dim=1)),
        list(torch.from_numpy(traj).split(spokes)),
        torch.from_numpy(truth(phantom, grid, middle, array)),
        torch.from_numpy(maps).to(torch.complex64),
    )


def refined_series(
    name: str,
    scan: RadialScan,
    parameters: Any,
    *,
    query: SeriesQuery | None = None,
    device: torch.device | str = "cpu",
    control: Control | None = None,
) -> RefinedSeries:
    """The series of all frames of a scan by a method."""
    method = make_live(name, scan.shape, parameters, torch.device(device))
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
    method.query = query or SeriesQuery()
    series = method.refine(control)
    assert series is not None
    return series


@cache
def gridded() -> Tensor:
    """The frames of the scan with its defaults, by gridding alone."""
    scan = cine_scan()
    method = make_live("nufft", scan.shape, SingleFrameParameters(), torch.device("cpu"))
    return torch.stack([method.add_frame(k, t) for k, t in zip(scan.kspace, scan.traj, strict=True)])


def error(images: Tensor, truth: Tensor) -> float:
    """Relative error of magnitudes, after one least-squares scale for all."""
    a, b = images.abs(), truth.abs()
    return float((a * ((a * b).sum() / (a * a).sum()) - b).norm() / b.norm())


def slice_data(scan: RadialScan, parameters: OfflineParameters) -> SliceData:
    """What a method with these parameters is given of a scan, samples and all."""
    taken: list[SliceData] = []

    class Caught(OfflineMethod):
        keeps_samples = True

        def solve(self, data: SliceData, control: Control) -> RefinedSeries:
            taken.append(data)
            return RefinedSeries(0, torch.zeros(1, *data.shape), 0)

    method = Caught(scan.shape, parameters, torch.device("cpu"))
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
    method.refine()
    return taken[0]


def use_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transform that every device has, on the CPU, too: training magnifies FINUFFT's 1e-4 to 4e-2 in four steps."""
    for module in (nufft, toeplitz):
        monkeypatch.setattr(module, "make_backend", lambda *_: DirectBackend())
