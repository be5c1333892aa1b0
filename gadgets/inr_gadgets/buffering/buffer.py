"""Readouts in, frames out: the first gadget of the chain. No torch; it holds at most a frame a slice, two a stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import ismrmrd
import numpy as np
from gadgetron.types.acquisition_bucket import AcquisitionBucket

from inr_core.errors import DataError
from inr_gadgets.buffering.stars import Stars
from inr_gadgets.conventions.angles import AngleRule, angle_rule
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.delays import SliceDelays
from inr_gadgets.conventions.framing import Facts, Framer, Positions, facts_of
from inr_gadgets.conventions.readouts import REVERSE, Group, kind
from inr_gadgets.conventions.sampling import Sampling, embedded_spoke, find_sampling, straight_spoke
from inr_gadgets.conventions.stack import Stack, find_stack
from inr_gadgets.conventions.understanding import LARGEST, Opening, Understanding, is_usable, too_short
from inr_gadgets.coordinates import slice_direction
from inr_gadgets.frame import Frame
from inr_gadgets.gadget import Gadget
from inr_gadgets.header import Encoding, encoding
from inr_gadgets.heads import head_of
from inr_gadgets.lines import operator_line
from inr_gadgets.planes import Field, Plane, PlaneWatch

__all__ = ["BufferGadget", "BufferParameters"]

MAX_GROUPS = 1024
MOST_HELD_BYTES = 4 << 30  # of readouts that wait for their frame; thousands of 64-coil spokes take a fraction of it
_LOOK_EVERY = 16  # readouts, at what is held
_SAME_DIRECTION = 0.1  # part of the distance of two samples by which the spokes of an angle's partitions may differ


@dataclass(frozen=True, slots=True)
class _Spoke:
    """One readout that waits for its frame: samples are not copied before the frame is made."""

    acquisition: Any
    kept: slice
    traj: np.ndarray


@dataclass(frozen=True)
class _Space:
    """How the readouts of one encoding space are read."""

    encoding: Encoding
    sampling: Sampling
    rule: AngleRule
    stack: Stack | None


class BufferGadget(Gadget):
    """Gathers radial readouts into frames, whatever convention they follow, and says how it understood them.

    A frame of a stack of stars is one of all its partitions: it is transformed along them here, where frames are made,
    and leaves as a frame of each slice, so that nothing behind it needs to know of partitions.

    The first readouts are held back until the convention is clear (at most
    :data:`inr_gadgets.conventions.survey.LOOK` spokes of a slice); after that a frame leaves with its last readout.
    """

    name: ClassVar[str] = "buffer"
    parameter_type: ClassVar[type] = BufferParameters

    def __init__(self, header: Any, parameters: BufferParameters | None = None) -> None:
        super().__init__(header, parameters)
        self.understanding: Understanding | None = None
        self._opening = Opening(header, self.parameters)
        self._dropped: Counter[str] = self._opening.dropped
        self._n_frames = 0
        self._n_groups = 0
        self._n_spokes = self._n_taken = self._n_imaging = 0
        self._warned = False
        self._spaces: dict[int, _Space] = {}
        self._positions = Positions(0, False)
        self._framers: dict[Group, Framer] = {}
        self._stars: dict[Group, Stars] = {}
        self._numbers: dict[Group, int] = {}
        self._delays: dict[Group, SliceDelays] = {}

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        """Frames of the acquisitions among ``items``, and of those in Gadgetron's buckets; all else is handed on.

        Raises
        ------
        DataError
            If the scan cannot be read, changes its shape in mid-scan (frames that were complete come first), or ends
            without one complete frame.
        """
        for item in _unpacked(items):
            if not isinstance(item, ismrmrd.Acquisition):
                yield item
                continue
            yield from self._take(item)
            if self._dropped["non-finite"] and not self._warned:
                self._warned = True
                which = f"readout with scan_counter {item.scan_counter}"
                text = f"the {which} holds NaN, infinity or samples beyond {LARGEST:g}; such readouts are dropped"
                self.announce(operator_line("WARNING", text))
        if self.understanding is None:
            yield from self._begin()
        yield from self._finish()

    def _take(self, acquisition: Any) -> Iterator[Frame]:
        self._n_taken += 1
        if self._n_taken % _LOOK_EVERY == 0:
            self._refuse_too_much(acquisition)
        if self.understanding is not None:
            yield from self._sort(acquisition)
            return
        try:
            ready = self._opening.take(acquisition)
        except DataError:
            if any(held.acquisition is not None for held in self._opening.held):
                yield from self._begin()
            raise
        if ready:
            yield from self._begin()

    def _refuse_too_much(self, acquisition: Any) -> None:
        """Whatever counters and parameters ask for, what waits for its frame must fit into the memory."""
        partitions = {group: stars.stack.n_partitions for group, stars in self._stars.items()}
        waiting = len(self._opening.held) + sum(stars.pending for stars in self._stars.values())
        waiting += sum(framer.pending * partitions.get(group, 1) for group, framer in self._framers.items())
        if waiting * acquisition.data.nbytes > MOST_HELD_BYTES:
            raise DataError(
                f"{waiting} readouts of {acquisition.data.nbytes / 1e6:.3g} MB that wait for their frames",
                f"at most {MOST_HELD_BYTES / 1e6:.3g} MB of them",
                "set buffer.spokes_per_frame to fewer, or look at the sender's encoding counters",
            )

    def _begin(self) -> Iterator[Frame]:
        """Say how the scan is understood, and read what was held back."""
        opening = self._opening
        self.understanding = known = opening.conclude()
        self.announce(known.sentence)
        self._spaces[known.encoding.index] = _Space(known.encoding, known.sampling, known.rule, known.stack)
        self._positions = Positions(known.stride, known.steps)
        held, opening.held = opening.held, []
        for readout in held:
            if readout.facts is None:
                self._positions.skip(readout.scan_counter)
            else:
                yield from self._place(readout.acquisition, readout.facts)

    def _sort(self, acquisition: Any) -> Iterator[Frame]:
        what = kind(acquisition.flags)
        if what != "imaging":
            self._dropped[what] += 1
            self._positions.skip(acquisition.scan_counter)
            return
        finite = is_usable(acquisition)
        if not finite:
            self._dropped["non-finite"] += 1
        yield from self._place(acquisition if finite else None, facts_of(acquisition))

    def _place(self, acquisition: Any | None, facts: Facts) -> Iterator[Frame]:
        """Put a readout, None for an unusable one, into its group's frame."""
        position, lost = self._positions.next(facts)
        side, number = self._opening.side, self._n_imaging + self._positions.lost
        self._n_imaging += 1
        space = kept = None
        if acquisition is not None:
            if side is not None:
                acquisition = side.attach(acquisition, number)
            space = self._space(acquisition, facts)
            kept = space.sampling.check(acquisition)
        spokes: tuple[_Spoke, ...] | None = None
        if acquisition is not None and space is not None and kept is not None:
            self._n_spokes += 1
            spokes = (_Spoke(acquisition, kept, _spoke_traj(acquisition, position, kept, space)),)
        stars = self._stars_of(facts.group)
        if stars is not None:
            gathered = stars.add(spokes[0] if spokes else None, facts, position)
            if gathered is None:
                return
            spokes, facts, lost = gathered.spokes, gathered.facts, gathered.lost
        framer = self._framer(facts.group)
        for rows in framer.add(spokes, facts, lost):
            yield from self._frames(rows, facts.group, framer.n_frames - 1)

    def _space(self, acquisition: Any, facts: Facts) -> _Space:
        index = facts.group.encoding
        if index not in self._spaces:
            known = self.understanding
            if known is None:
                raise RuntimeError("readouts are placed only after the scan is understood")
            space = encoding(self.header, index, told_radial=self.parameters.tells_radial)
            sampling = find_sampling(acquisition, space, self.parameters)
            rule = angle_rule(self.parameters, embedded=sampling.embedded, spokes_per_frame=known.framing.spokes)
            self._spaces[index] = _Space(space, sampling, rule, find_stack(self.header, space, self.parameters))
        return self._spaces[index]

    def _stars_of(self, group: Group) -> Stars | None:
        """What gathers the partitions of a group; None where it has none."""
        space, known = self._spaces.get(group.encoding), self.understanding
        if space is None or space.stack is None or known is None:
            return None
        whole = group._replace(partition=0)
        if whole not in self._stars:
            framing, apart = known.framing, _SAME_DIRECTION * space.sampling.spacing
            self._stars[whole] = Stars(space.stack, framing.marker, framing.spokes, apart, _watch(space))
        return self._stars[whole]

    def _framer(self, group: Group) -> Framer:
        if group not in self._framers:
            if len(self._framers) >= MAX_GROUPS:
                raise DataError(
                    f"more than {MAX_GROUPS} slices, sets, contrasts, averages and partitions",
                    "counters that name what is imaged, not the spoke",
                    "look at the sender's encoding counters",
                )
            if self.understanding is None:
                raise RuntimeError("readouts are placed only after the scan is understood")
            space = self._spaces.get(group.encoding)
            self._framers[group] = Framer(self.understanding.framing, None if space is None else _watch(space))
            stack = None if space is None else space.stack
            self._numbers[group] = self._n_groups
            self._n_groups += 1 if stack is None else stack.slices
        return self._framers[group]

    def _frames(self, rows: list[tuple[_Spoke, ...]], group: Group, index: int) -> Iterator[Frame]:
        """The frame of a slice, or the frames of all slices of a stack; ``rows`` hold one spoke of each partition."""
        space = self._spaces[group.encoding]
        stack = space.stack
        kspace = _samples(rows, space.sampling)
        if self.parameters.negate_odd:
            odd = [[spoke.acquisition.idx.kspace_encode_step_1 % 2 for spoke in row] for row in rows]
            kspace *= (1 - 2 * np.array(odd, np.float32))[..., None]
        if self.parameters.conjugate:
            np.conjugate(kspace, out=kspace)
        kspace = self._opening.whitener.apply(kspace)
        slices = kspace[None, :, :, 0] if stack is None else stack.transform(kspace)
        middle = stack.reference if stack else 0
        reference = [row[middle] for row in rows]
        traj, delays = self._without_delays(kspace[:, :, middle], reference, group)
        x_mm, y_mm, z_mm = space.encoding.recon_fov_mm
        self._n_frames += 1
        for number in range(1) if stack is None else stack.order:
            headers = [_kept_header(spoke, space.sampling) for spoke in reference]
            if stack is not None:
                _move_to_slice(headers, stack, number)
            yield Frame.from_readouts(
                slices[number],
                traj,
                headers,
                matrix=space.encoding.matrix,
                fov_mm=(x_mm, y_mm, stack.slice_mm if stack else z_mm),
                index=index,
                group=self._numbers[group] + number,
                stride=self._framers[group].framing.stride,
                partitions=stack.n_partitions if stack else 1,
                arrived=getattr(rows[-1][-1].acquisition, "arrived", None),
                delays=delays,
            )

    def _without_delays(
        self, kspace: np.ndarray, spokes: list[_Spoke], group: Group
    ) -> tuple[np.ndarray, tuple[float, float, float]]:
        """A frame's trajectory as the gradients really played it, and the (Sx, Sy, Sxy) that it was corrected by."""
        traj = np.stack([spoke.traj for spoke in spokes])
        if self.parameters.delays == "off":
            return traj, (0.0, 0.0, 0.0)
        known, plane, first = self._delays.get(group), Plane.of(spokes[0].acquisition), 0
        if known is None or known.turned(plane):
            known = self._delays[group] = SliceDelays(self._spaces[group.encoding].sampling.aspect, plane)
        else:
            first = -self._framers[group].framing.stride  # of a sliding window the others are known
        if known.add(kspace[:, first:], traj[first:]):
            self._say_delays(group)
        applied = known.applied
        return known.corrected(traj), (applied.sx, applied.sy, applied.sxy) if applied else (0.0, 0.0, 0.0)

    def _say_delays(self, group: Group) -> None:
        label = f"group {self._numbers[group]}: " if len(self._framers) > 1 else ""
        self.announce(label + self._delays[group].text)

    def _finish(self) -> Iterator[Frame]:
        """The last frames of the scan, cut short or not, and what became of the readouts that are in none."""
        known = self.understanding
        if known is None:
            raise RuntimeError("the scan ended before it was understood")
        if not self._n_frames:
            raise self._nothing_made(known)
        for stars in self._stars.values():
            stars.finish()
        for group, framer in self._framers.items():
            for rows in framer.flush():
                yield from self._frames(rows, group, framer.n_frames - 1)
        for group, delays in self._delays.items():
            if not delays.text:
                delays.finish()
                self._say_delays(group)
        self._summarise()

    def _nothing_made(self, known: Understanding) -> DataError:
        """Why there is no frame: not one angle of a stack was complete, or the scan was too short."""
        for group, stars in self._stars.items():
            if group not in self._framers:
                return stars.trouble()
        return too_short(self._n_spokes // (known.stack.n_partitions if known.stack else 1), known.framing, known.how)

    def _summarise(self) -> None:
        parts = [f"{self._n_frames} frames of {self._n_spokes} spokes"]
        if len(self._framers) > 1:
            parts[0] += f" in {len(self._framers)} groups"
        if self._positions.lost:
            parts.append(f"{self._positions.lost} readouts lost on the way")
        if self._dropped:
            parts.append("dropped: " + ", ".join(f"{n} {name}" for name, n in self._dropped.items()))
        short = sum(framer.dropped for framer in self._framers.values())
        if short:
            parts.append(f"{short} spokes of frames with too few of them left out (buffer.minimum_part)")
        side = self._opening.side
        if side is not None and (unused := side.unused(self._n_imaging + self._positions.lost)):
            parts.append(unused)
        broken = sum(stars.dropped for stars in self._stars.values())
        if broken:
            parts.append(f"{broken} angles of which a partition is missing left out")
        self.announce("; ".join(parts))


def _unpacked(items: Iterable[Any]) -> Iterator[Any]:
    """The items, a bucket's readouts and waveforms one by one.

    Its reference readouts are left: those that are for imaging, too, are among the data as well.
    """
    for item in items:
        if isinstance(item, AcquisitionBucket):
            yield from item.waveforms
            for acquisition in item.data:
                acquisition.arrived = item.arrived
                yield acquisition
        else:
            yield item


def _samples(rows: list[tuple[_Spoke, ...]], sampling: Sampling) -> np.ndarray:
    """(coils, spokes, partitions, samples) complex64; each sample is copied once."""
    kspace = np.empty((sampling.n_coils, len(rows), len(rows[0]), sampling.n_kept), np.complex64)
    for number, row in enumerate(rows):
        for partition, spoke in enumerate(row):
            kspace[:, number, partition] = spoke.acquisition.data[:, spoke.kept]
    return kspace


def _watch(space: _Space) -> PlaneWatch:
    return PlaneWatch(Field(space.encoding.matrix, space.encoding.recon_fov_mm))


def _spoke_traj(acquisition: Any, position: int, kept: slice, space: _Space) -> np.ndarray:
    if space.sampling.embedded:
        return embedded_spoke(acquisition, kept, space.sampling)
    angle = space.rule.angle(acquisition, position)
    reverse = bool(acquisition.flags & REVERSE)
    return straight_spoke(acquisition, angle, kept, space.sampling, reverse=reverse)


def _move_to_slice(headers: list[Any], stack: Stack, number: int) -> None:
    """Make the headers of a slab's readouts those of one of its slices."""
    for header in headers:
        along = slice_direction(header)
        header.slice_dir[:] = tuple(along)
        header.position[:] = tuple(np.array(header.position) + stack.heights_mm[number] * along)
        header.idx.slice = header.idx.slice * stack.slices + number
        header.idx.kspace_encode_step_2 = 0


def _kept_header(spoke: _Spoke, sampling: Sampling) -> Any:
    """A copy of the readout's header that fits the samples that are left of it."""
    header = head_of(spoke.acquisition)
    header.number_of_samples = sampling.n_kept
    header.discard_pre = header.discard_post = 0
    header.center_sample = sampling.center
    header.trajectory_dimensions = 2
    return header
