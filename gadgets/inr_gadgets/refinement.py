"""What follows the scan: the series of all frames, and where the method finds it the motion between them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ismrmrd

from inr_core.devices import peak_memory_mib
from inr_core.solvers.control import Control
from inr_gadgets.frame import Frame
from inr_gadgets.geometry import REFINED_SERIES, image_for, time_stamp
from inr_gadgets.lines import operator_line
from inr_gadgets.motion import motion_images
from inr_gadgets.recon_parameters import ReconParameters

if TYPE_CHECKING:
    from inr_core.methods.live import LiveMethod, RefinedSeries

_PROGRESS_S = 5.0  # between two lines about the refinement


@dataclass(frozen=True)
class Refinement:
    """The refinement of a scan's slices, one after the other.

    Attributes
    ----------
    parameters
        Of the recon gadget.
    announce
        Takes lines for the operator.
    stop
        Set when the scan is to be ended early.
    described
        Attributes that every image gets.
    n_slices
        Among which the time is shared.
    ended
        When the last readout had been worked on, on the monotonic clock.
    repetition_ms
        The sequence's repetition time; 0 if unknown.
    """

    parameters: ReconParameters
    announce: Callable[[str], None]
    stop: threading.Event
    described: Mapping[str, str]
    n_slices: int
    ended: float
    repetition_ms: float = 0.0

    def images(
        self, method: LiveMethod, geometry: Mapping[int, Frame], group: int, number: int
    ) -> Iterator[ismrmrd.Image]:
        """The images of a slice's series.

        Parameters
        ----------
        method
            Of the slice, which knows its frames.
        geometry
            Frames by index, without data.
        group
            Of the slice's frames.
        number
            Of the slice, from 0.

        Raises
        ------
        InrError
            What ended the computation before its time; the last good images have been sent by then.
        """
        label = f"slice {number + 1} of {self.n_slices}: " if self.n_slices > 1 else ""
        progress = _Progress(self.announce, label)
        series = self._compute(method, len(geometry), label, progress)
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
            **self.described,
            "inr_group": group,
            "inr_steps": series.steps,
            "inr_refine_s": f"{seconds:.3f}",
            "inr_peak_memory_mib": f"{peak_memory_mib(method.device):.1f}",
        }
        if series.remark:
            meta["inr_remark"] = series.remark
        yield from _images(series, geometry, meta)
        yield from motion_images(series, geometry, self.repetition_ms, meta)
        if series.failure is not None:
            raise series.failure

    def _stopped(self, progress: _Progress) -> bool:
        return progress.part < 1 and self.stop.is_set()

    def _compute(self, method: LiveMethod, kept: int, label: str, progress: _Progress) -> RefinedSeries | None:
        """The series; None, and a line that says why, if there is none."""
        limit = math.inf if self.parameters.deterministic else self.parameters.refine_seconds / self.n_slices
        lost = method.n_frames - kept
        if lost > 0:
            self.announce(
                f"{label}the first {lost} frames are no longer kept; the last {kept} are refined (recon.history_frames)"
            )
        series = method.refine(Control(limit, self.stop.is_set, progress))
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
    series: RefinedSeries, geometry: Mapping[int, Frame], meta: Mapping[str, object]
) -> Iterator[ismrmrd.Image]:
    """The series at the times and in the matrix that it was made for, numbered in the order of time.

    An image between two frames has the geometry of the earlier one, and its time stamp is interpolated. Clocks that
    begin anew at each heart beat are not: theirs is the earlier frame's.
    """
    scale = series.query.frame_scale
    for i, image in enumerate(series.images.cpu().numpy()):
        number = series.first * scale + i
        index, part = divmod(number, scale)
        frame = geometry[index]
        matrix = series.query.shape(frame.matrix)
        time_of_frame = {"inr_frame": f"{number / scale:.6f}".rstrip("0") if part else index}
        made = image_for(frame, image, REFINED_SERIES, number, {**meta, **time_of_frame}, matrix=matrix)
        if part:
            before, after = (time_stamp(geometry[at]) for at in (index, index + 1))
            made.acquisition_time_stamp = round(before + (after - before) * part / scale)
        yield made


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
