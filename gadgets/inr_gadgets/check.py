"""How a scan would be understood, and what would run: everything is looked at and nothing is run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inr_core.errors import InrError
from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.chain import GADGETS, Chain, GadgetTable
from inr_gadgets.conventions.readouts import Group, group_of, kind
from inr_gadgets.conventions.side_file import side_trajectory
from inr_gadgets.conventions.understanding import Understanding, too_short, understand
from inr_gadgets.header import parse_header
from inr_gadgets.reference import shown
from inr_gadgets.replay import read_chain
from inr_gadgets.stream_file import open_scan


@dataclass
class CheckResult:
    """What ``check`` has to say.

    Attributes
    ----------
    lines
        For the user, in order.
    problems
        What keeps the scan from being reconstructed; they are among the lines.
    """

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def can_run(self) -> bool:
        """Whether nothing was found that would stop it."""
        return not self.problems

    def refuse(self, error: InrError) -> None:
        """Note a problem, once."""
        if str(error) in self.problems:
            return  # the chain and the readouts may stumble over the same thing
        self.problems.append(str(error))
        self.lines.append(f"would fail: {error}")


def check_scan(
    path: Path, config: str | Path, settings: Mapping[str, str], table: GadgetTable = GADGETS
) -> CheckResult:
    """Look at a scan as the chain of a configuration would.

    Parameters
    ----------
    path
        The scan.
    config
        Name of a configuration, or the path of a file (:func:`inr_gadgets.wire.client.is_path` tells which).
    settings
        Parameters set over those of the configuration.
    table
        The gadgets that a configuration may name.

    Raises
    ------
    DataError
        When the file cannot be opened as a scan at all; everything else that is wrong is part of the result.
    """
    result = CheckResult()
    with open_scan(path) as scan:
        result.lines.append(f"{path}: {scan.n_acquisitions} readouts, {scan.n_waveforms} waveforms")
        try:
            header = parse_header(scan.header_xml)
        except InrError as error:
            result.refuse(error)
            return result
        chain = _look_at_chain(result, config, header, settings, table)
        parameters = _buffer_parameters(chain)
        understanding = _look_at_readouts(result, header, scan.acquisitions(), parameters)
        if understanding is not None and understanding.stack is not None:
            _look_at_stack(result, header, scan.acquisitions(), parameters)
        if understanding is not None and parameters is not None and parameters.trajectory_file:
            _look_at_side_file(result, scan.acquisitions(), parameters)
    if chain is not None:
        result.lines += [line for gadget in chain.gadgets for line in _parameter_lines(gadget)]
    return result


def _look_at_chain(
    result: CheckResult, config: str | Path, header: Any, settings: Mapping[str, str], table: GadgetTable
) -> Chain | None:
    try:
        chain_config = read_chain(config, table)
        chain = chain_config.build(header, settings)
    except InrError as error:
        result.refuse(error)
        return None
    result.lines.append(f"runs {chain_config.name}: {' -> '.join(gadget.name for gadget in chain.gadgets)}")
    return chain


def _look_at_readouts(
    result: CheckResult, header: Any, readouts: Iterable[Any], parameters: Any
) -> Understanding | None:
    counted = _Counted(readouts)
    try:
        understanding = understand(header, counted, parameters)
        result.lines.append(f"understood as: {understanding.sentence}")
        _look_at_length(understanding, counted)
    except InrError as error:
        result.refuse(error)
        return None
    return understanding


def _look_at_stack(result: CheckResult, header: Any, readouts: Iterable[Any], parameters: Any) -> None:
    """Gather the partitions up to the first frame: whether they fit together is not seen from counters alone."""
    gadget = BufferGadget(header, parameters)
    gadget.announce = lambda line: None  # what it has to say has been said
    try:
        next(iter(gadget.process(readouts)), None)
    except InrError as error:
        result.refuse(error)


def _look_at_side_file(result: CheckResult, readouts: Iterable[Any], parameters: Any) -> None:
    """Give each readout its spoke: whether there are enough is not seen from the first ones."""
    side = side_trajectory(parameters)
    if side is None:
        return
    number = 0
    try:
        for readout in readouts:
            if kind(readout.flags) == "imaging":
                side.attach(readout, number)
                number += 1
    except InrError as error:
        result.refuse(error)
    else:
        result.lines += filter(None, [side.unused(number)])


def _look_at_length(understanding: Understanding, counted: _Counted) -> None:
    """Read on until there is enough for a frame of some group; a longer scan is not read to its end."""
    needed = understanding.framing.spokes
    for _ in counted:
        if counted.longest >= needed:
            return
    if counted.longest < needed:
        raise too_short(counted.spokes.total(), understanding.framing, understanding.how)


class _Counted:
    """Readouts, handed on one by one; how many of each group were imaging."""

    def __init__(self, readouts: Iterable[Any]) -> None:
        self._readouts = iter(readouts)
        self.spokes: Counter[Group] = Counter()

    @property
    def longest(self) -> int:
        """Spokes of the group that has most."""
        return max(self.spokes.values(), default=0)

    def __iter__(self) -> Iterator[Any]:
        for readout in self._readouts:
            if kind(readout.flags) == "imaging":
                self.spokes[group_of(readout)] += 1
            yield readout


def _buffer_parameters(chain: Chain | None) -> Any:
    return next((g.parameters for g in chain.gadgets if g.name == "buffer"), None) if chain is not None else None


def _parameter_lines(gadget: Any) -> Iterator[str]:
    """One line per parameter, marked where it is not the default."""
    for item in dataclasses.fields(gadget.parameters):
        value = getattr(gadget.parameters, item.name)
        mark = "" if value == item.default else f"  (set; default {shown(item.default)})"
        yield f"  {gadget.name}.{item.name} = {shown(value)}{mark}"
