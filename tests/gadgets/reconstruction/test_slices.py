"""What changes during a scan, in the stream: planes, pauses, patients that move, and what may not change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.buffering.buffer import BufferGadget, BufferParameters
from inr_gadgets.frame import Frame
from inr_gadgets.reconstruction import slices
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.reconstruction.schedule import Schedule
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from radial import cine_scan
from scans import readout

MATRIX, SPOKES = (40, 32), 7
Z = 0.0, 0.0, 30.0  # mm: where the plane goes


def frames(
    n: int,
    *,
    moves: dict[int, tuple[float, float, float]] | None = None,
    jumps: dict[int, float] | None = None,
    delays: dict[int, int] | None = None,
    group: int = 0,
) -> list[Frame]:
    """Frames of a small beating heart, and what happens from a frame on.

    Parameters
    ----------
    moves
        Position of the plane.
    jumps
        Pixels by which all that is seen is shifted, along x.
    delays
        Ticks that pass before the frame.
    """
    scan = cine_scan(frames=16, spokes=SPOKES, coils=4, matrix=MATRIX)
    position, shift, late, made = (0.0, 0.0, 0.0), 0.0, 0, []
    for index in range(n):
        position = (moves or {}).get(index, position)
        shift = (jumps or {}).get(index, shift)
        late += (delays or {}).get(index, 0)
        samples, traj = scan.kspace[index].numpy(), scan.traj[index].numpy()
        headers = [
            readout(
                i,
                position=(position[0], position[1], position[2] + 10 * group),
                acquisition_time_stamp=1000 + late + 8 * index + i,
            ).getHead()
            for i in range(SPOKES)
        ]
        made.append(
            Frame.from_readouts(
                (samples * np.exp(-2j * np.pi * shift * traj[..., 0])).astype(np.complex64),
                traj,
                headers,
                matrix=MATRIX,
                fov_mm=(300, 240, 8),
                index=index,
                group=group,
                arrived=0.1 * index,
            )
        )
    return made


def run(items: list[Any], **parameters: Any) -> tuple[list[ismrmrd.Image], list[str]]:
    settings = {"deterministic": True, "device": "cpu", "method": "grasp", "grasp_iterations": 3, **parameters}
    if settings["method"] != "grasp":
        del settings["grasp_iterations"]
    made, lines = ReconGadget(None, ReconGadget.read_parameters(settings)), list[str]()
    made.announce = lines.append
    return list(made.process(items)), lines


def numbers(images: list[Any], series: int) -> list[int]:
    return [image.repetition for image in images if image.image_series_index == series]


def data(images: list[Any], series: int) -> np.ndarray:
    return np.stack([image.data[0, 0] for image in images if image.image_series_index == series])


def events(images: list[Any]) -> dict[int, str]:
    return {image.repetition: image.meta["inr_event"] for image in images if "inr_event" in image.meta}


# -- the plane ----------------------------------------------------------------------------------------------------


def test_a_plane_that_moves_is_reconstructed_anew_and_both_parts_are_refined() -> None:
    images, lines = run(frames(9, moves={4: Z}))
    assert numbers(images, 1) == numbers(images, 2) == [*range(9)]
    assert events(images) == {4: "plane moved: 30.0 mm through it"}
    for series in (1, 2):
        heights = [image.position[2] for image in images if image.image_series_index == series]
        assert heights == [0] * 4 + [30] * 5
    assert lines[1] == "frame 4: the plane has moved (30.0 mm through it): a new reconstruction begins"
    assert [line.split(" in ")[0] for line in lines[2:]] == [
        "frames 0 to 3: refined 4 frames",
        "frames 4 to 8: refined 5 frames",
    ]
    for image in images[9:]:
        assert int(image.meta["inr_frame"]) == image.repetition
    # To the bit what two scans would have given.
    alone = [run(part)[0] for part in (frames(4), frames(9)[4:])]
    for series in (1, 2):
        np.testing.assert_array_equal(data(images, series), np.concatenate([data(part, series) for part in alone]))


def test_the_table_moves_the_anatomy_as_the_plane_does() -> None:
    items = frames(4)
    for frame in items[2:]:
        for header in frame.headers:
            header.patient_table_position[:] = (0, 0, 50)
    images, lines = run(items, refine=False)
    assert events(images) == {2: "plane moved: the table by 50.0 mm"}
    assert lines[-1] == "frame 2: the plane has moved (the table by 50.0 mm): a new reconstruction begins"


def test_a_frame_by_itself_between_two_changes_is_sent_live_only() -> None:
    images, lines = run(frames(7, moves={3: Z, 4: (0.0, 0.0, 0.0)}))
    assert numbers(images, 1) == [*range(7)]
    assert numbers(images, 2) == [0, 1, 2, 4, 5, 6]
    assert "frame 3: a single frame has no series to refine; there is no series 2" in lines


def test_with_other_slices_the_lines_name_the_slice() -> None:
    items = [frame for pair in zip(frames(4, moves={2: Z}), frames(4, group=1), strict=True) for frame in pair]
    images, lines = run(items)
    assert numbers(images, 2) == [0, 1, 2, 3] * 2
    assert "slice 1, frame 2: the plane has moved (30.0 mm through it): a new reconstruction begins" in lines
    refined = [line.split(" in ")[0] for line in lines if "refined" in line]
    assert refined == [
        "slice 1 of 2, frames 0 to 1: refined 2 frames",
        "slice 1 of 2, frames 2 to 3: refined 2 frames",
        "slice 2 of 2: refined 4 frames",
    ]


def test_offline_nothing_is_lost() -> None:
    images, _ = run(frames(6, moves={3: Z, 4: (0.0, 0.0, 0.0)}), offline=True)
    assert [(image.image_series_index, image.repetition) for image in images] == [
        *[(2, i) for i in range(3)],
        (1, 3),
        *[(2, i) for i in (4, 5)],
    ]
    unrefined, _ = run(frames(6, moves={3: Z}), offline=True, refine=False)
    assert numbers(unrefined, 1) == [*range(6)]


def test_images_between_frames_do_not_cross_the_change() -> None:
    images, _ = run(
        frames(6, moves={3: Z}), method="inr", tune_steps=0, refine_passes=22, frame_scale=2, polish_rounds=0
    )
    refined = [image for image in images if image.image_series_index == 2]
    assert [float(image.meta["inr_frame"]) for image in refined] == [0, 0.5, 1, 1.5, 2, 3, 3.5, 4, 4.5, 5]
    assert [image.repetition for image in refined] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_what_is_kept_is_bounded_however_often_the_plane_moves() -> None:
    items = frames(12, moves={2 * i: (0.0, 0.0, 20.0 * i) for i in range(6)})
    images, lines = run(items, history_frames=5, offline=True)
    assert sorted(numbers(images, 1) + numbers(images, 2)) == [*range(12)]
    assert numbers(images, 2) == [8, 9, 10, 11]
    assert "frames 0 to 1 are no longer kept and will not be refined (recon.history_frames)" in lines


def test_many_changes_do_not_flood_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_MOST_TOLD", 3)
    images, lines = run(frames(8, moves={i: (0.0, 0.0, 20.0 * i) for i in range(8)}), method="nufft")
    assert sorted(events(images)) == [*range(1, 8)]
    assert len(lines) == 1 + 3 + 1
    assert lines[-1] == "further changes are told in the images' inr_event alone"


def test_recon_data_with_another_matrix_is_refused() -> None:
    items = frames(3)
    items[2].bits[0].data.sampling.recon_matrix[:] = (48, 32, 1)
    arrived: list[Any] = []
    with pytest.raises(
        DataError,
        match=r"^a frame of 48 x 32 pixels; expected 40 x 32, as before in its slice; "
        r"send another matrix as a scan of its own$",
    ):
        arrived.extend(ReconGadget(None, ReconGadget.read_parameters({"device": "cpu"})).process(items))
    assert len(arrived) == 2


# -- sudden changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["inr", "grasp"])
def test_a_jump_without_a_word_in_the_headers_is_noticed(method: str) -> None:
    images, lines = run(frames(8, jumps={5: 12.0}), method=method, refine=False)
    assert events(images) == {5: "sudden change"}
    assert lines[1:] == [
        "WRN: frame 5: the data contradict the frames before (the patient moved?): a new reconstruction begins"
    ]
    alone = run(frames(8, jumps={0: 12.0})[5:], method=method, refine=False)[0]
    np.testing.assert_array_equal(data(images, 1)[5:], data(alone, 1))


def test_nothing_is_noticed_where_nothing_happens() -> None:
    images, lines = run(frames(16), refine=False)
    assert events(images) == {}
    assert len(lines) == 1


def test_a_spoiled_frame_does_not_cost_what_was_known() -> None:
    images, lines = run(frames(12, jumps={8: 12.0, 9: 0.0}))
    assert events(images) == {8: "sudden change", 9: "as before"}
    assert lines[1:3] == [
        "WRN: frame 8: the data contradict the frames before (the patient moved?): a new reconstruction begins",
        "frame 9: as it was before: goes on with what was known",
    ]
    assert numbers(images, 1) == [*range(12)]
    assert numbers(images, 2) == [*range(8), 9, 10, 11]
    truth = np.abs(cine_scan(frames=16, spokes=SPOKES, coils=4, matrix=MATRIX).truth[9].numpy())
    fresh = run(frames(12)[9:], refine=False)[0]

    def error(image: np.ndarray) -> float:
        found = np.abs(image)
        return float(np.linalg.norm(found * (found * truth).sum() / (found**2).sum() - truth))

    assert error(data(images, 1)[9]) < 0.8 * error(data(fresh, 1)[0])


def test_a_patient_who_stays_elsewhere_is_not_gone_back_from() -> None:
    images, _ = run(frames(12, jumps={6: 12.0}), refine=False)
    assert events(images) == {6: "sudden change"}


def test_a_plane_that_comes_back_is_known() -> None:
    images, lines = run(frames(12, moves={5: Z, 8: (0.0, 0.0, 0.0)}), refine=False)
    # The phantom is the same in both planes: that a plane is another one is believed to the headers.
    assert events(images) == {
        5: "plane moved: 30.0 mm through it",
        8: "plane moved: 30.0 mm through it; as before",
    }
    assert lines[-1] == "frame 8: as it was before: goes on with what was known"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_REMEMBERED", 1)
    images, _ = run(frames(12, moves={3: Z, 6: (0.0, 0.0, 60.0), 9: (0.0, 0.0, 0.0)}), refine=False)
    assert events(images)[9] == "plane moved: 60.0 mm through it"


# -- pauses -------------------------------------------------------------------------------------------------------


def test_a_pause_is_told_and_changes_the_next_frame_alone() -> None:
    images, lines = run(frames(8, delays={5: 1200}), refine=False)
    assert events(images) == {5: "pause: 3.0 s"}
    assert lines[1:] == ["a pause of 3.0 s: the frames after it trust less in those before"]
    plain = run(frames(8), refine=False)[0]
    np.testing.assert_array_equal(data(images, 1)[:5], data(plain, 1)[:5])
    assert not np.allclose(data(images, 1)[5], data(plain, 1)[5], rtol=1e-3)


def test_a_pause_reaches_every_slice_once() -> None:
    pairs = zip(frames(5, delays={3: 1200}), frames(5, group=1, delays={3: 1200}), strict=True)
    images, lines = run([frame for pair in pairs for frame in pair], refine=False)
    found = [(image.meta["inr_group"], image.repetition) for image in images if "inr_event" in image.meta]
    assert found == [(0, 3), (1, 3)]
    assert len(lines) == 2


def test_a_pause_and_a_move_are_both_told() -> None:
    images, _ = run(frames(6, delays={4: 1200}, moves={4: Z}), refine=False)
    assert events(images) == {4: "pause: 3.0 s; plane moved: 30.0 mm through it"}


def test_the_clock_does_not_learn_from_a_pause() -> None:
    clock = Schedule()
    for moment in (1.0, 2.0):
        clock.arrived(moment)
    clock.arrived(60.0, after_pause=True)
    assert (clock.interval_s, clock.last_arrival) == (1.0, 60.0)
    assert clock.time_for_a_step(60.4)
    assert not clock.time_for_a_step(60.6)


# -- through buffer and server ------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, change: Any) -> None:
    """A copy of a scan, each of its acquisitions changed by ``change(number, acquisition)``, which may replace it."""
    with ScanFile(source) as scan:
        writer = ScanWriter(target, scan.header_xml)
        for number, acquisition in enumerate(scan):
            writer.append(change(number, acquisition) or acquisition)
        writer.close()


def replayed(scan: Path, **settings: str) -> tuple[list[Any], list[str]]:
    """Images and lines of a scan that went through a server."""
    import h5py

    lines, output = list[str](), scan.with_suffix(".out.h5")
    values = {"recon.deterministic": "true", "recon.device": "cpu", "recon.method": "grasp", **settings}
    with Server(port=0) as server, ScanFile(scan) as file:
        how = Replay(settings=values, address="127.0.0.1", port=server.port)
        replay_to_file(how, file, output, on_text=lines.append)
    with h5py.File(output) as written:
        (group,) = written.values()
        return [*group["image_1"]["header"]], lines


def test_a_plane_that_moves_in_mid_frame_through_the_server(tmp_path: Path) -> None:
    simulated = simulate(tmp_path / "scan.h5", matrix=32, frames=6, spokes=10, coils=3)

    def change(number: int, acquisition: Any) -> None:
        if number >= 24:
            acquisition.position[:] = (0, 0, 100)

    rewritten(simulated.scan, tmp_path / "moved.h5", change)
    headers, lines = replayed(tmp_path / "moved.h5")
    heights = [float(header["position"][2]) for header in headers]
    assert len(heights) == 7
    assert heights[3:] == [100.0] * 4
    assert heights[0] == heights[1] == heights[2] != 100.0
    assert any("frame 3: the plane has moved (" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("coils", r"^a readout of 2 coils x 64 samples in mid-scan; expected 3 x 64 as before; reconstruct the parts"),
        ("samples", r"^a readout of 3 coils x 48 samples in mid-scan; expected 3 x 64 as before; reconstruct"),
    ],
)
def test_what_may_not_change_ends_the_scan_after_the_images_made(tmp_path: Path, change: str, message: str) -> None:
    simulated = simulate(tmp_path / "scan.h5", matrix=32, frames=4, spokes=8, coils=3)
    with ScanFile(simulated.scan) as scan:
        header, items = scan.header_xml, list(scan)
    rows = {"coils": (slice(2), slice(None)), "samples": (slice(None), slice(48))}[change]
    first = next(i for i, item in enumerate(items) if item.idx.repetition == 3)
    items[first + 4] = readout(first + 4, data=np.ascontiguousarray(items[first + 4].data[rows]))
    images: list[Any] = []

    def all_images() -> Iterator[Any]:
        from inr_gadgets.header import parse_header

        buffer = BufferGadget(parse_header(header), BufferParameters())
        yield from ReconGadget(None, ReconGadget.read_parameters({"device": "cpu"})).process(buffer.process(items))

    with pytest.raises(DataError, match=message):
        images.extend(all_images())
    assert [image.repetition for image in images] == [0, 1, 2]
