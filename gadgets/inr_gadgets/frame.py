"""One temporal frame of radial readouts: Gadgetron's own ReconData, so C++ gadgets can stand beside ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

from inr_gadgets.clock import TICK_MS, elapsed
from inr_gadgets.imaging.physiology import Physiology

if TYPE_CHECKING:
    from inr_core.methods.live import Gridded

# Positions in the first readout header's user_int that carry what ReconData has no place for.
FRAME_INDEX_SLOT, GROUP_INDEX_SLOT, _STRIDE_SLOT = 7, 6, 5
# The same in its user_float: Sx, Sy and Sxy of the gradient delays.
_DELAY_SLOTS = slice(5, 8)


@dataclass(frozen=True)
class Timing:
    """When a frame was acquired, by the time stamps of its readouts.

    Attributes
    ----------
    first, last
        Stamps of its first and its last readout, ticks.
    readouts
        How many have stamps: one of each angle in a stack of stars.
    stride
        Of these, new ones from frame to frame: fewer in a sliding window.
    triggered
        Whether a readout has a physiological stamp: there is none in all of them without a trigger.
    """

    first: int
    last: int
    readouts: int
    stride: int
    triggered: bool

    @classmethod
    def of(cls, headers: Sequence[Any]) -> Timing:
        """Of a frame's readouts."""
        stride = int(headers[0].user_int[_STRIDE_SLOT])
        return cls(
            int(headers[0].acquisition_time_stamp),
            int(headers[-1].acquisition_time_stamp),
            len(headers),
            # A scanner's own number, in a frame that another program made, need not be a stride.
            stride if 0 < stride <= len(headers) else len(headers),
            any(any(header.physiology_time_stamp) for header in headers),
        )

    def duration_ms(self, angle_ms: float = 0.0) -> float:
        """How long the frame's readouts took, with the last one's repetition time; 0 if unknown.

        Parameters
        ----------
        angle_ms
            From angle to angle by the sequence's repetition time, 0 if unknown. It is finer than the stamps' ticks, but
            another sequence's slices may lie between the readouts: it counts where the two agree to two ticks, and
            where the stamps do not grow.
        """
        nominal = angle_ms * self.readouts
        ticks = elapsed(self.first, self.last)
        if ticks <= 0 or self.readouts < 2:
            return nominal
        stamped = ticks * TICK_MS * self.readouts / (self.readouts - 1)
        return nominal if nominal and abs(stamped - nominal) <= 2 * TICK_MS else stamped

    def step_ms(self, angle_ms: float = 0.0) -> float:
        """From frame to frame; 0 if unknown."""
        return self.duration_ms(angle_ms) * self.stride / self.readouts


