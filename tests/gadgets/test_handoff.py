from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import pytest

import wire
from inr_gadgets.handoff import Handoff


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert wire.no_threads_left(before)


def until(condition) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_everything_in_order() -> None:
    assert list(Handoff(range(100), 3)) == list(range(100))


def test_an_error_comes_after_what_was_produced_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield from (1, 2, 3)
        raise KeyError("four")

    handoff = Handoff(numbers())
    until(lambda: handoff._ended)
    got = []
    with pytest.raises(KeyError, match="four"):
        for number in handoff:
            got.append(number)  # noqa: PERF402 - the numbers before the error count
    assert got == [1, 2, 3]
    assert list(handoff) == []  # raised once


def test_one_waits_for_the_next_item_as_long_as_asked() -> None:
    go_on, ends = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        go_on.wait(5)
        yield 1
        ends.wait(5)

    handoff = Handoff(numbers())
    assert not handoff.wait(0.0)
    assert not handoff.wait(-1.0)
    assert not handoff.wait(0.02)
    go_on.set()
    assert handoff.wait(math.inf)
    assert next(handoff) == 1
    assert not handoff.wait(0.02)
    ends.set()
    assert handoff.wait(5.0)  # the end is something, too
    assert list(handoff) == []


def test_items_are_prepared_in_the_producers_thread_before_they_are_seen() -> None:
    prepared, threads = list[int](), set[threading.Thread]()

    def prepare(number: int) -> None:
        prepared.append(number)
        threads.add(threading.current_thread())

    handoff = Handoff(range(20), 8, prepare=prepare)
    until(lambda: len(handoff._items) == 8)
    assert set(range(8)) <= set(prepared)
    assert threading.current_thread() not in threads
    assert list(handoff) == prepared == list(range(20))


def test_an_error_of_the_preparation_is_an_error_of_the_input() -> None:
    def prepare(number: int) -> None:
        if number == 2:
            raise KeyError("two")

    handoff = Handoff(range(5), 8, prepare=prepare)
    until(lambda: handoff._ended)
    assert [next(handoff), next(handoff)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(handoff)


def test_it_is_bounded() -> None:
    produced = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            produced.append(number)
            yield number

    handoff = Handoff(numbers(), 4)
    until(lambda: len(produced) == 5)  # four wait and one is held
    time.sleep(0.05)
    assert len(produced) == 5
    assert next(handoff) == 0
    until(lambda: len(produced) == 6)
    assert list(handoff) == list(range(1, 50))


def test_pending_tells_an_item_the_end_and_an_error() -> None:
    go = threading.Event()

    def numbers(fail: bool) -> Iterator[int]:
        go.wait(5)
        yield 1
        if fail:
            raise ValueError

    for fail in (False, True):
        go.clear()
        handoff = Handoff(numbers(fail))
        assert not handoff.pending()
        go.set()
        until(handoff.pending)
        assert next(handoff) == 1
        until(handoff.pending)
        with pytest.raises(ValueError if fail else StopIteration):
            next(handoff)


def test_close_stops_a_producer_that_has_no_room() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    handoff = Handoff(numbers(), 2)
    assert next(handoff) == 0
    handoff.close()
    assert closed.is_set()
    assert list(handoff) == []
    assert handoff.pending()
    handoff.close()


def test_close_interrupts_a_producer_that_waits() -> None:
    woken = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        woken.wait(10)

    handoff = Handoff(numbers(), interrupt=woken.set)
    assert next(handoff) == 1
    handoff.close()
    assert woken.is_set()


def test_close_frees_a_consumer_in_another_thread() -> None:
    woken = threading.Event()
    handoff = Handoff(iter(lambda: woken.wait(10), True), interrupt=woken.set)
    taken: list[list[bool]] = []
    consumer = threading.Thread(target=lambda: taken.append(list(handoff)))
    consumer.start()
    handoff.close()
    consumer.join(5)
    assert taken == [[]]


def test_depth_is_checked() -> None:
    with pytest.raises(ValueError, match="depth = 0, expected at least 1"):
        Handoff([], 0)
