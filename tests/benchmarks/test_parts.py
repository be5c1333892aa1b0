"""Time by function: each second belongs to one part."""

from __future__ import annotations

import pytest

from programs import program

parts, costs = program("parts"), program("costs")


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


class Inner:
    def work(self, seconds: float) -> float:
        CLOCK.now += seconds
        return seconds


class Outer:
    @classmethod
    def make(cls, seconds: float) -> Outer:
        CLOCK.now += seconds
        return cls()

    def work(self, inner: Inner) -> float:
        CLOCK.now += 1
        return inner.work(2) + inner.work(4)

    def fail(self) -> None:
        CLOCK.now += 3
        raise ValueError("on purpose")


WATCHED = (
    parts.Watched("inner", Inner, "work", lambda self, seconds: costs.Cost(bytes=seconds)),
    parts.Watched("outer", Outer, "work", lambda self, inner: costs.Cost(fft=1)),
    parts.Watched("outer", Outer, "fail", lambda self: costs.Cost()),
    parts.Watched("made", Outer, "make", lambda seconds: costs.Cost(product=seconds)),
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "time", CLOCK)


def test_each_part_has_its_own_time() -> None:
    with parts.Parts(WATCHED) as watched:
        assert Outer.make(5).work(Inner()) == 6
        Inner().work(10)
    spent = watched.spent
    assert {name: (one.seconds, one.calls) for name, one in spent.items()} == {
        "made": (5, 1),
        "outer": (1, 1),
        "inner": (16, 3),
    }
    assert spent["inner"].cost == costs.Cost(bytes=16)
    assert spent["outer"].cost == costs.Cost(fft=1)
    assert spent["made"].cost == costs.Cost(product=5)


def test_afterwards_all_is_as_before() -> None:
    before = [one.owner.__dict__[one.name] for one in WATCHED]
    with pytest.raises(ValueError, match="on purpose"), parts.Parts(WATCHED) as watched:
        Outer().fail()
    assert watched.spent["outer"].seconds == 3
    assert [one.owner.__dict__[one.name] for one in WATCHED] == before
