"""Steps that are recorded and repeated do what they do one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from inr_core.devices import cuda_problem
from inr_core.errors import DataError
from inr_core.parameters.inr import InrParameters
from inr_core.solvers.captured_step import CapturedStep, Tensors
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.inr_trainer import InrTrainer
from radial import RadialScan, cine_scan, error

FRAMES = 9


class Repeater:
    """Records by keeping the function: what a device does, on any device."""

    def __init__(self, device: str = "cpu", failure: Exception | None = None) -> None:
        self.device, self.failure = torch.device(device), failure
        self.steps = self.recordings = self.replays = self.joins = 0

    @contextmanager
    def aside(self, *tensors: Tensors) -> Iterator[None]:
        self.steps += 1
        yield

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.failure is not None:
            raise self.failure
        self.recordings += 1

        def replay() -> None:
            self.replays += 1
            work()

        return replay

    def join(self) -> None:
        self.joins += 1


def add(changed: Tensors, given: Tensors) -> None:
    for total, part in zip(changed["total"], given["part"], strict=True):
        total += part


def run(step: CapturedStep, shape: tuple[int, ...], times: int) -> Tensor:
    """Sums of other tensors each time, from a view of a larger one."""
    total = torch.zeros(3, *shape, dtype=torch.complex64)
    for i in range(times):
        step({"total": [total[1]]}, {"part": [torch.full(shape, complex(i, 1))], "none": []})
    assert not total[[0, 2]].any()
    return total[1]


def test_each_shape_is_recorded_once_after_its_warm_up_and_repeated() -> None:
    recorder = Repeater()
    step = CapturedStep(add, recorder)
    assert torch.equal(run(step, (4, 2), 6), torch.full((4, 2), complex(15, 6)))
    assert (recorder.recordings, recorder.replays) == (1, 4)
    assert torch.equal(run(step, (5,), 2), torch.full((5,), complex(1, 2)))
    assert (recorder.recordings, recorder.replays) == (1, 4)
    assert torch.equal(run(step, (5,), 3), torch.full((5,), complex(3, 3)))
    assert torch.equal(run(step, (4, 2), 1), torch.full((4, 2), 1j))
    assert (recorder.recordings, recorder.replays, recorder.steps) == (2, 8, 12)


def test_without_a_recorder_the_work_is_done_on_the_tensors_themselves() -> None:
    step = CapturedStep(add)
    assert torch.equal(run(step, (2, 2), 4), torch.full((2, 2), complex(6, 4)))
    step.join()


def test_what_cannot_be_recorded_is_said_once_and_done_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Repeater(failure=RuntimeError("operation not permitted\nwhen stream is capturing"))
    step = CapturedStep(add, recorder)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(run(step, (4, 2), 6), torch.full((4, 2), complex(15, 6)))
        assert torch.equal(run(step, (3,), 6), torch.full((3,), complex(15, 6)))
    assert [record.getMessage() for record in caplog.records] == [
        "training steps could not be recorded, and are launched one by one: "
        "operation not permitted when stream is capturing"
    ]
    assert recorder.replays == 0


def test_a_device_without_memory_is_not_taken_for_one_that_cannot_record() -> None:
    step = CapturedStep(add, Repeater(failure=torch.OutOfMemoryError("out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        run(step, (3,), 6)


# -- the training's step ------------------------------------------------------------------------------------------


def scan() -> RadialScan:
    return cine_scan(frames=FRAMES, matrix=(22, 17))


def measured(device: str = "cpu") -> FrameHistory:
    history = FrameHistory(FRAMES)
    for index, (kspace, traj) in enumerate(zip(scan().kspace, scan().traj, strict=True)):
        frame = MeasuredFrame.from_samples(index, kspace, traj, scan().shape)
        moved = replace(frame, coil_images=frame.coil_images.to(device), kernel=frame.kernel.to(device))
        history.append(moved)
    return history


def trainer(history: FrameHistory, recorder: Repeater | None = None, device: str = "cpu") -> InrTrainer:
    made = InrTrainer(scan().shape, InrParameters(refine_passes=8.0), 1.2, 9.0, torch.device(device), recorder)
    for n_frames in range(1, FRAMES + 1):
        made.extend(n_frames, history)
    return made


def trained(recorder: Repeater | None, device: str = "cpu") -> Tensor:
    history, csm, draft = measured(device), scan().maps.to(device), scan().truth.to(device)
    made = trainer(history, recorder, device)
    for _ in range(7):
        made.tune(history, csm)
    made.predict(FRAMES - 1)
    made.refine(history, csm, draft)
    return made.series(torch.arange(FRAMES)).cpu()


def test_recorded_training_gives_the_same_images() -> None:
    recorder = Repeater()
    # Not to the bit: where a tensor lies decides which of its sums a processor adds at once.
    assert error(trained(recorder), trained(None)) < 1e-5
    steps = 7 + 8 * FRAMES // 6
    assert (recorder.recordings, recorder.replays, recorder.steps) == (2, steps - 4, steps)
    assert recorder.joins > 0


def test_a_step_never_waits_for_its_device() -> None:
    """Tensors without data cannot be looked at: every float(..), bool(..) or .item() would be an error."""
    history, csm = measured("meta"), scan().maps.to("meta")
    recorder = Repeater("meta")
    made = trainer(history, recorder, "meta")
    for _ in range(5):
        made.tune(history, csm)
    assert (recorder.recordings, recorder.replays) == (1, 3)
    with pytest.raises((RuntimeError, NotImplementedError)):
        made.predict(FRAMES - 1)  # which looks whether the steps were finite


def test_a_step_that_failed_is_named_when_it_is_looked_at_later(monkeypatch: pytest.MonkeyPatch) -> None:
    history = measured()
    made = trainer(history)
    finish = made._finish
    monkeypatch.setattr(made, "_finish", lambda: None)  # as on CUDA, where it is looked at now and then
    for _ in range(2):
        made.tune(history, scan().maps)
    history[FRAMES - 1].coil_images[0, 3, 4] = float("nan")
    for _ in range(4):
        made.tune(history, scan().maps)
    with pytest.raises(DataError, match=r"^a gradient that is not finite at step 5, frames 6 to 8; expected"):
        finish()


# -- CUDA ---------------------------------------------------------------------------------------------------------

needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}"),
]


class TestCuda:
    pytestmark = needs_cuda

    def test_slices_that_train_in_turns_do_not_meet(self) -> None:
        histories, csm = [measured("cuda"), measured("cuda")], scan().maps.cuda()
        together = [trainer(history, None, "cuda") for history in histories]
        for _ in range(40):
            for made, history in zip(together, histories, strict=True):
                made.tune(history, csm)
        alone = trainer(histories[0], None, "cuda")
        for _ in range(40):
            alone.tune(histories[0], csm)
        expected = alone.series(torch.arange(FRAMES))
        for made in together:
            assert error(made.series(torch.arange(FRAMES)), expected) < 1e-3

    def test_it_is_recorded_and_agrees_with_the_cpu(self, caplog: pytest.LogCaptureFixture) -> None:
        there = trained(None, "cuda")
        assert not caplog.records  # a step that could not be recorded is said
        assert error(there, trained(None)) < 0.02

    @pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
    def test_a_step_does_not_wait(self) -> None:
        history, csm = measured("cuda"), scan().maps.cuda()
        made = trainer(history, None, "cuda")
        for _ in range(4):
            made.tune(history, csm)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(8):
                made.tune(history, csm)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_tf32_does_not_change_images(self) -> None:
        """Why products are left at full precision unless somebody measures this on a device and finds it to hold."""
        full = trained(None, "cuda")
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            assert error(trained(None, "cuda"), full) < 0.02
        finally:
            torch.set_float32_matmul_precision(before)
