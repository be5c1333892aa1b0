"""The gadgets of one scan, made from a configuration and linked one after the other."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from inr_core.errors import ConfigError, ParameterError
from inr_core.parameters import plain_name
from inr_gadgets.gadget import Gadget
from inr_gadgets.handoff import Handoff

# What a configuration may call by name, and where it is; nothing else is ever imported on behalf of a client or a file.
GadgetTable = Mapping[str, tuple[str, str] | type[Gadget]]
GADGETS: GadgetTable = MappingProxyType(
    {
        "buffer": ("inr_gadgets.buffering.buffer", "BufferGadget"),
        "recon": ("inr_gadgets.reconstruction.recon", "ReconGadget"),
        "image": ("inr_gadgets.imaging.image", "ImageGadget"),
    }
)

_MOST_LISTED, _MOST_LIKE = 30, 8  # names of parameters in an error


def gadget_class(target: str, table: GadgetTable = GADGETS) -> type[Gadget]:
    """Return a gadget's class, importing its module only now.

    Raises
    ------
    ConfigError
        When the table has no such gadget.
    """
    entry = table.get(target)
    if entry is None:
        raise ConfigError(f"gadget '{target}'", f"one of {', '.join(table)}")
    if isinstance(entry, tuple):
        found: type[Gadget] = getattr(importlib.import_module(entry[0]), entry[1])
        return found
    return entry


@dataclass(frozen=True)
class GadgetConfig:
    """One gadget of a configuration: what it is called there and its properties, as text."""

    target: str
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChainConfig:
    """The gadgets of a configuration, in order."""

    gadgets: tuple[GadgetConfig, ...]
    table: GadgetTable = field(default_factory=lambda: GADGETS)
    name: str = "the configuration"

    def build(
        self, header: Any, overrides: Mapping[str, object] | None = None, flat: Mapping[str, object] | None = None
    ) -> Chain:
        """Make the gadgets for one scan.

        Parameters
        ----------
        header : ismrmrd.xsd.ismrmrdHeader
            The scan's.
        overrides
            ``{"recon.virtual_coils": "6"}``: from the command line; they win over the configuration's properties.
        flat
            The same, and names without the gadget, as vendor platforms send them; they win over both. See
            :func:`place_parameters`.

        Raises
        ------
        ParameterError
            For a name that no gadget has, a name that several have, or a bad value.
        """
        classes = {gadget.target: gadget_class(gadget.target, self.table) for gadget in self.gadgets}
        values = {gadget.target: dict[str, object](gadget.properties) for gadget in self.gadgets}
        for settings in (overrides or {}, flat or {}):
            for target, placed in place_parameters(settings, classes).items():
                values[target] = _merge(values[target], placed)
        made = []
        for target, kind in classes.items():
            made.append(kind(header, kind.read_parameters(values[target])))
        return Chain(made)


class Chain:
    """Gadgets linked so that each one's output is the next one's input."""

    def __init__(self, gadgets: Iterable[Gadget], depth: int = 32) -> None:
        """Link the gadgets; ``depth`` is how many items may wait before each that works while it waits."""
        self.gadgets = list(gadgets)
        self._depth = depth
        self._stop = threading.Event()
        for gadget in self.gadgets:
            gadget.stop = self._stop

    @property
    def announce(self) -> Callable[[str], None]:
        """Where the gadgets' lines for the operator go; it is called from several threads."""
        return self.gadgets[0].announce

    @announce.setter
    def announce(self, announce: Callable[[str], None]) -> None:
        for gadget in self.gadgets:
            gadget.announce = announce

    def stop(self) -> None:
        """Tell the gadgets to send what they have and end."""
        self._stop.set()

    def run(self, items: Iterable[Any], interrupt: Callable[[], None] | None = None) -> Generator[Any, None, None]:
        """Yield what comes out of the last gadget.

        Gadgets with ``works_while_idle`` are fed through a :class:`Handoff`; what stands before one runs in its thread.
        When the caller leaves early, or a gadget fails, the others are stopped and their threads have ended on return.

        Parameters
        ----------
        items
            The scan's readouts and waveforms.
        interrupt
            Makes ``items`` come back when it waits for input, and end.
        """
        handoffs: list[Handoff[Any]] = []
        stage: Any = items
        try:
            for gadget in self.gadgets:
                if gadget.works_while_idle:
                    waker = handoffs[-1].close if handoffs else interrupt
                    handoffs.append(
                        Handoff(
                            stage, self._depth, interrupt=waker, prepare=gadget.prepare, name=f"before {gadget.name}"
                        )
                    )
                    stage = gadget.process(handoffs[-1])
                else:
                    stage = _closing(gadget.process(stage), stage)
            yield from stage
        except BaseException:
            self.stop()
            raise
        finally:
            with contextlib.ExitStack() as closing:
                # Left in reverse: the last gadget first, then the threads; a thread closes what it iterates over.
                for handoff in handoffs:
                    closing.callback(handoff.close)
                closing.callback(_close, stage)


