"""Live images and what they say of themselves; some frames wait for the next: for its data, or for want of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from inr_core.devices import peak_memory_mib
from inr_gadgets.frame import Frame
from inr_gadgets.lines import operator_line
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.lagged import Lag, LiveImage
from inr_gadgets.reconstruction.slices import SliceState

if TYPE_CHECKING:
    from torch import Tensor


class LiveImages:
    """Series 1 of a scan: an image for each frame, in order.

    A frame that is too late waits, and is reconstructed together with the next one of its slice, which takes no longer
    than that one alone: none is dropped, and a delay does not grow (:meth:`~inr_core.methods.live.LiveMethod.wait`).
    One of few spokes waits for the next one's data (:meth:`~inr_core.methods.live.LiveMethod.follow`).

    Parameters
    ----------
    described
        Attributes that every image gets.
    guard
        Runs the methods.
    announce
        Takes lines for the operator.
    lag_of
        How the image of a frame is to wait for the next ones, once it is there.

    Attributes
    ----------
    state
        The slice of the frames that wait; None if none does.
    for_data
        Whether the newest of them waits for the next one's data, not for want of time.
    """

    def __init__(
        self,
        described: Mapping[str, str],
        guard: DeviceGuard,
        announce: Callable[[str], None],
        lag_of: Callable[[SliceState, Frame], Lag],
    ) -> None:
        self._described, self._guard, self._announce, self._lag_of = described, guard, announce, lag_of
        self.state: SliceState | None = None
        self._waiting: list[tuple[Frame, int, str]] = []
        self.for_data = False
        self._told = False

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._waiting)

    def wait(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor) -> None:
        """Let a frame wait for the next one of its slice; those of one slice at a time, where its method allows it."""
        if not self._told:
            self._announce(operator_line("WARNING", "frames come too fast for the work on each: some share it"))
            self._told = True
        number = state.next_number
        self._guard.run(state.method, lambda: state.method.wait(kspace, traj))
        state.keep(frame)
        self.state = state
        self._waiting.append((frame, number, state.take_events()))

    def waited(self, followed: int = 0) -> Iterator[LiveImage]:
        """The images of the frames that have waited, for so many others; those that still wait do so no more."""
        state, self.state, self.for_data = self.state, None, False
        if state is None:
            return
        frames, self._waiting = self._waiting, []
        images, together = self._guard.run(state.method, state.method.waited), len(frames) + followed
        for number, (waited, image) in enumerate(zip(frames, images, strict=True), start=1):
            yield self._image(state, *waited, image, together, back=together - number)

    def ended(self, current: SliceState) -> Iterator[LiveImage]:
        """The images of frames that wait for none, since their reconstruction is not the current one."""
        if self.state is not None and self.state is not current:
            yield from self.waited()

    def images(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor) -> Iterator[LiveImage]:
        """Reconstruct a frame: its image, after those of the frames that have waited for it."""
        together, number = len(self) + 1, state.next_number
        newest = self._guard.add_frame(state.method, kspace, traj)
        state.keep(frame)
        yield from self.waited(followed=1)
        yield self._image(state, frame, number, state.take_events(), newest, together)

    def ahead(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor) -> Iterator[LiveImage]:
        """Let a frame wait for the next one's data: the images of those that have waited for it."""
        number = state.next_number
        images = self._guard.follow(state.method, kspace, traj)
        state.keep(frame)
        before, self._waiting = self._waiting, [(frame, number, state.take_events())]
        self.state, self.for_data = state, True
        for back, (waited, image) in zip(reversed(range(len(before))), zip(before, images, strict=True), strict=True):
            yield self._image(state, *waited, image, len(before), back, ahead=True)

    def _image(
        self,
        state: SliceState,
        frame: Frame,
        number: int,
        event: str,
        image: Tensor,
        together: int = 1,
        back: int = 0,
        *,
        ahead: bool = False,
    ) -> LiveImage:
        meta = {
            **state.attributes(self._described),
            "inr_frame": number,
            "inr_arrived": f"{frame.arrived:.6f}",
            "inr_steps": state.method.steps - state.reported_steps,
            "inr_peak_memory_mib": f"{peak_memory_mib(state.method.device):.1f}",
        }
        if together > 1:
            meta["inr_together"] = together
        if ahead:
            meta["inr_ahead_frames"] = 1
        if event:
            meta["inr_event"] = event
        state.reported_steps = state.method.steps
        lag = self._lag_of(state, frame)
        solved = state.method.solved(back) if lag.frames > 0 else None
        return LiveImage(state, frame, number, image, meta, solved, lag)
