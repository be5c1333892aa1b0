"""The partitions of a stack of stars: where they lie along kz, and the slices that they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.header import MAX_MATRIX, Encoding

MOST_BYTES = 4 << 30  # of a frame with all its partitions
_ESCAPE = "correct the header, or set buffer.partitions=single"


@dataclass(frozen=True)
class Stack:
    """How the partitions of one encoding space become slices: a centred unitary inverse Fourier transform along kz.

    x(z) = 1/sqrt(n) * sum_k y(k) exp(2 pi i k z / n), n the grid, k from the partition at kz = 0, z from slice
    ``slices // 2``, which lies at the position that the readouts' headers give. Frequencies that were not acquired
    count as zero.

    Attributes
    ----------
    first, last
        kspace_encode_step_2 of the first and the last partition that is acquired.
    center
        That of the partition at kz = 0; it need not be one of them.
    grid
        Points along kz with those that are filled by zeros.
    slices
        Slices that are kept of as many: the outer ones of an oversampled slab are cut off.
    slice_mm
        From slice to slice.
    remark
        What had to be decided against the header, for the operator; empty if nothing.
    """

    first: int
    last: int
    center: int
    grid: int
    slices: int
    slice_mm: float
    remark: str = ""

    @property
    def n_partitions(self) -> int:
        """How many partitions are acquired at each angle."""
        return self.last - self.first + 1

    @property
    def reference(self) -> int:
        """Of the acquired partitions, from 0, the one nearest to kz = 0: its readout's header stands for all."""
        return min(max(self.center, self.first), self.last) - self.first

    @property
    def order(self) -> list[int]:
        """The slices in the order in which they leave: from the middle outwards.

        The scan's first image sets the scale of all, and a slab's outermost slices are dark.
        """
        return sorted(range(self.slices), key=lambda number: abs(number - self.slices // 2))

    @property
    def heights_mm(self) -> NDArray[np.float64]:
        """Distance of each slice from the centre, along slice_dir, mm."""
        return np.asarray(self.slice_mm * (np.arange(self.slices) - self.slices // 2), np.float64)

    @property
    def text(self) -> str:
        """In words, for the operator."""
        filled = f" on {self.grid} points" if self.grid != self.n_partitions else ""
        remark = f" ({self.remark})" if self.remark else ""
        return (
            f"stack of stars: partitions {self.first} to {self.last} with kz = 0 at {self.center}{remark}, Fourier "
            f"transform along them{filled} into {self.slices} slices of {self.slice_mm:.4g} mm"
        )

    def transform(self, kspace: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Slices of partitions.

        Parameters
        ----------
        kspace : (coils, spokes, partitions, samples) complex64

        Returns
        -------
        (slices, coils, spokes, samples) complex64, the plane k-space of each slice

        Raises
        ------
        DataError
            If it would take more than :data:`MOST_BYTES`.
        """
        nbytes = kspace.nbytes // self.n_partitions * self.grid
        if nbytes > MOST_BYTES:
            raise DataError(
                f"a frame of {nbytes / 1e6:.3g} MB on the {self.grid} points along kz",
                f"at most {MOST_BYTES / 1e6:.3g} MB",
                "set buffer.spokes_per_frame to fewer, or correct the header",
            )
        start = self.grid // 2 + self.first - self.center
        padding = [(0, 0)] * 4
        padding[2] = (start, self.grid - start - self.n_partitions)
        centred = np.fft.ifftshift(np.pad(kspace, padding), axes=2)
        image = np.fft.fftshift(np.fft.ifft(centred, axis=2, norm="ortho"), axes=2)
        begin = self.grid // 2 - self.slices // 2
        kept = image[:, :, begin : begin + self.slices]
        return np.ascontiguousarray(np.moveaxis(kept, 2, 0), dtype=np.complex64)


def find_stack(header: Any, space: Encoding, parameters: BufferParameters) -> Stack | None:
    """Read how an encoding space is encoded along z; None for one that is not, or is not to be transformed.

    The encoded matrix says that it is a stack. Which partitions come, and where kz = 0 is, is said by the limits of
    kspace_encoding_step_2; without them all come, with the centre in the middle.

    Raises
    ------
    DataError
        If limits, matrices and fields of view contradict one another.
    """
    n_encoded, n_slices = space.encoded_matrix[2], space.recon_matrix[2]
    if parameters.partitions == "single" or n_encoded < 2:
        return None
    encoded_mm, recon_mm = space.encoded_fov_mm[2], space.recon_fov_mm[2]
    if min(encoded_mm, recon_mm) <= 0:
        raise DataError(
            f"a stack of stars with a field of view of {encoded_mm:g} mm encoded and {recon_mm:g} mm reconstructed "
            "along z",
            "positive ones",
            _ESCAPE,
        )
    points = encoded_mm * n_slices / recon_mm
    if not points <= MAX_MATRIX:
        raise DataError(
            f"a stack of stars with {encoded_mm:g} mm encoded for {n_slices} slices in {recon_mm:g} mm",
            f"at most {MAX_MATRIX} points along kz",
            _ESCAPE,
        )
    grid = round(points)
    first, last, center, remark = _limits(header, space, parameters)
    if grid // 2 + first - center < 0 or last - center >= grid - grid // 2 or n_slices > grid:
        raise DataError(
            f"partitions {first} to {last} with kz = 0 at {center}, {encoded_mm:g} mm encoded for {n_slices} slices in "
            f"{recon_mm:g} mm",
            f"partitions that fit the {grid} points which these slices ask for along kz, and no more slices than that",
            _ESCAPE,
        )
    return Stack(first, last, center, grid, n_slices, encoded_mm / grid, remark)


def _limits(header: Any, space: Encoding, parameters: BufferParameters) -> tuple[int, int, int, str]:
    """First, last and central partition, and what to tell about them."""
    n = space.encoded_matrix[2]
    limits = getattr(header.encoding[space.index].encodingLimits, "kspace_encoding_step_2", None)
    first, last, center, remark = 0, n - 1, n // 2, ""
    # Writers that do not care leave all of them 0.
    if limits is not None and limits.maximum != 0:
        given = (limits.minimum, limits.maximum, limits.center)
        if not all(isinstance(value, int) for value in given):  # a text that is no number stays a text
            raise DataError(
                f"limits {given[0]} to {given[1]} of kspace_encoding_step_2 with the centre {given[2]}",
                "whole numbers",
                _ESCAPE,
            )
        first, last, center = given
        if not 0 <= first <= last < 2 * n:
            raise DataError(
                f"limits {first} to {last} of kspace_encoding_step_2 for {n} partitions",
                f"numbers from 0 to {n - 1}",
                _ESCAPE,
            )
        if last - first + 1 == n and center - first != n // 2:
            # A complete range has its centre in the middle whatever is written; else the slices would be shifted in
            # phase, and no more.
            center, remark = first + n // 2, f"not at {center} as the limits say"
    if parameters.partition_center >= 0:
        center, remark = parameters.partition_center, "as set"
    return first, last, center, remark
