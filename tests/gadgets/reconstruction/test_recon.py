"""The recon gadget: series, attributes, the use of idle time, and the same bits on every road."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch
from gadgetron.types.recon_data import ReconData

from inr_core.devices import cuda_problem
from inr_core.errors import DataError, ParameterError
from inr_core.methods.inr import InrMethod
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.control import Control
from inr_gadgets.chain import Chain
from inr_gadgets.frame import Frame
from inr_gadgets.handoff import Handoff
from inr_gadgets.image_file import list_series, read_series
from inr_gadgets.reconstruction import recon, refinement, slices
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from radial import cine_scan
from scans import readout

N = 5


def frames(n: int = N, group: int = 0, first: int = 0, start: float = 0.0, spacing: float = 0.1) -> list[Frame]:
    """Frames of a small beating heart, from the ``first`` on, that arrived ``spacing`` seconds apart."""
    scan = cine_scan(frames=10, coils=3, matrix=(24, 20))
    made = []
    for index in range(n):
        samples, traj = scan.kspace[first + index].numpy(), scan.traj[first + index].numpy()
        headers = [readout(i, position=(index / 4, 0, 10 * group)).getHead() for i in range(len(traj))]
        arrived = start + index * spacing
        made.append(
            Frame.from_readouts(
                samples, traj, headers, matrix=(24, 20), fov_mm=(300, 250, 8), index=index, group=group, arrived=arrived
            )
        )
    return made


def gadget(**parameters: Any) -> tuple[ReconGadget, list[str]]:
    """A gadget on the CPU that repeats to the bit, and the lines that it says."""
    settings = {"deterministic": True, "device": "cpu", **parameters}
    if settings.get("method", "inr") == "inr":
        settings.setdefault("refine_passes", 3.0)
    made, lines = ReconGadget(None, ReconGadget.read_parameters(settings)), list[str]()
    made.announce = lines.append
    return made, lines


def process(items: Iterable[Any], **parameters: Any) -> list[Any]:
    return list(gadget(**parameters)[0].process(items))


def series(images: list[Any], number: int) -> np.ndarray:
    chosen = [image.data[0, 0] for image in images if image.image_series_index == number]
    return np.stack(chosen) if chosen else np.empty((0,))


def steps(images: list[Any]) -> list[int]:
    return [int(image.meta["inr_steps"]) for image in images]


# -- series and attributes ----------------------------------------------------------------------------------------


def test_live_images_first_and_then_the_refined_series() -> None:
    images = process(frames())
    assert [image.image_series_index for image in images] == [1] * N + [2] * N
    assert [image.image_index for image in images] == [1, 2, 3, 4, 5] * 2
    assert [image.repetition for image in images] == [0, 1, 2, 3, 4] * 2
    for image in images:
        assert image.data.shape == (1, 1, 20, 24)
        assert image.data.dtype == np.complex64
        assert image.image_type == ismrmrd.IMTYPE_COMPLEX
        assert np.isfinite(image.data).all()
    assert not np.allclose(series(images, 1), series(images, 2))


def test_frames_are_gridded_while_others_are_reconstructed() -> None:
    made, _ = gadget(refine=False, tune_steps=0)
    prepared = list[bool]()

    def source() -> Iterator[Frame]:
        for frame in frames():
            made.prepare(frame)
            prepared.append(frame.gridded is not None)
            yield frame

    images = list(made.process(source()))
    assert prepared == [False, True, True, True, True]
    np.testing.assert_array_equal(series(images, 1), series(process(frames(), refine=False, tune_steps=0), 1))
    # Nobody to ask, a slice that was not seen before, another matrix, and what is no frame: left as they are.
    for item in (ReconGadget(None).prepare, made.prepare):
        for other in (*frames(1, group=7), ismrmrd.Waveform()):
            item(other)
            assert getattr(other, "gridded", None) is None


def test_nothing_is_gridded_ahead_while_a_method_is_put_back() -> None:
    made, _ = gadget(refine=False, tune_steps=0)
    *first, last = frames(3)
    images = made.process(first)
    assert next(images) is not None
    thread = threading.Thread(target=made.prepare, args=(last,))
    with made._guard.in_place:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    assert last.gridded is not None


@pytest.mark.parametrize("leaves_early", [False, True])
def test_a_scan_that_has_ended_is_let_go_of_at_once(leaves_early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    methods, init = list[weakref.ref[InrMethod]](), InrMethod.__init__

    def noted(method: InrMethod, *how: Any) -> None:
        init(method, *how)
        methods.append(weakref.ref(method))

    monkeypatch.setattr(InrMethod, "__init__", noted)
    made, _ = gadget(refine=False)
    images = made.process(frames())
    gc.collect()
    gc.disable()  # what only the collector finds may stay for many scans
    try:
        next(images)
        assert methods[0]() is not None
        if not leaves_early:
            assert len(list(images)) == N - 1
        images.close()  # type: ignore[attr-defined]
        assert methods[0]() is None
    finally:
        gc.enable()


def test_a_chain_grids_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[str]()
    ahead = InrMethod.grid_ahead

    def noted(method: InrMethod, *data: torch.Tensor) -> Any:
        threads.add(threading.current_thread().name)
        return ahead(method, *data)

    monkeypatch.setattr(InrMethod, "grid_ahead", noted)
    made, _ = gadget(refine=False)
    source = frames()

    def slowly() -> Iterator[Frame]:
        yield source[0]
        deadline = time.monotonic() + 30
        while made._slices is None or not made._slices.current or made._slices.current[0].method.n_frames == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield from source[1:]

    images = list(Chain([made]).run(slowly()))
    assert len(images) == N
    assert threads == {"before recon"}
    assert [frame.gridded is not None for frame in source] == [False, True, True, True, True]


def test_memory_that_is_not_used_goes_back_while_the_scan_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = list[str]()
    monkeypatch.setattr(recon, "_PAGES_EVERY", 2)
    monkeypatch.setattr(recon, "give_pages_back", lambda: threads.append(threading.current_thread().name))
    process(frames(), refine=False, tune_steps=0)
    deadline = time.monotonic() + 30
    while len(threads) < N // 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert all(name.startswith("beside") for name in threads)


def test_grasp_streams_and_refines() -> None:
    made, lines = gadget(method="grasp", grasp_iterations=4)
    images = list(made.process(frames()))
    assert [image.image_series_index for image in images] == [1] * N + [2] * N
    # Its live images are those of the INR as long as that has not learnt anything.
    np.testing.assert_array_equal(series(images, 1), series(process(frames(), tune_steps=0), 1))
    assert not np.allclose(series(images, 1), series(images, 2))
    assert steps(images) == [0] * N + [4] * N
    assert {image.meta["inr_method"] for image in images} == {"grasp"}
    assert lines[-1].endswith(" s, 4 steps")


def test_offline_live_images_are_sent_only_where_no_series_follows() -> None:
    assert [image.image_series_index for image in process(frames(), offline=True)] == [2] * N
    assert [image.image_series_index for image in process(frames(1), offline=True)] == [1]
    for settings in ({"refine": False}, {"method": "nufft"}):
        images = process(frames(), offline=True, **settings)
        np.testing.assert_array_equal(series(images, 1), series(process(frames(), **settings), 1))
        assert len(images) == N


def test_a_failure_in_the_series_comes_after_its_last_good_images(monkeypatch: pytest.MonkeyPatch) -> None:
    failure, refine = DataError("data consistency not finite at step 7", "a finite loss"), InrMethod.refine
    monkeypatch.setattr(InrMethod, "refine", lambda *all: replace(refine(*all), failure=failure))
    arrived = []
    with pytest.raises(DataError, match=r"^data consistency not finite at step 7; expected a finite loss$"):
        arrived.extend(image.image_series_index for image in gadget()[0].process(frames()))
    assert arrived == [1] * N + [2] * N


def test_images_leave_though_no_other_frame_comes() -> None:
    left = [threading.Event() for _ in range(N)]

    def source() -> Iterator[Frame]:
        for frame in frames():
            yield frame
            assert left[frame.index].wait(30), "its image has not left"

    for number, image in enumerate(gadget(refine=False)[0].process(source())):
        assert image.repetition == number
        left[number].set()
    assert left[-1].is_set()


def test_images_say_how_they_were_made() -> None:
    images = process(frames(start=100.0), tune_steps=3)
    for number, image in enumerate(images[:N]):
        meta = image.meta
        assert int(meta["inr_frame"]) == number
        assert float(meta["inr_arrived"]) == pytest.approx(100 + 0.1 * number)
        assert "inr_refine_s" not in meta
    # Nothing can be learnt from the first frame alone; an image counts the steps since the one before.
    assert steps(images[:N]) == [0, 0, 3, 3, 3]
    for number, image in enumerate(images[N:]):
        meta = image.meta
        assert int(meta["inr_frame"]) == number
        assert float(meta["inr_refine_s"]) >= 0
        assert int(meta["inr_steps"]) == 3
        assert "inr_arrived" not in meta
    for image in images:
        assert float(image.meta["inr_peak_memory_mib"]) > 1
        assert image.meta["inr_device"].startswith("CPU ")
        assert image.meta["inr_method"] == "inr"
        assert image.meta["inr_group"] == 0
        for package in ("inr-recon", "torch", "finufft", "numba"):
            assert f"{package} " in image.meta["inr_versions"]


def test_refined_images_have_the_geometry_of_their_frames() -> None:
    images = process(frames(group=3))
    for live, refined in zip(images[:N], images[N:], strict=True):
        for name in ("position", "read_dir", "phase_dir", "slice_dir", "field_of_view"):
            assert list(getattr(refined, name)) == list(getattr(live, name))
    assert list(images[-1].position) == [(N - 1) / 4, 0, 30]


@pytest.mark.parametrize(
    "parameters", [{"refine": False}, {"method": "nufft"}, {"method": "cg_sense"}], ids=lambda p: next(iter(p.values()))
)
def test_without_refinement_there_is_no_second_series(parameters: dict[str, Any]) -> None:
    images = process(frames(), **parameters)
    assert [image.image_series_index for image in images] == [1] * N


def test_methods_differ() -> None:
    nufft, cg, inr = (series(process(frames(), method=name, refine=False), 1) for name in ("nufft", "cg_sense", "inr"))
    assert not np.allclose(nufft, cg, rtol=0.05)
    assert not np.allclose(cg, inr, rtol=0.05)


def test_a_single_frame_gives_one_image_and_says_so() -> None:
    made, lines = gadget()
    (image,) = made.process(frames(1))
    assert image.image_series_index == 1
    assert lines[-1] == "a single frame has no series to refine; there is no series 2"


def test_nothing_in_nothing_out() -> None:
    assert process([]) == []


def test_other_items_pass_in_their_order() -> None:
    wave, thing = ismrmrd.Waveform(), object()
    first, second = frames(2)
    out = process([wave, first, thing, second], refine=False)
    assert out[0] is wave
    assert out[2] is thing
    assert [type(item) for item in (out[1], out[3])] == [ismrmrd.Image] * 2


def test_recon_data_of_another_process_is_a_frame() -> None:
    plain = [ReconData(frame.bits) for frame in frames()]
    np.testing.assert_array_equal(series(process(plain), 2), series(process(frames()), 2))


def test_only_the_last_frames_of_a_long_scan_are_refined() -> None:
    made, lines = gadget(history_frames=3)
    images = list(made.process(frames(8)))
    refined = [image for image in images if image.image_series_index == 2]
    assert [int(image.meta["inr_frame"]) for image in refined] == [5, 6, 7]
    assert [image.repetition for image in refined] == [5, 6, 7]
    assert [image.image_index for image in refined] == [1, 2, 3]
    assert "the first 5 frames are no longer kept; the last 3 are refined (recon.history_frames)" in lines


# -- slices -------------------------------------------------------------------------------------------------------


def test_interleaved_slices_are_kept_apart() -> None:
    one, other = frames(group=0), frames(group=1, first=4)
    together = process([frame for pair in zip(one, other, strict=True) for frame in pair])
    for group, alone in ((0, process(one)), (1, process(other))):
        mine = [image for image in together if image.position[2] == 10 * group]
        assert [image.repetition for image in mine] == [0, 1, 2, 3, 4] * 2
        for number in (1, 2):
            np.testing.assert_array_equal(series(mine, number), series(alone, number))
    for number in (1, 2):
        given = [image.image_index for image in together if image.image_series_index == number]
        assert given == list(range(1, 2 * N + 1))
    assert not np.allclose(series(process(one), 1), series(process(other), 1))


def test_slices_are_named_and_share_the_time_by_their_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, refine = list[float](), InrMethod.refine

    def limited(method: InrMethod, control: Control) -> Any:
        limits.append(control.limit_s)
        return refine(method, replace(control, limit_s=0.0))

    monkeypatch.setattr(InrMethod, "refine", limited)
    made, lines = gadget(deterministic=False, refine_seconds=60.0, refine_passes=1e5)
    images = list(made.process([*frames(), *frames(group=1), *frames(1, group=2)]))
    assert [image.image_series_index for image in images] == [1] * (2 * N + 1)
    assert limits == pytest.approx([60 * part / 11 for part in (5, 5, 1)])
    no_time = "no time for the refinement (recon.refine_seconds); there is no series 2"
    assert lines[1:] == [
        f"slice 1 of 3: {no_time}",
        f"slice 2 of 3: {no_time}",
        "slice 3 of 3: a single frame has no series to refine; there is no series 2",
    ]


def test_a_field_without_time_leaves_its_draft_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inr_core.solvers.inr_trainer.InrTrainer.refine", lambda *_, **__: 1)
    made, lines = gadget(refine_passes=50.0, tune_steps=0)
    refined = [image for image in made.process(frames()) if image.image_series_index == 2]
    grasp = [image for image in process(frames(), method="grasp") if image.image_series_index == 2]
    assert len(refined) == N
    remark = "the field had no time to become better than its draft: the refined series is GRASP's, polished"
    assert lines[-1] == f"WRN: {remark}; more recon.refine_seconds would help"
    assert {image.meta["inr_remark"] for image in refined} == {remark}
    assert not any("inr_remark" in image.meta for image in grasp)
    monkeypatch.undo()
    polished = [image for image in process(frames(), refine_passes=0.0, tune_steps=0) if image.image_series_index == 2]
    np.testing.assert_array_equal(series(refined, 2), series(polished, 2))
    assert not np.array_equal(series(refined, 2), series(grasp, 2))
    assert not any("inr_remark" in image.meta for image in polished)  # it is what was asked for


# -- the same on every road ---------------------------------------------------------------------------------------


def test_a_handoff_changes_no_bit() -> None:
    plain, again = process(frames()), process(frames())
    handoff = Handoff(iter(frames()))
    try:
        threaded = process(handoff)
    finally:
        handoff.close()
    for number in (1, 2):
        np.testing.assert_array_equal(series(again, number), series(plain, number))
        np.testing.assert_array_equal(series(threaded, number), series(plain, number))


def test_tcp_and_file_give_the_same_bits(tmp_path: Path) -> None:
    simulated = simulate(tmp_path / "scan.h5", matrix=24, frames=4, spokes=7, coils=3)
    settings = {"recon.deterministic": "true", "recon.refine_passes": "3", "recon.device": "cpu"}
    with Server(port=0) as server:
        roads = {
            "file": Replay(settings=settings),
            "wire": Replay(settings=settings, address="127.0.0.1", port=server.port),
        }
        for name, how in roads.items():
            with ScanFile(simulated.scan) as scan:
                replay_to_file(how, scan, tmp_path / f"{name}.h5", on_text=lambda _: None)
    (found,) = list_series(tmp_path / "wire.h5").values()
    assert found == {1: 4, 2: 4}
    for number in (1, 2):
        here, there = (read_series(tmp_path / f"{name}.h5", number)[0] for name in roads)
        np.testing.assert_array_equal(here, there)


# -- clock and idle time ------------------------------------------------------------------------------------------


class Source:
    """Frames with an idle time after each: ``moments`` looks find nothing waiting."""

    def __init__(self, items: list[Frame], moments: int) -> None:
        self._items, self._moments, self._left = iter(items), moments, 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        item = next(self._items)
        self._left = self._moments
        return item

    def pending(self) -> bool:
        self._left -= 1
        return self._left < 0


FUTURE, PAST = time.monotonic() + 1e6, time.monotonic() - 1e6


def test_idle_time_is_used_as_long_as_nothing_waits() -> None:
    few, many = (
        process(Source(frames(start=FUTURE), moments), deterministic=False, refine=False) for moments in (3, 6)
    )
    assert steps(few)[:2] == steps(many)[:2] == [0, 0]
    assert len(set(steps(few)[2:])) == len(set(steps(many)[2:])) == 1
    assert steps(many)[2] - steps(few)[2] == 3
    assert steps(few)[2] > 0


def test_no_step_when_the_next_frame_is_due() -> None:
    late = process(Source(frames(start=PAST), 10**6), deterministic=False, refine=False)
    assert steps(late) == [0] * N


def test_a_full_pace_replay_has_no_idle_time() -> None:
    assert steps(process(frames(start=FUTURE), deterministic=False, refine=False)) == [0] * N


def test_less_is_spent_on_frames_of_a_running_scan_that_have_waited() -> None:
    def live(repetition_ms: float, **parameters: Any) -> np.ndarray:
        made, _ = gadget(refine=False, **parameters)
        made.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[repetition_ms]))
        return series(list(made.process(frames(start=PAST, spacing=0.002))), 1)

    n_spokes = len(frames(1)[0].headers)
    full = series(process(frames(start=PAST), refine=False, tune_steps=0), 1)
    in_time = live(2.0 / n_spokes, deterministic=False)  # frames come as fast as they are acquired, and are late
    assert not np.allclose(in_time[1:], full[1:], rtol=1e-4)
    # A file that is read ten times as fast, a header without TR, and deterministic: whatever waits.
    np.testing.assert_array_equal(live(20.0 / n_spokes, deterministic=False), full)
    np.testing.assert_array_equal(live(0.0, deterministic=False), full)
    np.testing.assert_array_equal(live(2.0 / n_spokes, tune_steps=0), full)


# -- frames that come too fast ------------------------------------------------------------------------------------

HURRIED = "WRN: frames come too fast for the work on each: some share it"


def hurried(items: list[Frame], looks: int = 0, **parameters: Any) -> tuple[list[Any], list[str]]:
    """Frames that all wait already, of a scan that plays one every two milliseconds."""
    made, lines = gadget(**{"deterministic": False, "refine": False, **parameters})
    made.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[2.0 / len(items[0].headers)]))
    return list(made.process(Source(items, looks))), lines


def test_frames_that_are_far_too_late_share_the_work() -> None:
    images, lines = hurried(frames(9, start=PAST, spacing=0.002))
    assert [image.repetition for image in images] == [*range(9)]
    assert [image.image_index for image in images] == [*range(1, 10)]
    # The first two make the maps; the last one waits for none, although something seems to be there.
    assert [image.meta.get("inr_together") for image in images] == [None, None, 2, 2, 2, 2, 2, 2, None]
    assert lines.count(HURRIED) == 1
    alone = series(process(frames(9), refine=False, tune_steps=0), 1)
    shared = series(images, 1)
    for number in range(2, 9):
        assert np.linalg.norm(shared[number] - alone[number]) < 0.5 * np.linalg.norm(alone[number])
        assert len({image.meta["inr_frame"] for image in images}) == 9


def test_all_of_them_are_refined() -> None:
    images, _ = hurried(frames(7, start=PAST, spacing=0.002), refine=True)
    assert [image.image_series_index for image in images] == [1] * 7 + [2] * 7
    assert [image.repetition for image in images] == [*range(7)] * 2


def test_frames_wait_only_where_others_do_and_somebody_waits_for_images() -> None:
    late = {"start": PAST, "spacing": 0.002}
    for images, lines in (
        hurried(frames(6, **late), looks=1),  # nothing is there yet
        hurried(frames(6, start=FUTURE, spacing=0.002)),  # in time
        hurried(frames(6, **late), deterministic=True, tune_steps=0),
        hurried(frames(6, **late), offline=True),
        hurried(frames(6, **late), method="nufft"),
        hurried(frames(6, **late), delay_frames=1),
        hurried([*frames(3, **late), *frames(3, group=1, **late)]),
    ):
        number = sum(image.image_series_index == 1 for image in images)
        assert number == 6
        if "nufft" not in str(images[0].meta["inr_method"]):
            alone = [image for image in images if "inr_together" not in image.meta]
            assert len(alone) >= 4
        if "slice" not in str(lines):
            assert len(lines) >= 1


def test_frames_that_wait_before_a_pause_do_not_wait_for_those_after_it() -> None:
    items = frames(8, start=PAST, spacing=0.002)
    for frame in items[5:]:
        frame.arrived += 20.0
    images, lines = hurried(items)
    assert [image.repetition for image in images] == [*range(8)]
    assert "pause" in images[5].meta["inr_event"]
    assert [image.meta.get("inr_together") for image in images[:5]] == [None, None, 2, 2, None]
    assert HURRIED in lines


def test_frames_that_wait_when_the_plane_moves_are_sent_first() -> None:
    items = frames(8, start=PAST, spacing=0.002)
    for frame in items[5:]:
        for header in frame.headers:
            header.position[:] = (header.position[0], header.position[1], 30.0)
    images, lines = hurried(items)
    assert [image.repetition for image in images] == [*range(8)]
    assert "plane moved" in images[5].meta["inr_event"]
    # 2 and 3 together; 4 waited for a frame that shows something else, and was reconstructed with none.
    assert [image.meta.get("inr_together") for image in images[:5]] == [None, None, 2, 2, None]
    assert HURRIED in lines


def test_deterministic_steps_do_not_depend_on_the_clock() -> None:
    for source in (Source(frames(start=PAST), 0), Source(frames(start=FUTURE), 10**6)):
        assert steps(process(source, refine=False, tune_steps=2)) == [0, 0, 2, 2, 2]


def test_the_slices_of_a_stack_share_the_idle_time() -> None:
    class Quiet:
        """Nothing waits until two slices were trained four times each."""

        def __init__(self, items: list[Frame]) -> None:
            self.items, self.asked = items, 0

        def __iter__(self) -> Iterator[Frame]:
            return iter(self.items)

        def pending(self) -> bool:
            self.asked += 1
            return self.asked <= 5 or self.asked > 13

    # Three frames of each of two slices; after the sixth there is time for eight steps.
    pairs = zip(frames(3, start=FUTURE), frames(3, group=1, start=FUTURE), strict=True)
    made, _ = gadget(deterministic=False, refine=False)
    trained: list[Any] = []
    tune = InrMethod.tune

    def counted(method: InrMethod) -> bool:
        trained.append(method)
        return tune(method)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InrMethod, "tune", counted)
        assert len(list(made.process(Quiet([frame for pair in pairs for frame in pair])))) == 6
    assert sorted(trained.count(method) for method in set(trained)) == [4, 4]


# -- stopping, lines, devices -------------------------------------------------------------------------------------


class StopsAfter(threading.Event):
    """An event that is set once it has been looked at ``n`` times."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._left = n

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_a_stop_ends_the_refinement_and_what_exists_is_sent() -> None:
    made, lines = gadget(refine_passes=1e5)
    made.stop = StopsAfter(4)
    refined = [image for image in made.process(frames()) if image.image_series_index == 2]
    assert len(refined) == N
    assert len(set(steps(refined))) == 1
    assert 0 < steps(refined)[0] <= 4
    assert lines[-3].startswith(f"refined {N} frames in ")
    assert lines[-2] == "WRN: stopped at 3 % of the refinement: series 2 is unfinished"
    assert lines[-1].startswith("WRN: the field had no time to become better than its draft")


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_stop_before_the_refinement_sends_no_field_that_was_not_trained(deterministic: bool) -> None:
    made, lines = gadget(refine_passes=1e5, deterministic=deterministic)
    made.stop.set()
    assert [image.image_series_index for image in made.process(frames())] == [1] * N
    assert lines[-1] == "stopped before the refinement; there is no series 2"


