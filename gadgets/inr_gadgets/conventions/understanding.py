"""How a scan is to be read: what its header and first readouts say, as data and as a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.conventions.angles import AngleRule, angle_rule
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.framing import Facts, Framing, facts_of
from inr_gadgets.conventions.readouts import kind
from inr_gadgets.conventions.sampling import Sampling, describe_unit, find_sampling
from inr_gadgets.conventions.side_file import side_trajectory
from inr_gadgets.conventions.stack import Stack, find_stack
from inr_gadgets.conventions.survey import LOOK_ALL, Survey
from inr_gadgets.conventions.whitening import Whitener
from inr_gadgets.header import RADIAL, Encoding, encoding, noise_bandwidth, refuse_without_radial

# Readouts of any kind, more for a stack of stars; a scan that never brings a usable sample must not fill the memory.
MOST_HELD = 4 * LOOK_ALL
LARGEST = 1e15  # a sample's magnitude, far beyond any receiver's; the energy of a frame of such overflows


@dataclass(frozen=True)
class Understanding:
    """How a scan was understood, from its header and first readouts.

    Attributes
    ----------
    encoding, sampling, rule, framing
        Geometry, samples, angles and frames of its first encoding space.
    how
        Why frames have that many spokes.
    interval_ms
        Time from spoke to spoke of one group, ms; 0 if neither header nor time stamps tell.
    n_groups
        Slices, sets, contrasts .. seen so far.
    stride, steps
        See :class:`inr_gadgets.conventions.framing.Positions`.
    stack
        How its partitions become slices; None for a scan of slices.
    noise
        What was done about the noise scan.
    dropped
        Readouts before the first frame that were no imaging, by kind.
    """

    encoding: Encoding
    sampling: Sampling
    rule: AngleRule
    framing: Framing
    how: str
    interval_ms: float
    n_groups: int
    stride: int
    steps: bool
    stack: Stack | None
    noise: str
    dropped: dict[str, int]

    @property
    def sentence(self) -> str:
        """One line for the operator."""
        space, sampling, framing = self.encoding, self.sampling, self.framing
        (nx, ny), (fx, fy) = space.matrix, space.recon_fov_mm[:2]
        doubt = "" if space.trajectory in RADIAL else f" (its header says {space.trajectory})"
        parts = [
            f"radial scan{doubt}, matrix {nx} x {ny}, FOV {fx:g} x {fy:g} mm, {sampling.n_coils} coils, "
            f"{self._samples()}",
            self._frames(),
            f"angles: {self.rule.text}" + (f" in {describe_unit(sampling)}" if sampling.embedded else ""),
            self.noise,
        ]
        if self.n_groups > 1:
            parts.append(f"{self.n_groups} groups (slices, sets, contrasts) so far")
        if self.stack is not None:
            parts.append(f"{self.stack.text}, a frame of all of them together")
        elif space.encoded_matrix[2] > 1:
            parts.append(f"{space.encoded_matrix[2]} partitions imaged one by one (buffer.partitions)")
        others = [f"{count} {name}" for name, count in self.dropped.items() if name != "noise"]
        if others:
            parts.append(f"dropped so far: {', '.join(others)}")
        if framing.stride < framing.spokes:
            parts.append(f"sliding window, {framing.stride} new spokes a frame")
        return "; ".join(parts)

    def _samples(self) -> str:
        sampling = self.sampling
        text = f"{sampling.n_kept} samples ({sampling.oversampling:.3g}x oversampled"
        if sampling.n_kept != sampling.n_samples:
            text += f", {sampling.n_samples - sampling.n_kept} discarded"
        if sampling.center != sampling.n_kept // 2:
            text += f", centre at {sampling.center}"
        return text + (f", {sampling.remark})" if sampling.remark else ")")

    def _frames(self) -> str:
        text = f"{self.framing.spokes} spokes a frame ({self.how})"
        if self.interval_ms > 0:
            text += f", {self.framing.stride * self.interval_ms:.4g} ms a frame"
        return text


@dataclass(frozen=True, slots=True)
class Held:
    """A readout of the opening: no acquisition if its samples are unusable, no facts if it is no imaging."""

    acquisition: Any
    facts: Facts | None
    scan_counter: int


class Opening:
    """The beginning of a scan: sorts readouts, gathers the noise scan, and holds imaging back until it is clear how to
    read it.

    Attributes
    ----------
    held
        What came since the first imaging readout, in order.
    whitener
        Settled at the first usable imaging readout.
    dropped
        Readouts that make no image, by kind.
    side
        The trajectory from a file; None without one.
    """

    def __init__(self, header: Any, parameters: BufferParameters) -> None:
        refuse_without_radial(header, told_radial=parameters.tells_radial)
        self.header, self.parameters = header, parameters
        self.whitener = Whitener(parameters.whiten == "auto", noise_bandwidth(header))
        self.dropped: Counter[str] = Counter()
        self.side = side_trajectory(parameters)
        self._n_imaging = 0
        self.held: list[Held] = []
        self._survey: Survey | None = None
        self._space: Encoding | None = None
        self._sampling: Sampling | None = None

    def take(self, acquisition: Any) -> bool:
        """Take one readout; True when enough is known to conclude.

        Raises
        ------
        DataError
            If it is of another shape than those before it, or cannot be read at all; it is not held then. And if
            none of :data:`MOST_HELD` readouts could be used.
        """
        what = kind(acquisition.flags)
        if what != "imaging":
            self.dropped[what] += 1
            if self._survey is not None:
                self.held.append(Held(None, None, acquisition.scan_counter))
                return self._full()
            if what == "noise" and is_usable(acquisition):
                self.whitener.add(acquisition)
            return False
        space = encoding(self.header, acquisition.encoding_space_ref, told_radial=self.parameters.tells_radial)
        if self.side is not None:
            acquisition = self.side.attach(acquisition, self._n_imaging)
        self._n_imaging += 1
        finite = is_usable(acquisition)
        if not finite:
            self.dropped["non-finite"] += 1
        elif self._sampling is None:
            self._sampling, self._space = find_sampling(acquisition, space, self.parameters), space
            self.whitener.settle(acquisition)
        elif space == self._space:
            self._sampling.check(acquisition)
        facts = facts_of(acquisition)
        self.held.append(Held(acquisition if finite else None, facts, facts.scan_counter))
        if self._survey is None:
            self._survey = Survey(self.parameters, space.tr_ms, space.encoded_matrix[2])
        known = self._survey.add(facts)
        return self._full() or (known and self._sampling is not None)

    def _full(self) -> bool:
        most = MOST_HELD if self._survey is None else max(MOST_HELD, 4 * self._survey.look_all)
        if len(self.held) < most:
            return False
        if self._sampling is None:
            raise self._nothing()
        return True

    def conclude(self) -> Understanding:
        """Put together what the readouts so far say.

        Raises
        ------
        DataError
            If none of them can be used.
        """
        survey, space, sampling = self._survey, self._space, self._sampling
        if survey is None or space is None or sampling is None:
            raise self._nothing()
        framing, how = survey.framing()
        stack = find_stack(self.header, space, self.parameters)
        rule = angle_rule(self.parameters, embedded=sampling.embedded, spokes_per_frame=framing.spokes)
        return Understanding(
            encoding=space,
            sampling=sampling,
            rule=rule if self.side is None else replace(rule, text=self.side.text),
            framing=framing,
            how=how,
            interval_ms=survey.interval_ms(),
            n_groups=survey.n_groups(stacked=stack is not None),
            stride=survey.stride(),
            steps=survey.steps(),
            stack=stack,
            noise=self.whitener.text,
            dropped=dict(self.dropped),
        )

    def _nothing(self) -> DataError:
        if not self.dropped:
            return DataError("a scan without a single readout", "radial readouts", "look at the sender")
        came = ", ".join(f"{count} {name}" for name, count in self.dropped.items())
        return DataError(
            f"a scan without usable imaging readouts ({came})", "radial readouts", "look at the sender's data and flags"
        )


def understand(header: Any, readouts: Iterable[Any], parameters: BufferParameters | None = None) -> Understanding:
    """Say how a scan would be read, without reading it: takes no more readouts than that needs.

    Parameters
    ----------
    header : ismrmrd.xsd.ismrmrdHeader
    readouts
        The scan's acquisitions, in order.
    parameters
        Those of the buffer gadget; None for the defaults.

    Raises
    ------
    DataError
        If there is no imaging readout, or the scan is none that the buffer gadget can read.
    """
    opening = Opening(header, parameters or BufferParameters())
    for readout in readouts:
        if opening.take(readout):
            break
    return opening.conclude()


def too_short(n_spokes: int, framing: Framing, how: str) -> DataError:
    """The error for a scan that ends before its first frame is complete."""
    return DataError(
        f"a scan of {n_spokes} spokes",
        f"at least the {framing.spokes} spokes of one frame ({how})",
        "set buffer.spokes_per_frame to fewer, or acquire longer",
    )


def is_usable(acquisition: Any) -> bool:
    """Whether samples and trajectory are numbers that can be reckoned with: no NaN, nothing beyond :data:`LARGEST`."""
    data = acquisition.data
    # As real numbers this takes a third of the time; it is done for every readout of a scan.
    real = data.view(np.float32) if data.dtype == np.complex64 and data.flags.c_contiguous else data
    return _bounded(real) and (acquisition.trajectory_dimensions == 0 or _bounded(acquisition.traj))


def _bounded(values: np.ndarray) -> bool:
    # The extremes of an array with a NaN are NaN, which compares false.
    return values.size == 0 or bool(values.min() >= -LARGEST and values.max() <= LARGEST)
