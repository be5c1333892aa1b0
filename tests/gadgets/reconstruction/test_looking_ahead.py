"""Live images of few spokes that wait for the next frame, in the gadget: which, for how long, and that none is lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import recon_runs
from inr_core.methods import make_live
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers import beginning
from inr_gadgets.frame import Frame
from inr_gadgets.handoff import Handoff
from inr_gadgets.reconstruction.recon import ReconGadget
from radial import cine_scan
from recon_runs import Waiting
from scans import readout

N, SPOKES, MATRIX = 8, 2, (30, 24)  # (x, y): an acceleration of 13
FAST_MS = 7.5  # a repetition time, of frames of 15 ms


def frames(
    n: int = N,
    group: int = 0,
    start: float = 0.0,
    spacing: float = 0.015,
    stride: int = 0,
    depth_mm: float = 0.0,
    spokes: int = SPOKES,
) -> list[Frame]:
    scan, made = cine_scan(frames=12, spokes=spokes, coils=3, matrix=MATRIX), []
    for index in range(n):
        samples, traj = scan.kspace[index].numpy(), scan.traj[index].numpy()
        headers = [readout(i, position=(0, 0, 10 * group + depth_mm)).getHead() for i in range(spokes)]
        for header in headers:
            header.acquisition_time_stamp = 100 + 6 * index
        place: dict[str, Any] = {"index": index, "group": group, "stride": stride, "arrived": start + index * spacing}
        made.append(Frame.from_readouts(samples, traj, headers, matrix=MATRIX, fov_mm=(300, 240, 8), **place))
    return made


def run(items: Any, repetition_ms: float = FAST_MS, **parameters: Any) -> list[Any]:
    return recon_runs.run(items, repetition_ms, **parameters)[0]


def ahead(images: list[Any]) -> list[int]:
    """Of each live image, whether the next frame's data are in it."""
    return [int(image.meta.get("inr_ahead_frames", 0)) for image in images if image.image_series_index == 1]


def test_images_are_those_of_the_method_and_come_in_order() -> None:
    images = run(frames())
    assert [image.repetition for image in images] == [*range(N)]
    assert [image.image_index for image in images] == [*range(1, N + 1)]
    assert ahead(images) == [0, 0, *[1] * (N - 3), 0]  # the first two make the maps, the last one is the last
    assert [int(image.meta["inr_frame"]) for image in images] == [*range(N)]
    stamps = [image.acquisition_time_stamp for image in images]
    assert stamps == [image.acquisition_time_stamp for image in run(frames(), look_ahead=False)]
    scan, expected = cine_scan(frames=12, spokes=SPOKES, coils=3, matrix=MATRIX), list[torch.Tensor]()
    method = make_live("grasp", scan.shape, GraspParameters(), torch.device("cpu"))
    for number in range(N):
        data = scan.kspace[number], scan.traj[number]
        assert method.fits(*data)
        expected += method.follow(*data) if number > 1 else [method.add_frame(*data)]
        method.settle()
    expected += method.waited()
    for image, wanted in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image.data[0, 0], wanted.numpy())


@pytest.mark.parametrize(
    ("repetition_ms", "parameters"),
    [
        (25.0, {}),  # an image every 50 ms can be seen
        (0.0, {}),  # nobody knows how long a frame takes
        (FAST_MS, {"look_ahead": False}),
        (FAST_MS, {"lag_frames": 1}),
        (FAST_MS, {"latency_ms": 20.0}),
        (FAST_MS, {"method": "nufft"}),
    ],
)
def test_who_does_not_look_ahead(repetition_ms: float, parameters: dict[str, Any]) -> None:
    images = run(frames(), repetition_ms, **parameters)
    assert ahead(images) == [0] * N


def test_an_asked_for_latency_says_how_long_an_image_may_wait() -> None:
    assert sum(ahead(run(frames(), 25.0, latency_ms=100.0))) == N - 3


def test_frames_that_share_readouts_know_the_next_ones_data_already() -> None:
    assert ahead(run(frames(stride=1))) == [0] * N


