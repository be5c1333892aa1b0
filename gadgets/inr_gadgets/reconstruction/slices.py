"""The reconstructions of a scan: one for each slice, and a new one where the slice is no longer what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inr_core.devices import device_name
from inr_core.errors import DataError
from inr_gadgets.frame import Frame
from inr_gadgets.lines import operator_line
from inr_gadgets.planes import Field, Plane, PlaneWatch
from inr_gadgets.reconstruction.device_guard import DeviceGuard
from inr_gadgets.reconstruction.pauses import PauseWatch
from inr_gadgets.reconstruction.scan_state import ScanState, SliceGeometry, SliceRecord

if TYPE_CHECKING:
    from torch import Tensor

    from inr_core.methods.live import LiveMethod
    from inr_gadgets.reconstruction.lagged import LiveImage

_MOST_TOLD = 20  # changes, each in a line of its own
_REMEMBERED = 3  # of a slice's ended reconstructions: what can be gone back to


@dataclass(eq=False)
class SliceState:
    """One slice (set, contrast ..) as long as it is the same: the method, and what its images need of the frames.

    Attributes
    ----------
    group
        Of the frames.
    first
        Number in the group of the method's frame 0.
    geometry
        Frames by the method's index, without data.
    held
        Live images that are sent only if no series follows.
    reported_steps
        Training steps that images have told of.
    events
        What is to be said of the next frame.
    doubted
        Whether it began with data that contradicted those before: a single frame may have been spoiled.
    """

    method: LiveMethod
    group: int
    watch: PlaneWatch
    first: int = 0
    geometry: dict[int, Frame] = field(default_factory=dict)
    held: list[LiveImage] = field(default_factory=list)
    reported_steps: int = 0
    events: list[str] = field(default_factory=list)
    doubted: bool = False

    @property
    def next_number(self) -> int:
        """Number in the group of the frame that comes next."""
        return self.first + self.method.n_frames

    def keep(self, frame: Frame) -> None:
        """Keep the newest frame's geometry, as long as the method keeps the frame."""
        newest = self.method.n_frames - 1
        self.geometry[newest] = frame.without_data()
        self.geometry.pop(newest - self.method.kept_frames, None)

    def attributes(self, described: Mapping[str, str]) -> dict[str, object]:
        """What each of its images says: of the scan what is ``described``, where it was computed, and the slice."""
        return {**described, "inr_device": device_name(self.method.device), "inr_group": self.group}

    def take_events(self) -> str:
        """What is to be said of this frame, and only of it."""
        text, self.events = "; ".join(self.events), []
        return text


