"""Live images that wait for the frames after them: which, for how long, and that none is lost."""

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

from inr_core.errors import DataError
from inr_core.methods.live import Solved
from inr_gadgets.frame import Frame
from inr_gadgets.handoff import Handoff
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.lagged import REST, Lag, LaggedImages, LiveImage
from inr_gadgets.reconstruction.recon import ReconGadget
from recon_runs import N, Waiting, frames, order, run


def lags(images: list[Any]) -> list[int]:
    """Of each live image: how often it was solved again."""
    return [int(image.meta.get("inr_lag_frames", 0)) for image in images if image.image_series_index == 1]


# -- in the gadget ------------------------------------------------------------------------------------------------


def test_images_come_in_order_and_are_like_those_of_the_delayed_series() -> None:
    (late, lines), (both, _) = run(frames(), lag_frames=1), run(frames(), delay_frames=1)
    assert order(late) == [(1, i) for i in range(N)]
    assert [image.image_index for image in late] == [*range(1, N + 1)]
    assert lags(late) == [0, 1, 1, 1, 1, 0]  # the first and the last one are between no two
    assert lines == []
    live, delayed = ([image for image in both if image.image_series_index == n] for n in (1, 4))
    for number in range(N):
        if number in (0, N - 1):
            np.testing.assert_array_equal(late[number].data, live[number].data)
        if number > 2:  # by then the maps hardly change any more, which the delayed series has a frame earlier
            away = np.linalg.norm(late[number].data - delayed[number].data)
            assert away < 0.05 * np.linalg.norm(delayed[number].data)
        assert late[number].acquisition_time_stamp == live[number].acquisition_time_stamp
        assert late[number].meta["inr_frame"] == live[number].meta["inr_frame"]


def test_it_may_wait_for_more_than_one() -> None:
    assert lags(run(frames(), lag_frames=2)[0]) == [0, 2, 2, 2, 1, 0]
    assert lags(run(frames(2), lag_frames=4)[0]) == [0, 0]


def test_all_live_images_come_before_the_refined_ones() -> None:
    images, _ = run(frames(3), lag_frames=2, refine=True)
    assert order(images) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


def test_both_series_can_be_asked_for() -> None:
    images, _ = run(frames(4), lag_frames=1, delay_frames=2)
    assert [frame for series, frame in order(images) if series == 1] == [0, 1, 2, 3]
    assert [frame for series, frame in order(images) if series == 4] == [0, 1, 2, 3]
    assert lags(images) == [0, 1, 1, 0]


def test_methods_that_look_at_one_frame_have_no_such_parameter() -> None:
    assert "lag_frames" not in vars(ReconGadget.read_parameters({"method": "nufft"}))
    images, _ = run(frames(3), method="nufft")
    assert lags(images) == [0, 0, 0]


def test_slices_are_kept_apart() -> None:
    pairs = zip(frames(4), frames(4, group=1), strict=True)
    images, _ = run([frame for pair in pairs for frame in pair], lag_frames=1)
    places = [(round(image.position[2]), image.repetition) for image in images]
    assert sorted(places) == [(z, i) for z in (0, 10) for i in range(4)]
    for z in (0, 10):
        assert [i for place, i in places if place == z] == [0, 1, 2, 3]
    assert lags(images).count(1) == 4


def test_what_waits_when_the_plane_moves_leaves_first() -> None:
    scan = frames(5)
    for frame in scan[3:]:
        for header in frame.headers:
            header.position[2] += 50
    images, _ = run(scan, lag_frames=1)
    assert [round(image.position[2]) for image in images] == [0, 0, 0, 50, 50]
    assert lags(images) == [0, 1, 0, 0, 0]


def test_an_error_comes_after_the_images_that_wait() -> None:
    def source() -> Iterator[Frame]:
        yield from frames(3)
        raise DataError("the end", "more")

    arrived = list[Any]()
    made = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "lag_frames": 2, "deterministic": True}))
    with pytest.raises(DataError, match=r"^the end; expected more$"):
        arrived.extend(made.process(source()))
    assert order(arrived) == [(1, 0), (1, 1), (1, 2)]


def test_frames_that_share_the_work_wait_like_others() -> None:
    def late() -> list[Frame]:
        return frames(9, start=time.monotonic() - 100, spacing=0.002)

    made = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "refine": False, "lag_frames": 1}))
    made.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[2.0 / len(late()[0].headers)]))
    images = list(made.process(Waiting(late())))
    assert order(images) == [(1, i) for i in range(9)]
    assert sum("inr_together" in image.meta for image in images) >= 4


