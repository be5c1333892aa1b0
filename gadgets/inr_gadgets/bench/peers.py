"""The peers: BART's GRASP (offline) and RT-NLINV (frame by frame) on the same scan.

Both are measured; the program is Debian's package ``bart``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.bench.process import run_measured
from inr_gadgets.header import encoding, parse_header
from inr_gadgets.scan_file import ScanFile

GRASP_NAME = "BART GRASP"
# The best of one of these was found for each of 21, 13 and 5 spokes a frame of a cine.
GRASP_WEIGHTS: tuple[float, ...] = (0.002, 0.005, 0.01, 0.02)
_NOISE_FLAG = 1 << 18


@dataclass(frozen=True)
class PeerResult:
    """A peer's series.

    Attributes
    ----------
    images : (frames, y, x)
    seconds
        Of the whole reconstruction, files in and out of the program included.
    host_mib
        The largest resident set of its programs.
    """

    images: np.ndarray
    seconds: float
    host_mib: float


def available() -> bool:
    """Whether the program is installed."""
    return shutil.which("bart") is not None


def version() -> str:
    """The program's version, ``BART v0.8.00``."""
    said = subprocess.run(["bart", "version"], capture_output=True, text=True, check=True)
    return f"BART {said.stdout.strip()}"


def grasp(
    scan: Path, weight: float, virtual_coils: int = 8, iterations: int = 100, limit_s: float | None = None
) -> PeerResult:
    """Coil compression, ESPIRiT maps of the time average, parallel imaging with temporal total variation.

    Parameters
    ----------
    scan
        An ISMRMRD file of one slice whose readouts carry their trajectory.
    weight
        Of the total variation.
    virtual_coils, iterations
        Coils after compression; iterations of BART's ``pics``.
    limit_s
        Seconds for the whole; None for no limit.

    Raises
    ------
    ProgramError
        When the program fails or exceeds the limit.
    DataError
        When the scan is not of the kind above.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n, coils = _write_scan(scan, folder)
        bart = _Bart(folder, limit_s)
        _compress(bart, min(virtual_coils, coils))
        bart("nufft", "-i", "-d", f"{n}:{n}:1", "t_all", "kc_all", "average")
        bart("fft", "-u", 7, "average", "calibration")
        bart("ecalib", "-m", 1, "-r", 24, "-c", 0, "calibration", "maps")
        penalty = ("-R", f"T:{1 << 10}:0:{weight}")
        bart("pics", "-S", "-d", 0, "-i", iterations, *penalty, "-p", "ramp", "-t", "t", "kc", "maps", "x")
        return PeerResult(_images(folder / "x", n), bart.seconds, bart.host_mib)


def rt_nlinv(scan: Path, newton: int = 7, damping: float = 0.9, virtual_coils: int = 8) -> PeerResult:
    """Real-time NLINV: each frame from its own spokes and the frame before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n, coils = _write_scan(scan, folder)
        bart = _Bart(folder)
        _compress(bart, min(virtual_coils, coils))
        bart("rtnlinv", "-i", newton, "-T", damping, "-S", "-x", f"{2 * n}:{2 * n}:1", "-t", "t", "kc", "x")
        return PeerResult(_images(folder / "x", n), bart.seconds, bart.host_mib)


class _Bart:
    """Runs BART's tools one after the other in a folder; they share one time limit."""

    def __init__(self, folder: Path, limit_s: float | None = None) -> None:
        self._folder, self._limit_s = folder, limit_s
        self._begin = time.perf_counter()
        self.host_mib = 0.0

    @property
    def seconds(self) -> float:
        """Since the first tool could start."""
        return time.perf_counter() - self._begin

    def __call__(self, *words: object) -> None:
        left = None if self._limit_s is None else max(0.0, self._limit_s - self.seconds)
        measured = run_measured(["bart", *map(str, words)], left, self._folder)
        self.host_mib = max(self.host_mib, measured.host_mib)


def _write_scan(scan: Path, folder: Path) -> tuple[int, int]:
    """Write k-space, trajectory (cycles per field of view) and ramp; give the matrix and the number of coils."""
    with ScanFile(scan) as file:
        nx, ny = encoding(parse_header(file.header_xml), 0).matrix[:2]
        readouts = [a for a in file.acquisitions() if not a.flags & _NOISE_FLAG]
    spokes = np.bincount([a.idx.repetition for a in readouts])
    n, frames = nx, len(spokes)
    if nx != ny or len(set(spokes)) != 1 or any(a.traj.shape[1:] != (2,) for a in readouts):
        raise DataError(
            f"{scan} has {nx} x {ny} pixels, {sorted(set(spokes.tolist()))} spokes a frame, "
            f"{readouts[0].traj.shape[1] if readouts else 0} coordinates a sample",
            "for BART a square matrix, as many spokes in each frame, an embedded 2-D trajectory",
            "leave BART out",
        )
    data = np.stack([a.data for a in readouts]).reshape(frames, -1, *readouts[0].data.shape)
    traj = np.stack([a.traj for a in readouts]).reshape(*data.shape[:2], -1, 2) * n
    xyz = np.concatenate([traj, np.zeros_like(traj[..., :1])], -1)
    # pics weights the residual, so the weights are the root of the ramp.
    ramp = np.sqrt(np.hypot(*np.moveaxis(traj, -1, 0)) / (n / 2) + 1e-3)
    _write(folder / "k", _frames_last(data.transpose(3, 1, 2, 0)[None]))
    _write(folder / "k_all", data.transpose(3, 0, 1, 2).reshape(data.shape[3], -1, data.shape[2])[None])
    _write(folder / "t", _frames_last(xyz.transpose(3, 2, 1, 0)))
    _write(folder / "t_all", xyz.reshape(-1, *xyz.shape[2:]).transpose(2, 1, 0))
    _write(folder / "ramp", _frames_last(ramp.transpose(2, 1, 0)[None, :, :, None, :]))
    return n, data.shape[2]


def _compress(bart: _Bart, virtual_coils: int) -> None:
    bart("cc", "-p", virtual_coils, "-A", "-M", "k_all", "matrix")
    bart("ccapply", "-p", virtual_coils, "k", "matrix", "kc")
    bart("ccapply", "-p", virtual_coils, "k_all", "matrix", "kc_all")


def _frames_last(array: np.ndarray) -> np.ndarray:
    """BART keeps time in dimension 10."""
    return array.reshape(array.shape[:-1] + (1,) * (11 - array.ndim) + array.shape[-1:])


def _write(name: Path, array: np.ndarray) -> None:
    dims = list(array.shape) + [1] * (16 - array.ndim)
    name.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(name.with_suffix(".cfl"))


def _images(name: Path, n: int) -> np.ndarray:
    dims = [int(d) for d in name.with_suffix(".hdr").read_text().splitlines()[1].split()]
    data = np.fromfile(name.with_suffix(".cfl"), np.complex64).reshape(dims, order="F")
    return np.squeeze(data).reshape(n, n, -1).transpose(2, 1, 0)
