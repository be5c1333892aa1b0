"""The GPU beside its targets: live frames with training between them, refined series, memory.

    python benchmarks/gpu.py [--quick]

It needs torch with a CUDA device that works, and of the project the core alone; the scans are phantoms and made here.
Without a device it says so and ends. Times are those of the host's clock with the images back on the host. What is
found is printed and saved part by part, and a part that fails costs its own figures only.
"""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from options import Options
from results import Figure, at_least, at_most, machine, save, show
from torch import Tensor

from inr_core.devices import cuda_problem, peak_memory_mib, prepare_process
from inr_core.methods import get_method, make_live
from inr_core.methods.host_copy import HostCopy
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import LiveMethod
from inr_core.metrics import score
from inr_core.phantoms import CinePhantom, CoilArray, DcePhantom, Grid, Phantom, kspace, truth
from inr_core.solvers.captured_step import CudaRecorder
from inr_core.solvers.inr_trainer import InrTrainer
from inr_core.trajectory import radial_trajectory, spoke_angles

_NOISE = 1e-3  # standard deviation of the real part, relative to the largest sample
_SETTLED = 6  # frames after which everything is warm and recorded
_WARM_STEPS, _TIMED_STEPS, _SLICES = 10, 100, 3
_MIB = 2**20


@dataclass(frozen=True)
class Case:
    """A scan: square matrix, field of view, coils, frames, spokes of a frame, and the time from spoke to spoke."""

    name: str
    phantom: Phantom
    matrix: int
    fov_mm: float
    coils: int
    frames: int
    spokes: int
    tr_ms: float

    @property
    def interval_s(self) -> float:
        """From frame to frame."""
        return 1e-3 * self.spokes * self.tr_ms


CINE = Case("cine 128 x 128 x 23, 32 coils, 13 spokes", CinePhantom(), 128, 300.0, 32, 23, 13, 3.0)
DCE = Case("DCE 384 x 384 x 17, 12 coils, 34 spokes", DcePhantom(), 384, 380.0, 12, 17, 34, 60.0)
QUICK = Case("cine 48 x 48 x 8, 4 coils, 13 spokes", CinePhantom(), 48, 300.0, 4, 8, 13, 3.0)