def test_a_stop_ends_the_idle_work() -> None:
    made, _ = gadget(deterministic=False, refine=False)
    made.stop.set()
    assert steps(list(made.process(Source(frames(start=FUTURE), 10**6)))) == [0] * N


def test_the_operator_hears_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "_PROGRESS_S", 0.0)
    made, lines = gadget(refine_passes=5.0, window=5)
    list(made.process(frames()))
    assert lines[0].startswith("reconstructing by inr (")
    assert " on CPU " in lines[0]
    parts = [int(line.removeprefix("refining, ").removesuffix(" %")) for line in lines[1:-1]]
    assert parts == sorted(parts)
    assert parts[-1] == 100
    assert len(set(parts)) > 5
    assert lines[-1].startswith(f"refined {N} frames in ")


def test_an_error_of_the_input_comes_after_the_images_and_nothing_is_refined() -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(3)
        raise ConnectionResetError("gone")

    made, lines = gadget()
    output = made.process(broken())
    assert [next(output).image_series_index for _ in range(3)] == [1, 1, 1]
    with pytest.raises(ConnectionResetError, match="gone"):
        next(output)
    assert len(lines) == 1


@pytest.mark.skipif(cuda_problem() is None, reason="CUDA works here")
def test_cuda_by_name_without_cuda_is_one_line() -> None:
    with pytest.raises(ParameterError) as caught:
        process(frames(), device="cuda")
    assert str(caught.value).startswith("device 'cuda', but ")
    assert str(caught.value).endswith("; expected a working CUDA device; use recon.device=cpu or auto")


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
def test_cuda_gives_the_images_of_the_cpu() -> None:
    here, there = process(frames()), process(frames(), device="cuda")
    assert "CPU" not in there[0].meta["inr_device"]
    for number, accuracy in ((1, 1e-3), (2, 1e-2)):
        difference = np.linalg.norm(series(here, number) - series(there, number))
        assert difference < accuracy * np.linalg.norm(series(here, number))


