"""Readouts in, frames out: the first gadget of the chain. It imports no torch and holds at most a frame a slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import ismrmrd
import numpy as np

from inr_core.errors import DataError
from inr_gadgets.buffer_parameters import BufferParameters
from inr_gadgets.conventions.angles import AngleRule, angle_rule
from inr_gadgets.conventions.framing import Facts, Framer, Positions, facts_of
from inr_gadgets.conventions.readouts import REVERSE, Group, kind
from inr_gadgets.conventions.sampling import Sampling, embedded_spoke, find_sampling, straight_spoke
from inr_gadgets.conventions.understanding import Opening, Understanding, is_finite, too_short
from inr_gadgets.frame import Frame
from inr_gadgets.gadget import Gadget
from inr_gadgets.header import Encoding, encoding
from inr_gadgets.lines import operator_line

__all__ = ["BufferGadget", "BufferParameters"]

MAX_GROUPS = 1024


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


class BufferGadget(Gadget):
    """Gathers radial readouts into frames, whatever convention they follow, and says how it understood them.

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
        self._n_spokes = 0
        self._warned = False
        self._spaces: dict[int, _Space] = {}
        self._positions = Positions(0, False)
        self._framers: dict[Group, Framer] = {}

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        """Frames of the acquisitions among ``items``; everything else is handed on.

        Raises
        ------
        DataError
            If the scan cannot be read, changes its shape in mid-scan (frames that were complete come first), or ends
            without one complete frame.
        """
        for item in items:
            if not isinstance(item, ismrmrd.Acquisition):
                yield item
                continue
            yield from self._take(item)
            if self._dropped["non-finite"] and not self._warned:
                self._warned = True
                which = f"readout with scan_counter {item.scan_counter}"
                text = f"the {which} holds NaN or infinity; such readouts are dropped"
                self.announce(operator_line("WARNING", text))
        if self.understanding is None:
            yield from self._begin()
        yield from self._finish()

    def _take(self, acquisition: Any) -> Iterator[Frame]:
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

    def _begin(self) -> Iterator[Frame]:
        """Say how the scan is understood, and read what was held back."""
        opening = self._opening
        self.understanding = known = opening.conclude()
        self.announce(known.sentence)
        self._spaces[known.encoding.index] = _Space(known.encoding, known.sampling, known.rule)
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
        finite = is_finite(acquisition)
        if not finite:
            self._dropped["non-finite"] += 1
        yield from self._place(acquisition if finite else None, facts_of(acquisition))

    def _place(self, acquisition: Any | None, facts: Facts) -> Iterator[Frame]:
        """Put a readout, None for an unusable one, into its group's frame."""
        space = kept = None
        if acquisition is not None:
            space = self._space(acquisition, facts)
            kept = space.sampling.check(acquisition)
        position, lost = self._positions.next(facts)
        framer = self._framer(facts.group)
        spoke = None
        if acquisition is not None and space is not None and kept is not None:
            self._n_spokes += 1
            spoke = _Spoke(acquisition, kept, _spoke_traj(acquisition, position, kept, space))
        for spokes in framer.add(spoke, facts, lost):
            yield self._frame(spokes, facts.group, framer)

    def _space(self, acquisition: Any, facts: Facts) -> _Space:
        index = facts.group.encoding
        if index not in self._spaces:
            known = self.understanding
            if known is None:
                raise RuntimeError("readouts are placed only after the scan is understood")
            space = encoding(self.header, index)
            sampling = find_sampling(acquisition, space, self.parameters)
            rule = angle_rule(self.parameters, embedded=sampling.embedded, spokes_per_frame=known.framing.spokes)
            self._spaces[index] = _Space(space, sampling, rule)
        return self._spaces[index]

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
            self._framers[group] = Framer(self.understanding.framing)
        return self._framers[group]

    def _frame(self, spokes: list[_Spoke], group: Group, framer: Framer) -> Frame:
        space = self._spaces[group.encoding]
        kspace = np.stack([spoke.acquisition.data[:, spoke.kept] for spoke in spokes], axis=1)
        if self.parameters.conjugate:
            np.conjugate(kspace, out=kspace)
        self._n_frames += 1
        return Frame.from_readouts(
            self._opening.whitener.apply(kspace),
            np.stack([spoke.traj for spoke in spokes]),
            [_kept_header(spoke, space.sampling) for spoke in spokes],
            matrix=space.encoding.matrix,
            fov_mm=space.encoding.recon_fov_mm,
            index=framer.n_frames - 1,
            group=list(self._framers).index(group),
            arrived=getattr(spokes[-1].acquisition, "arrived", None),
        )

    def _finish(self) -> Iterator[Frame]:
        """The last frames of the scan, cut short or not, and what became of the readouts that are in none."""
        known = self.understanding
        if known is None:
            raise RuntimeError("the scan ended before it was understood")
        if not self._n_frames:
            raise too_short(self._n_spokes, known.framing, known.how)
        for group, framer in self._framers.items():
            for spokes in framer.flush():
                yield self._frame(spokes, group, framer)
        self._summarise()

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
        self.announce("; ".join(parts))


def _spoke_traj(acquisition: Any, position: int, kept: slice, space: _Space) -> np.ndarray:
    if space.sampling.embedded:
        return embedded_spoke(acquisition, kept, space.sampling)
    angle = space.rule.angle(acquisition, position)
    reverse = bool(acquisition.flags & REVERSE)
    return straight_spoke(acquisition, angle, kept, space.sampling, reverse=reverse)


def _kept_header(spoke: _Spoke, sampling: Sampling) -> Any:
    """A copy of the readout's header that fits the samples that are left of it."""
    header = spoke.acquisition.getHead()
    header.number_of_samples = sampling.n_kept
    header.discard_pre = header.discard_post = 0
    header.center_sample = sampling.center
    header.trajectory_dimensions = 2
    return header