def test_frames_that_share_readouts_have_no_past_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a scan begins."""

    def images(stride: int) -> list[Any]:
        return [image.data for image in run(frames(6, stride=stride), method="grasp", refine=False, deterministic=True)]

    alone, sharing = images(0), images(1)
    monkeypatch.setattr(beginning, "_TRUST", 0.0)
    np.testing.assert_array_equal(images(1), sharing)
    assert not np.array_equal(images(0), alone)


def test_slices_that_take_turns_do_not_wait_and_those_that_follow_do() -> None:
    both = [frames(6), frames(6, group=1)]
    assert ahead(run([frame for pair in zip(*both, strict=True) for frame in pair])) == [0] * 12
    images = run([*both[0], *both[1]])
    assert [round(image.position[2]) for image in images] == [0] * 6 + [10] * 6
    assert ahead(images) == [0, 0, 1, 1, 1, 0] * 2


def test_what_waits_for_a_frame_of_more_spokes_leaves_before_it_and_does_not_share_its_work() -> None:
    few, many = frames(4), frames(4, spokes=13)
    images = run([*few, *many[2:], *few[2:]])
    assert len(images) == 8
    assert ahead(images) == [0, 0, 1, 0, 0, 0, 1, 0]
    assert all("inr_together" not in image.meta for image in images)


def test_what_waits_when_the_plane_moves_leaves_first_and_alone() -> None:
    images = run([*frames(5), *frames(8, depth_mm=50)[5:]])
    assert [round(image.position[2]) for image in images] == [0] * 5 + [50] * 3
    assert ahead(images) == [0, 0, 1, 1, 0, 0, 0, 0]
    same = run(frames(5))
    np.testing.assert_array_equal(images[4].data, same[4].data)


def test_all_are_refined_and_those_of_an_offline_scan_are_sent_only_where_no_series_follows() -> None:
    series = [image.image_series_index for image in run(frames(), refine=True)]
    assert series == [1] * N + [2] * N
    assert [image.image_series_index for image in run(frames(), refine=True, offline=True)] == [2] * N
    offline = run(frames(), offline=True)
    assert [image.repetition for image in offline] == [*range(N)]
    assert sum(ahead(offline)) == N - 3


def test_an_image_does_not_wait_for_a_frame_that_is_overdue() -> None:
    left, begin = threading.Event(), time.monotonic()

    def source() -> Iterator[Frame]:
        for number, frame in enumerate(frames(5)):
            frame.arrived = begin + 0.015 * number
            yield frame
        assert left.wait(20), "the last image has not left while the scan pauses"
        last = frames(6)[5]
        last.arrived = time.monotonic()
        yield last

    gadget = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "refine": False, "device": "cpu"}))
    gadget.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[FAST_MS]))
    images = list[Any]()
    for image in gadget.process(Handoff(source())):
        images.append(image)
        if len(images) == 5:
            left.set()
    assert [image.repetition for image in images] == [*range(6)]
    assert ahead(images)[4:] == [0, 0]


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_last_image_of_a_scan_has_time(monkeypatch: pytest.MonkeyPatch, *, deterministic: bool) -> None:
    """Nothing follows that it would hold up, and what was due when the frame before it was solved has gone by."""
    left, waited, follow = list[float](), PredictedCg.waited, PredictedCg.follow

    def noted(method: PredictedCg) -> list[torch.Tensor]:
        left.append(method.due - time.monotonic())
        return waited(method)

    def late(method: PredictedCg, *data: torch.Tensor) -> list[torch.Tensor]:
        images = follow(method, *data)
        method.due = min(method.due, time.monotonic() - 1) if math.isfinite(method.due) else method.due
        return images

    monkeypatch.setattr(PredictedCg, "follow", late)

    def source() -> Iterator[Frame]:
        begin = time.monotonic()
        for number, frame in enumerate(frames(6)):
            frame.arrived = begin + 0.015 * number
            time.sleep(max(0.0, frame.arrived - time.monotonic()))
            yield frame

    monkeypatch.setattr(PredictedCg, "waited", noted)
    assert len(run(Handoff(source()), deterministic=deterministic)) == 6
    assert left[-1] == math.inf if deterministic else 0 < left[-1] < 1


def test_where_time_is_too_short_several_are_solved_with_the_one_after_them() -> None:
    late = frames(11, start=time.monotonic() - 100)
    images = run(Waiting(late), deterministic=False)
    assert [image.repetition for image in images] == [*range(11)]
    assert [image.meta.get("inr_together") for image in images[:8]] == [None, None, *[3] * 6]
    assert ahead(images)[:8] == [0, 0, *[1] * 6]
