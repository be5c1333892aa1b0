"""What a gadget is: a class made from (header, parameters) with one generator, ``process``.

The same object runs (a) as an external gadget of the real Gadgetron, (b) chained with the others in one process by our
server, (c) over a file with no socket at all.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar

from inr_core.parameters import parse

logger = logging.getLogger(__name__)


class Gadget(ABC):
    """One stage of a reconstruction.

    Class attributes
    ----------------
    name
        The prefix of its parameters in ``--set NAME.parameter=value``.
    parameter_type
        A frozen dataclass whose fields are declared with :func:`inr_core.parameters.parameter`.
    works_while_idle
        True when ``process`` uses the time in which no item is waiting: the chain then feeds it from a
        :class:`inr_gadgets.handoff.Handoff`, which has ``pending()``, filled by a thread of its own.
    """

    name: ClassVar[str]
    parameter_type: ClassVar[type]
    works_while_idle: ClassVar[bool] = False

    def __init__(self, header: Any, parameters: Any = None) -> None:
        """Make the gadget for one scan.

        Parameters
        ----------
        header : ismrmrd.xsd.ismrmrdHeader
            The scan's own header, as it came over the wire.
        parameters
            From :meth:`read_parameters`; None for the defaults.
        """
        self.header = header
        self.parameters = self.read_parameters({}) if parameters is None else parameters
        # The host replaces these two: where a line for the operator goes, and whether the scan is to be ended early.
        self.announce: Callable[[str], None] = logger.info
        self.stop = threading.Event()

    @classmethod
    def known_parameters(cls) -> tuple[str, ...]:
        """The names of all parameters that it may have."""
        return tuple(f.name for f in fields(cls.parameter_type))

    @classmethod
    def read_parameters(cls, values: Mapping[str, object]) -> Any:
        """Make its parameters from text or values by name.

        Raises
        ------
        ParameterError
            For a name that it does not have, or a bad value.
        """
        return parse(cls.parameter_type, values, cls.name)

    @classmethod
    def check_parameters(cls, values: Mapping[str, object]) -> None:
        """Check some of its parameters, when the others are not known yet.

        Raises
        ------
        ParameterError
            As :meth:`read_parameters`.
        """
        cls.read_parameters(values)

    def prepare(self, item: Any) -> None:  # noqa: B027 - most gadgets have nothing to do
        """Work ahead on an item that waits for its turn: called in another thread, if at all, as others are processed.

        Of gadgets with ``works_while_idle`` only. What it finds out it leaves on the item; an item that cannot be taken
        is left as it is, for :meth:`process` to say so.
        """

    @abstractmethod
    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        """Turn the stage's input into its output, until the input ends; items of other types are handed on as they are.

        An error of the input is raised by ``items`` after everything that came before it, so a generator that has work
        left for the end of the scan does it only on a normal end.
        """
