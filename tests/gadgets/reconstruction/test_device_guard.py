"""A GPU that runs out of memory or is lost in mid-scan: every frame comes, and the reason is told."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor

from inr_core.batches import at_once
from inr_core.devices import Trouble, cuda_problem, device_trouble
from inr_core.errors import DataError
from inr_core.methods import get_method, make_live
from inr_core.methods.host_copy import HostCopy
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.control import Control
from inr_core.solvers.learnt import Learnt
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from radial import RadialScan, cine_scan

CPU = torch.device("cpu")
GPU = torch.device("cpu", 0)  # compares as another device than CPU, and computes as it does
FRAMES, LATE = 6, 40  # the product with the gram that fails: in frame 4
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
LOST = RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
SMALLER = (
    "WRN: the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB.): "
    "the scan goes on with smaller batches"
)


class FakeGpu:
    """Lets products with the gram fail, the n-th of all; and says what batches the products were made in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: dict[int, Exception]) -> None:
        self.calls, self.batches, forward = 0, list[int](), ToeplitzGram.forward

        def counted(gram: ToeplitzGram, x: Tensor) -> Tensor:
            self.calls += 1
            self.batches.append(at_once(8))
            if self.calls in failures:
                raise failures[self.calls]
            return forward(gram, x)

        monkeypatch.setattr(ToeplitzGram, "forward", counted)


def scan() -> RadialScan:
    return cine_scan(frames=FRAMES, matrix=(22, 17))


def made(name: str = "grasp", device: torch.device = GPU, **values: Any) -> LiveMethod:
    return make_live(name, scan().shape, get_method(name).parameter_type(**values), device)  # type: ignore[arg-type]


def streamed(guard: DeviceGuard, method: LiveMethod) -> list[Tensor]:
    images = []
    for kspace, traj in zip(scan().kspace, scan().traj, strict=True):
        images.append(guard.add_frame(method, kspace, traj))
        guard.settle(method)
    return images


def undisturbed(name: str = "grasp", **values: Any) -> list[Tensor]:
    return streamed(DeviceGuard(print), made(name, CPU, **values))


def guarded() -> tuple[DeviceGuard, list[str]]:
    lines = list[str]()
    return DeviceGuard(lines.append), lines


def test_too_little_memory_in_a_frame_makes_batches_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, method = undisturbed(), made()
    (guard, lines), gpu = guarded(), FakeGpu(monkeypatch, {LATE: OUT_OF_MEMORY})
    assert all(map(torch.equal, streamed(guard, method), expected))
    assert lines == [SMALLER]
    assert method.device == GPU
    assert (gpu.batches[0], gpu.batches[LATE - 1], gpu.batches[LATE], gpu.batches[-1]) == (8, 8, 2, 2)
    assert at_once(8) == 8


@pytest.mark.parametrize("second", [LATE + 1, LATE + 20])
def test_too_little_memory_again_leaves_the_rest_to_the_cpu(monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    expected, method = undisturbed(), made()
    (guard, lines), gpu = guarded(), FakeGpu(monkeypatch, {LATE: OUT_OF_MEMORY, second: OUT_OF_MEMORY})
    assert all(map(torch.equal, streamed(guard, method), expected))
    assert lines[0] == SMALLER
    assert lines[1].startswith("WRN: the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB")
    assert "): the scan goes on with CPU " in lines[1]
    assert len(lines) == 2
    assert method.device == CPU
    assert gpu.batches[-1] == 8


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LOST, "WRN: the GPU failed (CUDA error: unspecified launch failure Compile with TORCH_USE_CUDA_DSA): "),
        (OUT_OF_MEMORY, "WRN: the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB.): "),
    ],
)
def test_a_slice_that_begins_on_a_device_that_fails_begins_on_the_cpu(error: Exception, line: str) -> None:
    guard, lines = guarded()

    def make(device: torch.device) -> LiveMethod:
        if device == GPU:
            raise error
        return made(device=device)

    method = guard.make(make, GPU)
    assert method.device == CPU
    assert len(lines) == 1
    assert lines[0].startswith(line + "the scan goes on with CPU ")


