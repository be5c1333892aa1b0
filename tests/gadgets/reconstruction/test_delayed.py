"""Series 4: each frame once more, a few frames later; never before the live image of a newer one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from inr_core.errors import ParameterError
from inr_gadgets.frame import Frame
from inr_gadgets.imaging.image import ImageGadget
from inr_gadgets.reconstruction.delayed import DelayedImages
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.report import report_of
from recon_runs import N, frames, order, run

MISSING = "WRN: {} of {} frames are not in series 4: there was no time before the next"


class Looks:
    """Frames after which so many looks find nothing waiting."""

    def __init__(self, items: list[Frame], free: list[int]) -> None:
        self._items, self._left = iter(zip(items, free, strict=True)), 0

    def __iter__(self) -> Iterator[Frame]:
        for item, free in self._items:
            self._left = free
            yield item

    def pending(self) -> bool:
        self._left -= 1
        return self._left < 0


FUTURE = 1e9  # of frames that arrive then, the next is not due yet


def test_the_live_image_comes_first_and_the_last_frames_follow() -> None:
    images, lines = run(frames(4), delay_frames=2)
    assert order(images) == [(1, 0), (1, 1), (1, 2), (4, 0), (1, 3), (4, 1), (4, 2), (4, 3)]
    assert lines == []
    assert [image.meta["inr_delay_frames"] for image in images if image.image_series_index == 4] == [2, 2, 1, 0]


def test_the_refined_series_comes_after_it() -> None:
    images, _ = run(frames(3), delay_frames=1, refine=True)
    assert order(images)[-5:] == [(4, 1), (4, 2), (2, 0), (2, 1), (2, 2)]


def test_geometry_and_time_are_those_of_its_own_frame() -> None:
    images, _ = run(frames(), delay_frames=2)
    live, late = ([image for image in images if image.image_series_index == n] for n in (1, 4))
    assert len(late) == N
    for a, b in zip(live, late, strict=True):
        assert b.image_index == a.image_index
        assert b.acquisition_time_stamp == a.acquisition_time_stamp
        assert tuple(b.position) == tuple(a.position)
        assert (b.meta["inr_frame"], b.meta["inr_method"]) == (a.meta["inr_frame"], "grasp")
        assert b.data.shape == a.data.shape
        if 0 < a.repetition < N - 1:  # the first and the last one are between no two
            assert not np.allclose(a.data, b.data)


def test_without_the_parameter_nothing_is_different() -> None:
    plain, _ = run(frames())
    assert order(plain) == [(1, i) for i in range(N)]
    late, _ = run(frames(), delay_frames=2)
    for a, b in zip(plain, [image for image in late if image.image_series_index == 1], strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_slices_are_kept_apart() -> None:
    pairs = zip(frames(3), frames(3, group=1), strict=True)
    images, _ = run([frame for pair in pairs for frame in pair], delay_frames=1)
    late = [(round(image.position[2]), image.repetition) for image in images if image.image_series_index == 4]
    assert late == [(0, 0), (10, 0), (0, 1), (10, 1), (0, 2), (10, 2)]


def test_the_last_frames_of_a_plane_come_before_those_of_the_next() -> None:
    scan = frames(5)
    for frame in scan[3:]:
        for header in frame.headers:
            header.position[2] += 50
    images, lines = run(scan, delay_frames=2)
    assert order(images) == [(1, 0), (1, 1), (1, 2), (4, 0), (1, 3), (4, 1), (4, 2), (1, 4), (4, 3), (4, 4)]
    assert [round(image.position[2]) for image in images] == [0] * 4 + [50, 0, 0] + [50] * 3
    assert len(lines) == 1
    assert "plane has moved" in lines[0]


def test_a_single_frame_is_sent_as_it_is() -> None:
    (live, late), lines = run(frames(1), delay_frames=2)
    np.testing.assert_array_equal(live.data, late.data)
    assert lines == []


def test_frames_that_wait_go_first_and_what_is_left_out_is_counted() -> None:
    images, lines = run(Looks(frames(start=FUTURE), [9, 9, 9, 0, 9, 0]), delay_frames=1, deterministic=False)
    assert [frame for series, frame in order(images) if series == 4] == [0, 1, 3, 4, 5]
    assert lines == [MISSING.format(1, N)]


def test_a_file_at_full_pace_has_time_for_the_last_frames_only() -> None:
    images, lines = run(frames(), delay_frames=2, deterministic=False)
    assert [frame for series, frame in order(images) if series == 4] == [3, 4, 5]
    assert lines == [MISSING.format(3, N)]


def test_it_does_not_begin_what_the_next_frame_would_wait_for() -> None:
    """Frames of the distant past: the next one has long been due."""
    images, _ = run(Looks(frames(start=-FUTURE), [9] * N), delay_frames=1, deterministic=False)
    # Nothing is known of the interval before the second frame has come.
    assert [frame for series, frame in order(images) if series == 4] == [4, 5]


def test_one_slow_iteration_is_not_the_last() -> None:
    class Method:
        delay_frames, device = 1, torch.device("cpu")

        def delayed(self, control: Any, *, ended: bool) -> list[Any]:
            return [] if control.stopped() else [1]

    images, state, asked = (
        DelayedImages({}, DeviceGuard(print), print),
        SimpleNamespace(group=0, method=Method()),
        list[float](),
    )
    images.iteration_s = 1.0
    for _ in range(30):
        list(images.after_frame(state, lambda seconds: bool(asked.append(seconds))))  # type: ignore[arg-type]
    assert asked[0] == 1.0
    assert asked[-1] < 0.3


def test_a_stop_ends_it() -> None:
    gadget = ReconGadget(None, ReconGadget.read_parameters({"method": "grasp", "refine": False, "delay_frames": 2}))
    lines = list[str]()
    gadget.announce = lines.append
    gadget.stop.set()
    assert order(list(gadget.process(frames()))) == [(1, i) for i in range(N)]
    assert lines[-1] == MISSING.format(N, N)


def test_viewers_and_the_report_know_its_name() -> None:
    images, _ = run(frames(3), delay_frames=1)
    finished = list(ImageGadget(None).process(images))
    (label,) = {image.meta["ImageComments"] for image in finished if image.image_series_index == 4}
    assert label == "GRASP delayed"
    report = report_of(finished)
    scan = report.as_dict()["scan"]
    assert (scan["live_frames"], scan["delayed_frames"], scan["other_images"]) == (3, 3, 0)
    assert report.sentence().startswith("3 live frames, 3 delayed;")


@pytest.mark.parametrize("name", ["delay_frames", "lag_frames"])
def test_where_nobody_waits_it_is_refused(name: str) -> None:
    message = (
        rf"^recon\.{name} = 2 with recon\.offline=true; expected a stream, where somebody waits for each frame; "
        r"remove it: the refined series knows what came after a frame$"
    )
    with pytest.raises(ParameterError, match=message):
        ReconGadget.read_parameters({name: 2, "offline": True})
    ReconGadget.read_parameters({name: 0, "offline": True})
