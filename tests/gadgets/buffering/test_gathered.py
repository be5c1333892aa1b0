"""What Gadgetron's own gadgets gather: buckets into our buffer, ReconData of its own making into our recon."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import ismrmrd
import numpy as np
import pytest
from gadgetron.types.acquisition_bucket import AcquisitionBucket
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

import scans
import wire
from inr_core.errors import DataError
from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.buffering.gathered import GatheredFrames
from inr_gadgets.frame import Frame

SAMPLES, SPOKES, COILS = 2 * scans.N, scans.SPOKES, scans.COILS
STATS = struct.pack("<Q", 0)  # of no encoding space


def readouts(repetitions: Sequence[int] = (0, 1), scale: float = 1.0, **fields: Any) -> list[ismrmrd.Acquisition]:
    """Readouts of golden spokes with a trajectory, each with samples of its own."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(len(repetitions) * SPOKES):
        data = rng.normal(size=(COILS, SAMPLES)) + 1j * rng.normal(size=(COILS, SAMPLES))
        places = {"repetition": repetitions[number // SPOKES], "kspace_encode_step_1": number % SPOKES}
        traj = scans.embedded(number, scale)
        made.append(scans.readout(number, data=data.astype(np.complex64), trajectory=traj, **(places | fields)))
    return made


def gathered(acquisitions: Sequence[Any], rows: int = SPOKES, n: int = 1) -> ReconData:
    """ReconData as BucketToBuffer makes it: by step_1 and, with ``n`` > 1, by repetition; gaps are zeros."""
    data = np.zeros((SAMPLES, rows, 1, COILS, n, 1, 1), np.complex64)
    traj = np.zeros((acquisitions[0].trajectory_dimensions, SAMPLES, rows, 1, n, 1, 1), np.float32)
    headers = np.empty((rows, 1, n, 1, 1), dtype=object)
    for place in np.ndindex(headers.shape):
        headers[place] = ismrmrd.AcquisitionHeader()
    for one in acquisitions:
        e1, rep = one.idx.kspace_encode_step_1, one.idx.repetition % n
        data[:, e1, 0, :, rep, 0, 0] = one.data.T
        traj[:, :, e1, 0, rep, 0, 0] = one.traj.T
        headers[e1, 0, rep, 0, 0] = one.getHead()
    sampling = SamplingDescription()
    sampling.sampling_limits[0].max = SAMPLES - 1
    return ReconData([ReconBit(ReconBuffer(data, traj, None, headers, sampling))])


def frames(*items: Any, **header: Any) -> list[Frame]:
    return list(GatheredFrames(scans.header(**header)).among(items))


def by_our_buffer(acquisitions: Sequence[Any]) -> list[Frame]:
    parameters = BufferGadget.read_parameters({"delays": "off"})
    return list(BufferGadget(scans.header(), parameters).process(acquisitions))


def assert_same(found: list[Frame], expected: list[Frame]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.kspace, other.kspace)
        np.testing.assert_array_equal(one.traj, other.traj)
        assert [bytes(head) for head in one.headers] == [bytes(head) for head in other.headers]
        assert (one.matrix, one.fov_mm, one.index, one.group) == (other.matrix, other.fov_mm, other.index, other.group)
        assert (one.spokes, one.partitions) == (other.spokes, other.partitions)


@pytest.mark.parametrize("scale", [1.0, scans.N, 2 * np.pi])
def test_the_frames_are_those_of_our_buffer(scale: float) -> None:
    acquisitions = readouts(scale=scale)
    found = frames(gathered(acquisitions[:SPOKES]), gathered(acquisitions[SPOKES:]))
    assert_same(found, by_our_buffer(acquisitions))


def test_several_repetitions_in_one_are_several_frames() -> None:
    acquisitions = readouts((0, 1, 2))
    assert_same(frames(gathered(acquisitions, n=3)), by_our_buffer(acquisitions))


def test_gaps_are_no_spokes_and_the_order_is_that_of_acquisition() -> None:
    acquisitions = readouts((0,))
    for step, one in zip((6, 4, 2, 0, 8), acquisitions, strict=True):
        one.idx.kspace_encode_step_1 = step
    (frame,) = frames(gathered(acquisitions, rows=9))
    np.testing.assert_array_equal(frame.kspace, np.stack([one.data for one in acquisitions], axis=1))
    assert [head.scan_counter for head in frame.headers] == list(range(SPOKES))


def test_slices_are_groups_in_order_of_appearance() -> None:
    items = [gathered(readouts((0,), slice=number)) for number in (3, 1, 3)]
    assert [(frame.group, frame.index) for frame in frames(*items)] == [(0, 0), (1, 0), (0, 1)]


def test_discarded_samples_are_gone_already() -> None:
    acquisitions = readouts()
    for one in acquisitions:
        one.discard_pre = one.discard_post = 4
    items = [gathered(acquisitions[:SPOKES]), gathered(acquisitions[SPOKES:])]
    for item in items:
        buffer = item.bits[0].data
        buffer.data, buffer.trajectory = buffer.data[4:-4], buffer.trajectory[:, 4:-4]
    assert_same(frames(*items), by_our_buffer(acquisitions))


def test_an_encoding_space_of_which_nothing_came_is_left_out() -> None:
    item = gathered(readouts((0,)))
    empty = ReconBuffer(np.empty(0, np.complex64), None, None, np.empty(0, object), SamplingDescription())
    item.bits.insert(0, ReconBit(empty))
    assert len(frames(item)) == 1


def test_recon_data_of_nothing_is_no_frame() -> None:
    empty = gathered(readouts())
    empty.bits[0].data.headers = np.empty((0, 1, 1, 1, 1), dtype=object)
    empty.bits[0].data.data = np.empty((0, 0, 1, 0, 1, 1, 1), np.complex64)
    empty.bits[0].data.sampling = SamplingDescription()
    assert frames(ReconData([]), empty) == []


def test_frames_of_our_own_stay_as_they_are() -> None:
    made = by_our_buffer(readouts())
    assert frames(*made) == made
    assert_same(frames(*(ReconData(frame.bits) for frame in made)), made)


def test_other_items_pass_through() -> None:
    image = wire.image()
    assert frames(image) == [image]


def test_without_a_trajectory_it_says_what_to_do() -> None:
    item = gathered(readouts((0,)))
    item.bits[0].data.trajectory = None
    with pytest.raises(DataError, match=r'ReconData without a trajectory; .*gadget "buffer" in the place of BucketToB'):
        frames(item)


def test_partitions_are_refused() -> None:
    with pytest.raises(DataError, match="ReconData of 4 partitions; expected plane slices"):
        frames(gathered(readouts((0,))), encoded=(SAMPLES, scans.N, 4))


def bucket_bytes(acquisitions: Sequence[Any], waveforms: Sequence[Any]) -> bytes:
    """The message, as AcquisitionBucketWriter writes it."""
    heads = b"".join(bytes(one.getHead()) for one in acquisitions)
    traj = b"".join(one.traj.tobytes() for one in acquisitions)
    data = b"".join(one.data.tobytes() for one in acquisitions)
    wave_heads = b"".join(bytes(one.getHead()) for one in waveforms)
    wave_data = b"".join(one.data.tobytes() for one in waveforms)
    sizes = [len(acquisitions), len(heads), len(data), len(traj), 0, 0, 0, 0, len(STATS), len(STATS)]
    meta = struct.pack("<13Q", *sizes, len(waveforms), len(wave_heads), len(wave_data))
    return wire.message(1050, meta + heads + traj + data + STATS + STATS + wave_heads + wave_data)


def read(raw: bytes) -> AcquisitionBucket:
    import socket

    from inr_gadgets.wire.connection import Connection

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        return Connection(ours).read()


def test_a_bucket_with_waveforms() -> None:
    """gadgetron-python raises AttributeError on it."""
    acquisitions, waveforms = readouts((0,)), [wire.waveform(), wire.waveform()]
    bucket = read(bucket_bytes(acquisitions, waveforms))
    for one, other in zip(bucket.data, acquisitions, strict=True):
        assert bytes(one.getHead()) == bytes(other.getHead())
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.traj, other.traj)
    assert bucket.ref == []
    for one, other in zip(bucket.waveforms, waveforms, strict=True):
        assert bytes(one.getHead()) == bytes(other.getHead())
        np.testing.assert_array_equal(one.data, other.data)


def test_our_buffer_takes_the_readouts_of_buckets() -> None:
    acquisitions, waveform = readouts(), wire.waveform()
    buckets = [
        read(bucket_bytes(acquisitions[:SPOKES], [waveform])),
        read(bucket_bytes(acquisitions[SPOKES:], [])),
    ]
    passed, *found = by_our_buffer(buckets)
    assert isinstance(passed, ismrmrd.Waveform)
    assert_same(found, by_our_buffer(acquisitions))
    assert found[0].arrived == buckets[0].arrived
