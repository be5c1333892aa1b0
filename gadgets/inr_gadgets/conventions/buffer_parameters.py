"""The parameters of the buffer gadget: for the conventions that no header tells; most scans need none of them."""

from __future__ import annotations

from dataclasses import dataclass

from inr_core.parameters import parameter

ANGLES = ("auto", "trajectory", "user", "golden", "uniform", "step", "raga", "gadgetron2", "gadgetron3", "mrpro")
UNITS = ("auto", "pixel", "radian", "fov", "sampled_fov", "metre", "radian_metre")


@dataclass(frozen=True)
class BufferParameters:
    """How readouts become frames."""

    spokes_per_frame: int = parameter(
        0, "spokes of a frame; 0 takes it from the encoding counters, else 21", minimum=0, maximum=65536
    )
    frame_ms: float = parameter(
        0.0, "duration of a frame, in place of spokes_per_frame; 0 for none", unit="ms", minimum=0.0, maximum=1e6
    )
    stride: int = parameter(
        0,
        "new spokes from frame to frame: a sliding window if fewer than the frame has; 0 for all",
        minimum=0,
        maximum=65536,
    )
    minimum_part: float = parameter(
        0.33, "part of its spokes that an incomplete frame must have, else it is dropped", minimum=0.0, maximum=1.0
    )
    angles: str = parameter(
        "auto",
        "where the spokes' angles come from; auto: embedded trajectory, else angle_user_float, else golden",
        choices=ANGLES,
    )
    angle_step: float = parameter(111.246117975, "angle from spoke to spoke for angles=step", unit="deg")
    angle_offset: float = parameter(0.0, "added to every angle", unit="deg")
    angle_direction: str = parameter(
        "forward", "forward: from read_dir towards phase_dir", choices=("forward", "backward")
    )
    angle_base: str = parameter("pi", "circle that golden, uniform and raga angles divide", choices=("pi", "2pi"))
    tiny_golden: int = parameter(1, "number of the tiny golden angle for golden and raga", minimum=1, maximum=1000)
    raga_spokes: int = parameter(377, "spokes of the full set for angles=raga", minimum=3, maximum=1_000_000)
    angle_index: str = parameter(
        "auto",
        "what counts the spokes; auto: what the chosen angles use",
        choices=("auto", "counter", "step_1", "scan_counter"),
    )
    angle_user_float: int = parameter(
        -1, "position in user_float (0 to 7) that holds the spoke's angle; -1 for none", minimum=-1, maximum=7
    )
    angle_unit: str = parameter("deg", "unit of the angle in user_float", choices=("deg", "rad"))
    trajectory_unit: str = parameter(
        "auto",
        "unit of a trajectory: cycles per pixel (reaching 0.5), radians per pixel (pi), cycles per field of view "
        "(N/2), cycles per oversampled field of view (N), cycles or radians per metre, as Pulseq has them",
        choices=UNITS,
    )
    trajectory_file: str = parameter(
        "",
        "file with the trajectory of a scan that brings none: .npy (spokes, samples, 2), .h5 or .mat with a dataset "
        "traj or k_traj_adc, or ISMRMRD; a spoke for each imaging readout",
        path=True,
    )
    trajectory_repeat: bool = parameter(
        False, "the scan runs through the spokes of trajectory_file again and again; false: each belongs to one readout"
    )
    oversampling: float = parameter(
        0.0, "sampled over reconstructed field of view along the readout; 0 works it out", minimum=0.0, maximum=16.0
    )
    partitions: str = parameter(
        "auto",
        "auto: Fourier transform along the partitions of a stack of stars, if the header's encoded matrix has several; "
        "single: each partition is imaged as it is",
        choices=("auto", "single"),
    )
    partition_center: int = parameter(
        -1, "kspace_encode_step_2 of the partition at kz = 0; -1 takes it from the header", minimum=-1, maximum=4096
    )
    delays: str = parameter(
        "auto",
        "gradient delays; auto: estimate them from the first spokes and correct the trajectory if it is worth it; off",
        choices=("auto", "off"),
    )
    negate_odd: bool = parameter(
        False,
        "negate readouts of odd kspace_encode_step_1, for converters that undo on radial spokes what only lines had",
    )
    conjugate: bool = parameter(False, "conjugate the samples, for data with the other sign of the Fourier transform")
    whiten: str = parameter(
        "auto", "auto: whiten the coils if a noise scan precedes the data; off: never", choices=("auto", "off")
    )

    @property
    def tells_radial(self) -> bool:
        """Whether they say how the spokes lie, which of a scan that is not radial nobody would."""
        return self.angles != "auto" or bool(self.trajectory_file)
