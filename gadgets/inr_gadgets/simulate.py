"""An analytic phantom as an ISMRMRD golden-angle scan, with its truth beside it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ismrmrd
import numpy as np

from inr_core.errors import DataError, ParameterError
from inr_core.parameters import parameter, parse
from inr_core.trajectory import golden_angle, radial_trajectory, raga_angle, spoke_angles
from inr_gadgets.scan_file import ScanWriter

PHANTOMS = ("cine",)

# What MRD counts time in.
_TICK_MS = 2.5
_ECG_WAVEFORM_ID, _ECG_SAMPLE_MS, _ECG_SAMPLES = 0, 2.5, 40


@dataclass(frozen=True)
class SimulationParameters:
    """What ``simulate`` can be asked for."""

    phantom: str = parameter("cine", "the object", choices=PHANTOMS)
    matrix: int = parameter(96, "reconstructed matrix along x", unit="pixels", minimum=16, maximum=1024)
    matrix_y: int = parameter(0, "along y; 0 for the same as x", unit="pixels", minimum=0, maximum=1024)
    fov_mm: float = parameter(300.0, "field of view along x; pixels are square", unit="mm", minimum=1)
    frames: int = parameter(40, "number of frames", minimum=1)
    spokes: int = parameter(13, "spokes of a frame", minimum=1)
    coils: int = parameter(8, "receive coils", minimum=1, maximum=1024)
    tr_ms: float = parameter(3.0, "time from spoke to spoke", unit="ms", minimum=0.1)
    angle: str = parameter("golden", "golden, tinyN, ragaN (N spokes in a full set) or degrees from spoke to spoke")
    base: str = parameter("pi", "what golden, tiny and raga divide: a half turn or a full one", choices=("pi", "2pi"))
    first_angle_deg: float = parameter(0.0, "angle of the first spoke", unit="degrees")
    trajectory: str = parameter("embedded", "whether the readouts carry their trajectory", choices=("embedded", "none"))
    noise: float = parameter(1e-3, "standard deviation of the real part, relative to the largest sample", minimum=0)
    noise_correlation: float = parameter(0.0, "correlation of the noise of neighbouring coils", minimum=0, maximum=0.95)
    noise_scan: bool = parameter(False, "begin with a noise readout")
    ecg: bool = parameter(False, "send an electrocardiogram as waveforms between the readouts")
    period_ms: float = parameter(900.0, "duration of a heart beat", unit="ms", minimum=100)
    respiration_mm: float = parameter(0.0, "path of heart and liver with the breath", unit="mm", minimum=0, maximum=5)
    seed: int = parameter(0, "of noise and coils", minimum=0)


@dataclass(frozen=True)
class Simulated:
    """What was written.

    Attributes
    ----------
    scan, truth
        The two files.
    duration_ms
        How long the scan takes.
    sigma
        Standard deviation of the noise's real part, in the units of the data.
    """

    scan: Path
    truth: Path
    duration_ms: float
    sigma: float


def simulate(
    path: str | os.PathLike[str],
    parameters: SimulationParameters | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    **options: object,
) -> Simulated:
    """Write a scan, and its truth beside it as ``.truth.npz``.

    The truth file holds ``truth`` (frames, x, y) complex64, the band-limited object at the mean time of each frame's
    spokes times the coils' root-sum-of-squares; ``coils`` (coils, x, y) complex64 with unit root-sum-of-squares;
    ``spokes``, ``angle_deg``, ``times_ms`` (frames,), ``period_ms`` and ``sigma``. Note x before y: the image is
    ``truth[frame].T``. Truth and data share the scale of :func:`inr_core.phantoms.kspace`. Every spoke sees the object
    at its own time.

    Parameters
    ----------
    path
        The .h5 file. An existing one is replaced only if its truth lies beside it: then it was simulated too.
    parameters
        What to simulate; or give single ``options`` by name.
    progress
        Called with the share that is done, 0 to 1.

    Raises
    ------
    ParameterError
        For a parameter that is unknown or out of range, or a field of view that the object does not fit into.
    DataError
        If the file cannot be written or is a scan that was not simulated.
    """
    if parameters is None:
        parameters = parse(SimulationParameters, options, "simulate")
    elif options:
        raise ParameterError(f"simulate got parameters and the options {', '.join(options)}", "the one or the other")
    path = Path(path)
    truth_path = path.with_suffix(".truth.npz")
    if path.exists() and not truth_path.exists():
        raise DataError(f"{path} exists and is not a simulated scan", "a new file", "choose another name or remove it")
    partial = path.with_name(path.name + ".part")
    try:
        with ScanWriter(partial, _header_xml(parameters).encode(), overwrite=True) as writer:
            sigma, truth, coils = _write(writer, parameters, progress or (lambda share: None))
        # Written whole before it takes its name: a simulation that was broken off leaves no scan that looks complete.
        _save_truth(truth_path, parameters, sigma, truth, coils)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error
    finally:
        partial.unlink(missing_ok=True)
    return Simulated(path, truth_path, parameters.frames * parameters.spokes * parameters.tr_ms, sigma)


def angle_step_deg(angle: str, base: str = "pi") -> float:
    """Degrees from spoke to spoke of a scheme: ``golden``, ``tiny7``, ``raga233`` or a number of degrees.

    Raises
    ------
    ParameterError
        If it is none of these.
    """
    if base not in ("pi", "2pi"):
        raise ParameterError(f"simulate.base = '{base}'", "one of pi, 2pi")
    turn: Literal["pi", "2pi"] = "2pi" if base == "2pi" else "pi"
    scheme = re.fullmatch(r"(golden)|tiny(\d+)|raga(\d+)", angle.strip().lower())
    if scheme:
        golden, tiny, raga = scheme.groups()
        return raga_angle(int(raga), base=turn) if raga else golden_angle(1 if golden else int(tiny), turn)
    try:
        degrees = float(angle)
    except ValueError:
        degrees = math.nan
    if not math.isfinite(degrees):
        raise ParameterError(f"simulate.angle = '{angle}'", "golden, tinyN, ragaN or a number of degrees")
    return degrees


def _write(
    writer: ScanWriter, p: SimulationParameters, progress: Callable[[float], None]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Write all readouts; gives the noise's sigma, the truth (frames, y, x) and the coils' maps (coils, y, x)."""
    # The phantoms bring torch with them, which the command line must not wait for.
    from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace, noise, noise_correlation, truth

    grid = Grid(*_geometry(p))
    phantom = CinePhantom(period_ms=p.period_ms, respiration_mm=p.respiration_mm)
    _check_fit(grid.fov_mm, CinePhantom.SIZE_MM)
    coils = CoilArray.loops(p.coils, grid.fov_mm, p.seed)
    rng = np.random.default_rng((p.seed, 1))
    covariance = noise_correlation(p.coils, p.noise_correlation) if p.noise_correlation else None
    step, n_samples = angle_step_deg(p.angle, p.base), 2 * p.matrix
    images = []
    sigma = 0.0
    for frame in range(p.frames):
        counter = frame * p.spokes + np.arange(p.spokes)
        times = counter * p.tr_ms
        traj = radial_trajectory(spoke_angles(counter, step, p.first_angle_deg), n_samples)
        data = kspace(phantom, coils, grid, traj, times)
        if frame == 0:
            sigma = p.noise * float(np.abs(data).max())
            if p.noise_scan:
                writer.append(_noise_readout(noise((p.coils, n_samples), sigma, rng, covariance)))
        data += noise(data.shape, sigma, rng, covariance)
        for spoke in range(p.spokes):
            writer.append(
                _readout(p, data[:, spoke], traj[spoke], int(counter[spoke]), phantom.phase(times[spoke]).item())
            )
        if p.ecg:
            for waveform in _ecg(p, times[0], times[-1] + p.tr_ms):
                writer.append(waveform)
        images.append(truth(phantom, grid, np.array([times.mean()]), coils)[0])
        progress((frame + 1) / p.frames)
    return sigma, np.stack(images), coils.maps(grid.points) / coils.rss(grid.points)


