"""What is installed on this machine, and whether a reconstruction can run on it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass

from inr_core.errors import InrError

# What each optional extra of the package brings, as importable modules.
EXTRAS = {
    "pictures": ("imageio", "matplotlib", "PIL", "skimage"),
    "video": ("imageio_ffmpeg",),
    "package": ("fpdf", "jsonschema"),
    "dicom": ("pydicom",),
    "nifti": ("nibabel",),
    "cuda": ("cufinufft", "cupy"),
}
NEEDED = ("numpy", "torch", "torchkbnufft", "finufft", "ismrmrd", "gadgetron", "h5py", "typer", "rich")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    subject
        What was looked at.
    state
        ``"ok"``, ``"missing"`` (optional: something will not be available) or ``"bad"`` (a reconstruction cannot run).
    text
        What was found, and what to do where something is amiss.
    """

    subject: str
    state: str
    text: str


def examine(port: int = 9002) -> list[Finding]:
    """Look at everything that a reconstruction needs; nothing is changed and nothing is downloaded.

    Parameters
    ----------
    port
        The port at which a server would listen.
    """
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _torch,
        _nufft,
        _configs,
        lambda: _port(port),
        _extras,
    ]
    return [finding for check in checks for finding in check()]


def usable(findings: list[Finding]) -> bool:
    """Tell whether a reconstruction can run."""
    return all(finding.state != "bad" for finding in findings)


def _python() -> list[Finding]:
    version = platform.python_version_tuple()
    state = "ok" if (int(version[0]), int(version[1])) >= (3, 11) else "bad"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [Finding("python", state, f"{platform.python_version()} on {platform.platform(terse=True)}, {cores} cores")]


def _packages() -> list[Finding]:
    findings = []
    for name in NEEDED:
        version = _version(name)
        if version is None or importlib.util.find_spec(name) is None:
            findings.append(Finding(name, "bad", "not installed; reinstall inr-recon: pip install inr-recon"))
        else:
            findings.append(Finding(name, "ok", version))
    return findings


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch devices", "bad", f"torch does not load: {error}")]
    findings = [Finding("torch threads", "ok", f"{torch.get_num_threads()}")]
    if not torch.cuda.is_available():
        return [*findings, Finding("torch devices", "ok", "cpu (no CUDA device)")]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [
        *findings,
        Finding("torch devices", "ok", "cpu, " + ", ".join(f"cuda:{i} {n}" for i, n in enumerate(names))),
    ]


def _nufft() -> list[Finding]:
    """Try each backend on one tiny adjoint: an installed library may still not load."""
    import numpy as np

    def try_finufft() -> None:
        import finufft

        finufft.nufft2d1(np.zeros(1), np.zeros(1), np.ones(1, dtype=np.complex128), (4, 4))

    def try_torchkbnufft() -> None:
        import torch
        import torchkbnufft

        torchkbnufft.KbNufftAdjoint(im_size=(4, 4))(torch.ones(1, 1, 1, dtype=torch.complex64), torch.zeros(2, 1))

    def try_cufinufft() -> None:
        import cufinufft  # noqa: F401 - loading it is the check

    findings = []
    for name, attempt in (("finufft", try_finufft), ("torchkbnufft", try_torchkbnufft)):
        try:
            attempt()
        except (ImportError, OSError, RuntimeError) as error:
            findings.append(Finding(f"nufft {name}", "bad", f"does not run: {error}"))
        else:
            findings.append(Finding(f"nufft {name}", "ok", "runs"))
    try:
        try_cufinufft()
    except (ImportError, OSError, RuntimeError):
        findings.append(Finding("nufft cufinufft", "missing", "only for CUDA: pip install 'inr-recon[cuda]'"))
    else:
        findings.append(Finding("nufft cufinufft", "ok", "loads"))
    return findings


def _configs() -> list[Finding]:
    from inr_gadgets.configs import find_config, list_configs

    try:
        path = find_config("inr_dynamic")
    except InrError as error:
        return [Finding("configurations", "bad", str(error))]
    return [Finding("configurations", "ok", f"{', '.join(p.stem for p in list_configs())}; inr_dynamic is {path}")]


def _port(port: int) -> list[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # As the server does: a port that is only waiting for its last connection's end counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            text = f"{error.strerror}; stop what listens there or serve on another: inr-recon serve --port {port + 1}"
            return [Finding(f"port {port}", "missing", text)]
    return [Finding(f"port {port}", "ok", "free on 127.0.0.1")]


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
