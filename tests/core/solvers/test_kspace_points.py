"""Spokes without frames, and images of a k-space known everywhere: against a Fourier sum in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.kspace_points import Spokes, image_of_kspace
from inr_core.solvers.slice_data import FrameSamples, SliceData
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import explicit_dft

SHAPE, COILS = (10, 13), 2
CPU = torch.device("cpu")


def slice_data(scale: float = 1.0, samples: bool = True) -> SliceData:
    generator = torch.Generator().manual_seed(1)
    frames, measured = FrameHistory(4), []
    for index, n in enumerate((2, 3)):
        traj = torch.from_numpy(radial_trajectory(spoke_angles(range(n)), 26)).float()
        kspace = scale * torch.randn(COILS, n, 26, dtype=torch.complex64, generator=generator)
        frames.append(MeasuredFrame.from_samples(index, kspace, traj, SHAPE))
        measured.append(FrameSamples(kspace, traj))
    return SliceData(SHAPE, torch.ones(COILS, *SHAPE) / COILS**0.5, frames, tuple(measured) if samples else ())


def test_each_spoke_has_its_own_time_and_each_sample_its_place() -> None:
    data = slice_data(7.0)
    spokes = Spokes.of(data)
    # Two frames from -1 to 0 and from 0 to 1, of two and three spokes.
    assert spokes.times.tolist() == pytest.approx([-0.75, -0.25, 1 / 6, 0.5, 5 / 6])
    points, kspace = spokes.points()
    assert points.shape == (5 * 26, 3)
    assert kspace.shape == (5 * 26, COILS)
    assert float(kspace.abs().max()) == pytest.approx(1.0)
    torch.testing.assert_close(points[3 * 26 + 4, 1:], 2 * data.samples[1].traj[1, 4])
    torch.testing.assert_close(kspace[3 * 26 + 4] * spokes.unit, data.samples[1].kspace[:, 1, 4])
    assert float(points[3 * 26 + 4, 0]) == pytest.approx(0.5)
    some = spokes.part([1, 4])
    assert some.times.tolist() == pytest.approx([-0.25, 5 / 6])
    torch.testing.assert_close(some.points()[1], torch.cat([kspace[26:52], kspace[104:]]))
    ends = torch.cat([traj.flatten(0, 1) for _, traj in data.samples]).abs().amax(0) * 2
    assert spokes.extent == pytest.approx(tuple(ends.tolist()))


def smooth_images(larger: tuple[int, int]) -> Tensor:
    """(coils, *larger): blobs off the centre, whose spectrum has died out at the edge of k-space."""
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in larger)
    spots = [
        torch.exp(-((y[:, None] - 1.3) ** 2 + (x + 2.6) ** 2) / (2 * 1.25**2)),
        torch.exp(-((y[:, None] + 2.2) ** 2 + (x - 0.4) ** 2) / (2 * 1.35**2)) * 1j,
    ]
    return torch.stack([s.to(torch.complex128) for s in spots])


def exact(images: Tensor, points: Tensor) -> Tensor:
    """(points, coils): the transform at (kx, ky) from -1 to 1, in the units of SHAPE."""
    samples = explicit_dft(images[None], (points / 2)[None, None])[0, :, 0].T
    return samples * math.prod(images.shape[1:]) ** 0.5 / math.prod(SHAPE) ** 0.5


def test_the_image_of_an_exact_kspace_is_the_image() -> None:
    images = smooth_images(SHAPE)
    found = image_of_kspace(lambda k: exact(images, k.double()), (1.0, 1.0), SHAPE, CPU)
    assert found.shape == (COILS, *SHAPE)
    assert float((found - images).norm() / images.norm()) < 5e-3


def test_what_lies_outside_of_the_image_is_not_folded_into_it() -> None:
    larger = (18, 23)
    images = smooth_images(larger)
    images[0] = images[0].roll((6, 0), (0, 1))  # below the image, but within twice its field of view
    found = image_of_kspace(lambda k: exact(images, k.double()), (1.0, 1.0), SHAPE, CPU)
    wanted = images[:, 4:14, 5:18]
    assert float((found - wanted).norm() / wanted.norm()) < 5e-3


def test_nothing_is_asked_for_where_nothing_was_measured() -> None:
    asked: list[Tensor] = []

    def kspace(points: Tensor) -> Tensor:
        asked.append(points)
        return torch.ones(len(points), 1, dtype=torch.complex64)

    image = image_of_kspace(kspace, (0.9, 0.6), SHAPE, CPU)
    (points,) = asked
    assert bool(((points[:, 0] / 0.9) ** 2 + (points[:, 1] / 0.6) ** 2 <= 1).all())
    assert points[:, 0].abs().max() > 0.8
    assert 0.5 < points[:, 1].abs().max() <= 0.6
    # A flat k-space is a point at the centre pixel: as many samples as were asked for, over those of the grid.
    assert int(image.abs().argmax()) == (SHAPE[0] // 2) * SHAPE[1] + SHAPE[1] // 2
    assert float(image.abs().max()) == pytest.approx(len(points) / (4 * math.prod(SHAPE)) * math.prod(SHAPE) ** 0.5)


def test_a_single_direction_is_a_line_of_kspace() -> None:
    asked: list[Tensor] = []

    def kspace(points: Tensor) -> Tensor:
        asked.append(points)
        return torch.ones(len(points), 1, dtype=torch.complex64)

    assert bool(torch.isfinite(image_of_kspace(kspace, (1.0, 0.0), SHAPE, CPU).abs()).all())
    assert asked[0].shape == (2 * SHAPE[1], 2)
    assert not asked[0][:, 1].any()


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(DataError, match=r"^samples of 0 frames of 2; expected samples of every frame$"):
        Spokes.of(slice_data(samples=False))
    with pytest.raises(DataError, match=r"^samples of maximum 0; expected a signal; check the receivers$"):
        Spokes.of(slice_data(0.0))