def test_torch_is_imported_only_when_it_is_needed_and_warming_up_brings_it() -> None:
    code = (
        "import sys, inr_gadgets.reconstruction.recon as recon\n"
        "assert 'torch' not in sys.modules, 'torch came with the module'\n"
        "gadget = recon.ReconGadget(None)\n"
        "assert 'torch' not in sys.modules, 'torch came with the gadget'\n"
        "from inr_gadgets.reconstruction.warming import warm_up\n"
        "assert 'torch' not in sys.modules, 'torch came with the module that warms up'\n"
        "warm_up()\n"
        "from inr_core.operators.prepared import is_kept, is_prepared\n"
        "assert is_prepared((128, 128)) and is_kept((128, 128)), 'not compiled'\n"
        "assert {'torch', 'finufft', 'numba', 'inr_core.methods.live'} <= set(sys.modules), 'still cold'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_scan_whose_gpu_is_lost_has_all_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cpu", 0)  # compares as another device than CPU, and computes as it does
    for module in (recon, slices):
        monkeypatch.setattr(module, "device_name", lambda device: "a GPU" if device == gpu else "a CPU")
    monkeypatch.setattr(recon, "choose_device", lambda name: gpu)
    whole = process(frames(), tune_steps=0)
    made, lines = gadget(tune_steps=0)
    calls, forward = iter(range(10**6)), ToeplitzGram.forward

    def lost(gram: ToeplitzGram, x: torch.Tensor) -> torch.Tensor:
        if next(calls) == 40:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return forward(gram, x)

    monkeypatch.setattr(ToeplitzGram, "forward", lost)
    broken = list(made.process(frames()))
    assert {image.meta["inr_device"] for image in whole} == {"a GPU"}
    devices = [image.meta["inr_device"] for image in broken]
    on_gpu = devices.count("a GPU")
    assert 0 < on_gpu < N
    assert devices == ["a GPU"] * on_gpu + ["a CPU"] * (2 * N - on_gpu)
    for number in (1, 2):
        np.testing.assert_array_equal(series(broken, number), series(whole, number))
    told = [line for line in lines if line.startswith("WRN: the GPU failed (CUDA error: unspecified launch failure)")]
    assert len(told) == 1