def _geometry(p: SimulationParameters) -> tuple[tuple[int, int], tuple[float, float]]:
    """Matrix and field of view, each (x, y)."""
    height = p.matrix_y or p.matrix
    return (p.matrix, height), (p.fov_mm, p.fov_mm * height / p.matrix)


def _check_fit(fov_mm: tuple[float, float], size_mm: tuple[float, float]) -> None:
    if fov_mm[0] < size_mm[0] or fov_mm[1] < size_mm[1]:
        raise ParameterError(
            f"a field of view of {fov_mm[0]:g} x {fov_mm[1]:g} mm",
            f"at least the object's {size_mm[0]:g} x {size_mm[1]:g} mm",
            "raise fov_mm or matrix_y",
        )


def _readout(
    p: SimulationParameters, data: np.ndarray, traj: np.ndarray, counter: int, phase: float
) -> ismrmrd.Acquisition:
    """One spoke, with everything that a scanner would put into its header."""
    frame, spoke = divmod(counter, p.spokes)
    readout = ismrmrd.Acquisition.from_array(data, traj if p.trajectory == "embedded" else None)
    readout.scan_counter = counter
    readout.center_sample = data.shape[1] // 2
    readout.sample_time_us = 2.0
    readout.acquisition_time_stamp = round(counter * p.tr_ms / _TICK_MS)
    # The first physiological stamp is the time since the R wave.
    readout.physiology_time_stamp[0] = round(phase * p.period_ms / _TICK_MS)
    readout.position[:] = (10.0, -20.0, 30.0)
    readout.read_dir[:], readout.phase_dir[:], readout.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    readout.idx.kspace_encode_step_1 = spoke
    readout.idx.repetition = frame % (1 << 16)
    if spoke == 0:
        readout.setFlag(ismrmrd.ACQ_FIRST_IN_REPETITION)
    if spoke == p.spokes - 1:
        readout.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)
        if frame == p.frames - 1:
            readout.setFlag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    return readout


