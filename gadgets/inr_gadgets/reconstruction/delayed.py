"""The delayed series: each frame once more, a few frames later, improved by what came in between."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping

import ismrmrd

from inr_core.solvers.control import Control
from inr_gadgets.imaging.geometry import DELAYED_SERIES, image_for
from inr_gadgets.lines import operator_line
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.slices import SliceState

_FORGET = 0.95  # of an iteration's time, at each frame that it was too long for: one slow iteration is not the last

TimeFor = Callable[[float], bool]
"""Seconds -> whether work of that length may begin now."""


class DelayedImages:
    """Series 4 of a scan. Images have the number, geometry and time of their own frame.

    Parameters
    ----------
    described
        Attributes that every image gets.
    guard
        Runs the methods.
    announce
        Takes lines for the operator.

    Attributes
    ----------
    iteration_s
        What the longest of the last image's iterations took.
    """

    def __init__(self, described: Mapping[str, str], guard: DeviceGuard, announce: Callable[[str], None]) -> None:
        self._described, self._guard, self._announce = described, guard, announce
        self._running: dict[int, SliceState] = {}
        self._frames = self._sent = 0
        self.iteration_s = 0.0

    def after_frame(self, state: SliceState, time_for: TimeFor) -> Iterator[ismrmrd.Image]:
        """The images that are due after the newest frame of a slice; none where there is no time for an iteration.

        The last frames of a reconstruction that has ended follow before those of the one that took its place.

        Parameters
        ----------
        state
            The slice's reconstruction, which has the frame.
        time_for
            Asked before each iteration, with the time that one took before.
        """
        if state.method.delay_frames == 0:
            return
        before = self._running.get(state.group)
        if before is not None and before is not state:
            yield from self._images(before, time_for, ended=True)
        self._running[state.group] = state
        self._frames += 1
        yield from self._images(state, time_for, ended=False)

    def after_scan(self, time_for: TimeFor) -> Iterator[ismrmrd.Image]:
        """The last frames of each slice; and a line about those that there was no time for."""
        for state in self._running.values():
            yield from self._images(state, time_for, ended=True)
        missing = self._frames - self._sent
        if missing:
            where = f"{missing} of {self._frames} frames are not in series {DELAYED_SERIES}"
            self._announce(operator_line("WARNING", f"{where}: there was no time before the next"))

    def _images(self, state: SliceState, time_for: TimeFor, *, ended: bool) -> Iterator[ismrmrd.Image]:
        method, moments = state.method, [time.monotonic()]
        control = Control(
            stopped=lambda: not time_for(self.iteration_s), progress=lambda _: moments.append(time.monotonic())
        )
        found = self._guard.run(
            method, lambda: [(index, image.cpu()) for index, image in method.delayed(control, ended=ended)]
        )
        if len(moments) > 1:
            self.iteration_s = max(after - before for before, after in itertools.pairwise(moments))
        else:
            self.iteration_s *= _FORGET
        for index, image in found:
            self._sent += 1
            number = state.first + index
            meta = {
                **state.attributes(self._described),
                "inr_frame": number,
                "inr_delay_frames": method.n_frames - 1 - index,
            }
            yield image_for(state.geometry[index], image.numpy(), DELAYED_SERIES, number, meta)
