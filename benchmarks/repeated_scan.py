"""A scan of any length: a short recorded one, played over and over as one that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from inr_core.errors import DataError
from inr_core.trajectory import GOLDEN_ANGLE_DEG
from inr_gadgets.header import parse_header, repetition_time_ms
from inr_gadgets.scan_file import ScanFile

_TICK_MS = 2.5  # ISMRMRD's time stamps
_SLICE_MM = 10.0


@dataclass(frozen=True)
class RepeatedScan:
    """The readouts of a cycle again and again, with counters and time stamps that go on; for ``send_scan`` and replay.

    Readouts are made when they are asked for and share the cycle's samples, so that an hour of scan takes the memory of
    one cycle. Each carries the trajectory that it was measured with. Of several slices, interleaved readout by readout,
    each shows the same.

    Attributes
    ----------
    path
        The file of the cycle.
    header_xml : bytes
        Its header.
    cycle
        Its readouts; every one has an embedded trajectory.
    spokes
        Of a frame.
    tr_ms
        From readout to readout.
    frames, slices
        How many there are to be.
    """

    path: Path
    header_xml: bytes
    cycle: tuple[ismrmrd.Acquisition, ...]
    spokes: int
    tr_ms: float
    frames: int
    slices: int = 1

    @classmethod
    def read(cls, path: Path, frames: int, slices: int = 1) -> RepeatedScan:
        """Read the cycle from a file.

        Raises
        ------
        DataError
            If it has no TR or no embedded trajectory, or its frames, told by their repetition, differ in length.
        """
        with ScanFile(path) as file:
            header_xml, cycle = file.header_xml, tuple(file.acquisitions())
        tr_ms = repetition_time_ms(parse_header(header_xml))
        lengths = set(np.bincount([readout.idx.repetition for readout in cycle]).tolist())
        if tr_ms is None or len(lengths) != 1 or any(readout.traj.size == 0 for readout in cycle):
            raise DataError(
                f"{path} with a TR of {tr_ms} ms and frames of {sorted(lengths)} readouts",
                "a TR, as many readouts in each frame, a trajectory in each readout",
                "simulate a scan without noise readouts",
            )
        return cls(path, header_xml, cycle, lengths.pop(), tr_ms, frames, slices)

    @property
    def n_acquisitions(self) -> int:
        """Readouts of all slices."""
        return self.frames * self.spokes * self.slices

    def __iter__(self) -> Iterator[ismrmrd.Acquisition]:
        for number in range(self.frames * self.spokes):
            for slice_ in range(self.slices):
                yield self._readout(number, slice_)

    def _readout(self, number: int, slice_: int) -> ismrmrd.Acquisition:
        source = self.cycle[number % len(self.cycle)]
        head: Any = source.getHead()
        readout = ismrmrd.Acquisition(type(head).from_buffer_copy(head), source.data, source.traj)
        counter = number * self.slices + slice_
        readout.scan_counter = counter
        readout.acquisition_time_stamp = round(counter * self.tr_ms / _TICK_MS)
        readout.idx.repetition, readout.idx.slice = number // self.spokes % (1 << 16), slice_
        readout.position[:] = np.array(source.position) + slice_ * _SLICE_MM * np.array(source.slice_dir)
        readout.clear_flag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        if counter == self.n_acquisitions - 1:
            readout.set_flag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        return readout


def there_and_back(frames: np.ndarray) -> np.ndarray:
    """A series (n, ...) and then the same backwards, (2 n, ...): it can be repeated without a jump."""
    return np.concatenate([frames, frames[::-1]])


def seam_deg(n_spokes: int) -> float:
    """Angle by which a cycle of golden-angle spokes misses the spoke that would go on, degrees, at most 90.

    Small for multiples of Fibonacci's numbers: 377 = 29 x 13 spokes end 0.2 degrees from where they began.
    """
    turned = n_spokes * GOLDEN_ANGLE_DEG % 180
    return min(turned, 180 - turned)
