"""What follows the scan: the series of all frames, and where the method finds it the motion between them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ismrmrd

from inr_core.devices import peak_memory_mib
from inr_core.solvers.control import Control
from inr_gadgets.frame import Frame
from inr_gadgets.imaging.geometry import REFINED_SERIES, Between, image_for
from inr_gadgets.lines import operator_line
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.motion import motion_images
from inr_gadgets.reconstruction.recon_parameters import ReconParameters
from inr_gadgets.reconstruction.slices import SliceState

if TYPE_CHECKING:
    from inr_core.methods.live import RefinedSeries

_PROGRESS_S = 5.0  # between two lines about the refinement


@dataclass(frozen=True)
class Refinement:
    """The refinement of a scan's slices, one after the other, and of each from change to change.

    Attributes
    ----------
    parameters
        Of the recon gadget.
    announce
        Takes lines for the operator.
    guard
        Of the device.
    stop
        Set when the scan is to be ended early.
    described
        Attributes that every image gets.
    slices
        The reconstructions of each slice, in order of time. They share the time by their frames.
    ended
        When the last readout had been worked on, on the monotonic clock.
    repetition_ms
        The sequence's repetition time; 0 if unknown.
    """

    parameters: ReconParameters
    announce: Callable[[str], None]
    guard: DeviceGuard
    stop: threading.Event
    described: Mapping[str, str]
    slices: Sequence[Sequence[SliceState]]
    ended: float
    repetition_ms: float = 0.0

    @property
    def states(self) -> list[SliceState]:
        """All reconstructions, slice by slice."""
        return [state for states in self.slices for state in states]

    def images(self, state: SliceState) -> Iterator[ismrmrd.Image]:
        """The images of a reconstruction's series.

        Raises
        ------
        InrError
            What ended the computation before its time; the last good images have been sent by then.
        """
        method, geometry, label = state.method, state.geometry, self._label(state)
        progress = _Progress(self.announce, label)
        series = self._compute(state, label, progress)
        if series is None:
            return
        seconds = time.monotonic() - self.ended
        self.announce(f"{label}refined {len(geometry)} frames in {seconds:.1f} s, {series.steps} steps")
        if self._stopped(progress):
            text = f"stopped at {100 * progress.part:.0f} % of the refinement: series {REFINED_SERIES} is unfinished"
            self.announce(operator_line("WARNING", f"{label}{text}"))
        if series.remark:
            self.announce(operator_line("WARNING", f"{label}{series.remark}; more recon.refine_seconds would help"))
        meta: dict[str, object] = {
            **state.attributes(self.described),
            "inr_steps": series.steps,
            "inr_refine_s": f"{seconds:.3f}",
            "inr_peak_memory_mib": f"{peak_memory_mib(method.device):.1f}",
        }
        if series.remark:
            meta["inr_remark"] = series.remark
        yield from _images(series, geometry, state.first, meta)
        yield from motion_images(series, geometry, self.repetition_ms, meta, state.first)
        if series.failure is not None:
            raise series.failure

    def _label(self, state: SliceState) -> str:
        """Which slice and which of its frames it is, as far as there are others."""
        number = next(i for i, states in enumerate(self.slices) if state in states)
        parts = [f"slice {number + 1} of {len(self.slices)}"] if len(self.slices) > 1 else []
        if len(self.slices[number]) > 1:
            last = state.next_number - 1
            parts.append(f"frame {last}" if last == state.first else f"frames {state.first} to {last}")
        return ", ".join(parts) + ": " if parts else ""

    def _share(self, state: SliceState) -> float:
        return len(state.geometry) / sum(len(other.geometry) for other in self.states)

    def _stopped(self, progress: _Progress) -> bool:
        return progress.part < 1 and self.stop.is_set()

    def _compute(self, state: SliceState, label: str, progress: _Progress) -> RefinedSeries | None:
        """The series; None, and a line that says why, if there is none."""
        limit = math.inf if self.parameters.deterministic else self.parameters.refine_seconds * self._share(state)
        method, kept = state.method, len(state.geometry)
        lost = method.n_frames - kept
        if lost > 0:
            self.announce(
                f"{label}the first {lost} frames are no longer kept; the last {kept} are refined (recon.history_frames)"
            )
        series = self.guard.refine(method, Control(limit, self.stop.is_set, progress))
        if series is None:
            self.announce(f"{label}a single frame has no series to refine; there is no series {REFINED_SERIES}")
            return None
        if series.steps == 0 and series.failure is None:
            # What has not been worked on since the live series is not a refined one.
            stopped = self._stopped(progress)
            why = "stopped before the refinement" if stopped else "no time for the refinement (recon.refine_seconds)"
            self.announce(f"{label}{why}; there is no series {REFINED_SERIES}")
            return None
        return series


def _images(
    series: RefinedSeries, geometry: Mapping[int, Frame], first: int, meta: Mapping[str, object]
) -> Iterator[ismrmrd.Image]:
    """The series at the times and in the matrix that it was made for, numbered in the order of time.

    The method's frame 0 is frame ``first`` of the slice.

    An image between two frames has the geometry of the earlier one, and its time stamps are interpolated.
    """
    scale = series.query.frame_scale
    for i, image in enumerate(series.images.numpy()):
        number = series.first * scale + i
        index, part = divmod(number, scale)
        frame = geometry[index]
        matrix = series.query.shape(frame.matrix)
        number += first * scale
        time_of_frame = {"inr_frame": f"{number / scale:.6f}".rstrip("0") if part else first + index}
        between = Between(part, scale, geometry[index + 1] if part else None)
        described = {**meta, **time_of_frame}
        yield image_for(frame, image, REFINED_SERIES, number, described, matrix=matrix, between=between)


class _Progress:
    """A line every few seconds; the sending of it is also how a client that has gone is noticed.

    Attributes
    ----------
    part
        What is done, 0 to 1.
    """

    def __init__(self, announce: Callable[[str], None], label: str) -> None:
        self._announce, self._label, self._last = announce, label, time.monotonic()
        self.part = 0.0

    def __call__(self, part: float) -> None:
        self.part = part
        if time.monotonic() - self._last >= _PROGRESS_S:
            self._last = time.monotonic()
            self._announce(f"{self._label}refining, {100 * part:.0f} %")
