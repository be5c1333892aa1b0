"""The peers: BART's GRASP (offline) and RT-NLINV (frame by frame) on the same scan.

Both are timed; the program is Debian's package ``bart``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inr_gadgets.header import encoding, parse_header
from inr_gadgets.scan_file import ScanFile

_NOISE_FLAG = 1 << 18


@dataclass(frozen=True)
class PeerResult:
    """A peer's series.

    Attributes
    ----------
    images : (frames, y, x)
    seconds
        Of the whole reconstruction, files in and out of the program included.
    """

    images: np.ndarray
    seconds: float


def available() -> bool:
    """Whether the program is installed."""
    return shutil.which("bart") is not None


def grasp(scan: Path, weight: float, virtual_coils: int = 8, iterations: int = 100) -> PeerResult:
    """Coil compression, ESPIRiT maps of the time average, parallel imaging with temporal total variation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n, _ = _write_scan(scan, folder)
        begin = time.perf_counter()
        _compress(folder, virtual_coils)
        _bart(folder, "nufft", "-i", "-d", f"{n}:{n}:1", "t_all", "kc_all", "average")
        _bart(folder, "fft", "-u", 7, "average", "calibration")
        _bart(folder, "ecalib", "-m", 1, "-r", 24, "-c", 0, "calibration", "maps")
        regularisation = f"T:{1 << 10}:0:{weight}"
        _bart(
            folder,
            "pics",
            "-S",
            "-d",
            0,
            "-i",
            iterations,
            "-R",
            regularisation,
            "-p",
            "ramp",
            "-t",
            "t",
            "kc",
            "maps",
            "x",
        )
        seconds = time.perf_counter() - begin
        return PeerResult(_images(folder / "x", n), seconds)


def rt_nlinv(scan: Path, newton: int = 7, damping: float = 0.9, virtual_coils: int = 8) -> PeerResult:
    """Real-time NLINV: each frame from its own spokes and the frame before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n, _ = _write_scan(scan, folder)
        begin = time.perf_counter()
        _compress(folder, virtual_coils)
        _bart(folder, "rtnlinv", "-i", newton, "-T", damping, "-S", "-x", f"{2 * n}:{2 * n}:1", "-t", "t", "kc", "x")
        seconds = time.perf_counter() - begin
        return PeerResult(_images(folder / "x", n), seconds)


def _write_scan(scan: Path, folder: Path) -> tuple[int, int]:
    """Write k-space, trajectory (cycles per field of view) and ramp; give the matrix and the number of frames."""
    with ScanFile(scan) as file:
        n = encoding(parse_header(file.header_xml), 0).matrix[0]
        readouts = [a for a in file.acquisitions() if not a.flags & _NOISE_FLAG]
    frames = 1 + max(a.idx.repetition for a in readouts)
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
    return n, frames


def _compress(folder: Path, virtual_coils: int) -> None:
    _bart(folder, "cc", "-p", virtual_coils, "-A", "-M", "k_all", "matrix")
    _bart(folder, "ccapply", "-p", virtual_coils, "k", "matrix", "kc")
    _bart(folder, "ccapply", "-p", virtual_coils, "k_all", "matrix", "kc_all")


def _bart(folder: Path, *words: object) -> None:
    subprocess.run(["bart", *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)


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
