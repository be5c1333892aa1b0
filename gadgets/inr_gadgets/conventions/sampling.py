"""Where the samples of a readout lie: oversampling, centre, discarded samples, the scale of a trajectory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.header import Encoding

_NEAR = 0.06  # part by which a header's numbers may miss the value they stand for
_UNIT_NEAR = 0.2  # the same for the reach of an embedded trajectory
_UNIT_NAMES = {
    "pixel": "+-0.5 (cycles per pixel)",
    "radian": "+-pi (radians per pixel)",
    "fov": "+-N/2 (cycles per field of view)",
    "sampled_fov": "+-N (cycles per oversampled field of view)",
    "metre": "cycles per metre",
    "radian_metre": "radians per metre",
}


@dataclass(frozen=True)
class Sampling:
    """The readouts of one encoding space, after their discarded samples are gone.

    Attributes
    ----------
    n_coils, n_samples
        Shape of a readout as it comes.
    n_kept
        Samples that remain after discard_pre and discard_post.
    center
        Sample of the kept ones that lies at the centre of k-space.
    oversampling
        Sampled over reconstructed field of view.
    spacing
        Distance of two samples, cycles per pixel of the reconstructed matrix along x.
    aspect
        Height of a reconstructed pixel over its width.
    embedded
        Whether the readouts bring a trajectory of their own.
    unit
        Its unit, a key of ``trajectory_unit``; empty without one.
    scale
        What it is multiplied by to become cycles per pixel along x.
    remark
        What had to be decided against the header, for the operator; empty if nothing.
    """

    n_coils: int
    n_samples: int
    n_kept: int
    center: int
    oversampling: float
    spacing: float
    aspect: float
    embedded: bool
    unit: str = ""
    scale: float = 1.0
    remark: str = ""

    def check(self, acquisition: Any) -> slice:
        """The samples of a readout to keep.

        Raises
        ------
        DataError
            If its shape is not that of the readouts before it, or it lacks the trajectory that they have.
        """
        n_coils, n_samples = acquisition.data.shape
        pre, post = acquisition.discard_pre, acquisition.discard_post
        if (n_coils, n_samples - pre - post) != (self.n_coils, self.n_kept):
            raise DataError(
                f"a readout of {n_coils} coils x {n_samples - pre - post} samples in mid-scan",
                f"{self.n_coils} x {self.n_kept} as before",
                "reconstruct the parts as scans of their own",
            )
        if self.embedded:
            _trajectory_columns(acquisition)
        return slice(pre, n_samples - post)


def has_trajectory(acquisition: Any) -> bool:
    """Whether a readout brings coordinates; a trajectory of zeros is what converters write in place of none."""
    return acquisition.trajectory_dimensions >= 2 and bool(np.any(acquisition.traj[:, :2]))


def find_sampling(acquisition: Any, encoding: Encoding, parameters: BufferParameters) -> Sampling:
    """Work out the sampling from the first imaging readout of an encoding space.

    Raises
    ------
    DataError
        If nothing is left of the readout, or its trajectory is of an unknown scale or not of plane spokes.
    """
    n_coils, n_samples = acquisition.data.shape
    pre, post = acquisition.discard_pre, acquisition.discard_post
    n_kept = n_samples - pre - post
    if n_kept < 2 or n_coils < 1:
        raise DataError(
            f"a readout of {n_coils} coils x {n_samples} samples, of which {pre} + {post} are to be discarded",
            "at least one coil and two samples",
        )
    embedded = parameters.angles in ("auto", "trajectory") and has_trajectory(acquisition)
    if parameters.angles == "trajectory" and not embedded:
        raise DataError("readouts without a trajectory", "one, for buffer.angles=trajectory", "use angles=auto")
    center, remark = _center(acquisition, pre, n_kept, embedded)
    # Of an asymmetric readout the longer half tells; a trajectory may have its centre between the two middle samples.
    middling = abs(center - n_kept // 2) <= (1 if embedded else 0)
    full = n_kept if middling else 2 * max(center, n_kept - center)
    oversampling, doubt = _oversampling(full, encoding, parameters, embedded)
    spacing = 1.0 / (oversampling * encoding.matrix[0])
    unit, scale = "", 1.0
    if embedded:
        unit, scale = _unit(acquisition, full, spacing, encoding, parameters)
    return Sampling(
        n_coils=n_coils,
        n_samples=n_samples,
        n_kept=n_kept,
        center=center,
        oversampling=oversampling,
        spacing=spacing,
        aspect=encoding.aspect,
        embedded=embedded,
        unit=unit,
        scale=scale,
        remark=", ".join(part for part in (remark, doubt) if part),
    )


def embedded_spoke(acquisition: Any, kept: slice, sampling: Sampling) -> NDArray[np.float32]:
    """(samples, 2) float32 cycles per pixel of a readout's own trajectory."""
    spoke = np.array(acquisition.traj[kept, :2], dtype=np.float32)
    spoke *= (sampling.scale, sampling.scale * sampling.aspect)
    return spoke