def test_an_image_does_not_wait_for_a_frame_that_is_overdue() -> None:
    arrived = threading.Event()
    begin = time.monotonic()

    class Pausing(Waiting):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            assert arrived.wait(20), "the last image has not left while the scan pauses"

    made_frames = frames(3)
    for number, frame in enumerate(made_frames):
        frame.arrived = begin + 0.02 * number
    made = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "refine": False, "lag_frames": 1}))
    made.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[20.0 / len(frames(1)[0].headers)]))
    images = list[Any]()
    for image in made.process(Pausing(made_frames)):
        images.append(image)
        if len(images) == 3:
            arrived.set()
    assert order(images) == [(1, 0), (1, 1), (1, 2)]


# -- by itself ----------------------------------------------------------------------------------------------------


class Smoother:
    """In place of a fixed-lag smoother: images count how often they were solved."""

    def __init__(self, failure: str = "", lost: str = "") -> None:
        self._images, self._times, self._failure, self._lost = list[torch.Tensor](), list[int](), failure, lost

    def append(self, frame: Any, image: torch.Tensor) -> None:
        self._images.insert(0, image)
        self._times.insert(0, 0)

    def maps_changed(self, before: torch.Tensor, after: torch.Tensor) -> None:
        self._images = [image + 1000 for image in self._images]

    def improve(self, csm: Any, control: Any) -> bool:
        if self._failure:
            raise RuntimeError(self._failure)
        if control.stopped():
            return False
        self._images[1:2] = [image + 100 for image in self._images[1:2]]
        self._times[1:2] = [times + 1 for times in self._times[1:2]]
        return True

    def image(self, back: int) -> torch.Tensor:
        if self._lost:
            raise RuntimeError(self._lost)
        return self._images[back]

    def times(self, back: int) -> int:
        return self._times[back]


class Maps:
    """Receive maps on a device."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)


def lagged(n: int, maps: list[Any], smoothers: list[Any], **lag: Any) -> tuple[list[Any], list[str]]:
    """What comes of n images, 0 .. n - 1 all over, and what is said."""
    state: Any = SimpleNamespace(group=0, method=SimpleNamespace(smoother=lambda _: smoothers.pop(0)))
    items, lines = list[Any](), list[str]()
    for number, frame in enumerate(frames(n)):
        image = torch.full((20, 24), float(number), dtype=torch.complex64)
        solved = Solved(frame, image, maps[number])  # type: ignore[arg-type]
        items.append(LiveImage(state, frame, number, image, {}, solved, Lag(1, **lag)))
    handoff = Handoff([*items, REST])
    while not handoff._ended:
        time.sleep(0.001)
    return list(LaggedImages(DeviceGuard(lines.append), lines.append).among(handoff)), lines


def values(images: list[Any]) -> list[float]:
    return [float(image.data[0, 0, 0, 0].real) for image in images]


def test_images_that_were_solved_again_leave_instead() -> None:
    maps = Maps()
    assert values(lagged(3, [maps] * 3, [Smoother()])[0]) == [100, 101, 2]


def test_where_the_next_frame_is_there_already_images_leave_as_they_are() -> None:
    maps = Maps()
    images, _ = lagged(3, [maps] * 3, [Smoother()], hurried=True)
    assert values(images) == [0, 1, 2]
    assert lags(images) == [0, 0, 0]


def test_new_maps_change_what_waits() -> None:
    old, new = Maps(), Maps()
    assert values(lagged(3, [old, new, new], [Smoother()])[0]) == [1100, 101, 2]


def test_a_device_that_fails_costs_no_image() -> None:
    lost, cpu = Maps("cuda"), Maps()
    images, lines = lagged(
        4, [lost, lost, cpu, cpu], [Smoother("CUDA out of memory"), Smoother("CUDA out of memory"), Smoother()]
    )
    assert values(images) == [0, 1, 102, 3]
    assert len(lines) == 2
    assert lines[0].startswith("WRN: ")
    assert lines[0].endswith("(CUDA out of memory): live images do not wait for the next")


def test_an_image_that_a_lost_device_keeps_leaves_as_it_was_solved() -> None:
    gpu = Maps("cuda")
    smoothers = [Smoother(lost="CUDA error: unspecified launch failure"), Smoother()]
    images, lines = lagged(4, [gpu] * 4, smoothers)
    assert values(images) == [0, 1, 102, 3]
    assert len(lines) == 1


def test_an_error_that_is_not_the_device_s_is_raised() -> None:
    maps = Maps()
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        lagged(2, [maps] * 2, [Smoother("a bug")])


def test_what_is_no_live_image_passes() -> None:
    handoff = Handoff([1, "two", REST])
    assert list(LaggedImages(DeviceGuard(print), print).among(handoff)) == [1, "two"]
    assert Lag(1).patience_s == math.inf