@dataclass(frozen=True)
class Scan:
    """A case's samples and trajectories, one of each a frame, and what they show, (frames, y, x)."""

    kspace: list[Tensor]
    traj: list[Tensor]
    truth: np.ndarray


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_quick("a small scan")
    quick = parser.parse_args().quick
    problem = cuda_problem()
    if problem is not None:
        print(f"no GPU: {problem}; nothing was measured")
        return
    prepare_process()
    device = torch.device("cuda")
    described = {**machine(), **software()}
    cine, dce = (QUICK, QUICK) if quick else (CINE, DCE)
    scan = acquire(cine)
    parts: dict[str, Callable[[], list[Figure]]] = {
        "first run": lambda: first_run(scan, cine, device),
        "live": lambda: live_figures(scan, cine, device),
        "training step": lambda: step_figures(scan, cine, device),
        "refined": lambda: refined_figures(scan, cine, device),
        "contrast": lambda: contrast_figures(acquire(dce), dce, device),
        "kernels": lambda: kernel_figures(scan, cine, device),
        "torch.compile": lambda: compile_figures(device),
    }
    figures, failed = list[Figure](), dict[str, str]()
    for name, measure in parts.items():
        found = attempt(name, measure, failed)
        figures += found
        show(f"{torch.cuda.get_device_name(device)}, {name}: {(dce if name == 'contrast' else cine).name}", found)
        path = save("gpu", described, f"{cine.name}; {dce.name}", figures, quick=quick, failed=failed)
    print(f"written to {path}")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def attempt(name: str, measure: Callable[[], list[Figure]], failed: dict[str, str]) -> list[Figure]:
    """The figures of a part; none, and the reason in ``failed``, where it fails: a device is not lent twice for it."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 - the other parts are to be measured whatever it is
        traceback.print_exc()
        failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return []


def software() -> dict[str, Any]:
    """What CUDA and its compilers are, beside the versions that every result has."""
    try:
        import triton

        compiler = triton.__version__
    except ImportError:
        compiler = "not installed"
    return {
        "cuda_runtime": torch.version.cuda,
        "triton": compiler,
        "device_gib": round(torch.cuda.mem_get_info()[1] / 2**30, 1),
    }


def acquire(case: Case) -> Scan:
    """Exact k-space of the phantom, with noise."""
    grid = Grid((case.matrix, case.matrix), (case.fov_mm, case.fov_mm))
    coils = CoilArray.loops(case.coils, grid.fov_mm)
    spokes = np.arange(case.frames * case.spokes)
    traj, times = radial_trajectory(spoke_angles(spokes), 2 * case.matrix), case.tr_ms * (spokes + 0.5)
    samples = kspace(case.phantom, coils, grid, traj, times)
    sigma, generator = _NOISE * float(np.abs(samples).max()), np.random.default_rng(0)
    samples += sigma * (generator.standard_normal(samples.shape) + 1j * generator.standard_normal(samples.shape))
    images = truth(case.phantom, grid, times.reshape(case.frames, -1).mean(1), coils)
    return Scan(
        list(torch.from_numpy(samples.astype(np.complex64)).split(case.spokes, dim=1)),
        list(torch.from_numpy(traj).split(case.spokes)),
        images,
    )


def make(name: str, case: Case, device: torch.device) -> LiveMethod:
    """A method with its defaults."""
    return make_live(name, (case.matrix, case.matrix), get_method(name).parameter_type(), device)  # type: ignore[arg-type]


def first_run(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """What a warm server has behind it: libraries are loaded and their plans made."""
    seconds, _, _ = stream(make("inr", case, device), scan, case)
    return [Figure("first frame of the process, s", seconds[0])]


def stream(method: LiveMethod, scan: Scan, case: Case) -> tuple[list[float], list[int], list[Tensor]]:
    """Frames at the scan's own pace, training while the next one is awaited.

    Returns
    -------
    seconds from the frame's arrival to its image on the host, training steps until the next frame, and the images
    """
    seconds, steps, images, copy = list[float](), list[int](), list[Tensor](), HostCopy()
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        begin = time.monotonic()
        images.append(method.add_frame(samples, traj).cpu())
        seconds.append(time.monotonic() - begin)
        copy.update(method)  # as a server does, lest the device be lost
        method.settle()
        taken, longest = 0, 0.0
        while time.monotonic() + longest < begin + case.interval_s and method.tune():
            taken += 1
            longest = max(longest, (time.monotonic() - begin - seconds[-1]) / taken)
        steps.append(taken)
    return seconds, steps, images


def live_figures(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """The live series, once everything is settled."""
    seconds, steps, images = stream(make("inr", case, device), scan, case)
    latency_ms = 1e3 * np.array(seconds[_SETTLED:])
    return [
        at_most("live frame, p95, ms", float(np.percentile(latency_ms, 95)), 39),
        Figure("live frame, median, ms", float(np.median(latency_ms))),
        at_least("training steps while the next frame is awaited, median", float(np.median(steps[_SETTLED:-1])), 40),
        Figure("live PSNR, dB", psnr(torch.stack(images), scan)),
    ]


class OneByOne(CudaRecorder):
    """Lets every step be launched kernel by kernel."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Refuse."""
        raise RuntimeError("left out, for comparison")


