"""Which device to compute on, and what was used of it."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import resource
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from inr_core.errors import ParameterError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h

_NO_MEMORY = re.compile(r"CUDA\S* (?:error: )?out of memory|CU[A-Z]+_(?:STATUS_)?ALLOC_FAILED")
_FAILED = re.compile(
    r"CUDA (?:driver )?error|CU(?:BLAS|DNN|FFT|SOLVER|SPARSE)_|cu(?:FFT|BLAS|DNN|SOLVER|finufft)\b", re.I
)


class Trouble(Enum):
    """What a device may fail of, in words for the operator."""

    MEMORY = "the GPU has too little memory"
    FAILURE = "the GPU failed"


def share_cores() -> None:
    """Let torch's threads give their cores up when others want them; call it before torch is imported.

    OpenMP's threads spin while they wait for each other. Where another program holds a core, the one that is waited for
    is not running, and all spin for the rest of their time slice at each of a frame's hundreds of parallel loops: one
    busy neighbour on two cores turned 24 ms a frame into 170 to 1200 ms. After a thousand rounds they now sleep. A
    value that the environment sets already is left alone.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def prepare_process() -> None:
    """What a process that reconstructs should do first, before torch is imported."""
    share_cores()
    keep_pages()


def keep_pages() -> bool:
    """Let glibc keep the pages of freed arrays for the next ones; call it once. False where there is no glibc.

    Arrays of some megabytes, a frame's spectra, are by default mapped from the system and given back each time, and
    touching a new page costs more than computing with it: a Toeplitz product of 8 coils takes 10.1 ms so, and 4.6 ms
    with pages that are kept. All threads share one heap, or each would keep its own: what is kept is what was in use
    at most, and up to 128 MiB at the heap's end.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 128 << 20), (_M_ARENA_MAX, 1))
    return all(bool(mallopt(name, value)) for name, value in wanted)


class _Heap(ctypes.Structure):
    """What glibc's mallinfo2 tells, in bytes; ``fordblks`` is free."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    ]


def give_pages_back(above: int = 0) -> bool:
    """Give the pages that no array uses to the system; False if they are kept, or there is no glibc.

    What :func:`keep_pages` keeps grows in a long scan: the few bytes of a frame that stay lie between arrays that come
    and go, the room between them gets too small for the next large one, and more is taken. After 250 frames of
    128 x 128 such holes were 340 MiB of 1020. It takes 7 to 12 ms, during which nobody else gets memory.

    Parameters
    ----------
    above
        Bytes that are kept if there is no more than that: what comes next does not pay for new pages again.
    """
    try:
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
    except (AttributeError, OSError):
        return False
    if above > 0 and _free_bytes(library) <= above:
        return False
    trim(0)
    return True


def _free_bytes(library: ctypes.CDLL) -> float:
    """Bytes of the heap that no array uses; infinity where the C library does not tell (before glibc 2.33)."""
    try:
        tell = library.mallinfo2
    except AttributeError:
        return math.inf
    tell.restype = _Heap
    return int(tell().fordblks)


def choose_device(name: str) -> torch.device:
    """Turn a parameter's value into a device that works.

    ``auto`` is CUDA where a computation on it succeeds, else the CPU.

    Raises
    ------
    ParameterError
        If ``cuda`` was asked for by name and does not work; the message says why.
    """
    import torch

    if name not in DEVICES:
        raise ParameterError(f"device '{name}'", f"one of {', '.join(DEVICES)}")
    if name == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    if problem is None:
        return torch.device("cuda")
    if name == "cuda":
        raise ParameterError(f"device 'cuda', but {problem}", "a working CUDA device", "use recon.device=cpu or auto")
    return torch.device("cpu")


def cuda_problem() -> str | None:
    """Why CUDA cannot be used, in a few words; None if a computation on it succeeds."""
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        torch.fft.fft(torch.ones(8, device="cuda")).sum().item()
    except RuntimeError as error:
        return f"a test computation failed: {' '.join(str(error).split())}"
    return None


def device_trouble(error: RuntimeError) -> Trouble | None:
    """What a CUDA device failed of, by the error that it gave; None for an error that is not the device's."""
    import torch

    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY.search(text):
        return Trouble.MEMORY
    # The class is new in torch 2.8; before, such errors are told by their text alone.
    lost = getattr(torch, "AcceleratorError", ())
    return Trouble.FAILURE if isinstance(error, lost) or _FAILED.search(text) else None


def release_memory(device: torch.device) -> None:
    """Give memory that torch holds back for later use to whoever asks next."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()


def device_name(device: torch.device) -> str:
    """The device in words, e.g. ``NVIDIA H200`` or ``CPU x86_64, 2 threads``."""
    import torch

    from inr_core.lanes import n_lanes

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    n = n_lanes()
    return f"CPU {platform.machine()}, {n} thread{'s' * (n > 1)}"


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory of the process on a device since it began, MiB: resident set on the CPU, torch's on CUDA."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
