"""The recon gadget: frames in, complex images out; owns the method and the schedule.

torch is imported when the first frame is awaited, not with this module: a cold server must accept, read and stamp
data first.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ismrmrd

from inr_core.devices import choose_device, device_name, give_pages_back, prepare_process
from inr_core.errors import DataError, ParameterError
from inr_core.methods import get_method, make_live
from inr_core.parameters.live import LiveParameters
from inr_gadgets.buffering.gathered import GatheredFrames
from inr_gadgets.frame import Frame
from inr_gadgets.gadget import Gadget
from inr_gadgets.handoff import Handoff
from inr_gadgets.header import repetition_time_ms
from inr_gadgets.imaging.geometry import ImageNumbers
from inr_gadgets.imaging.physiology import Physiology
from inr_gadgets.lines import operator_line
from inr_gadgets.reconstruction.delayed import DelayedImages
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.lagged import NO_LAG, REST, Lag, LaggedImages, LiveImage
from inr_gadgets.reconstruction.live_images import LiveImages
from inr_gadgets.reconstruction.recon_parameters import (
    ReconParameters,
    check_parameters,
    known_parameters,
    read_parameters,
)
from inr_gadgets.reconstruction.refinement import Refinement
from inr_gadgets.reconstruction.scan_state import ScanState, coil_labels
from inr_gadgets.reconstruction.schedule import Schedule
from inr_gadgets.reconstruction.slices import Slices, SliceState

if TYPE_CHECKING:
    import torch

    from inr_core.methods.live import LiveMethod

logger = logging.getLogger(__name__)

_PAGES_EVERY = 32  # frames, after which memory that is not used goes back to the system
_PATIENCE = 3.0  # times the time between frames that an image waits for the next one
_OVERDUE = object()  # among the items: no frame has come for so long that what waits for one is to leave


@dataclass(frozen=True)
class _Running:
    """What a scan needs while it runs.

    Attributes
    ----------
    pending
        Whether something waits to be taken in.
    """

    slices: Slices
    schedule: Schedule
    live: LiveImages
    delayed: DelayedImages
    pending: Callable[[], bool]


class ReconGadget(Gadget):
    """Frames (ReconData with a trajectory) in; complex images out, series 1 while the scan runs and series 2 after it.

    A live image leaves as soon as its conjugate gradients are done. Training steps of the field are taken between
    frames, only while no frame waits and only if one is expected to end before the next frame is due, by the measured
    times of both; when the scan has ended the field is refined and its images follow as series 2.
    """

    name: ClassVar[str] = "recon"
    parameter_type: ClassVar[type] = ReconParameters
    works_while_idle: ClassVar[bool] = True
    parameters: ReconParameters

    _slices: Slices | None = None  # of the scan, once there is one
    _told: frozenset[tuple[int, int]] = frozenset()  # sizes that nothing is compiled for

    known_parameters = staticmethod(known_parameters)
    read_parameters = staticmethod(read_parameters)
    check_parameters = staticmethod(check_parameters)

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        """Reconstruct; see the class. Items that are not ReconData pass through."""
        self._guard = DeviceGuard(self.announce)
        # What has been reconstructed is finished and sent in this thread while the next frame is reconstructed there.
        done = Handoff(self._reconstructed(items), interrupt=getattr(items, "close", None), name="recon")
        try:
            yield from ImageNumbers().give(LaggedImages(self._guard, self.announce).among(done))
        finally:
            done.close()
            self._slices = None  # they know this gadget: each would keep the other, and all that the scan had

    def _reconstructed(self, items: Iterable[Any]) -> Iterator[Any]:
        prepare_process()
        from inr_core.lanes import beside

        device = choose_device(self.parameters.device)
        method = get_method(self.parameters.method)
        described = {"inr_device": device_name(device), "inr_versions": _versions(), "inr_method": method.name}
        self.announce(f"reconstructing by {method.name} ({method.summary}) on {described['inr_device']}")
        self._slices = slices = Slices(
            lambda shape: self._guard.make(partial(self._method, shape), device),
            self._guard,
            self.announce,
            by_arrival=not self.parameters.deterministic,
            warm=self._warm_state(),
            coils=coil_labels(self.header),
        )
        repetition_ms = repetition_time_ms(self.header) or 0.0
        schedule = Schedule(repetition_ms / 1e3, self.parameters.latency_ms / 1e3)
        running = _Running(
            slices,
            schedule,
            LiveImages(described, self._guard, self.announce, partial(self._lag, slices, schedule)),
            DelayedImages(described, self._guard, self.announce),
            # A plain iterable has no pending(): everything is there already, and there is no idle time to use.
            getattr(items, "pending", lambda: True),
        )
        physiology, n_frames = Physiology.of(self.header), 0
        for frame in GatheredFrames(self.header).among(self._or_overdue(items, running)):
            if frame is _OVERDUE:
                yield from self._overdue(running)
                continue
            if isinstance(frame, ismrmrd.Waveform):
                physiology.add(frame)
            if not isinstance(frame, Frame):
                yield frame
                continue
            frame.repetition_ms, frame.physiology = repetition_ms, physiology
            yield from self._of_frame(frame, running)
            n_frames += 1
            if n_frames % _PAGES_EVERY == 0:
                beside(give_pages_back)
        yield from self._alone(running)
        yield REST
        yield from running.delayed.after_scan(lambda _: not self.stop.is_set())
        if self.parameters.save_state:
            self._save(slices.learnt())
        yield from slices.unrefined
        if self.parameters.refine and method.refines:
            after = Refinement(
                self.parameters,
                self.announce,
                self._guard,
                self.stop,
                described,
                slices.all(),
                ended=time.monotonic(),
                repetition_ms=repetition_ms,
            )
            yield from self._after_scan(after)
        elif self.parameters.offline:
            yield from (image for states in slices.all() for state in states for image in state.held)

    def prepare(self, item: Any) -> None:
        """Grid a frame while those before it are reconstructed."""
        state = self._slices.current.get(item.group) if isinstance(item, Frame) and self._slices is not None else None
        if state is None:
            return
        with self._guard.in_place:
            if state.method.shape == item.matrix[::-1]:
                item.gridded = state.method.grid_ahead(*_tensors(item))

    def _warm_state(self) -> ScanState | None:
        """What to begin with, before any work is done for a scan that cannot be begun as it was asked for."""
        source, target = (
            Path(name) if name else None for name in (self.parameters.warm_start, self.parameters.save_state)
        )
        if target is not None and not target.parent.is_dir():
            raise ParameterError(f"recon.save_state = '{target}'", "a file in a folder that exists", "make the folder")
        if source is None:
            return None
        if source == target and not source.exists():
            self.announce(f"{source} is not there yet: no warm start")
            return None
        state = ScanState.load(source)
        self.announce(f"warm start from {source}, {state}")
        return state

    def _save(self, state: ScanState) -> None:
        """A file that cannot be written costs the next scan its warm start, and this one nothing."""
        path = Path(self.parameters.save_state)
        if not state.slices:
            self.announce(f"nothing was learnt: {path} is left as it is")
            return
        try:
            state.save(path)
        except OSError as error:
            self.announce(operator_line("WARNING", f"the state is not saved: {error}"))
        else:
            self.announce(f"state of {state} saved in {path}")

    def _after_scan(self, after: Refinement) -> Iterator[ismrmrd.Image]:
        """The refined series; of what has none the live images that were held back."""
        without = 0
        for state in after.states:
            followed = False
            for image in after.images(state):
                followed = True
                yield image
            if not followed:
                without += state.method.n_frames
                yield from state.held
        if without and self.parameters.between:
            raise DataError(
                f"{without} frames without a refined series",
                "a series, for images between the pixels or frames",
                "the images sent are those of the measured ones",
            )

    def _method(self, shape: tuple[int, int], device: torch.device) -> LiveMethod:
        if device.type == "cpu":
            self._choose_operators(shape)
        method = make_live(self.parameters.method, shape, self.parameters, device)
        asked = self.parameters.matrix_scale, self.parameters.frame_scale
        method.query = replace(method.query, matrix_scale=asked[0], frame_scale=asked[1])
        return method

    def _choose_operators(self, shape: tuple[int, int]) -> None:
        from inr_core.operators.prepared import choose

        live = isinstance(self.parameters, LiveParameters) and not self.parameters.offline
        if not choose(shape, want=live) and shape not in self._told:
            self._told |= {shape}
            ny, nx = shape
            cure = f"inr-recon prepare {nx}x{ny} makes live frames faster"
            self.announce(f"nothing has been compiled for {nx} x {ny} pixels: {cure}")

    def _of_frame(self, frame: Frame, running: _Running) -> Iterator[ismrmrd.Image]:
        """What leaves because a frame has come; and what is done until the next one does."""
        schedule, slices, live = running.schedule, running.slices, running.live
        paused = slices.paused_before(frame)
        schedule.arrived(frame.arrived, after_pause=paused)
        if paused and len(live):
            yield from self._leaving(live.waited())
            slices.pause()  # it was the frames before the pause that have been solved since
        turn, data = time.monotonic(), _tensors(frame)
        before, state = slices.latest, slices.state_for(frame, *data)
        state.method.overlaps = frame.overlaps
        yield from self._leaving(live.ended(state))
        ahead = state is before and self._looks_ahead(frame, state, schedule)
        if live.for_data and not ahead:
            yield from self._leaving(live.waited())  # with one of many spokes it would not change evenly
        together = max(1, len(live) if ahead else 1 + len(live))
        state.method.due = (
            math.inf if self.parameters.deterministic else schedule.due(frame, turn, together, ahead=ahead)
        )
        if self._may_wait(frame, turn, state, running, ahead):
            live.wait(state, frame, *data)
            return
        yield from self._leaving((live.ahead if ahead else live.images)(state, frame, *data))
        self._guard.settle(state.method)  # the image has been sent
        yield from running.delayed.after_frame(state, lambda seconds: self._time_for(seconds, running))
        if self.parameters.deterministic:
            for _ in range(state.method.deterministic_steps):
                self._guard.run(state.method, state.method.tune)
        else:
            self._use_idle_time(running)

    def _lag(self, slices: Slices, schedule: Schedule, state: SliceState, frame: Frame) -> Lag:
        """How the image of a frame is to wait for the next ones."""
        p = self.parameters
        if not isinstance(p, LiveParameters) or p.offline or p.lag_frames == 0:
            return NO_LAG
        hurried = math.isfinite(state.method.due)
        interval_s = len(slices) * max(schedule.interval_s, 1e-3 * frame.repetition_ms * len(frame.headers))
        return Lag(p.lag_frames, _PATIENCE * interval_s if hurried else math.inf, hurried)

    def _or_overdue(self, items: Iterable[Any], running: _Running) -> Iterator[Any]:
        """The items, and ``_OVERDUE`` where an image waits for a frame that does not come."""
        come = getattr(items, "wait", None)  # a plain iterable has none: everything is there already
        iterator, schedule = iter(items), running.schedule
        while True:
            if come is not None and len(running.live) and not self.parameters.deterministic:
                until = schedule.last_arrival + _PATIENCE * schedule.interval_s
                if not come(until - time.monotonic()):
                    yield _OVERDUE
                    continue
            try:
                item = next(iterator)
            except StopIteration:
                return
            yield item

    def _overdue(self, running: _Running) -> Iterator[LiveImage]:
        """What waits for a frame that does not come."""
        yield from self._alone(running)
        for state in running.slices.current.values():
            self._guard.settle(state.method)

    def _alone(self, running: _Running) -> Iterator[LiveImage]:
        """The images of what waits, where nothing comes that they would hold up."""
        state = running.live.state
        if state is not None and math.isfinite(state.method.due) and math.isfinite(running.schedule.interval_s):
            state.method.due = running.schedule.due_alone(time.monotonic())
        yield from self._leaving(running.live.waited())

    def _leaving(self, images: Iterable[LiveImage]) -> Iterator[LiveImage]:
        """Images that are sent as they come; those of an offline scan are held until it is known what follows."""
        for image in images:
            if self.parameters.offline:
                image.state.held.append(image)
            else:
                yield image

    def _looks_ahead(self, frame: Frame, state: SliceState, schedule: Schedule) -> bool:
        """Whether the image of a frame, if the one before it was of its slice, is to wait for the next one's data."""
        fast = schedule.outpaces_display(frame, by_clock=not self.parameters.deterministic)
        return fast and state.method.looks_ahead(frame.spokes)

    def _may_wait(self, frame: Frame, turn: float, state: SliceState, running: _Running, ahead: bool) -> bool:
        """Whether a frame is to wait for another: it is far too late, and that one is there, or awaited anyway."""
        awaited = math.isfinite(state.method.due) and not self.parameters.offline
        too_late = awaited and len(running.live) < running.schedule.most_waiting(frame, turn, ahead=ahead)
        return too_late and len(running.slices) == 1 and state.method.may_wait and (ahead or running.pending())

    def _time_for(self, seconds: float, running: _Running) -> bool:
        """Whether there is time for something of so many seconds before the next frame."""
        if self.parameters.deterministic:
            return True
        busy = self.stop.is_set() or running.pending()
        return not busy and running.schedule.time_for(seconds, time.monotonic())

    def _use_idle_time(self, running: _Running) -> None:
        """Train what was trained least: the slices of a stack come together, and then all wait."""
        methods = [state.method for state in running.slices.current.values()]
        while not self.stop.is_set() and not running.pending():
            begin = time.monotonic()
            by_need = sorted(methods, key=lambda m: m.steps)
            if not running.schedule.time_for_a_step(begin) or not any(self._guard.run(m, m.tune) for m in by_need):
                return
            running.schedule.stepped(time.monotonic() - begin)


def _tensors(frame: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples and trajectory; the same tensors again for a frame that was gridded."""
    import torch

    if frame.gridded is not None:
        return frame.gridded.source, frame.gridded.points
    return torch.from_numpy(frame.kspace), torch.from_numpy(frame.traj)


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("inr-recon", "torch", "finufft", "numba"))
