"""What is installed on this machine, and whether a reconstruction can run on it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from inr_core.errors import InrError
from inr_gadgets.checkup.doctor_gadgetron import examine_gadgetron
from inr_gadgets.checkup.findings import Finding
from inr_gadgets.checkup.listeners import who_listens
from inr_gadgets.checkup.requirements import numbers, oldest_python, oldest_versions
from inr_gadgets.serving.worker import PORT as WORKER_PORT

# What each optional extra of the package brings, as importable modules.
EXTRAS = {
    "pictures": ("imageio", "matplotlib", "PIL", "skimage"),
    "video": ("imageio_ffmpeg",),
    "package": ("fpdf", "jsonschema"),
    "dicom": ("pydicom",),
    "nifti": ("nibabel",),
    "mrd2": ("mrd",),
    "cuda": ("cufinufft",),
}
_FOLDER_CURES = {
    "current folder": "give outputs a path of their own, or change to a folder of yours",
    "temporary files": "set TMPDIR to a folder that can",
}
NEEDED = (
    "numpy",
    "torch",
    "torchkbnufft",
    "finufft",
    "numba",
    "filelock",
    "ismrmrd",
    "gadgetron",
    "h5py",
    "typer",
    "rich",
)


def examine(ports: Sequence[int] = (9002, WORKER_PORT)) -> list[Finding]:
    """Look at everything that a reconstruction needs; nothing is changed and nothing is downloaded.

    Parameters
    ----------
    ports
        Those at which a server and a worker would listen.
    """
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _torch,
        _memory,
        _nufft,
        _compiled,
        _configs,
        _folders,
        lambda: [_port(port) for port in ports],
        examine_gadgetron,
        _extras,
    ]
    return [finding for check in checks for finding in check()]


def usable(findings: list[Finding]) -> bool:
    """Tell whether everything that is needed here works."""
    return all(finding.state != "bad" for finding in findings)


def _python() -> list[Finding]:
    oldest = oldest_python()
    text = f"{platform.python_version()} ({sys.executable}) on {platform.platform(terse=True)}"
    if numbers(platform.python_version()) < oldest:
        needed = ".".join(map(str, oldest))
        return [Finding("python", "bad", f"{text}; inr-recon needs {needed} or later: make an environment with it")]
    return [Finding("python", "ok", text)]


def _packages() -> list[Finding]:
    findings = []
    oldest = oldest_versions()
    for name in NEEDED:
        version, least = _version(name), oldest.get(name, "")
        if version is None or importlib.util.find_spec(name) is None:
            findings.append(Finding(name, "bad", "not installed; reinstall inr-recon: pip install inr-recon"))
        elif numbers(version) < numbers(least):
            findings.append(Finding(name, "bad", f"{version} is too old: pip install '{name}>={least}'"))
        else:
            findings.append(Finding(name, "ok", version))
    return findings


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch devices", "bad", f"torch does not load: {error}")]
    findings = [_threads(torch.get_num_threads())]
    if not torch.cuda.is_available():
        return [*findings, Finding("torch devices", "ok", "cpu (no CUDA device)")]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [
        *findings,
        Finding("torch devices", "ok", "cpu, " + ", ".join(f"cuda:{i} {n}" for i, n in enumerate(names))),
    ]


def _threads(n_threads: int) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"{n_threads} of torch on {cores} cores"
    if n_threads > cores:
        cure = "they wait for one another at every step: set OMP_NUM_THREADS to the number of cores, or not at all"
        return Finding("threads", "missing", f"{text}; {cure}")
    return Finding("threads", "ok", text)


def _memory() -> list[Finding]:
    """What :func:`inr_core.devices.keep_pages` needs; it is not called, as it is for good."""
    if hasattr(ctypes.CDLL(None), "mallopt"):
        return [Finding("memory", "ok", "the C library can keep the pages of freed arrays (mallopt)")]
    return [Finding("memory", "missing", "the C library has no mallopt: frames take about twice their time; use glibc")]


def _folders() -> list[Finding]:
    """Where files are written: images to the current folder unless told otherwise."""
    findings = []
    for subject, folder in (("current folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        try:
            with tempfile.TemporaryFile(dir=folder):
                findings.append(Finding(subject, "ok", f"{folder} can be written"))
        except OSError as error:
            text = f"{folder} cannot be written ({error.strerror}); {_FOLDER_CURES[subject]}"
            findings.append(Finding(subject, "missing", text))
    return findings


def _nufft() -> list[Finding]:
    """Try each backend on one tiny adjoint: an installed library may still not load."""
    import numpy as np

    from inr_core.operators.nufft_backends import cufinufft_problem

    def try_finufft() -> None:
        import finufft

        finufft.nufft2d1(np.zeros(1), np.zeros(1), np.ones(1, dtype=np.complex128), (4, 4))

    def try_torchkbnufft() -> None:
        import torch
        import torchkbnufft

        torchkbnufft.KbNufftAdjoint(im_size=(4, 4))(torch.ones(1, 1, 1, dtype=torch.complex64), torch.zeros(2, 1))

    findings = []
    for name, attempt in (("finufft", try_finufft), ("torchkbnufft", try_torchkbnufft)):
        try:
            attempt()
        except (ImportError, OSError, RuntimeError) as error:
            findings.append(Finding(f"nufft {name}", "bad", f"does not run: {error}"))
        else:
            findings.append(Finding(f"nufft {name}", "ok", "runs"))
    problem = cufinufft_problem()
    if problem is None:
        findings.append(Finding("nufft cufinufft", "ok", "loads"))
    else:
        cure = "only for CUDA, which can do without: pip install 'inr-recon[cuda]'"
        findings.append(Finding("nufft cufinufft", "missing", f"{problem}; {cure}"))
    return findings


def _compiled() -> list[Finding]:
    """For which sizes frames are fast on a CPU, from the first one on."""
    try:
        from inr_core.function_cache import all_is_kept
        from inr_core.operators.prepared import kept, place
    except (ImportError, OSError) as error:
        return [Finding("compiled", "bad", f"what compiles does not load: {error}")]
    folder = place()
    sizes = ", ".join(f"{nx} x {ny}" for ny, nx in sorted(kept()))
    if sizes and not all_is_kept():
        cure = "for others set NUMBA_CACHE_DIR to a folder that can be written to"
        return [Finding("compiled", "ok", f"for {sizes}, used from a copy; {cure}")]
    if folder is None:
        cure = "each process compiles for itself, a minute: set NUMBA_CACHE_DIR to a folder that can be written to"
        return [Finding("compiled", "missing", f"nothing can be kept; {cure}")]
    if not sizes:
        cure = "the first start of a server does it for 128 x 128, in a minute or two, or now: inr-recon prepare 128"
        return [Finding("compiled", "missing", f"for no size yet in {folder}; {cure}")]
    return [Finding("compiled", "ok", f"for {sizes} in {folder}; for others: inr-recon prepare SIZE")]


def _configs() -> list[Finding]:
    from inr_gadgets.configs import find_config, list_configs

    try:
        path = find_config("inr_dynamic")
    except InrError as error:
        return [Finding("configurations", "bad", str(error))]
    return [Finding("configurations", "ok", f"{', '.join(p.stem for p in list_configs())}; inr_dynamic is {path}")]


def _port(port: int) -> Finding:
    command = "worker" if port == WORKER_PORT else "serve"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # As the server does: a port that is only waiting for its last connection's end counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            whose = f" by {listener}" if (listener := who_listens(port)) else ""
            cure = f"stop that, or take another: inr-recon {command} --port {port + 1}"
            return Finding(f"port {port}", "missing", f"{error.strerror}{whose}; {cure}")
    return Finding(f"port {port}", "ok", f"free on 127.0.0.1, for inr-recon {command}")


def _extras() -> list[Finding]:
    findings = []
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            text = f"{', '.join(absent)} not installed: pip install 'inr-recon[{extra}]'"
            findings.append(Finding(f"extra {extra}", "missing", text))
        else:
            findings.append(Finding(f"extra {extra}", "ok", ", ".join(modules)))
    return findings


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