def _closing(results: Iterable[Any], source: Iterable[Any]) -> Iterator[Any]:
    """Hand a gadget's results on, and close its source at their end, in the thread that iterates.

    A gadget that fails does not: its error's traceback holds it and its source until garbage is collected, and with the
    source a scan's file that is not written to its end.
    """
    try:
        yield from results
    finally:
        _close(source)


def _close(source: Any) -> None:
    if hasattr(source, "close"):
        source.close()


def check_parameters(settings: Mapping[str, object], table: GadgetTable = GADGETS) -> None:
    """Check parameters before there is a scan, a header or a configuration.

    Raises
    ------
    ParameterError
        For a name that no gadget of the table has, or a bad value.
    """
    classes = {target: gadget_class(target, table) for target in table}
    for target, values in place_parameters(settings, classes).items():
        classes[target].check_parameters(values)


def place_parameters(
    settings: Mapping[str, object], classes: Mapping[str, type[Gadget]]
) -> dict[str, dict[str, object]]:
    """Find the gadget that each parameter belongs to.

    Parameters
    ----------
    settings
        By name: ``recon.virtual_coils``; or ``virtual_coils`` and ``reconvirtualcoils``, as the vendor platforms write
        them, which allow letters and digits only. Case and underscores do not matter.
    classes
        The gadgets' classes, by name.

    Returns
    -------
    Parameters by gadget.

    Raises
    ------
    ParameterError
        For a name that no gadget has, or several; it lists the good ones.
    """
    known = {(target, name): None for target, kind in classes.items() for name in kind.known_parameters()}
    placed: dict[str, dict[str, object]] = {target: {} for target in classes}
    for name, value in settings.items():
        if not isinstance(value, str | bool | int | float):
            raise ParameterError(f"parameter {name} = {value!r}", "text, a number, true or false")
        plain = plain_name(name)
        if "." in name:
            matches = [key for key in known if f"{plain_name(key[0])}.{plain_name(key[1])}" == plain]
        else:
            matches = [key for key in known if plain in (plain_name(key[1]), plain_name(key[0]) + plain_name(key[1]))]
        if len(matches) != 1:
            problem = "is of several gadgets" if matches else "is of no gadget here"
            good = _listed(plain, matches or list(known))
            raise ParameterError(f"parameter '{name}' {problem}", f"one of {good}", _meant(plain, known))
        target, parameter = matches[0]
        if parameter in placed[target]:
            raise ParameterError(f"parameter {target}.{parameter} is given twice", "once")
        placed[target][parameter] = value
    return placed


def _merge(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """Let new values win over old ones of the same name, however that is written."""
    names = {plain_name(name) for name in new}
    return {name: value for name, value in old.items() if plain_name(name) not in names} | dict(new)


def _listed(plain: str, known: list[tuple[str, str]]) -> str:
    """All names, or of many those that are most like a wrong one: a longer line would be cut before its advice."""
    names = {f"{target}.{plain_name(name)}": f"{target}.{name}" for target, name in known}
    if len(names) <= _MOST_LISTED:
        return ", ".join(names.values())
    near = [names[one] for one in difflib.get_close_matches(plain, names, n=_MOST_LIKE, cutoff=0.0)]
    return f"{', '.join(near)} and {len(names) - len(near)} others, which inr-recon methods lists"


def _meant(plain: str, known: Iterable[tuple[str, str]]) -> str:
    """The parameter that a wrong name is close to, as a question; empty if it is close to none."""
    names = {plain_name(key[1]): key for key in known}
    close = difflib.get_close_matches(plain.rpartition(".")[2], names, n=1)
    return f"did you mean {'.'.join(names[close[0]])}?" if close and close[0] != plain else ""