def test_an_error_of_the_cpu_is_not_taken_for_the_devices() -> None:
    guard, lines = guarded()
    for device, error in ((GPU, RuntimeError("shapes do not fit")), (CPU, LOST)):
        with pytest.raises(RuntimeError) as caught:
            guard.make(lambda _, error=error: (_ for _ in ()).throw(error), device)  # type: ignore[misc]
        assert caught.value is error
    assert lines == []


@pytest.mark.parametrize("call", [1, LATE])
def test_a_lost_device_leaves_the_rest_to_the_cpu(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    expected, method = undisturbed(), made()
    guard, lines = guarded()
    FakeGpu(monkeypatch, {call: LOST})
    assert all(map(torch.equal, streamed(guard, method), expected))
    assert len(lines) == 1
    assert lines[0].startswith(
        "WRN: the GPU failed (CUDA error: unspecified launch failure Compile with TORCH_USE_CUDA_DSA): "
        "the scan goes on with CPU "
    )
    assert method.device == CPU


def test_nobody_looks_at_a_method_while_it_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    method, (guard, _), held, restore = made(), guarded(), list[bool](), HostCopy.restore

    def watched(copy: HostCopy, method: LiveMethod, device: torch.device) -> None:
        held.append(guard.in_place.locked())
        restore(copy, method, device)

    monkeypatch.setattr(HostCopy, "restore", watched)
    FakeGpu(monkeypatch, {LATE: LOST})
    streamed(guard, method)
    assert held == [True]
    assert not guard.in_place.locked()


def test_a_device_that_is_lost_between_frames_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the last frame can no longer be copied: it is the frame that is added once more."""
    expected, method = undisturbed(), made()
    guard, lines = guarded()
    images, to = [], Tensor.to

    def lost(tensor: Tensor, *how: Any, **more: Any) -> Tensor:
        if more.get("copy") and method.device == GPU:
            raise LOST
        return to(tensor, *how, **more)

    for index, (kspace, traj) in enumerate(zip(scan().kspace, scan().traj, strict=True)):
        images.append(guard.add_frame(method, kspace, traj))
        if index == 3:
            monkeypatch.setattr(Tensor, "to", lost)
        guard.settle(method)
    assert all(map(torch.equal, images, expected))
    assert method.device == CPU
    assert len(lines) == 1


def followed(guard: DeviceGuard, method: LiveMethod, before_settling: Any = lambda index: None) -> list[Tensor]:
    """Images of frames that wait for the next one's data, from the third on."""
    images = []
    for index, (kspace, traj) in enumerate(zip(scan().kspace, scan().traj, strict=True)):
        if index < 2:
            images.append(guard.add_frame(method, kspace, traj))
        else:
            images += guard.follow(method, kspace, traj)
        before_settling(index)
        guard.settle(method)
    return [*images, *guard.run(method, method.waited)]


@pytest.mark.parametrize("call", [1, LATE])
def test_a_frame_that_waits_for_the_next_is_there_after_a_failure(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    expected, method = followed(DeviceGuard(print), made(device=CPU)), made()
    guard, lines = guarded()
    FakeGpu(monkeypatch, {call: LOST})
    found = followed(guard, method)
    assert len(found) == FRAMES
    assert all(map(torch.equal, found, expected))
    assert len(lines) == 1


def test_a_frame_that_waits_is_added_once_more_if_the_device_is_lost_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, method = followed(DeviceGuard(print), made(device=CPU)), made()
    guard, lines = guarded()
    to = Tensor.to

    def lost(tensor: Tensor, *how: Any, **more: Any) -> Tensor:
        if more.get("copy") and method.device == GPU:
            raise LOST
        return to(tensor, *how, **more)

    def lose(index: int) -> None:
        if index == 3:
            monkeypatch.setattr(Tensor, "to", lost)

    found = followed(guard, method, lose)
    assert len(found) == FRAMES
    assert all(map(torch.equal, found, expected))
    assert method.device == CPU
    assert len(lines) == 1


def test_the_refinement_goes_on_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"refine_passes": 20.0, "polish_rounds": 1, "polish_iterations": 2}
    series = []
    for device, call in ((CPU, 0), (GPU, 150)):
        method, (guard, lines) = made("inr", device, **settings), guarded()
        with monkeypatch.context() as context:
            gpu = FakeGpu(context, {call: LOST})
            streamed(guard, method)
            assert gpu.calls < 150
            series.append(guard.refine(method, Control()))
            assert gpu.calls > 150
        assert len(lines) == (0 if device == CPU else 1)
        assert method.device == CPU
    assert series[0] is not None and series[1] is not None
    assert torch.equal(series[0].images, series[1].images)
    assert series[0].steps == series[1].steps


def test_what_was_learnt_outlives_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    method, (guard, lines), moved = made("inr"), guarded(), list[torch.device]()
    assert guard.learnt(method) is None
    streamed(guard, method)
    to = Learnt.to
    monkeypatch.setattr(Learnt, "to", lambda known, device: (moved.append(device), to(known, device))[1])
    known = guard.learnt(method)
    assert known is not None
    assert moved == [CPU]
    assert not lines
    again = made("inr", CPU)
    again.resume(known)
    assert again.fits(scan().kspace[0], scan().traj[0])


def test_a_training_step_is_taken_on_the_cpu_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    method, (guard, lines) = made("inr"), guarded()
    streamed(guard, method)
    guard.run(method, method.tune)
    FakeGpu(monkeypatch, {1: LOST})
    assert guard.run(method, method.tune)
    assert len(lines) == 1
    assert isinstance(method, InrMethod)
    assert method.trainer is not None
    assert method.trainer.live_steps == 1  # the field begins anew
    assert method.steps == 2  # and what was done was done


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), DataError("nothing", "something")])
def test_other_errors_pass(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    FakeGpu(monkeypatch, {LATE: error})
    guard, lines = guarded()
    with pytest.raises(type(error), match=str(error)):
        streamed(guard, made())
    assert not lines


def test_on_a_cpu_every_error_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch, {LATE: LOST})
    guard, lines = guarded()
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        streamed(guard, made(device=CPU))
    assert not lines


