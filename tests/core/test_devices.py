"""The choice of a device."""

from __future__ import annotations

import platform
import subprocess
import sys
import types

import pytest
import torch

from inr_core.devices import choose_device, cuda_problem, device_name, give_pages_back, peak_memory_mib
from inr_core.errors import ParameterError

without_cuda = pytest.mark.skipif(cuda_problem() is None, reason="CUDA works here")


def test_the_cpu_is_there_and_has_a_name() -> None:
    device = choose_device("cpu")
    assert device == torch.device("cpu")
    assert device_name(device).startswith("CPU ")


@pytest.mark.parametrize(("n", "words"), [(1, ", 1 thread"), (2, ", 2 threads")])
def test_the_cpu_s_name_has_its_threads(n: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inr_core.lanes.n_lanes", lambda: n)
    assert device_name(torch.device("cpu")).endswith(words)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^device 'tpu'; expected one of auto, cpu, cuda$"):
        choose_device("tpu")


@without_cuda
def test_cuda_by_name_needs_cuda() -> None:
    with pytest.raises(ParameterError) as caught:
        choose_device("cuda")
    line = f"device 'cuda', but {cuda_problem()}; expected a working CUDA device; use recon.device=cpu or auto"
    assert str(caught.value) == line


@without_cuda
def test_auto_is_the_cpu_without_cuda() -> None:
    assert choose_device("auto") == torch.device("cpu")


def test_a_device_that_is_seen_but_does_not_compute_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", broken)
    assert cuda_problem() == "a test computation failed: no kernel image is available"
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ParameterError, match="device 'cuda', but a test computation failed: no kernel image is"):
        choose_device("cuda")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_freed_pages_are_kept() -> None:
    """Asked in a process of its own: what malloc has been told is never taken back."""
    code = (
        "import resource; from inr_core.devices import keep_pages; import torch\n"
        "def faults(): before = resource.getrusage(0).ru_minflt; torch.ones(2**21); torch.ones(2**21); "
        "return resource.getrusage(0).ru_minflt - before\n"
        "usual = faults(); assert keep_pages(); print(usual, [faults() for _ in range(9)][-1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert usual > 1000
    assert kept < 100


def test_peak_memory_follows_what_is_held() -> None:
    before = peak_memory_mib(torch.device("cpu"))
    held = torch.ones(int((before + 64) * 2**18))  # more than everything so far
    assert peak_memory_mib(torch.device("cpu")) > before + 32
    del held


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_auto_is_cuda_where_it_works() -> None:
    device = choose_device("auto")
    assert device.type == choose_device("cuda").type == "cuda"
    assert device_name(device) == torch.cuda.get_device_name()
    held = torch.ones(2**20, device=device)
    assert peak_memory_mib(device) >= 4
    del held


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_pages_between_arrays_that_stay_go_back() -> None:
    program = (
        "from inr_core.devices import give_pages_back, keep_pages; assert keep_pages(); import numpy as np\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096 >> 20\n"
        "large, small = [], []\n"
        "for _ in range(64): large.append(np.ones(1 << 20, np.uint8)); small.append(np.ones(4096, np.uint8))\n"
        "large.clear(); held = resident(); assert give_pages_back(); print(held - resident())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 50 < int(found.stdout) < 70  # MiB


def test_pages_are_kept_where_few_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []

    class Heap:
        fordblks = 10

    def tell() -> Heap:
        return Heap()

    library = types.SimpleNamespace(malloc_trim=trimmed.append, mallinfo2=tell)
    monkeypatch.setattr("inr_core.devices.ctypes.CDLL", lambda name: library)
    assert not give_pages_back(above=10)
    assert trimmed == []
    assert give_pages_back(above=9)
    assert give_pages_back()
    assert trimmed == [0, 0]
    del library.mallinfo2  # an older C library
    assert give_pages_back(above=10)
    del library.malloc_trim
    assert not give_pages_back()
    assert trimmed == [0, 0, 0]