def straight_spoke(
    acquisition: Any, angle: float, kept: slice, sampling: Sampling, *, reverse: bool
) -> NDArray[np.float32]:
    """(samples, 2) float32 cycles per pixel of a spoke at an angle (radians).

    The centre is the sample of the scan's first readout, shifted with what this one discards before its samples.
    """
    center = sampling.center
    if acquisition.center_sample and kept.start < acquisition.center_sample < kept.stop:
        center = acquisition.center_sample - kept.start
    radius = (np.arange(sampling.n_kept) - center) * (-sampling.spacing if reverse else sampling.spacing)
    direction = (math.cos(angle), sampling.aspect * math.sin(angle))
    return np.asarray(np.multiply.outer(radius, direction), dtype=np.float32)


def _center(acquisition: Any, pre: int, n_kept: int, embedded: bool) -> tuple[int, str]:
    """Centre sample among the kept ones, and what to tell about it."""
    if embedded:
        distance = np.linalg.norm(acquisition.traj[pre : pre + n_kept, :2], axis=1)
        return int(np.argmin(distance)), ""
    center = acquisition.center_sample - pre
    if 0 < center < n_kept:
        return center, ""
    # 0 is what a writer leaves who does not care, and also what a half-spoke from the centre has: the echo tells.
    echo = int(np.argmax(np.abs(acquisition.data[:, pre : pre + n_kept]).sum(axis=0)))
    if center == 0 and echo <= n_kept // 8:
        return 0, "spokes start at the centre"
    middle = n_kept // 2
    return middle, f"centre taken as sample {middle}, not {acquisition.center_sample} as the readouts say"


def _oversampling(full: int, encoding: Encoding, parameters: BufferParameters, embedded: bool) -> tuple[float, str]:
    """Sampled over reconstructed field of view for a full (two-sided) readout of ``full`` samples.

    A header may give the encoded matrix and field of view with the readout's oversampling, without it (Siemens
    converters), or doubled in both directions. The reading is right at which the readout reaches +-0.5 cycles per
    pixel; only a header that is consistent in itself may claim less: that is an interpolated matrix.
    """
    nx = encoding.matrix[0]
    plain = full / nx
    if parameters.oversampling > 0:
        return parameters.oversampling, ""
    encoded_x, ratio = encoding.encoded_matrix[0], encoding.encoded_fov_mm[0] / encoding.recon_fov_mm[0]
    if encoded_x <= 0 or ratio <= 0:
        return plain, ""
    if (
        not embedded
        and ratio > 1 + _NEAR
        and abs(full / nx - 1) <= _NEAR
        and abs(ratio * full / encoded_x - 1) <= _NEAR
    ):
        # Gadgetron's RemoveROOversampling: half the samples, and the header that was. A trajectory would tell.
        return 1.0, "oversampling removed already"
    if abs(encoded_x / (ratio * nx) - 1) <= _NEAR and full <= (1 + _NEAR) * encoded_x:
        # Encoded and reconstructed pixel agree: this header means what it says, and the readout may be a short one.
        return ratio, "" if full > (1 - _NEAR) * encoded_x else f"{full} of {encoded_x} samples acquired"
    sampled = ratio * full / encoded_x
    for reading in (sampled, ratio):
        if abs(full / (reading * nx) - 1) <= _NEAR:
            return reading, ""
    reach = 0.5 * full / (sampled * nx)
    if 0.1 < reach < 0.5:
        return sampled, f"matrix interpolated {0.5 / reach:.3g}-fold"
    return plain, "encoded space of the header ignored"


