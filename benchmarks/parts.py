"""Where the time of a computation goes, function by function, and what each must at least cost."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from costs import Cost


@dataclass(frozen=True)
class Watched:
    """A method of a class whose time is a part's.

    Attributes
    ----------
    part
        Name of the part; several methods may share one.
    owner, name
        The class and its method.
    cost
        The call's arguments (without the class of a class method) -> what it costs.
    """

    part: str
    owner: type
    name: str
    cost: Callable[..., Cost]


@dataclass
class Spent:
    """What a part took."""

    seconds: float = 0.0
    calls: int = 0
    cost: Cost = field(default_factory=Cost)


class Parts:
    """While it is entered, measures the watched methods; time within another watched method is the other's alone.

    Attributes
    ----------
    spent
        By part.
    """

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched, self._originals = watched, list[Any]()
        self._inner: list[float] = []  # of each call that is running, the time that was others'
        self.spent: dict[str, Spent] = defaultdict(Spent)

    def __enter__(self) -> Parts:
        self._originals = [one.owner.__dict__[one.name] for one in self._watched]
        for one, original in zip(self._watched, self._originals, strict=True):
            if isinstance(original, classmethod):
                setattr(one.owner, one.name, classmethod(self._timed(one, original.__func__, skip=1)))
            else:
                setattr(one.owner, one.name, self._timed(one, original, skip=0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, original in zip(self._watched, self._originals, strict=True):
            setattr(one.owner, one.name, original)

    def _timed(self, one: Watched, function: Callable[..., Any], skip: int) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            called, spent = time.perf_counter(), self.spent[one.part]
            spent.calls += 1
            spent.cost = spent.cost + one.cost(*args[skip:], **named)
            self._inner.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                ended = time.perf_counter()
                spent.seconds += ended - begin - self._inner.pop()
                if self._inner:
                    self._inner[-1] += ended - called

        return timed
