"""What a frame's change is made of: pixels, and smooth motion of an image's slopes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.solvers.change_model import ChangeModel, SmoothDisplacement
from oracles import adjointness_error, check_gradient, rand

SHAPES = [(31, 24), (20, 33)]
CPU = torch.device("cpu")


def displacement(shape: tuple[int, int], *spacings: int) -> SmoothDisplacement:
    return SmoothDisplacement(shape, CPU, *([spacings] if spacings else []))


def numbers(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def blob(shape: tuple[int, int], x0: float = 0.0) -> Tensor:
    """A smooth spot, moved by x0 pixels along x."""
    y, x = (torch.arange(n) - n / 2 for n in shape)
    return torch.exp(-((x - x0) ** 2 + y[:, None] ** 2) / 32).to(torch.complex64) * (1 + 0.5j)


def model(shape: tuple[int, int], strength: float = 0.7) -> ChangeModel:
    deviation = rand(*shape, seed=3).abs().float() + 0.2
    image = rand(*shape, seed=4).to(torch.complex64)
    image[3, 5] = 0  # it has no phase
    return ChangeModel(deviation, image, displacement(shape), strength, quadrature=0.6)


@pytest.mark.parametrize("shape", SHAPES)
def test_displacement_adjoint_and_gradient(shape: tuple[int, int]) -> None:
    operator = displacement(shape)
    x, y = numbers(operator.n_nodes), torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    assert adjointness_error(operator, x, y) < 1e-5
    assert operator.forward(x).shape == (2, *shape)


def test_a_level_interpolates_between_its_nodes() -> None:
    operator = displacement((9, 17), 8)  # 2 x 3 nodes, at the corners, half-way along x
    nodes = torch.zeros(2, 2, 3)
    nodes[0, :, 1] = 1.0  # u of the middle column
    u, v = operator.forward(nodes.flatten())
    torch.testing.assert_close(u[4], 1 - (torch.arange(17) - 8).abs() / 8.0)
    assert not v.any()


def test_coarse_nodes_count_less() -> None:
    """In proportion to the root of the spacing: a level's largest eigenvalue grows with its square."""
    fine, coarse = (displacement((33, 33), spacing) for spacing in (8, 16))
    of_fine, of_coarse = (operator.forward(torch.ones(operator.n_nodes)).mean() for operator in (fine, coarse))
    assert float(of_fine) == pytest.approx(1.0)
    assert float(of_coarse) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_change_adjoint_in_the_real_inner_product(shape: tuple[int, int]) -> None:
    operator = model(shape)
    x, y = numbers(operator.n_numbers), rand(*shape, seed=2).to(torch.complex64)
    forward = torch.view_as_real(operator.forward(x)).flatten() @ torch.view_as_real(y).flatten()
    assert float(forward) == pytest.approx(float(x @ operator.adjoint(y)), rel=1e-4)


def test_change_gradient() -> None:
    operator = model(SHAPES[0])
    check_gradient(operator, numbers(operator.n_numbers), rand(*SHAPES[0], seed=2).to(torch.complex64))


def test_a_moved_spot_is_a_displacement() -> None:
    """All nodes one and no free change: the change is what moving the image by s does to it, to second order."""
    shape, moved = (40, 36), 0.4
    operator = displacement(shape, 8)
    nodes = torch.zeros(operator.n_nodes)
    nodes[: operator.n_nodes // 2] = -moved  # u; the change is minus the slope times the way
    one = ChangeModel(torch.ones(shape), blob(shape, moved / 2), operator, 1.0)
    change = one.forward(torch.cat([torch.zeros(2 * shape[0] * shape[1]), nodes]))
    true = blob(shape, moved) - blob(shape)
    assert float((change - true).norm() / true.norm()) < 0.02


def test_brightness_changes_along_the_image_and_phase_across_it() -> None:
    shape = (20, 18)
    image, q = rand(*shape, seed=4).to(torch.complex64), 0.25
    image[3, 5] = 0
    one = ChangeModel(torch.full(shape, 2.0), image, displacement(shape), 1.0, q)
    free, motion = torch.zeros(*shape, 2), torch.zeros(displacement(shape).n_nodes)
    free[..., 0] = 1.0
    brighter = one.forward(torch.cat([free.flatten(), motion]))
    turned = one.forward(torch.cat([free.flip(-1).flatten(), motion]))
    torch.testing.assert_close(brighter.abs(), torch.full(shape, 2.0))
    torch.testing.assert_close(brighter * image.abs(), 2.0 * image + 0.0)
    torch.testing.assert_close(turned, 1j * q * brighter)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_change_with_another_models_motion(shape: tuple[int, int]) -> None:
    first, second = model(shape), model(shape, strength=0.3)
    x = numbers(first.n_numbers)
    change = first.forward(x)
    recast = second.numbers_with(first.nodes_of(x), change)
    torch.testing.assert_close(second.forward(recast), change, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second.nodes_of(recast), first.nodes_of(x))


def test_another_shape_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^an image \(8, 9\) and a deviation \(8, 9\); expected \(ny, nx\) = \(31, 24\) of the displacement$",
    ):
        ChangeModel(torch.ones(8, 9), torch.ones(8, 9, dtype=torch.complex64), displacement(SHAPES[0]), 1.0)


def test_without_a_displacement_a_change_is_that_of_the_pixels() -> None:
    shape = SHAPES[0]
    deviation, image = rand(*shape, seed=3).abs() + 0.2, rand(*shape, seed=4)
    operator = ChangeModel(deviation, image, None, 0.0, 0.6)
    assert operator.n_numbers == 2 * shape[0] * shape[1]
    change = rand(*shape, seed=5)
    torch.testing.assert_close(operator.forward(operator.numbers_with(None, change)), change)
    x = torch.randn(operator.n_numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    forward = torch.view_as_real(operator.forward(x)).flatten() @ torch.view_as_real(change).flatten()
    assert float(forward) == pytest.approx(float(x @ operator.adjoint(change)), rel=1e-12)
