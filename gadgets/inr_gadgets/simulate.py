"""An analytic phantom as an ISMRMRD golden-angle scan, with its truth beside it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ismrmrd
import numpy as np

from inr_core.errors import DataError, ParameterError
from inr_core.gradient_delays import GradientDelays, corrected
from inr_core.parameters import parameter, parse, plain_name
from inr_core.trajectory import golden_angle, radial_trajectory, raga_angle, spoke_angles
from inr_gadgets.clock import TICK_MS
from inr_gadgets.scan_file import ScanWriter
from inr_gadgets.simulation.prescription import Prescription, prescribe
from inr_gadgets.simulation.simulated_physiology import WAVEFORM_INFORMATION, waveforms

if TYPE_CHECKING:
    from inr_core.phantoms import Grid, Phantom

PHANTOMS = ("cine", "dce", "quadrants")
# Where a phantom is usually scanned otherwise. A spoke of a slice every 60 ms is what a stack of stars of twelve
# partitions at a TR of 5 ms has; 40 frames of 34 spokes then take 82 s.
PHANTOM_DEFAULTS: Mapping[str, Mapping[str, object]] = {"dce": {"fov_mm": 380.0, "spokes": 34, "tr_ms": 60.0}}


@dataclass(frozen=True)
class SimulationParameters:
    """What ``simulate`` can be asked for; :data:`PHANTOM_DEFAULTS` has what is different for a phantom."""

    phantom: str = parameter("cine", "the object", choices=PHANTOMS)
    matrix: int = parameter(96, "reconstructed matrix along x", unit="pixels", minimum=16, maximum=1024)
    matrix_y: int = parameter(0, "along y; 0 for the same as x", unit="pixels", minimum=0, maximum=1024)
    fov_mm: float = parameter(300.0, "field of view along x; pixels are square", unit="mm", minimum=1)
    position: str = parameter(
        "10:-20:30", "centre of the field of view, L:P:S towards the patient's left, back and head", unit="mm"
    )
    orientation: str = parameter(
        "T", "T, C or S; T:C20 tilted by 20 degrees from transversal towards coronal; T:C20:S-10 double-oblique"
    )
    rotation_deg: float = parameter(0.0, "in-plane rotation, from read_dir towards phase_dir", unit="degrees")
    frames: int = parameter(40, "number of frames", minimum=1)
    spokes: int = parameter(13, "spokes of a frame", minimum=1)
    coils: int = parameter(8, "receive coils", minimum=1, maximum=1024)
    tr_ms: float = parameter(
        3.0, "time from spoke to spoke, in which all partitions of an angle are read", unit="ms", minimum=0.1
    )
    partitions: int = parameter(1, "dce: partitions of a stack of stars; 1 for a slice", minimum=1, maximum=256)
    slice_mm: float = parameter(
        8.0, "thickness of a slice, and of a stack's from one to the next", unit="mm", minimum=1
    )
    angle: str = parameter("golden", "golden, tinyN, ragaN (N spokes in a full set) or degrees from spoke to spoke")
    base: str = parameter("pi", "what golden, tiny and raga divide: a half turn or a full one", choices=("pi", "2pi"))
    first_angle_deg: float = parameter(0.0, "angle of the first spoke", unit="degrees")
    trajectory: str = parameter("embedded", "whether the readouts carry their trajectory", choices=("embedded", "none"))
    delays: str = parameter(
        "0:0:0", "gradient delays Sx:Sy:Sxy, samples: by how much samples do not lie where the trajectory says"
    )
    noise: float = parameter(1e-3, "standard deviation of the real part, relative to the largest sample", minimum=0)
    noise_correlation: float = parameter(0.0, "correlation of the noise of neighbouring coils", minimum=0, maximum=0.95)
    noise_scan: bool = parameter(False, "begin with a noise readout")
    ecg: bool = parameter(
        False, "send electrocardiogram and respiration as waveforms between the readouts, with their triggers"
    )
    period_ms: float = parameter(900.0, "duration of a heart beat", unit="ms", minimum=100)
    respiration_mm: float = parameter(0.0, "path of heart and liver with the breath", unit="mm", minimum=0, maximum=5)
    respiration_ms: float = parameter(4000.0, "duration of a breath", unit="ms", minimum=100)
    contrast_s: float = parameter(
        0.0,
        "dce: time in which the agent passes, 90 s in a patient; 0 for the duration of the scan",
        unit="s",
        minimum=0,
    )
    seed: int = parameter(0, "of noise and coils", minimum=0)

    @property
    def readout_ms(self) -> float:
        """From readout to readout: what a scanner calls TR."""
        return self.tr_ms / self.partitions

    @property
    def duration_ms(self) -> float:
        """Of the scan."""
        return self.frames * self.spokes * self.tr_ms


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
    ``spokes``, ``angle_deg``, ``times_ms`` (frames,), ``period_ms`` and ``sigma``. The liver has regions of interest,
    too: ``roi_aorta``, ``roi_portal_vein``, ``roi_liver`` and ``roi_lesion`` (x, y) bool. Of a stack of stars truth and
    regions have slices before x. Of the quadrants it holds ``marks_mm`` (4, 3): L, P and S of the marks, brightest
    first. Note x before y: the image is ``truth[frame].T``. Truth and data share the scale of
    :func:`inr_core.phantoms.kspace`. Every spoke sees the object at its own time.

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
        parameters = simulation_parameters(options)
    elif options:
        raise ParameterError(f"simulate got parameters and the options {', '.join(options)}", "the one or the other")
    path = Path(path)
    truth_path = path.with_suffix(".truth.npz")
    if path.exists() and not truth_path.exists():
        raise DataError(f"{path} exists and is not a simulated scan", "a new file", "choose another name or remove it")
    partial = path.with_name(path.name + ".part")
    try:
        with ScanWriter(partial, _header_xml(parameters).encode(), overwrite=True) as writer:
            truth = _write(writer, parameters, progress or (lambda share: None))
        # Written whole before it takes its name: a simulation that was broken off leaves no scan that looks complete.
        np.savez_compressed(truth_path, **truth)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error})", advice="choose another folder or free space") from error
    finally:
        partial.unlink(missing_ok=True)
    return Simulated(path, truth_path, parameters.duration_ms, float(truth["sigma"]))


def simulation_parameters(options: Mapping[str, object]) -> SimulationParameters:
    """Parameters from options by name; what they leave out is as usual for their phantom.

    Raises
    ------
    ParameterError
        For an option that is unknown or out of range, or partitions of a phantom that has none.
    """
    phantom = parse(SimulationParameters, options, "simulate").phantom
    named = {plain_name(name) for name in options}
    usual = {name: value for name, value in PHANTOM_DEFAULTS.get(phantom, {}).items() if plain_name(name) not in named}
    parameters = parse(SimulationParameters, {**usual, **options}, "simulate")
    if parameters.partitions > 1 and parameters.phantom != "dce":
        raise ParameterError(
            f"simulate.partitions = {parameters.partitions} of the phantom {parameters.phantom}", "1, a slice"
        )
    return parameters


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


def gradient_delays(text: str) -> GradientDelays:
    """Read gradient delays from ``Sx:Sy:Sxy`` in samples.

    Raises
    ------
    ParameterError
        If they are not three numbers.
    """
    try:
        numbers = [float(word) for word in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise ParameterError(f"simulate.delays = '{text}'", "Sx:Sy:Sxy in samples, for example 0.3:-0.5:0.1")
    return GradientDelays(sx=numbers[0], sy=numbers[1], sxy=numbers[2])


def _write(writer: ScanWriter, p: SimulationParameters, progress: Callable[[float], None]) -> dict[str, Any]:
    """Write all readouts; gives what the truth file holds."""
    # The phantoms bring torch with them, which the command line must not wait for.
    from inr_core.phantoms import CoilArray, Grid, kspace, noise, noise_correlation, truth

    grid, plane = Grid(*_geometry(p)), prescribe(p.position, p.orientation, p.rotation_deg)
    partitions, slices, regions = _objects(p, grid)
    coils = CoilArray.loops(p.coils, grid.fov_mm, p.seed)
    rng = np.random.default_rng((p.seed, 1))
    covariance = noise_correlation(p.coils, p.noise_correlation) if p.noise_correlation else None
    step, n_samples, delays = angle_step_deg(p.angle, p.base), 2 * p.matrix, gradient_delays(p.delays)
    images, moments = [], []
    sigma = 0.0
    for frame in range(p.frames):
        counter = frame * p.spokes + np.arange(p.spokes)
        times = counter[:, None] * p.tr_ms + np.arange(p.partitions) * p.readout_ms  # (spokes, partitions)
        traj = radial_trajectory(spoke_angles(counter, step, p.first_angle_deg), n_samples)
        played = corrected(traj, delays)
        layers = [kspace(layer, coils, grid, played, times[:, i]) for i, layer in enumerate(partitions)]
        data = np.stack(layers, axis=2)  # (coils, spokes, partitions, samples)
        if frame == 0:
            sigma = p.noise * float(np.abs(data).max())
            if p.noise_scan:
                writer.append(_noise_readout(noise((p.coils, n_samples), sigma, rng, covariance)))
        data += noise(data.shape, sigma, rng, covariance)
        for spoke, partition in np.ndindex(times.shape):
            writer.append(_readout(p, plane, data[:, spoke, partition], traj[spoke], int(counter[spoke]), partition))
        if p.ecg:
            end_ms, beats = times[0, 0] + p.spokes * p.tr_ms, {"period_ms": p.period_ms}
            beats |= {"respiration_ms": p.respiration_ms, "readout_ms": p.readout_ms}
            for waveform in waveforms(times[0, 0], end_ms, **beats):
                writer.append(waveform)
        moments.append(times.mean())
        images.append([truth(layer, grid, np.array([times.mean()]), coils)[0] for layer in slices])
        progress((frame + 1) / p.frames)
    return {
        "truth": _as_stored(np.array(images), p, axis=1),
        "coils": (coils.maps(grid.points) / coils.rss(grid.points)).transpose(0, 2, 1).astype(np.complex64),
        "spokes": p.spokes,
        "angle_deg": step,
        "times_ms": np.array(moments),
        "period_ms": p.period_ms,
        "sigma": sigma,
        **_marks(p, plane),
        **{f"roi_{name}": _as_stored(masks, p, axis=0) for name, masks in regions.items()},
    }


def _as_stored(images: np.ndarray, p: SimulationParameters, axis: int) -> np.ndarray:
    """(.., slices, y, x) with x before y, and without ``axis``, the slices, where there is one."""
    swapped = images.swapaxes(-1, -2)
    return swapped if p.partitions > 1 else swapped.squeeze(axis)


def _objects(p: SimulationParameters, grid: Grid) -> tuple[list[Phantom], list[Phantom], dict[str, np.ndarray]]:
    """What each partition sees, what each slice shows, and the regions of interest, name to (slices, y, x) bool."""
    from inr_core.phantoms import CinePhantom, DcePhantom, QuadrantPhantom, Slab

    if p.phantom == "quadrants":
        _check_fit(grid.fov_mm, QuadrantPhantom.SIZE_MM)
        return [QuadrantPhantom()], [QuadrantPhantom()], {}
    if p.phantom == "cine":
        _check_fit(grid.fov_mm, CinePhantom.SIZE_MM)
        heart = CinePhantom(period_ms=p.period_ms, respiration_mm=p.respiration_mm, respiration_ms=p.respiration_ms)
        return [heart], [heart], {}
    _check_fit(grid.fov_mm, DcePhantom.SIZE_MM)
    passage_s = p.contrast_s or p.duration_ms / 1e3
    liver = DcePhantom(
        speed=DcePhantom.PASSAGE_S / passage_s, respiration_mm=p.respiration_mm, respiration_ms=p.respiration_ms
    )
    if p.partitions == 1:
        return [liver], [liver], {name: mask[None] for name, mask in liver.regions(grid.points).items()}
    slab, numbers = Slab(liver, p.partitions, p.slice_mm), range(p.partitions)
    masks = [slab.regions(grid.points, i) for i in numbers]
    regions = {name: np.stack([mask[name] for mask in masks]) for name in DcePhantom.REGIONS}
    return [slab.partition(i) for i in numbers], [slab.slice(i) for i in numbers], regions


def _marks(p: SimulationParameters, plane: Prescription) -> dict[str, np.ndarray]:
    """Where the marks of the quadrants lie in the patient."""
    from inr_core.phantoms import QuadrantPhantom

    if p.phantom != "quadrants":
        return {}
    return {"marks_mm": np.array([plane.at(x, y) for (x, y), _ in QuadrantPhantom.MARKS])}


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
    p: SimulationParameters, plane: Prescription, data: np.ndarray, traj: np.ndarray, counter: int, partition: int
) -> ismrmrd.Acquisition:
    """One spoke of a partition, with everything that a scanner would put into its header."""
    frame, spoke = divmod(counter, p.spokes)
    time_ms = counter * p.tr_ms + partition * p.readout_ms
    readout = ismrmrd.Acquisition.from_array(data, traj if p.trajectory == "embedded" else None)
    readout.scan_counter = counter * p.partitions + partition
    readout.center_sample = data.shape[1] // 2
    readout.sample_time_us = 2.0
    readout.acquisition_time_stamp = round(time_ms / TICK_MS)
    # The first physiological stamp is the time since the R wave.
    readout.physiology_time_stamp[0] = round(time_ms % p.period_ms / TICK_MS)
    readout.position[:] = tuple(plane.position)
    readout.read_dir[:], readout.phase_dir[:] = tuple(plane.read_dir), tuple(plane.phase_dir)
    readout.slice_dir[:] = tuple(plane.slice_dir)
    readout.idx.kspace_encode_step_1, readout.idx.kspace_encode_step_2 = spoke, partition
    readout.idx.repetition = frame % (1 << 16)
    if spoke == partition == 0:
        readout.setFlag(ismrmrd.ACQ_FIRST_IN_REPETITION)
    if (spoke, partition) == (p.spokes - 1, p.partitions - 1):
        readout.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)
        if frame == p.frames - 1:
            readout.setFlag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    return readout


def _noise_readout(data: np.ndarray) -> ismrmrd.Acquisition:
    readout = ismrmrd.Acquisition.from_array(data)
    readout.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    readout.sample_time_us = 2.0
    return readout


def _header_xml(p: SimulationParameters) -> str:
    (nx, ny), (fov_x, fov_y) = _geometry(p)
    flip_deg = {"cine": 45, "dce": 12, "quadrants": 45}[p.phantom]
    # Without a trajectory the header is all that says how the spokes go round.
    kind = "goldenangle" if p.angle == "golden" and p.base == "pi" else "radial"
    nz, fov_z = p.partitions, p.partitions * p.slice_mm
    limit = "<minimum>0</minimum><maximum>{}</maximum><center>{}</center>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation><measurementID>inr-recon_simulation_{p.phantom}_{p.seed}</measurementID>
    <patientPosition>HFS</patientPosition><protocolName>simulated {p.phantom}</protocolName></measurementInformation>
  <acquisitionSystemInformation><systemVendor>inr-recon</systemVendor><systemModel>simulation</systemModel>
    <systemFieldStrength_T>2.89</systemFieldStrength_T><receiverChannels>{p.coils}</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>{2 * nx}</x><y>{ny}</y><z>{nz}</z></matrixSize>
      <fieldOfView_mm><x>{2 * fov_x}</x><y>{fov_y}</y><z>{fov_z}</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>{nx}</x><y>{ny}</y><z>{nz}</z></matrixSize>
      <fieldOfView_mm><x>{fov_x}</x><y>{fov_y}</y><z>{fov_z}</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>{limit.format(p.spokes - 1, 0)}</kspace_encoding_step_1>
      <kspace_encoding_step_2>{limit.format(nz - 1, nz // 2)}</kspace_encoding_step_2>
      <repetition>{limit.format(min(p.frames - 1, 65535), 0)}</repetition>
    </encodingLimits>
    <trajectory>{"radial" if p.trajectory == "embedded" else kind}</trajectory>
  </encoding>
  <sequenceParameters><TR>{p.readout_ms}</TR><TE>{p.readout_ms / 2}</TE>
    <flipAngle_deg>{flip_deg}</flipAngle_deg></sequenceParameters>
  {WAVEFORM_INFORMATION if p.ecg else ""}
</ismrmrdHeader>"""
