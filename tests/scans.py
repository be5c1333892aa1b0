"""Small radial scans for the tests of the gadgets that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ismrmrd
import numpy as np

from inr_core.trajectory import GOLDEN_ANGLE_DEG
from inr_gadgets.header import parse_header

N, COILS, SPOKES = 32, 3, 5


def header_xml(
    *,
    matrix: tuple[int, int, int] = (N, N, 1),
    encoded: tuple[int, int, int] = (2 * N, N, 1),
    fov: tuple[float, float, float] = (300.0, 300.0, 8.0),
    encoded_fov: tuple[float, float, float] = (600.0, 300.0, 8.0),
    trajectory: str | Sequence[str] = "goldenangle",
    tr: float | None = 3.0,
    bandwidth: float | None = None,
) -> str:
    """An ISMRMRD header; several trajectories make several encodings."""

    def space(name: str, size: tuple[int, int, int], mm: tuple[float, float, float]) -> str:
        x, y, z = size
        fx, fy, fz = mm
        return (
            f"<{name}><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>"
            f"<fieldOfView_mm><x>{fx}</x><y>{fy}</y><z>{fz}</z></fieldOfView_mm></{name}>"
        )

    kinds = [trajectory] if isinstance(trajectory, str) else trajectory
    # The limits are nonsense on purpose: nobody may rely on them.
    limits = "<encodingLimits><repetition><minimum>0</minimum><maximum>999</maximum><center>0</center></repetition>"
    encodings = "".join(
        f"<encoding>{space('encodedSpace', encoded, encoded_fov)}{space('reconSpace', matrix, fov)}"
        f"{limits}</encodingLimits><trajectory>{kind}</trajectory></encoding>"
        for kind in kinds
    )
    system = f"<relativeReceiverNoiseBandwidth>{bandwidth}</relativeReceiverNoiseBandwidth>" if bandwidth else ""
    sequence = f"<sequenceParameters><TR>{tr}</TR></sequenceParameters>" if tr else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"<acquisitionSystemInformation>{system}</acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>"
        f"{encodings}{sequence}</ismrmrdHeader>"
    )


def header(**changes: Any) -> Any:
    """The parsed header of :func:`header_xml`."""
    return parse_header(header_xml(**changes))


def readout(
    number: int = 0,
    *,
    coils: int = COILS,
    samples: int = 2 * N,
    trajectory: np.ndarray | None = None,
    flags: Sequence[int] = (),
    data: np.ndarray | None = None,
    **fields: Any,
) -> ismrmrd.Acquisition:
    """A readout whose samples hold ``number + 1`` unless given; ``fields`` are of its header or of its idx."""
    if data is None:
        data = np.full((coils, samples), number + 1, np.complex64)
    acquisition = ismrmrd.Acquisition.from_array(data, None if trajectory is None else trajectory.astype(np.float32))
    acquisition.center_sample = data.shape[1] // 2
    acquisition.scan_counter = number
    acquisition.sample_time_us = 2.0
    acquisition.acquisition_time_stamp = round(number * 3.0 / 2.5)
    acquisition.read_dir[:], acquisition.phase_dir[:] = (1, 0, 0), (0, 1, 0)
    acquisition.slice_dir[:], acquisition.position[:] = (0, 0, 1), (10, -20, 30)
    for name, value in fields.items():
        if hasattr(acquisition.idx, name):
            setattr(acquisition.idx, name, value)
        elif name.startswith("user_"):
            getattr(acquisition, name)[: len(value)] = value
        else:
            setattr(acquisition, name, value)
    for flag in flags:
        acquisition.set_flag(flag)
    return acquisition


def golden_scan(n_frames: int = 4, spokes: int = SPOKES, **changes: Any) -> list[ismrmrd.Acquisition]:
    """Readouts of a scan without a trajectory, repetition and step_1 as most senders count them."""
    return [
        readout(i, repetition=i // spokes, kspace_encode_step_1=i % spokes, **changes) for i in range(n_frames * spokes)
    ]


def embedded(number: int, scale: float = 1.0, samples: int = 2 * N, third: np.ndarray | None = None) -> np.ndarray:
    """(samples, 2 or 3) trajectory of a golden-angle spoke that reaches -0.5 * scale."""
    k = (np.arange(samples) - samples // 2) / samples * scale
    angle = np.deg2rad(number * GOLDEN_ANGLE_DEG)
    columns = [k * np.cos(angle), k * np.sin(angle)]
    return np.stack(columns if third is None else [*columns, third], axis=-1)


def noise_readout(rng: np.random.Generator, mixing: np.ndarray, samples: int = 512, **fields: Any) -> Any:
    """A noise readout whose coils share noise through ``mixing`` (coils, coils)."""
    white = (rng.standard_normal((len(mixing), samples)) + 1j * rng.standard_normal((len(mixing), samples))) / 2**0.5
    return readout(data=(mixing @ white).astype(np.complex64), flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT], **fields)


def smallest_header(tr_ms: float) -> bytes:
    """A radial header of 8 x 8 pixels, twofold oversampled, for tests in which nothing is reconstructed."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></reconSpace>
  <encodingLimits/><trajectory>radial</trajectory>
 </encoding>
 <sequenceParameters><TR>{tr_ms:g}</TR></sequenceParameters>
</ismrmrdHeader>""".encode()
