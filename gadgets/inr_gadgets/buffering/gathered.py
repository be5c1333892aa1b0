"""Frames that Gadgetron's own gadgets have gathered (AcquisitionAccumulateTrigger and BucketToBuffer), made ours.

Theirs is sorted by counters, has gaps where no readout came, spans several repetitions, sets and slices at will, and
holds the sender's trajectory in the sender's unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBuffer, ReconData

from inr_core.errors import DataError
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.readouts import Group, group_of
from inr_gadgets.conventions.sampling import Sampling, embedded_spoke, find_sampling
from inr_gadgets.frame import Frame
from inr_gadgets.header import Encoding, encoding
from inr_gadgets.heads import head_of

_OUR_BUFFER = 'this package\'s gadget "buffer" in the place of BucketToBuffer needs none of this'
_Row = tuple[Any, np.ndarray, np.ndarray]  # header, (coils, samples), (samples, dimensions)


class GatheredFrames:
    """Turns ReconData into frames; a Frame of our own buffer gadget stays as it is.

    Trajectories are read as the buffer gadget reads them; coils are not whitened and gradient delays not corrected,
    which Gadgetron's chain has to do where it is wanted.

    Parameters
    ----------
    header : ismrmrd.xsd.ismrmrdHeader
        The scan's.
    """

    def __init__(self, header: Any) -> None:
        self._header = header
        self._parameters = BufferParameters(angles="trajectory")
        self._spaces: dict[int, tuple[Encoding, Sampling]] = {}
        self._numbers: dict[Group, int] = {}
        self._counts: Counter[Group] = Counter()

    def among(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items, with frames in the place of ReconData.

        Raises
        ------
        DataError
            For ReconData without a trajectory, or of partitions.
        """
        for item in items:
            if not isinstance(item, ReconData):
                yield item
            elif isinstance(item, Frame) or _is_ours(item):
                yield Frame.from_recon_data(item)
            else:
                yield from self._frames(item)

    def _frames(self, recon_data: ReconData) -> Iterator[Frame]:
        for bit in recon_data.bits:
            if not bit.data.data.size:
                continue  # an encoding space of which nothing came
            if bit.data.trajectory is None:
                raise DataError("ReconData without a trajectory", "one for every readout", _OUR_BUFFER)
            rows: dict[tuple[Group, int], list[_Row]] = {}
            for row in _rows(bit.data):
                rows.setdefault((group_of(row[0]), row[0].idx.repetition), []).append(row)
            for (group, _), of_frame in rows.items():
                yield self._frame(group, of_frame, recon_data)

    def _frame(self, group: Group, rows: list[_Row], recon_data: ReconData) -> Frame:
        rows.sort(key=lambda row: row[0].scan_counter)
        readouts = [_readout(*row) for row in rows]
        space, sampling = self._space(group, readouts[0])
        if space.encoded_matrix[2] > 1:
            raise DataError(f"ReconData of {space.encoded_matrix[2]} partitions", "plane slices", _OUR_BUFFER)
        for readout in readouts:
            sampling.check(readout)
        kept = slice(0, sampling.n_kept)
        index = self._counts[group]
        self._counts[group] += 1
        heads = [head_of(readout) for readout in readouts]
        for head in heads:
            head.center_sample, head.trajectory_dimensions = sampling.center, 2
        return Frame.from_readouts(
            np.stack([readout.data for readout in readouts], axis=1),
            np.stack([embedded_spoke(readout, kept, sampling) for readout in readouts]),
            heads,
            matrix=space.matrix,
            fov_mm=space.recon_fov_mm,
            index=index,
            group=self._numbers.setdefault(group, len(self._numbers)),
            arrived=getattr(recon_data, "arrived", None),
        )

    def _space(self, group: Group, readout: Any) -> tuple[Encoding, Sampling]:
        if group.encoding not in self._spaces:
            space = encoding(self._header, group.encoding)
            self._spaces[group.encoding] = space, find_sampling(readout, space, self._parameters)
        return self._spaces[group.encoding]


def _is_ours(recon_data: ReconData) -> bool:
    """Whether our buffer gadget made it: Gadgetron's writes the limits of the sampling, which ours leaves at zero."""
    bits = recon_data.bits
    whole = len(bits) > 0 and all(bit.data.headers.size for bit in bits)
    return whole and not any(any(limit) for bit in bits for limit in bit.data.sampling.sampling_limits)


def _rows(buffer: ReconBuffer) -> Iterator[_Row]:
    """The readouts of (E0, E1, E2, coils, N, S, slices) that are there: what is missing has a header of zeros."""
    for place in np.ndindex(buffer.headers.shape):
        head = buffer.headers[place]
        if head.number_of_samples:
            e1, e2, *rest = place
            at = (slice(None), e1, e2)
            samples = buffer.data[(*at, slice(None), *rest)]
            yield head, samples.T, buffer.trajectory[(slice(None), *at, *rest)].T


def _readout(head: Any, data: np.ndarray, traj: np.ndarray) -> ismrmrd.Acquisition:
    """A readout as it was, without what BucketToBuffer has discarded already."""
    copy = type(head).from_buffer_copy(head)
    copy.center_sample = max(copy.center_sample - copy.discard_pre, 0)
    copy.discard_pre = copy.discard_post = 0
    copy.active_channels, copy.number_of_samples = data.shape
    copy.trajectory_dimensions = traj.shape[1]
    return ismrmrd.Acquisition(copy, np.ascontiguousarray(data), np.ascontiguousarray(traj))
