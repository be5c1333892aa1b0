"""The GPU beside its targets: live frames with training between them, refined series, memory.

    python benchmarks/gpu.py [--quick]

It needs torch with a CUDA device that works, and of the project the core alone; the scans are phantoms and made here.
Without a device it says so and ends. Times are those of the host's clock with the images back on the host.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from options import Options
from results import Figure, at_least, at_most, machine, save, show
from torch import Tensor

from inr_core.devices import cuda_problem, prepare_process
from inr_core.methods import get_method, make_live
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
    described, device = machine(), torch.device("cuda")
    cine, dce = (QUICK, QUICK) if quick else (CINE, DCE)
    scan = acquire(cine)
    first_run(scan, cine, device)
    figures = [*live_figures(scan, cine, device), *step_figures(scan, cine, device)]
    figures += refined_figures(scan, cine, device)
    figures += contrast_figures(acquire(dce), dce, device)
    show(f"{torch.cuda.get_device_name(device)}: {cine.name}; {dce.name}", figures)
    print(f"written to {save('gpu', described, f'{cine.name}; {dce.name}', figures, quick=quick)}")


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


def first_run(scan: Scan, case: Case, device: torch.device) -> None:
    """What a warm server has behind it: libraries are loaded and their plans made."""
    stream(make("inr", case, device), scan, case)


def stream(method: LiveMethod, scan: Scan, case: Case) -> tuple[list[float], list[int], list[Tensor]]:
    """Frames at the scan's own pace, training while the next one is awaited.

    Returns
    -------
    seconds from the frame's arrival to its image on the host, training steps until the next frame, and the images
    """
    seconds, steps, images = [], [], []
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        begin = time.monotonic()
        images.append(method.add_frame(samples, traj).cpu())
        seconds.append(time.monotonic() - begin)
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
    reserved = peak_mib(device)
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
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """The most that torch held of the device since then; NaN on a CPU."""
    return torch.cuda.max_memory_reserved(device) / _MIB if device.type == "cuda" else float("nan")


if __name__ == "__main__":
    main()