def _noise_readout(data: np.ndarray) -> ismrmrd.Acquisition:
    readout = ismrmrd.Acquisition.from_array(data)
    readout.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    readout.sample_time_us = 2.0
    return readout


def _ecg(p: SimulationParameters, start_ms: float, end_ms: float) -> Iterator[ismrmrd.Waveform]:
    """The electrocardiogram's blocks that begin in [start, end): P, Q, R, S and T as Gaussian bumps around 2048."""
    block_ms = _ECG_SAMPLES * _ECG_SAMPLE_MS
    for block in range(math.ceil(start_ms / block_ms), math.ceil(end_ms / block_ms)):
        since_r = (block * block_ms + np.arange(_ECG_SAMPLES) * _ECG_SAMPLE_MS + p.period_ms / 2) % p.period_ms
        since_r -= p.period_ms / 2
        bumps = ((-160, 25, 150), (-28, 8, -120), (0, 10, 1400), (28, 9, -280), (0.3 * p.period_ms, 45, 320))
        voltage = np.sum([height * np.exp(-(((since_r - at) / width) ** 2)) for at, width, height in bumps], axis=0)
        waveform = ismrmrd.Waveform.from_array((2048 + voltage).astype(np.uint32)[None])
        waveform.waveform_id = _ECG_WAVEFORM_ID
        waveform.time_stamp = round(block * block_ms / _TICK_MS)
        waveform.sample_time_us = 1000 * _ECG_SAMPLE_MS
        waveform.scan_counter = math.ceil(block * block_ms / p.tr_ms)
        yield waveform


def _save_truth(path: Path, p: SimulationParameters, sigma: float, truth: np.ndarray, coils: np.ndarray) -> None:
    times = (np.arange(p.frames) * p.spokes + (p.spokes - 1) / 2) * p.tr_ms
    values: dict[str, Any] = {"spokes": p.spokes, "angle_deg": angle_step_deg(p.angle, p.base), "times_ms": times}
    np.savez_compressed(
        path,
        truth=truth.transpose(0, 2, 1),
        coils=coils.transpose(0, 2, 1).astype(np.complex64),
        period_ms=p.period_ms,
        sigma=sigma,
        **values,
    )


def _header_xml(p: SimulationParameters) -> str:
    (nx, ny), (fov_x, fov_y) = _geometry(p)
    # Without a trajectory the header is all that says how the spokes go round.
    kind = "goldenangle" if p.angle == "golden" and p.base == "pi" else "radial"
    limit = "<minimum>0</minimum><maximum>{}</maximum><center>0</center>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation><measurementID>simulated_{p.phantom}_{p.seed}</measurementID>
    <patientPosition>HFS</patientPosition><protocolName>simulated {p.phantom}</protocolName></measurementInformation>
  <acquisitionSystemInformation><systemVendor>inr-recon</systemVendor><systemModel>simulation</systemModel>
    <systemFieldStrength_T>2.89</systemFieldStrength_T><receiverChannels>{p.coils}</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>{2 * nx}</x><y>{ny}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{2 * fov_x}</x><y>{fov_y}</y><z>8</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>{nx}</x><y>{ny}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{fov_x}</x><y>{fov_y}</y><z>8</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>{limit.format(p.spokes - 1)}</kspace_encoding_step_1>
      <repetition>{limit.format(min(p.frames - 1, 65535))}</repetition>
    </encodingLimits>
    <trajectory>{"radial" if p.trajectory == "embedded" else kind}</trajectory>
  </encoding>
  <sequenceParameters><TR>{p.tr_ms}</TR><TE>{p.tr_ms / 2}</TE><flipAngle_deg>45</flipAngle_deg></sequenceParameters>
</ismrmrdHeader>"""