class Slices:
    """The slices of a scan, and what happens to them.

    A plane that moves and data that contradict the frames before end a slice's reconstruction, and another begins with
    that frame: nothing of the old anatomy is in the new images. Where the slice is again what it was (the plane comes
    back, or a single frame was spoiled) it goes on with what was known, as a warm start. What has ended is refined
    after the scan by itself, as long as all that a slice keeps is not more than its method keeps of one.

    Parameters
    ----------
    make
        A method for images of (ny, nx) pixels.
    guard
        Of the device that they compute on.
    announce
        Takes lines for the operator.
    by_arrival
        Whether pauses may be judged by when frames arrived.
    warm
        What another scan has learnt; slices begin with it where they are the same.
    coils
        Labels of the scan's coils.

    Attributes
    ----------
    current
        The reconstruction of each slice, by its frames' group.
    latest
        That of the last frame; None before the first.
    unrefined
        Held images of what is no longer kept.
    """

    def __init__(
        self,
        make: Callable[[tuple[int, int]], LiveMethod],
        guard: DeviceGuard,
        announce: Callable[[str], None],
        *,
        by_arrival: bool = True,
        warm: ScanState | None = None,
        coils: tuple[str, ...] = (),
    ) -> None:
        self._make, self._guard, self._announce = make, guard, announce
        self._warm, self._coils = warm, coils
        self._shapes: dict[int, SliceGeometry] = {}
        self._remembered: dict[int, list[SliceRecord]] = {}
        self._pauses = PauseWatch(by_arrival)
        self._told = 0
        self.latest: SliceState | None = None
        self.current: dict[int, SliceState] = {}
        self._ended: dict[int, list[SliceState]] = {}
        self.unrefined: list[LiveImage] = []

    def __len__(self) -> int:
        """The number of slices."""
        return len(self.current)

    def all(self) -> list[list[SliceState]]:
        """The reconstructions of each slice, in order of time."""
        return [[*self._ended.get(group, []), state] for group, state in self.current.items()]

    def paused_before(self, frame: Frame) -> bool:
        """Look whether the scan paused before a frame; each slice's next frame is told. For every frame, first."""
        seconds = self._pauses.before(frame)
        if seconds > 0:
            self.pause()
            for state in self.current.values():
                state.events.append(f"pause: {seconds:.1f} s")
            self._tell(f"a pause of {seconds:.1f} s: the frames after it trust less in those before")
        return seconds > 0

    def pause(self) -> None:
        """Tell each slice that what moves may be anywhere when its next frame comes."""
        for state in self.current.values():
            state.method.pause()

    def state_for(self, frame: Frame, kspace: Tensor, traj: Tensor) -> SliceState:
        """The reconstruction that a frame belongs to, a new one where it must be; ``kspace`` and ``traj`` are its data.

        Raises
        ------
        DataError
            If the matrix or the number of coils is another than before.
        """
        self.latest = self._state_for(frame, kspace, traj)
        return self.latest

    def _state_for(self, frame: Frame, kspace: Tensor, traj: Tensor) -> SliceState:
        state = self.current.get(frame.group)
        if state is None:
            state = self._begin(frame, kspace, 0)
            if self._warm is not None:
                self._resume(state, frame, kspace, traj, self._warm)
            return state
        shape = frame.matrix[::-1]
        if shape != state.method.shape:
            raise DataError(
                f"a frame of {shape[1]} x {shape[0]} pixels",
                f"{state.method.shape[1]} x {state.method.shape[0]}, as before in its slice",
                "send another matrix as a scan of its own",
            )
        method, moved = state.method, state.watch.moved(_plane(frame))
        if moved is not None:
            self._end(state, f"the plane has moved ({moved}): a new reconstruction begins")
            state = self._begin_anew(frame, kspace, f"plane moved: {moved}")
            self._recall(state, frame, kspace, traj)
        elif state.doubted and method.n_frames == 1 and self._goes_back(state, frame, kspace, traj):
            state = self.current[frame.group]
        elif not self._fits(method, frame, kspace, traj):
            text = "the data contradict the frames before (the patient moved?): a new reconstruction begins"
            self._end(state, text, warning=True)
            state = self._begin_anew(frame, kspace, "sudden change")
            state.doubted = True
        self._bound(frame.group)
        return state

    def _fits(self, method: LiveMethod, frame: Frame, kspace: Tensor, traj: Tensor) -> bool:
        method.expect(frame.gridded)
        return self._guard.run(method, lambda: method.fits(kspace, traj))

    def learnt(self) -> ScanState:
        """What another scan of these slices can begin with."""
        found = {group: self._guard.learnt(state.method) for group, state in self.current.items()}
        return ScanState([SliceRecord(self._shapes[group], known) for group, known in found.items() if known])

    def _begin(self, frame: Frame, kspace: Tensor, first: int) -> SliceState:
        watch = PlaneWatch(Field(frame.matrix, frame.fov_mm))
        watch.moved(_plane(frame))
        state = SliceState(self._make((frame.matrix[1], frame.matrix[0])), frame.group, watch, first)
        self.current[frame.group] = state
        self._shapes[frame.group] = SliceGeometry.of(frame, len(kspace), self._coils)
        return state

    def _resume(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor, warm: ScanState) -> None:
        """Begin a slice with what another scan has learnt; if it is not the same slice, say why not."""
        try:
            state.method = self._warmed(warm, frame, kspace, traj)
        except DataError as error:
            state.events.append("no warm start")
            where = f"slice {frame.group + 1}: " if len(self) > 1 else ""
            self._tell(operator_line("WARNING", f"{where}no warm start: {error}"))
        else:
            state.events.append("warm start")

    def _warmed(self, known: ScanState, frame: Frame, kspace: Tensor, traj: Tensor) -> LiveMethod:
        """A method that begins with what is known of a frame's slice; DataError if the frame does not fit that."""
        method = self._make((frame.matrix[1], frame.matrix[0]))

        def fits() -> bool:
            method.resume(known.learnt_of(self._shapes[frame.group]))
            return method.fits(kspace, traj)

        if not self._guard.run(method, fits):
            raise DataError("data that contradict it", "the same position of the patient and the same coils")
        return method

    def _recall(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor) -> bool:
        """Let a reconstruction that begins go on with what was known before, if the slice is again what it was."""
        for record in reversed(self._remembered.get(frame.group, [])):
            try:
                state.method = self._warmed(ScanState([record]), frame, kspace, traj)
            except DataError:
                continue
            state.events.append("as before")
            self._tell(f"{self._where(state)}as it was before: goes on with what was known")
            return True
        return False

    def _goes_back(self, state: SliceState, frame: Frame, kspace: Tensor, traj: Tensor) -> bool:
        """Whether the frame before was spoiled by itself: this one does not contradict what was known before that."""
        again = SliceState(state.method, state.group, state.watch, state.next_number, events=state.events)
        if not self._recall(again, frame, kspace, traj):
            return False
        state.method.rest()
        self._ended.setdefault(frame.group, []).append(state)
        self.current[frame.group] = again
        return True

    def _end(self, state: SliceState, text: str, *, warning: bool = False) -> None:
        """Let a reconstruction rest until it is refined, and remember what it has learnt."""
        self._tell(operator_line("WARNING" if warning else "", f"{self._where(state)}{text}"))
        known = self._guard.learnt(state.method)
        if known is not None and known.image is not None:
            remembered = self._remembered.setdefault(state.group, [])
            remembered.append(SliceRecord(self._shapes[state.group], known))
            del remembered[:-_REMEMBERED]
        state.method.rest()
        self._ended.setdefault(state.group, []).append(state)

    def _begin_anew(self, frame: Frame, kspace: Tensor, event: str) -> SliceState:
        old = self.current[frame.group]
        state = self._begin(frame, kspace, old.next_number)
        state.events = [*old.events, event]
        return state

    def _where(self, state: SliceState) -> str:
        """``"slice 2, frame 12: "``: the frame that comes next."""
        return (f"slice {state.group + 1}, " if len(self) > 1 else "") + f"frame {state.next_number}: "

    def _bound(self, group: int) -> None:
        """Let go of the oldest frames where several reconstructions keep more than one may."""
        ended, state = self._ended.get(group, []), self.current[group]
        limit = state.method.kept_frames
        while ended and len(state.geometry) + sum(len(old.geometry) for old in ended) >= limit:
            oldest = ended.pop(0)
            self.unrefined += oldest.held
            if limit > 1:
                span = f"frames {oldest.first} to {oldest.next_number - 1}"
                self._tell(f"{span} are no longer kept and will not be refined (recon.history_frames)")

    def _tell(self, line: str) -> None:
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._announce(line)
        if self._told == _MOST_TOLD:
            self._announce("further changes are told in the images' inr_event alone")


def _plane(frame: Frame) -> Plane:
    return Plane.of(frame.headers[0])
