"""Data consistency against an explicit Fourier sum in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.density import ramp_density
from inr_core.errors import DataError
from inr_core.operators.nufft import Nufft
from inr_core.solvers.data_terms import NufftTerm, RampBackward, ToeplitzL2, l1, relative_l2
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.slice_data import FrameSamples, SliceData
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import explicit_dft

SHAPE, COILS = (11, 14), 3
SPOKES = (5, 7, 5)


def slice_data(scale: float = 1.0, samples: bool = True, spokes: tuple[int, ...] = SPOKES) -> SliceData:
    generator = torch.Generator().manual_seed(1)
    csm = torch.randn(COILS, *SHAPE, dtype=torch.complex64, generator=generator)
    csm /= csm.abs().square().sum(0).sqrt()
    frames, measured, first = FrameHistory(8), [], 0
    for index, n in enumerate(spokes):
        traj = torch.from_numpy(radial_trajectory(spoke_angles(range(first, first + n)), 26)).float()
        image = torch.ones(1, 1, *SHAPE) * csm[None] * (1 + 0.1 * index)
        noise = 0.05 * torch.randn(COILS, n, 26, dtype=torch.complex64, generator=generator)
        kspace = scale * (Nufft(traj[None], SHAPE).forward(image)[0] + noise)
        frames.append(MeasuredFrame.from_samples(index, kspace, traj, SHAPE))
        measured.append(FrameSamples(kspace, traj))
        first += n
    return SliceData(SHAPE, csm, frames, tuple(measured) if samples else ())


def explicit(data: SliceData, image: Tensor, position: int) -> Tensor:
    """F S x of a frame in float64, (coils, spokes, samples)."""
    return explicit_dft((image * data.csm)[None], data.samples[position].traj[None])[0]


def images(n: int, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(n, *SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(2))


def test_the_quadratic_is_the_weighted_residual_up_to_a_constant() -> None:
    data, positions = slice_data(), torch.tensor([2, 1])
    term = ToeplitzL2(data)

    def wanted(x: Tensor) -> float:
        total = 0.0
        for image, position in zip(x, positions, strict=True):
            kspace, traj = data.samples[int(position)]
            density = torch.from_numpy(ramp_density(traj.numpy(), SHAPE[::-1]))
            residual = explicit(data, image * data.scale, int(position)) - kspace
            total += 0.5 * float((density * residual.abs().square()).sum()) / data.scale**2
        return total / (data.strength * x.numel())

    first, second = images(2), images(4)[2:]
    found = float(term(first, positions) - term(second, positions))
    assert found == pytest.approx(wanted(first) - wanted(second), rel=1e-3)


@pytest.mark.parametrize("kind", ["toeplitz", "l1", "relative_l2"])
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    data, positions = slice_data(), torch.tensor([0, 1])
    term = {
        "toeplitz": lambda: ToeplitzL2(data),
        "l1": lambda: NufftTerm(data, l1),
        "relative_l2": lambda: NufftTerm(data, lambda e, p: relative_l2(e, fixed(p), 0.1)),
    }[kind]()
    frozen: list[Tensor] = []

    def fixed(predicted: Tensor) -> Tensor:
        # The prediction in the denominator has no gradient: differences must hold it, too.
        if len(frozen) < 2:
            frozen.append(predicted.detach())
        return next(p for p in frozen if p.shape == predicted.shape)

    x = images(2).requires_grad_()
    term(x, positions).backward()
    assert x.grad is not None
    direction = images(4)[2:]
    step = 1e-2
    with torch.no_grad():
        difference = float(term(x + step * direction, positions) - term(x - step * direction, positions)) / (2 * step)
    along = torch.view_as_real(x.grad).flatten() @ torch.view_as_real(direction).flatten()
    assert float(along) == pytest.approx(difference, rel=3e-2)


def test_norms_against_an_explicit_sum_and_whatever_the_units() -> None:
    position = torch.tensor([1])
    x = images(1)
    for norm in (l1, relative_l2):
        values = []
        for scale in (1.0, 250.0):
            data = slice_data(scale)
            largest = max(float(s.kspace.abs().max()) for s in data.samples)
            predicted = explicit(data, x[0] * data.scale, 1) / largest
            wanted = norm(predicted - data.samples[1].kspace / largest, predicted)
            found = NufftTerm(data, norm)(x, position)
            assert float(found) == pytest.approx(float(wanted), rel=1e-3)
            values.append(float(found))
        assert values[1] == pytest.approx(values[0], rel=1e-3)
    residual, predicted = torch.tensor([3 + 4j]), torch.tensor([1 + 2j])
    assert float(l1(residual, predicted)) == 7.0
    assert float(relative_l2(residual, predicted)) == pytest.approx((9 / 1.0001 + 16 / 4.0001) / 2)


def test_samples_in_units_of_the_image() -> None:
    data, x = slice_data(250.0), images(1)
    predicted = explicit(data, x[0] * data.scale, 1)
    wanted = relative_l2((predicted - data.samples[1].kspace) / data.scale, predicted / data.scale)
    found = NufftTerm(data, relative_l2, unit=data.scale)(x, torch.tensor([1]))
    assert float(found) == pytest.approx(float(wanted), rel=1e-3)


def test_the_ramp_backward_is_the_compensated_adjoint() -> None:
    data = slice_data()
    traj = data.samples[0].traj[None]
    weights = torch.rand(traj.shape[1:3])
    operator = RampBackward(Nufft(traj, SHAPE), weights)
    x = images(COILS)[None].requires_grad_()
    y = torch.randn(1, COILS, *traj.shape[1:3], dtype=torch.complex64)
    result = operator(x)
    torch.testing.assert_close(result, Nufft(traj, SHAPE).forward(x.detach()))
    (gradient,) = torch.autograd.grad(result, x, y)
    torch.testing.assert_close(gradient, Nufft(traj, SHAPE).adjoint(weights * y))
    x = images(1).requires_grad_()
    NufftTerm(data, l1, ramp_backward=True)(x, torch.tensor([0])).backward()
    plain = images(1).requires_grad_()
    NufftTerm(data, l1)(plain, torch.tensor([0])).backward()
    assert x.grad is not None
    assert plain.grad is not None
    cosine = torch.vdot(x.grad.flatten(), plain.grad.flatten()).real / (x.grad.norm() * plain.grad.norm())
    assert 0.2 < float(cosine) < 0.99


def test_scale_is_that_of_the_image() -> None:
    assert slice_data(40.0).scale == pytest.approx(40 * slice_data().scale, rel=1e-4)
    assert 0.5 < slice_data().scale < 3


@pytest.mark.parametrize(("fraction", "n_held"), [(0.01, 1), (0.2, 3), (0.5, 8)])
def test_a_split_is_of_whole_spokes(fraction: float, n_held: int) -> None:
    data = slice_data()
    kept, held = data.split(fraction, torch.Generator().manual_seed(3))
    assert sum(s.traj.shape[0] for s in held) == n_held
    for position, part in enumerate(data.samples):
        for piece in (kept.samples[position], held[position]):
            for spoke, line in zip(piece.traj, piece.kspace.unbind(1), strict=True):
                (where,) = (part.traj == spoke).flatten(1).all(1).nonzero()[0].tolist()
                torch.testing.assert_close(line, part.kspace[:, where], rtol=0, atol=0)
        assert kept.samples[position].traj.shape[0] + held[position].traj.shape[0] == part.traj.shape[0]
        assert kept.samples[position].traj.shape[0] >= 1
        again = MeasuredFrame.from_samples(position, *kept.samples[position], SHAPE)
        torch.testing.assert_close(kept.frames[position].coil_images, again.coil_images)
        torch.testing.assert_close(kept.frames[position].kernel, again.kernel)
    assert len(kept) == len(held) == 3


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(DataError, match=r"^samples of 0 frames of 3; expected samples of every frame$"):
        NufftTerm(slice_data(samples=False), l1)
    with pytest.raises(DataError, match=r"^samples of 0 frames of 3; expected samples of every frame$"):
        slice_data(samples=False).split(0.1, torch.Generator())
    with pytest.raises(
        DataError, match=r"^1 of 2 spokes in 2 frames to hold out; expected a spoke left in every frame; use longer"
    ):
        slice_data(spokes=(1, 1)).split(0.05, torch.Generator())
    with pytest.raises(DataError, match=r"^images of maximum 0 from data of weight .*; expected a signal"):
        _ = slice_data(0.0).scale
    with pytest.raises(DataError, match=r"^samples that are all zero; expected a signal; check the receivers$"):
        NufftTerm(slice_data(0.0), l1)