def step_figures(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """What recording a step is worth, and what slices gain that are trained in turns."""
    method = make("inr", case, device)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
        method.settle()
    if not isinstance(method, InrMethod) or method.calibration.csm is None:
        raise RuntimeError("inr has a field and maps")
    history, csm, strength = method.history, method.calibration.csm, method.history[0].strength

    def step_ms(slices: int, recorder: type[CudaRecorder] = CudaRecorder) -> float:
        trainers = []
        for _ in range(slices):
            made = recorder(device) if device.type == "cuda" else None
            trainers.append(InrTrainer(method.shape, method.parameters, 1.0, strength, device, made))
            trainers[-1].extend(len(history), history)
        for steps in (_WARM_STEPS, _TIMED_STEPS):
            begin = time.monotonic()
            for _ in range(steps):
                for trainer in trainers:
                    trainer.tune(history, csm)
            for trainer in trainers:
                trainer.predict(len(history) - 1).cpu()
        return 1e3 * (time.monotonic() - begin) / _TIMED_STEPS / slices

    recorded = step_ms(1)
    return [
        Figure("training step, one launch, ms", recorded),
        Figure("training step, kernel by kernel, ms", step_ms(1, OneByOne)),
        Figure(f"training step of {_SLICES} slices in turns, ms each", step_ms(_SLICES)),
    ]


def refined_figures(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """The refined series beside GRASP's on the same device, and what TF32 would make of it."""
    start_memory(device)
    images, seconds = refined("inr", scan, case, device)
    reserved, allocated = peak_mib(device), peak_memory_mib(device)
    grasp, grasp_seconds = refined("grasp", scan, case, device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        rounded, rounded_seconds = refined("inr", scan, case, device)
    finally:
        torch.set_float32_matmul_precision(before)
    ours = psnr(images, scan)
    return [
        at_most("refined series, s", seconds, 5),
        at_most("device memory that torch reserved, MiB", reserved, 1536),
        Figure("device memory of tensors, MiB", allocated),
        Figure("refined PSNR, dB", ours),
        at_least("refined PSNR - GRASP's (ours), dB", ours - psnr(grasp, scan), 1.5),
        Figure("GRASP, s", grasp_seconds),
        Figure("with TF32: refined PSNR - that without, dB", psnr(rounded, scan) - ours),
        Figure("with TF32: refined series, s", rounded_seconds),
    ]


def contrast_figures(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """The contrast agent's series."""
    start_memory(device)
    images, seconds = refined("inr", scan, case, device)
    return [
        at_most("contrast: refined series, s", seconds, 30),
        Figure("contrast: device memory that torch reserved, MiB", peak_mib(device)),
        Figure("contrast: refined PSNR, dB", psnr(images, scan)),
    ]


def kernel_figures(scan: Scan, case: Case, device: torch.device) -> list[Figure]:
    """What the device itself does of a frame and of a step, without the time that launches and waits take."""
    method, last = make("inr", case, device), len(scan.kspace) - 1
    for samples, traj in zip(scan.kspace[:last], scan.traj[:last], strict=True):
        method.add_frame(samples, traj)
        method.settle()
        for _ in range(_WARM_STEPS):
            method.tune()
    frame = kernels(lambda: method.add_frame(scan.kspace[last], scan.traj[last]).cpu())
    method.settle()
    method.tune()  # the first with room for this frame
    steps = kernels(lambda: [method.tune() for _ in range(_WARM_STEPS)])
    return [
        Figure("live frame: kernels and copies", len(frame)),
        Figure("live frame: the same, ms", sum(frame)),
        Figure("training step: kernels and copies", len(steps) / _WARM_STEPS),
        Figure("training step: the same, ms", sum(steps) / _WARM_STEPS),
    ]


def kernels(work: Callable[[], object]) -> list[float]:
    """Milliseconds of everything that the device did."""
    with torch.profiler.profile(acc_events=True) as profile:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    events = profile.events() or []
    return [e.time_range.elapsed_us() / 1e3 for e in events if e.device_type == torch.profiler.DeviceType.CUDA]


def compile_figures(device: torch.device) -> list[Figure]:
    """Whether torch.compile works here, on something like a field's decoder: it is not used, and could be."""
    weights, features = torch.randn(32, 20, device=device), torch.randn(20, 1 << 16, device=device)
    compiled = torch.compile(lambda w, x: (w @ x).relu().square().sum())
    begin = time.monotonic()
    difference = float((compiled(weights, features) / (weights @ features).relu().square().sum() - 1).abs())
    return [
        Figure("torch.compile, first call, s", time.monotonic() - begin),
        at_most("torch.compile, difference", difference, 1e-3),
    ]


def refined(name: str, scan: Scan, case: Case, device: torch.device) -> tuple[Tensor, float]:
    """The refined series of a method, and the seconds after the last frame."""
    method = make(name, case, device)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj).cpu()
        method.settle()
    begin = time.monotonic()
    series = method.refine()
    if series is None:
        raise RuntimeError(f"{name} refines")
    return series.images.cpu(), time.monotonic() - begin


def psnr(images: Tensor, scan: Scan) -> float:
    """Mean over the frames, dB."""
    return score(images.numpy(), scan.truth).summary()["psnr"]


def start_memory(device: torch.device) -> None:
    """Begin to watch the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """The most that torch held of the device since then; NaN on a CPU."""
    return torch.cuda.max_memory_reserved(device) / _MIB if device.type == "cuda" else float("nan")


if __name__ == "__main__":
    main()