def _trajectory_columns(acquisition: Any) -> None:
    traj = acquisition.traj
    if traj.shape[0] != acquisition.data.shape[1] or traj.shape[1] not in (2, 3):
        raise DataError(
            f"a readout of {acquisition.data.shape[1]} samples with a trajectory of {traj.shape[0]} x {traj.shape[1]}",
            "(kx, ky) or (kx, ky, kz or density) for every sample",
        )


def _unit(
    acquisition: Any, full: int, spacing: float, encoding: Encoding, parameters: BufferParameters
) -> tuple[str, float]:
    """Unit of an embedded trajectory and the factor that makes it cycles per reconstructed pixel."""
    _trajectory_columns(acquisition)
    k = acquisition.traj.astype(np.float64)
    _refuse_spokes_in_space(k)
    kept = k[acquisition.discard_pre : len(k) - acquisition.discard_post, :2]
    reach = float(np.linalg.norm(kept, axis=1).max())
    extent = 0.5 * full * spacing  # what the readout reaches, cycles per reconstructed pixel
    nx, pixel_m = encoding.matrix[0], encoding.recon_fov_mm[0] / encoding.matrix[0] / 1000
    # A "pixel" may be one of the image or one of the acquired matrix; they differ when the image is interpolated.
    nominal = [
        ("pixel", extent),
        ("pixel", 0.5),
        ("radian", 2 * math.pi * extent),
        ("radian", math.pi),
        ("fov", extent * nx),
        # Without oversampling the two are one, and a trajectory that reaches N is in half cycles.
        ("sampled_fov", full / 2 if full > (1 + _UNIT_NEAR) * 2 * extent * nx else 2 * extent * nx),
        ("metre", extent / pixel_m),
        ("radian_metre", 2 * math.pi * extent / pixel_m),
    ]
    wanted = parameters.trajectory_unit
    nominal = [(unit, value) for unit, value in nominal if wanted in ("auto", unit)]
    name, value = min(nominal, key=lambda candidate: abs(math.log(reach / candidate[1])))
    if wanted == "auto" and abs(reach / value - 1) > _UNIT_NEAR:
        choices = ", ".join(f"{_UNIT_NAMES[unit]} = {value:.4g}" for unit, value in dict(nominal).items())
        raise DataError(
            f"a trajectory that reaches |k| = {reach:.4g}",
            f"one of {choices}",
            "set buffer.trajectory_unit, or buffer.angles=golden to do without it",
        )
    return name, extent / value


def _refuse_spokes_in_space(k: NDArray[np.float64]) -> None:
    """A third column may be a density or the kz of a partition; a spoke that leaves its plane is another scan."""
    if k.shape[1] == 3 and k[:, 2].min() < 0 < k[:, 2].max():
        spread, reach = np.ptp(k[:, 2]), np.ptp(np.linalg.norm(k[:, :2], axis=1))
        if spread > 1e-3 * reach:
            raise DataError(
                "a trajectory whose kz runs along the readout (3-D spokes)", "spokes in a plane, kz zero or constant"
            )


def describe_unit(sampling: Sampling) -> str:
    """The embedded trajectory's unit in words."""
    return _UNIT_NAMES[sampling.unit]
