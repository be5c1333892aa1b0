"""The program of the GPU's benchmark, on the CPU: what it measures is measured, and without a GPU it says so."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inr_core.devices import cuda_problem
from inr_core.methods import get_method, make_live
from pretended_gpu import pretended_gpu
from programs import program

gpu, results = program("gpu"), program("results")

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
    assert all(math.isnan(value) for what, value in values.items() if "reserved" in what)
    assert all(value > 0 for what, value in values.items() if what.startswith("training step"))
    assert torch.get_float32_matmul_precision() == "highest"


def quick_run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    """The whole program, on a pretended GPU; what it has saved."""
    kind = get_method("inr").parameter_type
    few = kind(refine_passes=3.0, polish_rounds=1, polish_iterations=1, quick_iterations=2, iterations=2)
    make = gpu.make
    fast = {"inr": lambda case, device: make_live("inr", (case.matrix, case.matrix), few, device)}
    monkeypatch.setattr(gpu, "make", lambda name, *more: fast[name](*more) if name in fast else make(name, *more))
    for name, value in (("QUICK", TINY), ("_TIMED_STEPS", 4), ("_WARM_STEPS", 3), ("_SLICES", 2), ("_SETTLED", 3)):
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick"])
    monkeypatch.setattr(results, "TRIED", folder)
    monkeypatch.setattr(gpu, "compile_figures", lambda device: [])  # it compiles nothing that is not there
    with pretended_gpu():
        gpu.main()
    return json.loads((folder / "gpu.json").read_text())


def test_the_program_runs_on_a_pretended_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = quick_run(monkeypatch, tmp_path)
    assert saved["cuda"] == "Pretended GPU"
    assert {"date", "versions", "command", "cuda_runtime", "triton", "device_gib"} <= saved.keys()
    assert saved["failed"] == {}
    values = {figure["what"]: figure["value"] for figure in saved["figures"]}
    assert 0 < values["device memory of tensors, MiB"] < 100
    assert values["refined PSNR, dB"] > 20
    assert len([figure for figure in saved["figures"] if figure["target"]]) == 6
    assert "written to " in capsys.readouterr().out


def test_a_part_that_fails_costs_its_own_figures_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error:\nno kernel image")

    monkeypatch.setattr(gpu, "refined_figures", fails)
    for part in ("step_figures", "kernel_figures"):
        monkeypatch.setattr(gpu, part, lambda *_: [])
    with pytest.raises(SystemExit, match=r"^not measured: refined$"):
        quick_run(monkeypatch, tmp_path)
    saved = json.loads((tmp_path / "gpu.json").read_text())
    assert saved["failed"] == {"refined": "RuntimeError: CUDA error: no kernel image"}
    assert [f["target"] for f in saved["figures"] if f["target"]] == ["<= 39", ">= 40", "<= 30"]
    assert "no kernel image" in capsys.readouterr().err


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_a_small_scan_on_the_gpu() -> None:
    scan, device = gpu.acquire(gpu.QUICK), torch.device("cuda")
    gpu.first_run(scan, gpu.QUICK, device)
    values = {figure.what: figure.value for figure in gpu.refined_figures(scan, gpu.QUICK, device)}
    assert values["refined PSNR, dB"] > 25
    assert 0 < values["device memory that torch reserved, MiB"] < 1536