def test_an_error_that_follows_to_the_cpu_is_not_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch, dict.fromkeys(range(LATE, LATE + 99), LOST))
    guard, lines = guarded()
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        streamed(guard, made())
    assert len(lines) == 1


def test_slices_that_fail_alike_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, lines = guarded()
    methods = [made(), made()]
    for method in methods:
        with monkeypatch.context() as context:
            FakeGpu(context, {LATE: LOST})
            streamed(guard, method)
    assert [method.device for method in methods] == [CPU, CPU]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("CUDA error: out of memory", Trouble.MEMORY),
        ("CUDA out of memory. Tried to allocate 20.00 MiB", Trouble.MEMORY),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", Trouble.MEMORY),
        ("CUDA error: an illegal memory access was encountered", Trouble.FAILURE),
        ("cuFFT error: CUFFT_INTERNAL_ERROR", Trouble.FAILURE),
        ("CUDA driver error: device lost", Trouble.FAILURE),
        ("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR", Trouble.FAILURE),
        ("Error in cufinufft: plan", Trouble.FAILURE),
        ("DefaultCPUAllocator: can't allocate memory", None),
        ("The size of tensor a (3) must match the size of tensor b (4)", None),
    ],
)
def test_what_a_device_failed_of(text: str, trouble: Trouble | None) -> None:
    assert device_trouble(RuntimeError(text)) is trouble


def fill() -> list[Tensor]:
    """Take what torch itself still has of the device: small scans need no more than is left over from others."""
    taken = []
    for size in (2**power for power in range(20, 8, -1)):
        with contextlib.suppress(torch.OutOfMemoryError):
            while True:
                taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    return taken


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_a_real_device_without_memory() -> None:
    expected, method, (guard, lines) = undisturbed(), made(device=torch.device("cuda")), guarded()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-7)
    taken = fill()
    try:
        images = streamed(guard, method)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        taken.clear()
    assert method.device == CPU
    assert [line.startswith("WRN: the GPU has too little memory") for line in lines] == [True, True]
    assert all(map(torch.equal, images, expected))


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_a_real_device_goes_on_with_what_was_learnt() -> None:
    guard, first = DeviceGuard(print), made("inr", torch.device("cuda"))
    streamed(guard, first)
    known = guard.learnt(first)
    assert known is not None
    assert known.csm.device == CPU
    second = made("inr", torch.device("cuda"))
    second.resume(known)
    assert len(streamed(guard, second)) == FRAMES
    assert second.device.type == "cuda"
