"""Compiled sums onto images against the sums as they are written, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inr_core.errors import DataError, ParameterError
from inr_core.operators import nufft_backends
from inr_core.operators.column_transform import radices
from inr_core.operators.compiled_gridding import gridded
from inr_core.operators.nufft import Nufft
from inr_core.operators.nufft_backends import CompiledBackend, DirectBackend, FinufftBackend, make_backend
from inr_core.operators.spreading import grid_size
from oracles import adjointness_error, rand

CPU = torch.device("cpu")


def points(n: int) -> torch.Tensor:
    """Anywhere in k-space, on its edges and a little beyond, as delays may turn them."""
    inside = torch.rand(n, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    return torch.cat([inside, torch.tensor([[0.5, -0.5], [-0.51, 0.52], [0.0, 0.0]])])


@pytest.mark.parametrize(
    ("shape", "stack"),
    [((15, 22), 1), ((15, 22), 3), ((15, 22), 11), ((9, 12), 3), ((9, 7), 11), ((15, 22), 17), ((128, 128), 8)],
)
def test_it_is_the_sum(shape: tuple[int, int], stack: int) -> None:
    where = points(200)
    values = rand(stack, len(where))
    expected = DirectBackend().type1(where.double(), values, shape)
    images = torch.from_numpy(gridded(where.numpy(), values.to(torch.complex64).numpy(), shape))
    assert (images - expected).norm() < 1e-4 * expected.norm()
    assert (images - expected).abs().max() < 5e-4 * expected.abs().max()


def test_a_grid_that_is_smaller_than_the_kernel_is_wrapped_more_than_once() -> None:
    where, shape = points(200), (2, 7)
    assert grid_size(2) == 3
    values = rand(3, len(where))
    expected = DirectBackend().type1(where.double(), values, shape)
    images = torch.from_numpy(gridded(where.numpy(), values.to(torch.complex64).numpy(), shape))
    assert (images - expected).norm() < 5e-4 * expected.norm()  # of two pixels one is at the edge


def test_the_backend_is_adjoint_to_its_other_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nufft_backends, "is_prepared", lambda shape: True)
    operator = Nufft(points(60).reshape(1, 7, 9, 2), (15, 22), "compiled")
    x, y = rand(1, 4, 15, 22).to(torch.complex64), rand(1, 4, 7, 9, seed=1).to(torch.complex64)
    assert adjointness_error(operator, x, y) < 2e-4


def test_images_that_nobody_has_prepared_for_are_left_to_finufft() -> None:
    where, values = points(20), rand(2, 23).to(torch.complex64)
    small = make_backend("compiled", CPU, torch.float32).type1(where, values, (15, 22))
    torch.testing.assert_close(small, FinufftBackend(1e-4).type1(where, values, (15, 22)), rtol=0, atol=0)


def test_lazy_conjugates_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nufft_backends, "is_prepared", lambda shape: True)
    where, values = points(20), rand(2, 23).to(torch.complex64)
    backend = make_backend("compiled", CPU, torch.float32)
    lazy = backend.type1(where, values.conj(), (128, 128))
    torch.testing.assert_close(lazy, backend.type1(where, values.conj().resolve_conj(), (128, 128)), rtol=0, atol=0)


def test_it_is_what_single_precision_on_the_host_gets_unless_a_tolerance_is_asked_for() -> None:
    assert isinstance(make_backend("auto", CPU, torch.float32), CompiledBackend)
    for backend in (make_backend("auto", CPU, torch.float64), make_backend("auto", CPU, torch.float32, 1e-5)):
        assert isinstance(backend, FinufftBackend) and not isinstance(backend, CompiledBackend)


def test_double_precision_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"NUFFT backend compiled in torch\.float64.*finufft, in double precision"):
        make_backend("compiled", CPU, torch.float64)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_points_that_are_not_finite_are_refused(wrong: float) -> None:
    where = points(20).numpy()
    where[7, 1] = wrong
    with pytest.raises(DataError, match="a trajectory that is not finite"):
        gridded(where, np.ones((1, 23), np.complex64), (15, 22))


@pytest.mark.parametrize("n", [1, 5, 22, 100, 128, 144, 192, 208, 256, 768, 1024])
def test_grids_are_at_least_half_as_fine_again_and_have_stages(n: int) -> None:
    size = grid_size(n)
    assert 1.5 * n <= size <= max(2.1 * n, 16)
    assert radices(size)
