"""All that runs on a GPU, on one that is pretended: see :mod:`pretended_gpu`."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import finufft
import pytest
import torch
from torch import Tensor

from inr_core.devices import Trouble, choose_device, device_name, device_trouble
from inr_core.methods import Method, get_method, get_preset, make_live
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod, SeriesQuery
from inr_core.operators.nufft import Nufft
from inr_core.operators.nufft_backends import cufinufft_problem
from inr_core.operators.toeplitz import toeplitz_kernel
from inr_core.solvers.captured_step import CapturedStep, Tensors, make_recorder
from inr_core.solvers.effort import times_of
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from pretended_gpu import Gpu, OnTheDevice, pretended_gpu
from radial import RadialScan, cine_scan, error, use_the_sums

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


# -- the pretence finds what a GPU would find -------------------------------------------------------------------------


def mixed(there: Tensor) -> None:
    there + torch.ones(3)


def forgotten_device(there: Tensor) -> None:
    there.index_select(0, torch.arange(2))


def generator_of_the_host(there: Tensor) -> None:
    torch.rand(3, generator=torch.Generator(), device=there.device)


def array_of_it(there: Tensor) -> None:
    there.numpy()


def wrong_side_of_a_gradient(there: Tensor) -> None:
    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0] * torch.full((3,), 2.0)

    Times.apply(there.clone().requires_grad_()).sum().backward()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (mixed, "on the same device, but found one on cpu"),
        (forgotten_device, "on the same device, but found one on cpu"),
        (generator_of_the_host, "Expected a 'cuda' device type for generator"),
        (array_of_it, "numpy"),
        (wrong_side_of_a_gradient, "on the same device, but found one on cpu"),
    ],
)
def test_a_planted_fault_is_found(fault: Callable[[Tensor], None], message: str) -> None:
    with pretended_gpu():
        there = torch.tensor([1.0, 2.0, 3.0], device=CUDA)
        assert there.device.type == "cuda"
        assert torch.equal((there * torch.tensor(2.0) + 1).cpu(), torch.tensor([3.0, 5.0, 7.0]))
        with pytest.raises((RuntimeError, TypeError), match=message):
            fault(there)


def test_waiting_for_the_device_is_counted() -> None:
    with pretended_gpu() as gpu:
        there = torch.ones(3).to(CUDA, non_blocking=True)
        there.mul_(2)
        assert not gpu.looks
        assert float(there.sum()) == 6
        assert len(there[there > 3]) == 0
        assert there.cpu().shape == there[[0, 2, 1]].shape
        looks = {"value": 1, "nonzero": 1, "copy to the host": 1, "copy to the device": 1}
        assert gpu.looks == looks


def recorded(work: Callable[[Tensors, Tensors], None], given: list[Tensor]) -> tuple[Tensor, Gpu]:
    """The sum after a step with each of these, and what happened."""
    with pretended_gpu() as gpu:
        step, total = CapturedStep(work, make_recorder(CUDA)), torch.zeros(2, device=CUDA)
        for part in given:
            step({"total": [total]}, {"part": [part]})
        step.join()
        return total.cpu(), gpu


def test_what_a_recording_does_not_know_is_found() -> None:
    """A value of the host that changes from step to step stays, in a graph, what it was when it was recorded."""
    calls, given = [0.0], [torch.full((2,), float(i)) for i in range(6)]

    def knows(changed: Tensors, given: Tensors) -> None:
        changed["total"][0].add_(given["part"][0])

    def forgets(changed: Tensors, given: Tensors) -> None:
        calls[0] += 1
        changed["total"][0].add_(calls[0])

    total, gpu = recorded(knows, given)
    assert torch.equal(total, torch.full((2,), 15.0))
    assert gpu.repeated == 4
    assert torch.equal(recorded(forgets, given)[0], torch.full((2,), 1 + 2 + 4 * 3.0))


@pytest.mark.parametrize("look", [lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: x + torch.ones(2).to(CUDA)])
def test_a_step_that_waits_cannot_be_recorded(
    look: Callable[[Tensor], object], caplog: pytest.LogCaptureFixture
) -> None:
    def work(changed: Tensors, given: Tensors) -> None:
        changed["total"][0].add_(given["part"][0])
        look(given["part"][0])

    total, gpu = recorded(work, [torch.ones(2)] * 5)
    assert torch.equal(total, torch.full((2,), 5.0))
    assert gpu.repeated == 0
    assert "operation not permitted when stream is capturing" in caplog.text


# -- the methods ------------------------------------------------------------------------------------------------------


def scan() -> RadialScan:
    return cine_scan(frames=6, spokes=9, matrix=(22, 17))


def known_to(method: Method, values: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(method.parameter_type)}
    return {name: value for name, value in values.items() if name in names}


def made(name: str, device: torch.device, preset: str = "", **values: Any) -> LiveMethod:
    method = get_method(name)
    parameters = method.parameter_type(**{**known_to(method, FEW), **get_preset(method, preset), **values})
    return make_live(name, scan().shape, parameters, device)  # type: ignore[arg-type]


def streamed(method: LiveMethod, frames: slice = slice(None), steps: int = 2) -> Tensor:
    images = []
    for kspace, traj in zip(scan().kspace[frames], scan().traj[frames], strict=True):
        assert method.fits(kspace, traj)
        images.append(method.add_frame(kspace, traj).cpu())
        method.settle()
        images += [image.cpu() for _, image in method.delayed()]
        for _ in range(steps):
            method.tune()
    images += [image.cpu() for _, image in method.delayed(ended=True)]
    return torch.stack(images)


FEW: dict[str, Any] = {"start_iterations": 3, "quick_iterations": 2, "iterations": 2, "grasp_iterations": 3}
FINER = SeriesQuery(matrix_scale=1.5, frame_scale=2)
SHORT: dict[str, Any] = {"refine_passes": 4.0, "polish_rounds": 2, "polish_iterations": 1}
HASH: dict[str, Any] = {"passes": 2.0, "table_log2": 10}
CASES: list[tuple[str, str, dict[str, Any], SeriesQuery]] = [
    ("inr", "", {**SHORT, "companion_passes": 2.0}, SeriesQuery()),
    ("inr", "", {**SHORT, "delay_frames": 2}, FINER),
    ("grasp", "", {}, SeriesQuery()),
    ("cg_sense", "", {}, SeriesQuery()),
    ("stinr", "paper", HASH, FINER),
    ("hash_inr", "", HASH, FINER),
    ("subspace_inr", "", {"passes": 2.0, "fit_steps": 5, "polish_iterations": 1}, SeriesQuery()),
    ("da_inr", "", {"steps": 3, "table_log2": 10}, FINER),
    ("da_inr", "released", {"steps": 2, "table_log2": 10}, SeriesQuery()),
    ("fmlp", "paper", {"passes": 0.5, "hidden": 32}, SeriesQuery()),
    ("nik", "", {"passes": 2.0, "hidden": 16}, SeriesQuery()),
    ("nik", "paper", {"passes": 1.0, "hidden": 16, "coils": "coordinate"}, SeriesQuery()),
    ("flow_inr", "", {"passes": 2.0}, SeriesQuery()),
    ("td_dip", "paper", {"training_steps": 3, "channels": 8}, SeriesQuery()),
]


@pytest.mark.parametrize(("name", "preset", "values", "query"), CASES)
def test_a_method_gives_the_images_of_the_cpu(
    name: str, preset: str, values: dict[str, Any], query: SeriesQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_the_sums(monkeypatch)

    def run(device: torch.device) -> tuple[Tensor, Tensor | None]:
        method = made(name, device, preset, **values)
        live = streamed(method)
        method.rest()
        method.query = query
        series = method.refine()
        assert series is None or (series.images.device.type == device.type and series.failure is None)
        return live, None if series is None else series.images.cpu()

    live, series = run(CPU)
    with pretended_gpu() as gpu:
        there, refined = run(CUDA)
    assert (there - live).norm() < 1e-4 * live.norm()
    assert (series is None) == (refined is None)
    if series is not None and refined is not None:
        assert (refined - series).norm() < 1e-2 * series.norm()
    assert gpu.launches > 100


def test_what_was_learnt_there_is_gone_on_with_there_and_here() -> None:
    with pretended_gpu():
        first = made("inr", CUDA)
        streamed(first, slice(0, 4))
        known = first.learnt()
        assert known is not None
        known = known.to(CPU)  # as a state is saved
        second = made("inr", CUDA)
        second.resume(known)
        there = streamed(second, slice(4, 6))
    here = made("inr", CPU)
    here.resume(known)
    expected = streamed(here, slice(4, 6))
    assert (there - expected).norm() < 5e-3 * expected.norm()


# -- what a frame and a step cost -------------------------------------------------------------------------------------


def test_a_live_frame_waits_a_few_times_and_a_training_step_never() -> None:
    frames = cine_scan(frames=10, spokes=9, matrix=(22, 17))
    with pretended_gpu() as gpu:
        method = made("inr", CUDA)
        for kspace, traj in zip(frames.kspace, frames.traj, strict=True):
            gpu.looks.clear()
            method.add_frame(kspace, traj).cpu()
            live = gpu.looks.copy()
            method.settle()
            method.tune()
            before, repeated = gpu.launches, gpu.repeated
            gpu.looks.clear()
            for _ in range(4):
                method.tune()
        assert live.total() <= 24, live
        assert not gpu.looks
        assert gpu.repeated - repeated == 4  # each is one graph and the copies around it
        assert gpu.launches - before < 4 * 25


def test_a_field_that_is_let_go_of_leaves_its_memory_at_once() -> None:
    gc.disable()  # nobody collects garbage while a scan runs
    try:
        with pretended_gpu() as gpu:
            method = made("inr", CUDA)
            assert isinstance(method, InrMethod)
            streamed(method, slice(0, 3), steps=4)
            trainer, before = weakref.ref(method.trainer), gpu.held_bytes  # type: ignore[arg-type]
            method.rest()
            assert trainer() is None
            assert gpu.held_bytes < 0.5 * before
    finally:
        gc.enable()


def test_what_a_step_works_on_is_held_until_it_has_ended() -> None:
    def work(changed: Tensors, given: Tensors) -> None:
        changed["total"][0].add_(given["part"][0])

    with pretended_gpu() as gpu:
        step, total, begun = CapturedStep(work, make_recorder(CUDA)), torch.zeros(2, device=CUDA), []
        for _ in range(5):
            part = torch.ones(2, device=CUDA)
            begun.append(weakref.ref(part))
            step({"total": [total]}, {"part": [part]})
            del part
            assert [ref() is not None for ref in begun] == [*[False] * (len(begun) - 2), True, True][-len(begun) :]
        gpu.lost = True
        del step  # which waits for the last ones, and a device that is lost has none
        assert begun[-1]() is None


# -- when it fails ----------------------------------------------------------------------------------------------------


def guarded(gpu: Gpu, fail: Callable[[int], None]) -> tuple[list[Tensor], LiveMethod, list[str]]:
    """Live images and refined ones of a scan whose device fails as ``fail`` lets it before each frame."""
    lines: list[str] = []
    guard, images = DeviceGuard(lines.append), []
    method = guard.make(lambda device: made("inr", device, **SHORT), CUDA)
    for index, (kspace, traj) in enumerate(zip(scan().kspace, scan().traj, strict=True)):
        fail(index)
        images.append(guard.add_frame(method, kspace, traj))
        guard.settle(method)
        for _ in range(4):
            guard.run(method, method.tune)
    return images, method, lines


@pytest.mark.parametrize("at", [0, 4])
def test_nothing_touches_a_device_that_is_lost(at: int) -> None:
    expected = streamed(made("inr", CPU), steps=0)
    with pretended_gpu() as gpu:
        images, method, lines = guarded(gpu, lambda index: setattr(gpu, "lost", index >= at))
        assert method.device == CPU
        assert method.refine() is not None
        assert choose_device("auto") == CPU  # of the next scan
    assert len(lines) == 1
    assert lines[0].startswith(
        "WRN: the GPU failed (CUDA error: unspecified launch failure): the scan goes on with CPU"
    )
    assert all(error(image, other) < 0.2 for image, other in zip(images, expected, strict=True))
    assert gpu.held_bytes < 1e5  # what functions keep for later frames


def test_a_device_without_memory_is_left_with_what_it_held_given_back() -> None:
    with pretended_gpu() as gpu:

        def fail(index: int) -> None:
            gpu.limit_bytes = 0 if index >= 4 else math.inf

        images, method, lines = guarded(gpu, fail)
        assert method.device == CPU
    assert len(images) == 6
    assert ["smaller batches" in line for line in lines] == [True, False]
    assert gpu.held_bytes < 1e5


def test_the_cpu_that_takes_over_does_not_expect_the_times_of_the_gpu() -> None:
    with pretended_gpu() as gpu:
        _, method, _ = guarded(gpu, lambda index: setattr(gpu, "lost", index >= 4))
    times = times_of(scan().shape, made("inr", CPU).solver.parameters.quick_coils, "cpu")  # type: ignore[attr-defined]
    assert method.solver.plan.times is times  # type: ignore[attr-defined]


# -- libraries --------------------------------------------------------------------------------------------------------


def values_of(x: Any) -> Any:
    return x.inner.numpy() if isinstance(x, OnTheDevice) else x


@pytest.fixture
def cufinufft(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A library of that name and its functions' arguments, which computes with FINUFFT."""
    module = ModuleType("cufinufft")
    module.__spec__ = ModuleSpec("cufinufft", None)

    def run(transform: Callable[..., Any]) -> Callable[..., None]:
        def nufft(
            x: Any, y: Any, data: Any, *, out: Any, eps: float, isign: int, gpu_stream: int, gpu_device_id: int
        ) -> None:
            assert all(isinstance(part, OnTheDevice) and part.is_contiguous() for part in (x, y, data, out))
            assert (gpu_stream, gpu_device_id) == (0, 0)
            transform(*map(values_of, (x, y, data)), out=values_of(out), eps=eps, isign=isign)

        return nufft

    module.nufft2d1, module.nufft2d2 = run(finufft.nufft2d1), run(finufft.nufft2d2)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cufinufft", module)
    cufinufft_problem.cache_clear()
    yield module
    cufinufft_problem.cache_clear()


