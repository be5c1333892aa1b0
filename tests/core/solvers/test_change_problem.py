"""Changes by conjugate gradients: compiled ones against torch in double precision."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.operators import toeplitz
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.change_model import ChangeModel, SmoothDisplacement
from inr_core.solvers.change_problem import ChangeProblem, Edges, change_problem
from inr_core.solvers.compiled_change import CompiledChange
from inr_core.solvers.variation import SpatialVariation
from oracles import rand

CPU = torch.device("cpu")
SHAPE = (15, 22)  # (ny, nx) that test_compiled_gram compiles, too
SHAPES = [SHAPE, (31, 24), (1, 9), (9, 1), (2, 2)]
EDGES = 0.3, 0.1
WEIGHT = 0.2


class Case(NamedTuple):
    """The same problem in both precisions, and their operators."""

    single: CompiledChange
    double: ChangeProblem
    gram: ToeplitzGram
    double_gram: ToeplitzGram


def case(shape: tuple[int, int], *, moves: bool = True, coils: int = 3) -> Case:
    image, base, missing = (rand(*shape, seed=seed) for seed in (1, 2, 3))
    image[0, 0] = 0  # it has no phase
    deviation, csm = rand(*shape, seed=4).abs() + 0.2, rand(coils, *shape, seed=5)
    kernel = rand(1, 4, *shape, seed=6).abs()
    displacement = SmoothDisplacement(shape, CPU) if moves else None
    single = change_problem(
        deviation.float(), *(x.to(torch.complex64) for x in (image, base, missing)), displacement, 0.7, 0.6, EDGES
    )
    assert isinstance(single, CompiledChange)
    finer = SmoothDisplacement(shape, CPU) if moves else None
    if finer is not None:
        finer._along_y, finer._along_x = finer._along_y.double(), [x.double() for x in finer._along_x]
    double = change_problem(deviation, image, base, missing, finer, 0.7, 0.6, EDGES)
    assert isinstance(double, ChangeProblem)
    gram = ToeplitzGram(kernel.float(), csm.to(torch.complex64))
    return Case(single, double, gram, ToeplitzGram(kernel, csm))


def assert_same(made: CompiledChange, expected: ChangeProblem) -> None:
    torch.testing.assert_close(made.change(), expected.change().to(torch.complex64), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.nodes, expected.nodes.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("moves", [True, False])
def test_iterations_with_a_product_from_outside(shape: tuple[int, int], *, moves: bool) -> None:
    single, double, gram, double_gram = case(shape, moves=moves)
    assert not gram.runs_alone
    single.iterate(gram, WEIGHT, 4)
    double.iterate(double_gram, WEIGHT, 4)
    assert_same(single, double)


@pytest.mark.parametrize("moves", [True, False])
def test_iterations_with_the_product_compiled_into_them(monkeypatch: pytest.MonkeyPatch, *, moves: bool) -> None:
    monkeypatch.setattr(toeplitz, "is_prepared", lambda shape: True)
    single, double, gram, double_gram = case(SHAPE, moves=moves, coils=2)
    assert gram.runs_alone
    single.iterate(gram, WEIGHT, 4)
    double.iterate(double_gram, WEIGHT, 4)
    assert_same(single, double)
    single.iterate(gram, WEIGHT, 2)  # from where it was, as new conjugate gradients
    double.iterate(double_gram, WEIGHT, 2)
    assert_same(single, double)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_start_from_a_change(shape: tuple[int, int]) -> None:
    single, double, gram, double_gram = case(shape)
    change, nodes = rand(*shape, seed=7), 0.1 * rand(single.nodes.numel(), seed=8).real
    single.start_from(change.to(torch.complex64), nodes.float(), WEIGHT)
    double.start_from(change, nodes, WEIGHT)
    torch.testing.assert_close(single.change(), change.to(torch.complex64), rtol=1e-4, atol=1e-5)
    single.iterate(gram, WEIGHT, 3)
    double.iterate(double_gram, WEIGHT, 3)
    assert_same(single, double)


@pytest.mark.parametrize("moves", [True, False])
def test_many_iterations_solve_the_least_squares(*, moves: bool) -> None:
    """The normal equations, by an explicit matrix in double precision."""
    shape = (5, 4)
    deviation, image, base, missing = (
        rand(*shape, seed=4).abs() + 0.2,
        rand(*shape, seed=1),
        rand(*shape, seed=2),
        rand(*shape, seed=3),
    )
    displacement = SmoothDisplacement(shape, CPU) if moves else None
    if displacement is not None:
        displacement._along_y = displacement._along_y.double()
        displacement._along_x = [x.double() for x in displacement._along_x]
    model, edges = ChangeModel(deviation, image, displacement, 0.7, 0.6), Edges(base, *EDGES)
    # A real kernel whose sign may be anything is no transfer function of a gram; a positive one is.
    gram = ToeplitzGram(rand(1, 4, *shape, seed=6).abs(), rand(2, *shape, seed=5))
    unit = torch.eye(model.n_numbers, dtype=torch.float64)

    def normal(x: Tensor) -> Tensor:
        change = model.forward(x)
        return model.adjoint(gram.forward(change[None])[0] + edges.pull(change)) + WEIGHT * x

    expected = torch.linalg.solve(torch.stack([normal(x) for x in unit], 1), model.adjoint(missing - edges.pull(base)))
    problem = ChangeProblem(model, edges, base, missing)
    problem.iterate(gram, WEIGHT, 3 * model.n_numbers)
    torch.testing.assert_close(problem.change(), model.forward(expected), rtol=1e-6, atol=1e-8)
    assert problem.nodes.numel() == model.n_numbers - 2 * shape[0] * shape[1]


def test_edges_pull_as_the_gradient_of_their_parabolas() -> None:
    shape = (6, 7)
    at, image = rand(*shape, seed=1), rand(*shape, seed=2).requires_grad_()
    steps = SpatialVariation().forward(image[None])
    sizes = SpatialVariation().forward(at[None]).abs().square().sum(0).add(EDGES[1] ** 2).sqrt()
    energy = 0.5 * (EDGES[0] / sizes * steps.abs().square()).sum()
    (gradient,) = torch.autograd.grad(energy, image)
    torch.testing.assert_close(Edges(at, *EDGES).pull(image.detach()), gradient)


@pytest.mark.parametrize("single", [True, False])
def test_images_of_another_shape_are_refused(*, single: bool) -> None:
    kind = torch.complex64 if single else torch.complex128
    image, other = torch.ones(6, 5, dtype=kind), torch.ones(6, 4, dtype=kind)
    expected = (
        r"^a deviation and images of shapes \(6, 5\), \(6, 5\), \(6, 5\), \(6, 4\); expected \(ny, nx\) = \(6, 5\)"
    )
    with pytest.raises(DataError, match=expected):
        change_problem(image.real, image, image, other)
    with pytest.raises(DataError, match=r"expected \(ny, nx\) = \(15, 22\) of all$"):
        change_problem(image.real, image, image, image, SmoothDisplacement(SHAPE, CPU))


def test_one_image_in_double_precision_is_nothing_for_what_is_compiled() -> None:
    image = torch.ones(6, 5, dtype=torch.complex64)
    assert isinstance(change_problem(image.real, image, image, image), CompiledChange)
    assert isinstance(change_problem(image.real, image, image, image.to(torch.complex128)), ChangeProblem)


def test_a_start_from_other_nodes_is_refused() -> None:
    single, *_ = case((6, 5))
    change = torch.ones(6, 5, dtype=torch.complex64)
    for nodes in (None, torch.zeros(single.nodes.numel() + 1)):
        with pytest.raises(
            ValueError, match=r"^a start of another problem: \(6, 5\) pixels and \d+ nodes were expected$"
        ):
            single.start_from(change, nodes, WEIGHT)


def test_pixels_whose_square_is_no_number_have_no_phase() -> None:
    image = torch.ones(4, 5, dtype=torch.complex64)
    image[0, :3] = torch.tensor([1e-22, 3e-20, 1e-25j])
    nothing = torch.zeros_like(image)
    problem = change_problem(torch.ones(4, 5), image, nothing, 1j * torch.ones_like(image))
    gram = ToeplitzGram(torch.ones(1, 4, 4, 5), torch.ones(1, 4, 5, dtype=torch.complex64))
    problem.iterate(gram, WEIGHT, 2)
    assert bool(torch.isfinite(torch.view_as_real(problem.change())).all())
