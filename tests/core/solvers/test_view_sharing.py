"""View sharing: the rings of the filter, and what it does to things that rest and things that move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.methods import make_live
from inr_core.parameters.single_frame import SingleFrameParameters
from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.slice_data import FrameSamples
from inr_core.solvers.view_sharing import shared_parts, with_shared_views
from inr_core.trajectory import radial_trajectory, spoke_angles
from radial import cine_scan, error

CPU = torch.device("cpu")


def images(kspace: list[Tensor], traj: list[Tensor], shape: tuple[int, int], name: str, share: int) -> Tensor:
    method = make_live(name, shape, SingleFrameParameters(share_frames=share), CPU)
    return torch.stack([method.add_frame(k, t) for k, t in zip(kspace, traj, strict=True)])


# -- the filter ---------------------------------------------------------------------------------------------------


def test_the_rings_are_where_the_spokes_become_too_few() -> None:
    unit = 1 / (math.pi * 20)  # of the radius up to which a spoke more is enough
    radius = torch.tensor([0.0, 5.9, 6.1, 9.9, 10.1, 14.9, 100.0]) * unit
    parts = shared_parts([6, 4, 5], radius, 20)
    expected = torch.tensor(
        [
            [1, 1, 0.6, 0.6, 6 / 15, 6 / 15, 6 / 15],
            [0, 0, 0.4, 0.4, 4 / 15, 4 / 15, 4 / 15],
            [0, 0, 0, 0, 5 / 15, 5 / 15, 5 / 15],
        ]
    )
    torch.testing.assert_close(parts, expected)


def test_the_parts_are_all_of_the_weight() -> None:
    radius = torch.linspace(-0.2, 0.7, 60).abs().reshape(3, 20)
    parts = shared_parts([3, 7, 1, 4], radius, 24)
    assert parts.shape == (4, 3, 20)
    torch.testing.assert_close(parts.sum(0), torch.ones(3, 20))


def test_it_is_the_sum_of_the_frames_with_their_parts() -> None:
    scan = cine_scan(frames=3)
    recent = [FrameSamples(k, t) for k, t in zip(scan.kspace, scan.traj, strict=True)]
    frame = MeasuredFrame.from_samples(7, *recent[-1], scan.shape)
    shared = with_shared_views(frame, recent, scan.shape, 1.0)
    assert (shared.index, shared.n_spokes) == (7, 5)
    coil_images, kernel = torch.zeros_like(frame.coil_images), torch.zeros_like(frame.kernel)
    for back, samples in enumerate(reversed(recent)):
        part = shared_parts([5, 5, 5], samples.traj.norm(dim=-1), 30)[back]
        one = MeasuredFrame.from_samples(0, samples.kspace * part, samples.traj, scan.shape)
        coil_images += one.coil_images
        kernel += MeasuredFrame.from_samples(0, samples.kspace, samples.traj, scan.shape, part=part).kernel
    torch.testing.assert_close(shared.coil_images, coil_images, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(shared.kernel, kernel, rtol=1e-4, atol=1e-7)
    # The weight of k-space's area does not depend on how many share in it.
    assert shared.strength == pytest.approx(frame.strength, rel=1e-3)


# -- methods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nufft", "cg_sense"])
def test_what_rests_gets_better_with_every_frame(name: str) -> None:
    grid, coils = Grid((30, 24), (300.0, 240.0)), CoilArray.loops(4, (300.0, 240.0))
    traj = radial_trajectory(spoke_angles(np.arange(40)), 60)
    samples = torch.from_numpy(kspace(CinePhantom(), coils, grid, traj, np.zeros(40)))  # one moment of the heart
    frames, points = list(samples.split(5, dim=1)), list(torch.from_numpy(traj).split(5))
    alone, shared = (images(frames, points, (24, 30), name, share) for share in (0, 7))
    torch.testing.assert_close(shared[0], alone[0])
    best = images([samples], [torch.from_numpy(traj)], (24, 30), name, 0)
    found = [error(series[-1:], best) for series in (alone, shared)]
    assert found[1] < 0.5 * found[0]


def test_what_moves_gets_better_by_some() -> None:
    scan = cine_scan()
    alone, shared = (error(images(scan.kspace, scan.traj, scan.shape, "nufft", n), scan.truth) for n in (0, 3))
    assert shared < 0.9 * alone


def test_frames_of_different_lengths_and_spokes_share() -> None:
    scan = cine_scan(frames=6)
    kspace = [k[:, : 2 + i % 3, 8 * (i % 2) :] for i, k in enumerate(scan.kspace)]
    traj = [t[: 2 + i % 3, 8 * (i % 2) :] for i, t in enumerate(scan.traj)]
    assert bool(torch.isfinite(images(kspace, traj, scan.shape, "cg_sense", 4).abs()).all())


def test_the_samples_of_no_more_frames_are_kept() -> None:
    scan = cine_scan(frames=6)
    for share, kept in ((0, 0), (2, 3)):
        method = make_live("nufft", scan.shape, SingleFrameParameters(share_frames=share), CPU)
        for samples, traj in zip(scan.kspace, scan.traj, strict=True):
            method.add_frame(samples, traj)
        assert len(vars(method)["_recent"]) == kept
