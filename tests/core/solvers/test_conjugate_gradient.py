"""Conjugate gradients on systems whose solution is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.solvers.conjugate_gradient import CgPoint, conjugate_gradient, continue_from
from oracles import rand

N = 20


class Counted:
    """A Hermitian positive matrix of condition about 100 that counts its applications."""

    def __init__(self, dtype: torch.dtype = torch.complex128) -> None:
        basis, _ = torch.linalg.qr(rand(N, N, dtype=dtype))
        self.matrix = basis @ torch.logspace(0, 2, N, dtype=torch.float64).to(dtype).diag() @ basis.mH
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return (self.matrix @ x.flatten()).reshape(x.shape)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
@pytest.mark.parametrize("shape", [(N,), (4, 5)])
@pytest.mark.parametrize("started", [False, True])
def test_a_hermitian_system_is_solved(dtype: torch.dtype, shape: tuple[int, ...], started: bool) -> None:
    operator, x = Counted(dtype), rand(*shape, dtype=dtype)
    start = rand(*shape, seed=5, dtype=dtype) if started else None
    found = conjugate_gradient(operator, operator(x), start, iterations=60)
    assert float((found - x).norm() / x.norm()) < 1e-10


def test_it_stops_at_its_tolerance() -> None:
    operator, x = Counted(), rand(N)
    right = operator(x)
    operator.calls = 0
    found = conjugate_gradient(operator, right, iterations=1000, tolerance=1e-6)
    took = operator.calls
    assert took < 60
    assert float((operator(found) - right).norm() / right.norm()) < 2e-6
    operator.calls = 0
    conjugate_gradient(operator, right, iterations=took - 1)
    assert operator.calls == took - 1  # tolerance 0 never looks: all iterations are run


def test_no_iteration_is_no_application() -> None:
    operator, start = Counted(), rand(N)
    assert torch.equal(conjugate_gradient(operator, rand(N, seed=1), start, iterations=0), start)
    assert operator.calls == 1  # the residual of the start
    assert not conjugate_gradient(operator, rand(N), iterations=0).any()


def test_a_right_side_of_zero_gives_zero_not_nan() -> None:
    assert not conjugate_gradient(Counted(), torch.zeros(N, dtype=torch.complex128), iterations=5).any()


def test_a_start_that_is_the_solution_is_kept() -> None:
    operator, x = Counted(), rand(N)
    torch.testing.assert_close(conjugate_gradient(operator, operator(x), x, iterations=5), x)


def test_nothing_that_was_given_is_changed() -> None:
    operator, right, start = Counted(), rand(N), rand(N, seed=1)
    before = right.clone(), start.clone()
    conjugate_gradient(operator, right, start, iterations=3)
    assert torch.equal(right, before[0])
    assert torch.equal(start, before[1])


def test_continuing_is_the_same_as_never_having_stopped_at_a_restart() -> None:
    matrix = torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64)).to(torch.complex128)
    right = torch.ones(8, dtype=torch.complex128)
    halfway = continue_from(lambda x: matrix @ x, CgPoint(torch.zeros_like(right), right), 3)
    torch.testing.assert_close(halfway.residual, right - matrix @ halfway.solution)
    restarted = conjugate_gradient(lambda x: matrix @ x, right, start=halfway.solution, iterations=4)
    torch.testing.assert_close(continue_from(lambda x: matrix @ x, halfway, 4).solution, restarted)
