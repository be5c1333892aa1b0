"""Every operator against the explicit sum, its adjoint and its gradient, on odd and asymmetric sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from inr_core.density import ramp_density
from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_core.operators.nufft import Nufft
from inr_core.operators.nufft_backends import DirectBackend, cufinufft_problem, make_backend
from inr_core.operators.sense import Sense
from inr_core.operators.toeplitz import ToeplitzGram, toeplitz_kernel
from inr_core.trajectory import radial_trajectory, spoke_angles
from oracles import adjointness_error, check_gradient, explicit_dft, rand

SHAPES = [(16, 16), (15, 22), (21, 12)]  # (ny, nx)
FRAMES, COILS, SPOKES, SAMPLES = 2, 3, 5, 33


def trajectory(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    angles = spoke_angles(np.arange(FRAMES * SPOKES))
    traj = radial_trajectory(angles, SAMPLES, center_sample=15.0)
    return torch.from_numpy(traj).reshape(FRAMES, SPOKES, SAMPLES, 2).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("backend", "accuracy"), [("finufft", 1e-10), ("direct", 1e-12), ("torchkbnufft", 2e-3)])
def test_nufft_is_the_explicit_sum(shape: tuple[int, int], backend: str, accuracy: float) -> None:
    traj, x = trajectory(), rand(FRAMES, COILS, *shape)
    expected = explicit_dft(x, traj)
    # torchkbnufft interpolates from a table: its accuracy is the table's, in any precision.
    error = (Nufft(traj, shape, backend).forward(x) - expected).norm() / expected.norm()
    assert error < accuracy


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["finufft", "direct", "torchkbnufft"])
def test_nufft_adjoint_and_gradient(shape: tuple[int, int], backend: str) -> None:
    operator = Nufft(trajectory(), shape, backend)
    x, y = rand(FRAMES, COILS, *shape), rand(FRAMES, COILS, SPOKES, SAMPLES, seed=1)
    assert adjointness_error(operator, x, y) < 1e-10
    check_gradient(operator, x, y)


@pytest.mark.parametrize("backend", ["finufft", "direct", "torchkbnufft"])
def test_single_precision_agrees_with_double(backend: str) -> None:
    shape, x = (15, 22), rand(FRAMES, COILS, 15, 22)
    single = Nufft(trajectory(torch.float32), shape, backend).forward(x.to(torch.complex64))
    double = Nufft(trajectory(), shape, backend).forward(x)
    assert single.dtype == torch.complex64
    assert (single - double).norm() / double.norm() < 2e-4  # FINUFFT's own tolerance in single precision is 1e-4


def test_direct_sums_keep_their_accuracy_in_single_precision_far_from_the_centre() -> None:
    x = rand(1, 1, 4, 1024)
    traj = torch.rand(1, 1, 40, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    single = Nufft(traj, (4, 1024), "direct").forward(x.to(torch.complex64))
    double = explicit_dft(x, traj.double())
    assert (single - double).norm() / double.norm() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_sense_adjoint_and_gradient(shape: tuple[int, int]) -> None:
    operator = Sense(rand(COILS, *shape, seed=2))
    x, y = rand(FRAMES, *shape), rand(FRAMES, COILS, *shape, seed=1)
    assert adjointness_error(operator, x, y) < 1e-14
    check_gradient(operator, x, y)


@pytest.mark.parametrize("shape", SHAPES)
def test_toeplitz_is_the_gram_of_the_weighted_measurement(shape: tuple[int, int]) -> None:
    traj = trajectory()
    weights = torch.from_numpy(
        np.stack([ramp_density(t.numpy().astype(np.float32), shape[::-1]) for t in traj])
    ).double()
    csm, x = rand(COILS, *shape, seed=2), rand(FRAMES, *shape)
    operator = ToeplitzGram(toeplitz_kernel(traj, weights, shape), csm)
    sense, fourier = Sense(csm), Nufft(traj, shape)
    expected = sense.adjoint(fourier.adjoint(weights[:, None] * fourier.forward(sense.forward(x))))
    assert (operator.forward(x) - expected).norm() / expected.norm() < 1e-10
    y = rand(FRAMES, *shape, seed=3)
    assert adjointness_error(operator, x, y) < 1e-12
    check_gradient(operator, x, y)


def test_another_kernel_on_the_same_maps() -> None:
    csm, x = rand(COILS, 15, 22), rand(1, 15, 22)
    first, second = (rand(1, 4, 15, 22, seed=seed).real for seed in (1, 2))
    used = ToeplitzGram(first, csm)
    for gram in (used, ToeplitzGram(first, csm)):  # with and without the maps of each wave
        if gram is used:
            gram.forward(x)
        expected = ToeplitzGram(second, csm).forward(x)
        torch.testing.assert_close(gram.with_kernel(second).forward(x), expected, rtol=0, atol=0)


def test_gram_and_composition_are_what_they_say() -> None:
    shape, csm = (15, 22), rand(COILS, 15, 22, seed=2)
    measurement = Nufft(trajectory(), shape) @ Sense(csm)
    x, y = rand(FRAMES, *shape), rand(FRAMES, COILS, SPOKES, SAMPLES, seed=1)
    assert adjointness_error(measurement, x, y) < 1e-10
    check_gradient(measurement, x, y)
    torch.testing.assert_close(measurement.gram.forward(x), measurement.H.forward(measurement.forward(x)))
    assert adjointness_error(measurement.H, y, x) < 1e-10
    assert measurement.H.H is measurement


def test_second_derivatives_exist() -> None:
    operator = Sense(rand(COILS, 4, 5, seed=2))
    x = rand(FRAMES, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: operator(v).abs().pow(2).sum(), (x,))
    assert torch.autograd.gradgradcheck(lambda v: operator(v).abs().pow(2).sum(), (x,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Nufft(torch.zeros(3, 2), (8, 8)),
            "a trajectory of shape (3, 2); expected (frames, spokes, samples, 2)",
        ),
        (
            lambda: Nufft(trajectory(), (8, 8)).forward(rand(2, 3, 8, 9)),
            "images of shape (2, 3, 8, 9); expected (2 frames",
        ),
        (
            lambda: Nufft(trajectory(), (8, 8)).adjoint(rand(2, 3, 8, 9)),
            "samples of shape (2, 3, 8, 9); expected (2 frames",
        ),
        (lambda: Sense(rand(8, 9)), "coil maps of shape (8, 9); expected (coils, ny, nx)"),
        (lambda: Sense(rand(3, 8, 9)).forward(rand(2, 8, 8)), "images of shape (2, 8, 8); expected (frames, 8, 9)"),
        (
            lambda: Sense(rand(3, 8, 9)).adjoint(rand(2, 4, 8, 9)),
            "coil images of shape (2, 4, 8, 9); expected (frames, 3,",
        ),
        (
            lambda: ToeplitzGram(torch.zeros(2, 8, 8), rand(3, 8, 9)),
            "a kernel of shape (2, 8, 8); expected (frames, 4, 8, 9)",
        ),
        (
            lambda: ToeplitzGram(torch.zeros(2, 4, 4, 4), rand(3, 4, 4)).forward(rand(3, 4, 4)),
            "images of shape (3, 4, 4); expected (2, 4, 4)",
        ),
    ],
)
def test_wrong_shapes_are_refused(call: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value).startswith(message)


def test_backends_are_refused_by_name() -> None:
    cpu = torch.device("cpu")
    expected = "auto, compiled, finufft, cufinufft, direct, torchkbnufft"
    with pytest.raises(ParameterError, match=f"NUFFT backend 'fftw'; expected one of {expected}"):
        make_backend("fftw", cpu, torch.float32)
    with pytest.raises(ParameterError, match="NUFFT backend cufinufft on cpu; expected compiled or finufft on the CPU"):
        make_backend("cufinufft", cpu, torch.float32)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [(False, r"is not installed"), (True, r"does not load \(libcudart\.so\.12: cannot open shared object file\)")],
)
def test_without_cufinufft_there_are_the_sums(
    broken: bool, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if broken:
        (tmp_path / "cufinufft.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "cufinufft", raising=False)
    cuda = torch.device("cuda")
    cufinufft_problem.cache_clear()
    try:
        for _ in range(2):
            assert isinstance(make_backend("auto", cuda, torch.float32), DirectBackend)
        with pytest.raises(MissingDependencyError, match=rf"^cufinufft {problem}; pip install 'inr-recon\[cuda\]'$"):
            make_backend("cufinufft", cuda, torch.float32)
    finally:
        cufinufft_problem.cache_clear()
    assert len(caplog.records) == broken  # said once


@pytest.mark.parametrize("backend", ["finufft", "direct", "torchkbnufft"])
def test_lazily_conjugated_tensors_are_what_they_say(backend: str) -> None:
    operator = Nufft(trajectory(), (15, 22), backend)
    x, y = rand(FRAMES, COILS, 15, 22), rand(FRAMES, COILS, SPOKES, SAMPLES)
    torch.testing.assert_close(operator.forward(x.conj()), operator.forward(x.conj().resolve_conj()))
    torch.testing.assert_close(operator.adjoint(y.conj()), operator.adjoint(y.conj().resolve_conj()))
