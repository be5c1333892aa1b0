"""Planes that move: how far, whether it matters, and that no frame has spokes of two of them."""

from __future__ import annotations

import math
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.buffering.stars import Stars
from inr_gadgets.conventions.framing import facts_of
from inr_gadgets.conventions.stack import Stack
from inr_gadgets.frame import Frame
from inr_gadgets.planes import Field, Plane, PlaneWatch, move
from scans import SPOKES, golden_scan, header, readout

FIELD = Field((30, 20), (300.0, 240.0, 8.0))  # pixels of 10 x 12 mm
AXIAL = Plane((1.0, 2.0, 3.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Plane:
    px, py, pz = AXIAL.position
    return AXIAL._replace(position=(px + x, py + y, pz + z))


def tilted(degrees: float) -> Plane:
    """Turned about the reading direction."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return AXIAL._replace(phase_dir=(0.0, c, s), slice_dir=(0.0, -s, c))


def test_a_way_is_split_into_the_plane_and_through_it() -> None:
    way = move(AXIAL, at(3.0, 4.0, -2.0), FIELD)
    assert (way.within_mm, way.through_mm, way.turned_deg) == pytest.approx((5.0, 2.0, 0.0))
    assert (way.pixel_mm, way.thickness_mm) == (10.0, 8.0)
    assert str(way) == "5.0 mm in the plane, 2.0 mm through it"


def test_a_rotation_counts_at_the_corners() -> None:
    way = move(AXIAL, tilted(2.0), FIELD)
    assert way.turned_deg == pytest.approx(2.0)
    assert way.through_mm == pytest.approx(120 * math.sin(math.radians(2.0)))
    assert way.within_mm == pytest.approx(120 * (1 - math.cos(math.radians(2.0))))
    assert way.is_new_plane
    assert str(way) == f"0.1 mm in the plane, {way.through_mm:.1f} mm through it, turned by 2.0 degrees"
    assert not move(AXIAL, tilted(0.5), FIELD).is_new_plane


@pytest.mark.parametrize(
    ("plane", "is_new"),
    [
        (AXIAL, False),
        (at(x=4.9), False),
        (at(x=5.1), True),
        (at(z=1.9), False),
        (at(z=-2.1), True),
        (AXIAL._replace(table=(0.0, 0.0, 4.9)), False),
        (AXIAL._replace(table=(0.0, 0.0, 5.1)), True),
        (at(x=1e-4, z=1e-4), False),
        (at(x=math.nan), False),
    ],
)
def test_half_a_pixel_or_a_quarter_of_the_slice_makes_a_new_plane(plane: Plane, is_new: bool) -> None:
    assert move(AXIAL, plane, FIELD).is_new_plane is is_new
    watch = PlaneWatch(FIELD)
    assert watch.moved(AXIAL) is None
    assert (watch.moved(plane) is not None) is is_new


def test_the_table_is_named() -> None:
    assert str(move(AXIAL, AXIAL._replace(table=(0.0, 0.0, -30.0)), FIELD)) == "the table by 30.0 mm"
    assert str(move(AXIAL, AXIAL, FIELD)) == "nothing"


def test_a_header_without_thickness_has_a_pixel_of_it() -> None:
    assert move(AXIAL, AXIAL, FIELD._replace(fov_mm=(300.0, 240.0, 0.0))).thickness_mm == 10.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_coordinates_that_are_none_are_no_move_and_no_warning(value: float) -> None:
    broken = at()._replace(
        position=(value, 0.0, 0.0), read_dir=(value, value, 0.0), slice_dir=(0.0, value, 1.0), table=(value,) * 3
    )
    for before, after in ((at(), broken), (broken, at()), (broken, broken)):
        way = move(before, after, FIELD)
        assert all(np.isfinite(part) for part in way)


def test_a_drift_adds_up() -> None:
    watch = PlaneWatch(FIELD)
    found = [watch.moved(at(x=float(i))) for i in range(14)]
    assert [i for i, way in enumerate(found) if way] == [6, 12]
    assert found[6] is not None
    assert found[6].within_mm == pytest.approx(6.0)


# -- frames -------------------------------------------------------------------------------------------------------


def gather(scan: list[Any], **parameters: Any) -> tuple[list[list[int]], list[Frame], str]:
    """Which readouts each frame holds, the frames, and the last line for the operator."""
    gadget, lines = BufferGadget(header(), BufferParameters(**parameters)), list[str]()
    gadget.announce = lines.append
    frames = list(gadget.process(scan))
    return [[h.scan_counter for h in frame.headers] for frame in frames], frames, lines[-1]


def moved_from(number: int, scan: list[Any]) -> list[Any]:
    for acquisition in scan[number:]:
        acquisition.position[:] = (10, -20, 60)
    return scan


def test_a_frame_ends_where_the_plane_changes() -> None:
    rows, frames, line = gather(moved_from(8, golden_scan(4)))
    assert rows == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]
    assert [frame.headers[0].position[2] for frame in frames] == [30, 30, 60, 60, 60]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert line == "5 frames of 20 spokes"


def test_a_part_that_is_too_short_is_left_out_and_told() -> None:
    rows, _, line = gather(moved_from(6, golden_scan(3)))
    assert rows == [[0, 1, 2, 3, 4], [6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert line == "3 frames of 15 spokes; 1 spokes of frames with too few of them left out (buffer.minimum_part)"


def test_spokes_that_are_counted_make_whole_frames_from_the_change_on() -> None:
    scan = [readout(i) for i in range(4 * SPOKES)]
    rows, _, _ = gather(moved_from(8, scan), spokes_per_frame=5)
    assert rows == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11, 12], [13, 14, 15, 16, 17], [18, 19]]


def test_a_sliding_window_begins_anew() -> None:
    scan = moved_from(12, [readout(i) for i in range(24)])
    rows, frames, _ = gather(scan, spokes_per_frame=6, stride=3, minimum_part=1.0)
    assert rows == [
        [*range(6)],
        [*range(3, 9)],
        [*range(6, 12)],
        [*range(12, 18)],
        [*range(15, 21)],
        [*range(18, 24)],
    ]
    assert [frame.headers[0].position[2] for frame in frames] == [30] * 3 + [60] * 3


def test_small_corrections_of_the_plane_end_no_frame() -> None:
    scan = golden_scan(3)
    for i, acquisition in enumerate(scan):
        acquisition.position[:] = (10 + 0.05 * i, -20, 30)
    assert gather(scan)[0] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]


def test_slices_in_turn_are_no_change() -> None:
    scan = golden_scan(4)
    for acquisition in scan[5:10] + scan[15:]:
        acquisition.position[:], acquisition.idx.slice = (10, -20, 60), 1
    assert gather(scan)[0] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]


def test_an_angle_of_two_slabs_is_left_out() -> None:
    class Row:
        traj = np.zeros((4, 2), np.float32)

    def facts(number: int, partition: int) -> Any:
        made = readout(number, kspace_encode_step_2=partition, position=(0, 0, 40 if number > 4 else 0))
        found = facts_of(made)
        return found._replace(group=found.group._replace(partition=partition))

    stars = Stars(Stack(0, 1, 1, 2, 2, 5.0), "", 40, 1e-3, PlaneWatch(FIELD))
    gathered = [stars.add(Row(), facts(i, i % 2), i // 2) for i in range(8)]  # type: ignore[arg-type]
    # The slab moves between the two partitions of the third angle.
    assert [i // 2 for i, angle in enumerate(gathered) if angle is not None] == [0, 1, 3]
    assert stars.dropped == 2  # the angle that the change cut, and its partition of the new slab


def test_flags_do_not_matter() -> None:
    """A readout that is no imaging may be anywhere."""
    scan = golden_scan(2)
    noise = readout(99, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA], position=(0, 0, 500))
    assert gather([*scan[:7], noise, *scan[7:]])[0] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
