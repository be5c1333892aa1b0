"""The program of the GPU's benchmark, on the CPU: what it measures is measured, and without a GPU it says so."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
import torch

from inr_core.devices import cuda_problem
from programs import program

gpu = program("gpu")

CPU = torch.device("cpu")
TINY = replace(gpu.QUICK, matrix=24, coils=3)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(gpu, "cuda_problem", lambda: "torch sees no CUDA device")
    gpu.main()
    assert capsys.readouterr().out == "no GPU: torch sees no CUDA device; nothing was measured\n"


def test_every_target_has_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_TIMED_STEPS", 2)
    monkeypatch.setattr(gpu, "_WARM_STEPS", 1)
    scan = gpu.acquire(TINY)
    assert len(scan.kspace) == len(scan.traj) == len(scan.truth) == TINY.frames
    figures = [*gpu.live_figures(scan, TINY, CPU), *gpu.refined_figures(scan, TINY, CPU)]
    figures += gpu.step_figures(scan, TINY, CPU)
    figures += gpu.contrast_figures(scan, TINY, CPU)
    assert [figure.target for figure in figures if figure.target] == [
        "<= 39",
        ">= 40",
        "<= 5",
        "<= 1536",
        ">= 1.5",
        "<= 30",
    ]
    values = {figure.what: figure.value for figure in figures}
    assert values["refined PSNR, dB"] > values["live PSNR, dB"] > 20
    assert values["contrast: refined PSNR, dB"] == values["refined PSNR, dB"]
    assert abs(values["with TF32: refined PSNR - that without, dB"]) < 0.2
    assert all(math.isnan(value) for what, value in values.items() if "memory" in what)
    assert all(value > 0 for what, value in values.items() if what.startswith("training step"))
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_a_small_scan_on_the_gpu() -> None:
    scan, device = gpu.acquire(gpu.QUICK), torch.device("cuda")
    gpu.first_run(scan, gpu.QUICK, device)
    values = {figure.what: figure.value for figure in gpu.refined_figures(scan, gpu.QUICK, device)}
    assert values["refined PSNR, dB"] > 25
    assert 0 < values["device memory that torch reserved, MiB"] < 1536
