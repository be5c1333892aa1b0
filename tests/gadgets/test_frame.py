"""A frame is Gadgetron's ReconData, and back."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
from gadgetron.types.recon_data import ReconData

from inr_gadgets.frame import Frame, Timing
from inr_gadgets.imaging.physiology import Physiology
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close
from inr_gadgets.wire.wire_format import serialise
from scans import readout

COILS, SPOKES, SAMPLES = 3, 5, 8


def samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((COILS, SPOKES, SAMPLES)) + 1j * rng.standard_normal((COILS, SPOKES, SAMPLES))
    return kspace.astype(np.complex64), rng.uniform(-0.5, 0.5, (SPOKES, SAMPLES, 2)).astype(np.float32)


def made(**changes: Any) -> Frame:
    headers = [readout(10 + i).getHead() for i in range(SPOKES)]
    options = {"matrix": (6, 4), "fov_mm": (300.0, 200.0, 8.0), "index": 70000, "group": 2, **changes}
    return Frame.from_readouts(*samples(), headers, **options)


def test_what_was_put_in_comes_out() -> None:
    frame, (kspace, traj) = made(), samples()
    np.testing.assert_array_equal(frame.kspace, kspace)
    np.testing.assert_array_equal(frame.traj, traj)
    assert frame.kspace.flags.c_contiguous
    assert frame.traj.flags.c_contiguous
    assert (frame.kspace.dtype, frame.traj.dtype) == (np.complex64, np.float32)
    assert frame.matrix == (6, 4)
    assert frame.fov_mm == (300.0, 200.0, 8.0)
    assert (frame.index, frame.group) == (70000, 2)  # the header's own counters would wrap at 65536
    assert [header.scan_counter for header in frame.headers] == list(range(10, 10 + SPOKES))


def test_the_layout_is_gadgetrons() -> None:
    frame, (kspace, traj) = made(), samples()
    assert isinstance(frame, ReconData)
    (bit,) = frame.bits
    assert bit.ref is None
    assert bit.data.data.shape == (SAMPLES, SPOKES, 1, COILS, 1, 1, 1)
    assert bit.data.trajectory.shape == (2, SAMPLES, SPOKES, 1, 1, 1, 1)
    assert bit.data.headers.shape == (SPOKES, 1, 1, 1, 1)
    assert bit.data.data[7, 2, 0, 1, 0, 0, 0] == kspace[1, 2, 7]
    assert bit.data.trajectory[1, 7, 2, 0, 0, 0, 0] == traj[2, 7, 1]
    assert tuple(bit.data.sampling.recon_matrix) == (6, 4, 1)
    assert tuple(bit.data.sampling.encoded_matrix) == (SAMPLES, SPOKES, 1)


def test_a_slice_of_a_stack_knows_its_partitions_on_the_other_side_of_a_wire() -> None:
    frame = made(partitions=12)
    assert (frame.partitions, made().partitions) == (12, 1)
    here, there = socket.socketpair()
    with here, there:
        here.sendall(serialise(frame) + Close().pack())
        here.shutdown(socket.SHUT_WR)
        (received,) = Connection(there)
    assert Frame.from_recon_data(received).partitions == 12


def test_gradient_delays_are_known_on_the_other_side_of_a_wire_and_without_data() -> None:
    frame = made(delays=(0.25, -0.5, 0.125))
    here, there = socket.socketpair()
    with here, there:
        here.sendall(serialise(frame) + Close().pack())
        here.shutdown(socket.SHUT_WR)
        (received,) = Connection(there)
    assert Frame.from_recon_data(received).delays == frame.without_data().delays == (0.25, -0.5, 0.125)
    assert made().delays == (0, 0, 0)


def test_its_timing_is_known_on_the_other_side_of_a_wire_and_without_data() -> None:
    frame = made(stride=2)
    here, there = socket.socketpair()
    with here, there:
        here.sendall(serialise(frame) + Close().pack())
        here.shutdown(socket.SHUT_WR)
        (received,) = Connection(there)
    # Readouts 10 to 14, 3 ms apart in ticks of 2.5 ms.
    over = Frame.from_recon_data(received)
    assert over.kspace.flags.writeable
    assert over.traj.flags.writeable
    expected = Timing(first=12, last=17, readouts=SPOKES, stride=2, triggered=False)
    assert over.timing == frame.timing == frame.without_data().timing == expected
    assert made().timing.stride == SPOKES
    frame.repetition_ms, frame.physiology = 3.0, Physiology()
    light = frame.without_data()
    assert (light.repetition_ms, light.physiology) == (3.0, frame.physiology)
    assert (light.duration_ms, light.step_ms) == (15.0, 6.0)


def test_a_foreign_number_is_no_stride() -> None:
    headers = [readout(i).getHead() for i in range(3)]
    headers[0].user_int[5] = 4711
    assert Timing.of(headers).stride == 3


def test_the_readouts_own_headers_are_not_touched() -> None:
    headers = [readout(i).getHead() for i in range(SPOKES)]
    Frame.from_readouts(*samples(), headers, matrix=(6, 4), fov_mm=(1, 1, 1), index=3, group=4)
    assert all(list(header.user_int) == [0] * 8 for header in headers)


def test_recon_data_of_another_process_becomes_a_frame() -> None:
    frame = made(arrived=12.5)
    assert Frame.from_recon_data(frame) is frame
    before = time.monotonic()
    other = Frame.from_recon_data(ReconData(frame.bits))
    assert before <= other.arrived <= time.monotonic()  # it arrives when it is read here
    np.testing.assert_array_equal(other.kspace, frame.kspace)
    assert (other.index, other.group) == (70000, 2)


def test_a_third_coordinate_of_the_trajectory_is_left_out() -> None:
    frame = made()
    data = frame.bits[0].data
    data.trajectory = np.concatenate([data.trajectory, np.ones_like(data.trajectory[:1])])
    np.testing.assert_array_equal(frame.traj, samples()[1])


def test_geometry_without_the_data() -> None:
    frame = made(arrived=12.5)
    light = frame.without_data()
    assert light.kspace.size == light.traj.size == 0
    assert (light.matrix, light.fov_mm) == ((6, 4), (300.0, 200.0, 8.0))
    assert light.arrived == 12.5
    (middle,) = light.headers
    assert middle.scan_counter == 10 + SPOKES // 2
    assert frame.kspace.size > 0
