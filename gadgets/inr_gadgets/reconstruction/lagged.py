"""Live images that wait for the frames after them, and are better for it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import ismrmrd

from inr_core.devices import device_trouble
from inr_core.solvers.control import Control
from inr_gadgets.frame import Frame
from inr_gadgets.handoff import Handoff
from inr_gadgets.imaging.geometry import LIVE_SERIES, image_for
from inr_gadgets.lines import operator_line
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.slices import SliceState

if TYPE_CHECKING:
    from torch import Tensor

    from inr_core.methods.live import Solved
    from inr_core.solvers.fixed_lag import FixedLag


T = TypeVar("T")

REST = object()
"""Among the items: what waits is to leave, as no frame will follow."""


@dataclass(frozen=True)
class Lag:
    """How a live image is to wait.

    Attributes
    ----------
    frames
        That it waits for.
    patience_s
        How long it waits for each at most.
    hurried
        Whether somebody waits for it: then what there is no time for is left out.
    """

    frames: int
    patience_s: float = math.inf
    hurried: bool = False


NO_LAG = Lag(0)


@dataclass(frozen=True)
class LiveImage:
    """An image of series 1 that may wait.

    Attributes
    ----------
    state
        The reconstruction that it is of.
    frame, number
        Its frame, and that one's number.
    image : (ny, nx)
        On the host, as it was solved.
    meta
        Its attributes.
    solved
        The same image where it was solved, with the frame's data; None of methods that keep none.
    lag
        How it is to wait.
    """

    state: SliceState
    frame: Frame
    number: int
    image: Tensor
    meta: Mapping[str, object]
    solved: Solved | None = None
    lag: Lag = NO_LAG

    def as_it_is(self) -> ismrmrd.Image:
        """The image that leaves if it does not wait."""
        return self._sent(self.image, self.meta)

    def better(self, image: Tensor, times: int) -> ismrmrd.Image:
        """The image that leaves if it was solved again."""
        return self._sent(image, {**self.meta, "inr_lag_frames": times})

    def _sent(self, image: Tensor, meta: Mapping[str, object]) -> ismrmrd.Image:
        return image_for(self.frame, image.numpy(), LIVE_SERIES, self.number, meta)


class LaggedImages:
    """The last stage of the recon gadget, in a thread of its own: while it works on a frame the next one is solved.

    An image waits for the frames after it, is solved again between its neighbours by each
    (:class:`~inr_core.solvers.fixed_lag.FixedLag`), and leaves. Where the next frame is there already there is no time
    for that, and it leaves as it is; as it does where no frame follows: at the end of a reconstruction or of the scan,
    and when one is overdue.

    Parameters
    ----------
    guard
        Runs the methods that the images are of.
    announce
        Takes lines for the operator.
    """

    def __init__(self, guard: DeviceGuard, announce: Callable[[str], None]) -> None:
        self._guard, self._announce = guard, announce
        self._slices: dict[int, _Slice] = {}  # by group

    def among(self, items: Handoff[Any]) -> Iterator[Any]:
        """Images instead of :class:`LiveImage` and ``REST``; other items pass, and an error after the images."""
        try:
            while True:
                until = min((running.deadline for running in self._slices.values()), default=math.inf)
                if not items.wait(until - time.monotonic()):
                    yield from self._overdue()
                    continue
                try:
                    item = next(items)
                except StopIteration:
                    break
                if isinstance(item, LiveImage):
                    yield from self._take(item, items.pending)
                elif item is REST:
                    yield from self._rest()
                else:
                    yield item
        except Exception:
            yield from self._rest()
            raise
        yield from self._rest()

    def _rest(self) -> Iterator[ismrmrd.Image]:
        for running in self._slices.values():
            yield from running.rest()

    def _overdue(self) -> Iterator[ismrmrd.Image]:
        now = time.monotonic()
        for running in self._slices.values():
            if running.deadline <= now:
                yield from running.rest()

    def _take(self, item: LiveImage, pending: Callable[[], bool]) -> Iterator[ismrmrd.Image]:
        group = item.state.group
        running = self._slices.get(group)
        if running is None or running.state is not item.state:
            if running is not None:
                yield from running.rest()
            running = self._slices[group] = _Slice(item.state, item.lag.frames, self._guard, self._announce)
        yield from running.take(item, pending)


class _Slice:
    """The images of one reconstruction that wait.

    Attributes
    ----------
    deadline
        Until when they do, on the monotonic clock; infinity if there are none.
    """

    def __init__(self, state: SliceState, frames: int, guard: DeviceGuard, announce: Callable[[str], None]) -> None:
        self.state, self.frames = state, frames
        self.deadline = math.inf
        self._waiting: deque[LiveImage] = deque()
        self._guard, self._announce = guard, announce
        self._smoother: FixedLag | None = None
        self._csm: Tensor | None = None

    def take(self, item: LiveImage, pending: Callable[[], bool]) -> Iterator[ismrmrd.Image]:
        """The image that has waited long enough by now."""
        solved = item.solved
        if solved is None:
            yield item.as_it_is()
            return
        if self._smoother is None or self._csm is None or self._csm.device != solved.csm.device:
            self._smoother = None
            yield from self.rest()  # a new one knows nothing of them
            with self._guard.in_place:
                self._smoother, self._csm = self.state.method.smoother(self.frames), solved.csm
        self._waiting.append(item)
        self._on_device(lambda smoother: self._improve(smoother, solved, lambda: item.lag.hurried and pending()))
        if len(self._waiting) > self.frames:
            yield self._oldest()
        self.deadline = time.monotonic() + item.lag.patience_s

    def rest(self) -> Iterator[ismrmrd.Image]:
        """Those that still wait leave, in order."""
        self.deadline = math.inf
        while self._waiting:
            yield self._oldest()

    def _oldest(self) -> ismrmrd.Image:
        back, item = len(self._waiting) - 1, self._waiting.popleft()
        better = self._on_device(lambda smoother: (smoother.image(back).cpu(), smoother.times(back)))
        return item.better(*better) if better and better[1] else item.as_it_is()

    def _improve(self, smoother: FixedLag, solved: Solved, stopped: Callable[[], bool]) -> None:
        """Take a frame, and solve those before it again if there is time for it."""
        import torch

        from inr_core.lanes import one_thread

        with torch.no_grad(), one_thread():
            if self._csm is not None and self._csm is not solved.csm:
                smoother.maps_changed(self._csm, solved.csm)
            self._csm = solved.csm
            smoother.append(solved.frame, solved.image)
            smoother.improve(solved.csm, Control(stopped=stopped))

    def _on_device(self, work: Callable[[FixedLag], T]) -> T | None:
        """What the smoother gives; None where there is none, or the device fails: then there is none any more."""
        if self._smoother is None:
            return None
        try:
            return work(self._smoother)
        except RuntimeError as error:
            trouble = device_trouble(error)
            if trouble is None or self._csm is None or self._csm.device.type == "cpu":
                raise
            self._smoother = None  # the images that wait leave as they are; the method looks after itself
            text = f"{trouble.value} ({error}): live images do not wait for the next"
            self._announce(operator_line("WARNING", text))
            return None
