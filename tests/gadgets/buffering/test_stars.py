"""A stack of stars through the buffer gadget: partitions in, slices out, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.buffering.stars import Stars
from inr_gadgets.conventions.framing import Facts
from inr_gadgets.conventions.readouts import Group
from inr_gadgets.conventions.stack import Stack, find_stack
from inr_gadgets.conventions.understanding import understand
from inr_gadgets.frame import Frame
from inr_gadgets.header import encoding, parse_header
from scans import COILS, SPOKES, N, embedded, header_xml, readout

P, FRAMES = 4, 3


def stack_header(
    n_partitions: int = P,
    slices: int | None = None,
    *,
    limits: tuple[object, object, object] | None = None,
    encoded_mm: float = 40.0,
    recon_mm: float | None = None,
) -> Any:
    """A header with a stack of stars; ``limits`` are minimum, maximum and centre of kspace_encoding_step_2."""
    slices = n_partitions if slices is None else slices
    xml = header_xml(
        matrix=(N, N, slices),
        encoded=(2 * N, N, n_partitions),
        fov=(300.0, 300.0, encoded_mm if recon_mm is None else recon_mm),
        encoded_fov=(600.0, 300.0, encoded_mm),
    )
    if limits is not None:
        low, high, center = limits
        text = f"<minimum>{low}</minimum><maximum>{high}</maximum><center>{center}</center>"
        xml = xml.replace(
            "<encodingLimits>", f"<encodingLimits><kspace_encoding_step_2>{text}</kspace_encoding_step_2>"
        )
    return parse_header(xml)


def samples(partition: int, spoke: int) -> np.ndarray:
    """(coils, samples) of one readout; everyone else can make them again."""
    rng = np.random.default_rng((partition, spoke))
    return (rng.standard_normal((COILS, 2 * N)) + 1j * rng.standard_normal((COILS, 2 * N))).astype(np.complex64)


def scan(
    partitions: Iterable[int] = range(P), order: str = "angles", change: Callable[[Any], None] = lambda a: None
) -> list[ismrmrd.Acquisition]:
    """A stack: partitions of an angle together, or the partitions of a frame one after the other."""
    partitions = list(partitions)
    pairs = {
        "angles": [(p, s) for s in range(FRAMES * SPOKES) for p in partitions],
        "partitions": [(p, s) for f in range(FRAMES) for p in partitions for s in range(f * SPOKES, (f + 1) * SPOKES)],
    }[order]
    made = []
    for counter, (partition, spoke) in enumerate(pairs):
        acquisition = readout(
            counter,
            data=samples(partition, spoke),
            kspace_encode_step_1=spoke % SPOKES,
            kspace_encode_step_2=partition,
            repetition=spoke // SPOKES,
        )
        acquisition.arrived = 50.0 + counter
        change(acquisition)
        made.append(acquisition)
    return made


def gather(items: Iterable[Any], header: Any, **parameters: Any) -> tuple[list[Frame], list[str]]:
    gadget = BufferGadget(header, BufferParameters(**parameters))
    lines: list[str] = []
    gadget.announce = lines.append
    return sorted(gadget.process(items), key=lambda frame: (frame.index, frame.group)), lines


def expected_slice(
    z: int, spoke: int, partitions: Iterable[int] = range(P), center: int = P // 2, grid: int = P
) -> np.ndarray:
    """(coils, samples) of a spoke of the slice z from the middle, by the sum itself in float64."""
    turns = {p: np.exp(2j * np.pi * (p - center) * z / grid) / np.sqrt(grid) for p in partitions}
    return np.sum([turns[p] * samples(p, spoke).astype(np.complex128) for p in partitions], axis=0)


@pytest.mark.parametrize("order", ["angles", "partitions"])
def test_slices_are_the_transform_along_the_partitions(order: str) -> None:
    frames, lines = gather(scan(order=order), stack_header())
    assert [(f.group, f.index) for f in frames] == [(z, t) for t in range(FRAMES) for z in range(P)]
    for frame in frames:
        assert frame.kspace.dtype == np.complex64
        assert (frame.partitions, frame.matrix, frame.fov_mm) == (P, (N, N), (300.0, 300.0, 10.0))
        for row in range(SPOKES):
            expected = expected_slice(frame.group - P // 2, frame.index * SPOKES + row)
            np.testing.assert_allclose(frame.kspace[:, row], expected, atol=2e-6)
        assert frame.arrived == 50.0 + P * SPOKES * (frame.index + 1) - 1, "the last readout of all partitions"
    assert (
        "stack of stars: partitions 0 to 3 with kz = 0 at 2, Fourier transform along them into 4 slices of 10 mm"
        in (lines[0])
    )
    assert "groups" not in lines[0]
    assert lines[-1] == "3 frames of 60 spokes"


def test_spokes_have_the_angles_of_their_number_in_a_partition() -> None:
    plain = [readout(i, repetition=i // SPOKES, kspace_encode_step_1=i % SPOKES) for i in range(FRAMES * SPOKES)]
    flat, _ = gather(plain, parse_header(header_xml()))
    frames, _ = gather(scan(), stack_header())
    for frame in frames:
        assert frame.traj == pytest.approx(flat[frame.index].traj, abs=1e-6)


def test_a_frame_leaves_with_the_last_of_its_partitions() -> None:
    taken: list[int] = []

    def source() -> Iterable[Any]:
        for number, acquisition in enumerate(scan()):
            taken.append(number)
            yield acquisition

    gadget = BufferGadget(stack_header(), BufferParameters(spokes_per_frame=5))
    leaving = [(taken[-1], frame.index, frame.group) for frame in gadget.process(source())]
    # The middle slice first: a dark one from the edge of the slab would set the scale of all images.
    assert leaving == [(P * SPOKES * (t + 1) - 1, t, z) for t in range(FRAMES) for z in (2, 1, 3, 0)]


@pytest.mark.parametrize(
    ("limits", "partitions", "center"),
    [
        ((2, 7, 4), range(2, 8), 4),  # a partial range: the two lowest frequencies count as zero
        ((0, 4, 3), range(5), 3),
        ((0, 4, 1), range(5), 1),
        (None, range(8), 4),
        ((0, 0, 0), range(8), 4),  # limits of a writer who does not care
    ],
)
def test_partial_ranges_are_filled_with_zeros(
    limits: tuple[int, int, int] | None, partitions: range, center: int
) -> None:
    frames, lines = gather(scan(partitions), stack_header(8, limits=limits))
    assert len(frames) == 8 * FRAMES
    for frame in frames[:8]:
        expected = expected_slice(frame.group - 4, 2, partitions, center, grid=8)
        np.testing.assert_allclose(frame.kspace[:, 2], expected, atol=3e-6)
    assert f"partitions {partitions[0]} to {partitions[-1]} with kz = 0 at {center}" in lines[0]


@pytest.mark.parametrize(("n", "slices", "recon_mm", "grid"), [(6, 4, 20.0, 6), (5, 7, 30.0, 7), (5, 5, 15.0, 10)])
def test_oversampled_and_interpolated_slabs(n: int, slices: int, recon_mm: float, grid: int) -> None:
    frames, lines = gather(scan(range(n)), stack_header(n, slices, encoded_mm=30.0, recon_mm=recon_mm))
    assert len(frames) == slices * FRAMES
    for frame in frames[:slices]:
        expected = expected_slice(frame.group - slices // 2, 0, range(n), n // 2, grid)
        np.testing.assert_allclose(frame.kspace[:, 0], expected, atol=3e-6)
        assert frame.fov_mm[2] == pytest.approx(30.0 / grid)
    assert (f"on {grid} points" in lines[0]) == (grid != n)


def test_the_centre_may_be_set_and_a_complete_range_has_it_in_the_middle() -> None:
    frames, lines = gather(scan(), stack_header(limits=(0, 3, 0)))
    np.testing.assert_allclose(frames[0].kspace[:, 0], expected_slice(-2, 0), atol=2e-6)
    assert "with kz = 0 at 2 (not at 0 as the limits say)" in lines[0]
    frames, lines = gather(scan(range(3)), stack_header(limits=(0, 2, 1)), partition_center=2)
    np.testing.assert_allclose(frames[3].kspace[:, 0], expected_slice(1, 0, range(3)), atol=2e-6)
    assert "with kz = 0 at 2 (as set)" in lines[0]


def test_slices_lie_along_slice_dir_and_are_numbered() -> None:
    def tilt(acquisition: Any) -> None:
        acquisition.position[:] = (10, -20, 30)
        acquisition.slice_dir[:] = (0, 0.6, 0.8)
        acquisition.idx.slice = 2

    frames, _ = gather(scan(change=tilt), stack_header())
    for frame in frames[:P]:
        for head in frame.headers:
            distance = 10.0 * (frame.group - 2)
            assert list(head.position) == pytest.approx([10, -20 + 0.6 * distance, 30 + 0.8 * distance])
            assert (head.idx.slice, head.idx.kspace_encode_step_2) == (2 * P + frame.group, 0)
    # The readout at kz = 0 stands for its angle.
    assert [head.scan_counter for head in frames[0].headers] == [P * spoke + 2 for spoke in range(SPOKES)]


def test_stacks_beside_one_another_and_beside_slices_have_groups_of_their_own() -> None:
    items = []
    for number in range(2 * SPOKES):
        for slab in range(2):
            for partition in range(P):
                items.append(
                    readout(len(items), slice=slab, kspace_encode_step_2=partition, repetition=number // SPOKES)
                )
    frames, lines = gather(items, stack_header())
    assert [(f.group, f.headers[0].idx.slice) for f in frames[: 2 * P]] == [(i, i) for i in range(2 * P)]
    assert "2 groups" in lines[0]


def test_single_partitions_stay_as_they_are() -> None:
    frames, lines = gather(scan(), stack_header(), partitions="single")
    np.testing.assert_array_equal(frames[1].kspace[:, 3], samples(1, 3))
    assert [(f.group, f.partitions) for f in frames[:P]] == [(p, 1) for p in range(P)]
    assert "4 partitions imaged one by one (buffer.partitions)" in lines[0]


def test_sliding_windows() -> None:
    frames, _ = gather(scan(), stack_header(), spokes_per_frame=6, stride=3)
    assert [f.index for f in frames[::P]] == [0, 1, 2, 3]
    for row in range(6):
        np.testing.assert_allclose(frames[P].kspace[:, row], expected_slice(-2, 3 + row), atol=2e-6)


def test_an_angle_without_all_its_partitions_is_left_out() -> None:
    items = scan()
    del items[P * 7 + 1]
    frames, lines = gather(items, stack_header())
    assert [f.kspace.shape[1] for f in frames[::P]] == [5, 4, 5]
    for row, spoke in enumerate((5, 6, 8, 9)):
        np.testing.assert_allclose(frames[P].kspace[:, row], expected_slice(-2, spoke), atol=2e-6)
    assert "1 readouts lost on the way; 1 angles of which a partition is missing left out" in lines[-1]
    plain, _ = gather(scan(), stack_header())
    assert frames[P].traj == pytest.approx(plain[P].traj[[0, 1, 3, 4]], abs=1e-6)
    assert frames[2 * P].traj == pytest.approx(plain[2 * P].traj, abs=1e-6)


def test_an_unusable_readout_takes_its_angle_with_it() -> None:
    items = scan()
    items[P * 6 + 2].data[1, 5] = np.nan
    frames, lines = gather(items, stack_header())
    assert [f.kspace.shape[1] for f in frames[::P]] == [5, 4, 5]
    np.testing.assert_allclose(frames[P].kspace[:, 1], expected_slice(-2, 7), atol=2e-6)
    assert "1 angles of which a partition is missing left out" in lines[-1]


def test_an_angle_that_the_end_cuts_short_is_counted() -> None:
    frames, lines = gather(scan()[:-1], stack_header())
    assert frames[-1].kspace.shape[1] == SPOKES - 1
    assert "1 angles of which a partition is missing left out" in lines[-1]


def late_in_partition_3(acquisition: Any) -> None:
    """Its frames end a spoke later than those of the others."""
    partition, number = acquisition.idx.kspace_encode_step_2, acquisition.scan_counter // P
    acquisition.idx.repetition = max(number - (partition == 3), 0) // SPOKES


def test_many_partitions_still_show_where_frames_end() -> None:
    # 12 partitions of 45 spokes are more readouts than are looked at of slices.
    items = [
        readout(number, kspace_encode_step_2=number % 12, repetition=number // 12 // 45)
        for number in range(12 * 45 + 24)
    ]
    known = understand(stack_header(12), items)
    assert known.framing.spokes == 45
    assert known.stack is not None
    assert known.interval_ms == pytest.approx(36)


@pytest.mark.parametrize(
    ("items", "header", "message"),
    [
        (
            lambda: scan(range(3)),
            lambda: stack_header(),
            r"partition 3 of a stack of stars did not come within 15 spokes; expected every partition from 0 to 3, the "
            r"same spokes in each; correct the header's limits of kspace_encoding_step_2, or set "
            r"buffer.partitions=single",
        ),
        (
            lambda: scan([0]),
            lambda: stack_header(16),
            r"partitions 1, 2, 3, 4, 5, 6, 7, 8 and 7 more of a stack of stars did not come within 15 spokes",
        ),
        (
            lambda: scan(range(5)),
            lambda: stack_header(),
            r"a readout of partition 4 of a stack of stars; expected partitions 0 to 3; correct the header's limits",
        ),
        (
            lambda: scan(change=late_in_partition_3),
            lambda: stack_header(),
            r"unequal spokes in the partitions of a stack of stars: the same spoke has repetition 1 in partition 0 and "
            r"0 in partition 3; expected the same spokes of a frame in every partition; set buffer.partitions=single",
        ),
    ],
)
def test_what_cannot_be_a_stack_is_refused(
    items: Callable[[], list[Any]], header: Callable[[], Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        gather(items(), header())


def test_a_rotated_stack_is_refused() -> None:
    items = scan()
    turned = [
        readout(
            a.scan_counter,
            data=a.data,
            trajectory=embedded(a.scan_counter),
            kspace_encode_step_2=a.idx.kspace_encode_step_2,
            repetition=a.idx.repetition,
        )
        for a in items
    ]
    with pytest.raises(
        DataError,
        match=r"partitions of a stack of stars whose spokes lie 0\.87 cycles per pixel apart at one angle; expected "
        r"spokes of one direction in all partitions of an angle \(no rotated stack\); set buffer.partitions=single",
    ):
        gather(turned, stack_header())


def facts(partition: int) -> Facts:
    return Facts(Group(0, 0, 0, 0, 0, partition), 0, 0, 0, 0, 0)


class Row:
    """A spoke of which only the trajectory matters."""

    traj = np.zeros((4, 2), np.float32)


def test_waiting_is_bounded() -> None:
    # One partition stops: what the others bring must not fill the memory.
    stars = Stars(Stack(0, 1, 1, 2, 2, 5.0), "", 40, 1e-3)
    for position in range(20):
        assert stars.add(Row(), facts(0), position) is None
        assert stars.add(Row(), facts(1), position) is not None
    with pytest.raises(
        DataError,
        match=r"20 spokes of partition 1 of a stack of stars, but 131 of partition 0; expected the same spokes in "
        r"every partition, those of a frame one after the other; set buffer.partitions=single",
    ):
        for position in range(20, 500):
            stars.add(Row(), facts(0), position)


def test_readouts_that_wait_for_their_angle_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inr_gadgets.buffering.buffer.MOST_HELD_BYTES", 10 * samples(0, 0).nbytes)
    with pytest.raises(DataError, match=r"\d+ readouts of 0.00154 MB that wait for their frames"):
        gather(scan(order="partitions"), stack_header(), spokes_per_frame=100)


def test_a_grid_along_kz_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace = np.zeros((3, 2, 4, 8), np.complex64)
    stack = Stack(0, 3, 2, 16, 4, 5.0)
    assert stack.transform(kspace).shape == (4, 3, 2, 8)
    monkeypatch.setattr("inr_gadgets.conventions.stack.MOST_BYTES", 4 * kspace.nbytes - 1)
    with pytest.raises(DataError, match=r"a frame of 0.00614 MB on the 16 points along kz; expected at most 0.00614"):
        stack.transform(kspace)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoded_mm": 0.0, "recon_mm": 30.0},
            r"a stack of stars with a field of view of 0 mm encoded and 30 mm reconstructed along z; expected positive "
            r"ones; correct the header, or set buffer.partitions=single",
        ),
        (
            {"limits": ("a", 3, 1)},
            r"limits a to 3 of kspace_encoding_step_2 with the centre 1; expected whole numbers; correct the header",
        ),
        (
            {"limits": (2, 1, 1)},
            r"limits 2 to 1 of kspace_encoding_step_2 for 4 partitions; expected numbers from 0 to 3; correct",
        ),
        (
            {"limits": (0, 2, 0)},
            r"partitions 0 to 2 with kz = 0 at 0, 40 mm encoded for 4 slices in 40 mm; expected partitions that fit "
            r"the 4 points which these slices ask for along kz, and no more slices than that",
        ),
        (
            {"slices": 2},
            r"partitions 0 to 3 with kz = 0 at 2, 40 mm encoded for 2 slices in 40 mm; expected partitions",
        ),
        (
            {"encoded_mm": 1e9, "recon_mm": 1e-9},
            r"a stack of stars with 1e\+09 mm encoded for 4 slices in 1e-09 mm; expected at most 4096 points along kz",
        ),
        (
            {"encoded_mm": 1e200, "recon_mm": 1e-200},
            r"a stack of stars with 1e\+200 mm encoded for 4 slices in 1e-200 mm; expected at most 4096 points",
        ),
        ({"slices": 8, "recon_mm": 80.0}, r"40 mm encoded for 8 slices in 80 mm; expected partitions that fit the 4"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(changes: dict[str, Any], message: str) -> None:
    made = stack_header(**changes)
    with pytest.raises(DataError, match=message):
        find_stack(made, encoding(made), BufferParameters())
    assert find_stack(made, encoding(made), BufferParameters(partitions="single")) is None