class Frame(ReconData):  # type: ignore[misc]
    """The readouts of one frame of one slice, as ReconData with one bit.

    Layout of the bit's buffer, Gadgetron's own: ``data`` (samples, spokes, 1, coils, 1, 1, 1) complex64,
    ``trajectory`` (2, samples, spokes, 1, 1, 1, 1) float32 = (kx, ky) in cycles per pixel of the reconstructed matrix,
    from -0.5 to 0.5, ``headers`` (spokes, 1, 1, 1, 1) acquisition headers in the order of acquisition.

    The k-space convention is  y(k) = 1/sqrt(nx ny) * sum_r x(r) exp(-2 pi i (kx x + ky y)), x and y in pixels from
    pixel n // 2.

    Attributes
    ----------
    arrived : float
        ``time.monotonic()`` at which the frame's last readout had been read. It does not travel over the wire: a
        frame that comes from another process arrives when it is read here.
    delays : (float, float, float)
        Gradient delays (Sx, Sy, Sxy), samples, by which its trajectory has been corrected; zeros for none.
    timing : Timing
        When its readouts were acquired.
    repetition_ms : float
        The sequence's repetition time, 0 if unknown; set by whoever knows the scan's header.
    physiology : Physiology or None
        The waveforms of the scan; set by whoever reads them.
    gridded : inr_core.methods.live.Gridded or None
        The frame gridded before its turn, if it was.
    """

    repetition_ms: float = 0.0
    physiology: Physiology | None = None
    gridded: Gridded | None = None

    def __init__(
        self,
        bits: Sequence[ReconBit],
        arrived: float | None = None,
        delays: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        super().__init__(list(bits))
        self.delays = delays
        self.arrived = time.monotonic() if arrived is None else arrived
        self.timing = Timing.of(self.headers)

    @classmethod
    def from_readouts(
        cls,
        kspace: np.ndarray,
        traj: np.ndarray,
        headers: Sequence[Any],
        *,
        matrix: tuple[int, int],
        fov_mm: tuple[float, float, float],
        index: int,
        group: int = 0,
        stride: int = 0,
        partitions: int = 1,
        arrived: float | None = None,
        delays: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Frame:
        """Gather readouts into a frame.

        Parameters
        ----------
        kspace : (coils, spokes, samples) complex64
        traj : (spokes, samples, 2) float32, (kx, ky) in cycles per pixel
        headers : ``spokes`` of ismrmrd.AcquisitionHeader
        matrix, fov_mm
            (x, y) pixels and (x, y, z) mm of the reconstructed image.
        index
            The frame's number within its group, from 0.
        group
            Number of the (encoding space, slice, set, contrast, ..) the frame belongs to, from 0 in order of
            appearance.
        stride
            New readouts from frame to frame; 0 for all.
        partitions
            Of the stack of stars that it is a slice of: so many readouts were played for each of its own.
        arrived
            See the class; None for now.
        delays
            See the class.
        """
        n_coils, n_spokes, n_samples = kspace.shape
        data = (
            np.asarray(kspace, dtype=np.complex64).transpose(2, 1, 0).reshape(n_samples, n_spokes, 1, n_coils, 1, 1, 1)
        )
        trajectory = np.asarray(traj, dtype=np.float32).transpose(2, 1, 0).reshape(2, n_samples, n_spokes, 1, 1, 1, 1)
        stamped = np.empty((n_spokes, 1, 1, 1, 1), dtype=object)
        for i, header in enumerate(headers):
            copy = type(header).from_buffer_copy(header)
            stamped[i, 0, 0, 0, 0] = copy
        # The first header alone: an image takes the middle one's, and so the scanner's own numbers (but of one spoke).
        first = stamped[0, 0, 0, 0, 0]
        first.user_int[FRAME_INDEX_SLOT], first.user_int[GROUP_INDEX_SLOT] = index, group
        first.user_int[_STRIDE_SLOT] = stride or n_spokes
        first.user_float[_DELAY_SLOTS] = delays
        sampling = SamplingDescription()
        sampling.recon_matrix[:] = (*matrix, 1)
        sampling.encoded_matrix[:] = (n_samples, n_spokes, partitions)
        sampling.recon_FOV[:] = fov_mm
        sampling.encoded_FOV[:] = fov_mm
        return cls([ReconBit(ReconBuffer(data, trajectory, None, stamped, sampling))], arrived, delays)

    @classmethod
    def from_recon_data(cls, recon_data: ReconData) -> Frame:
        """Take over what came from another process; a Frame is returned as it is."""
        if isinstance(recon_data, cls):
            return recon_data
        first = recon_data.bits[0].data.headers.reshape(-1, order="F")[0]
        sx, sy, sxy = first.user_float[_DELAY_SLOTS]
        return cls(recon_data.bits, getattr(recon_data, "arrived", None), (sx, sy, sxy))

    def without_data(self) -> Frame:
        """What an image's geometry and time need of the frame: its middle readout's header, the matrix, its timing.

        No samples, and no longer its number and group, which are in the first header.
        """
        bit = self.bits[0].data
        middle = np.empty((1, 1, 1, 1, 1), dtype=object)
        middle[0, 0, 0, 0, 0] = self.headers[len(self.headers) // 2]
        no_data, no_traj = np.empty((0, 1, 1, 0, 1, 1, 1), np.complex64), np.empty((2, 0, 1, 1, 1, 1, 1), np.float32)
        light = Frame([ReconBit(ReconBuffer(no_data, no_traj, None, middle, bit.sampling))], self.arrived, self.delays)
        light.timing, light.repetition_ms, light.physiology = self.timing, self.repetition_ms, self.physiology
        return light

    @property
    def kspace(self) -> np.ndarray:
        """(coils, spokes, samples) complex64."""
        data = self.bits[0].data.data
        return _contiguous(data[:, :, 0, :, 0, 0, 0].transpose(2, 1, 0))

    @property
    def traj(self) -> np.ndarray:
        """(spokes, samples, 2) float32, (kx, ky) in cycles per pixel."""
        trajectory = self.bits[0].data.trajectory
        return _contiguous(trajectory[:2].reshape(2, *trajectory.shape[1:3]).transpose(2, 1, 0))

    @property
    def headers(self) -> list[Any]:
        """The readouts' headers, in the order of acquisition."""
        return list(self.bits[0].data.headers.reshape(-1, order="F"))

    @property
    def matrix(self) -> tuple[int, int]:
        """(x, y) of the reconstructed image, pixels."""
        x, y, _ = self.bits[0].data.sampling.recon_matrix
        return int(x), int(y)

    @property
    def fov_mm(self) -> tuple[float, float, float]:
        """(x, y, z) of the reconstructed image, mm."""
        x, y, z = self.bits[0].data.sampling.recon_FOV
        return float(x), float(y), float(z)

    @property
    def duration_ms(self) -> float:
        """How long its readouts took; 0 if unknown."""
        return self.timing.duration_ms(self.repetition_ms * self.partitions)

    @property
    def step_ms(self) -> float:
        """From frame to frame: less than it lasts in a sliding window; 0 if unknown."""
        return self.timing.step_ms(self.repetition_ms * self.partitions)

    @property
    def overlaps(self) -> bool:
        """Whether some of its readouts are those of the frame before, as in a sliding window."""
        return self.timing.stride < self.timing.readouts

    @property
    def spokes(self) -> int:
        """Readouts of the frame (in each of its partitions)."""
        return int(self.bits[0].data.sampling.encoded_matrix[1])

    @property
    def partitions(self) -> int:
        """Partitions of the stack of stars that it is a slice of; 1 for a plain slice."""
        return int(self.bits[0].data.sampling.encoded_matrix[2])

    @property
    def index(self) -> int:
        """The frame's number within its group, from 0."""
        return int(self.headers[0].user_int[FRAME_INDEX_SLOT])

    @property
    def group(self) -> int:
        """Number of the slice, set, contrast .. that the frame belongs to, from 0 in order of appearance."""
        return int(self.headers[0].user_int[GROUP_INDEX_SLOT])


def _contiguous(array: np.ndarray) -> np.ndarray:
    """The array as torch takes it without a warning: what came over a wire may not be written to."""
    return np.require(array, requirements=["C", "W"])