def test_cufinufft_is_asked_as_finufft_is(cufinufft: ModuleType) -> None:
    shape, traj = scan().shape, torch.stack(scan().traj[:2])
    images, weights = scan().maps[None] * scan().truth[:2, None].to(torch.complex64), torch.rand(traj.shape[:-1])
    here = Nufft(traj, shape)
    samples = here.forward(images)
    expected = here.adjoint(samples), toeplitz_kernel(traj, weights, shape)
    with pretended_gpu():
        there = Nufft(traj.to(CUDA), shape)
        found = there.forward(images.to(CUDA)), there.adjoint(samples.to(CUDA))
        kernel = toeplitz_kernel(traj.to(CUDA), weights.to(CUDA), shape)
        for a, b in zip((*found, kernel), (samples, *expected), strict=True):
            assert (a.cpu() - b).norm() < 1e-3 * b.norm()


def test_an_error_of_cufinufft_is_known_as_the_devices(cufinufft: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error creating plan.")

    monkeypatch.setattr(cufinufft, "nufft2d1", fails)
    with pretended_gpu():
        traj = scan().traj[0][None].to(CUDA)
        with pytest.raises(RuntimeError, match=r"^cuFINUFFT: Error creating plan\.$") as caught:
            toeplitz_kernel(traj, torch.ones(traj.shape[:-1], device=CUDA), scan().shape)
    assert device_trouble(caught.value) is Trouble.FAILURE


def test_the_device_is_named_and_chosen() -> None:
    with pretended_gpu():
        assert choose_device("auto") == choose_device("cuda") == CUDA
        assert device_name(CUDA) == "Pretended GPU"
