"""Pieces of work on several cores: all are done, in order, each on one thread, and errors are not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from inr_core import lanes
from inr_core.lanes import beside, in_lanes, one_thread


@pytest.fixture
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two lanes, however many cores there are."""
    monkeypatch.setattr(lanes, "n_lanes", lambda: 2)
    lanes._pool.cache_clear()
    before = torch.get_num_threads()
    yield
    lanes._pool().shutdown()
    lanes._pool.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_lanes")
def test_results_come_in_order_and_from_threads_at_once() -> None:
    together = threading.Barrier(2, timeout=10)

    def piece(number: int) -> int:
        if number < 2:
            together.wait()  # passes only if two pieces run at the same time
        return number

    assert in_lanes([partial(piece, number) for number in range(5)]) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("two_lanes")
def test_a_lane_has_one_thread_and_the_caller_keeps_its_own() -> None:
    torch.set_num_threads(2)
    assert in_lanes([torch.get_num_threads] * 4) == [1] * 4
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize("grad", [True, False])
def test_gradients_are_followed_as_the_caller_does(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        assert in_lanes([torch.is_grad_enabled] * 3) == [grad] * 3


@pytest.mark.usefixtures("two_lanes")
def test_an_error_is_raised_when_all_have_ended() -> None:
    done = []

    def fails() -> None:
        raise ZeroDivisionError("of the first piece")

    with pytest.raises(ZeroDivisionError, match=r"^of the first piece$"):
        in_lanes([fails, lambda: done.append(1), lambda: done.append(2)])
    assert sorted(done) == [1, 2]


def test_one_lane_is_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "n_lanes", lambda: 1)
    assert in_lanes([threading.get_ident] * 2) == [threading.get_ident()] * 2


@pytest.mark.usefixtures("two_lanes")
def test_the_caller_does_what_nobody_else_has_time_for() -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        blocked.set()
        assert go_on.wait(10)

    lanes._pool().submit(busy)
    assert blocked.wait(10)
    threading.Timer(0.2, go_on.set).start()
    assert in_lanes([threading.get_ident] * 3) == [threading.get_ident()] * 3


@pytest.mark.usefixtures("two_lanes")
def test_own_operations_on_one_thread() -> None:
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert in_lanes([torch.get_num_threads] * 3) == [1] * 3
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_lanes")
def test_a_thread_that_begins_beside_one_that_has_a_single_thread_gets_all_of_them_back() -> None:
    seen = []

    def beside() -> None:
        with one_thread():
            pass
        seen.append(torch.get_num_threads())

    with one_thread():
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    assert seen == [2]


def test_work_beside_has_one_thread_no_gradients_and_a_turn() -> None:
    seen = []

    def work(number: int) -> int:
        seen.append((number, torch.get_num_threads(), torch.is_grad_enabled(), threading.current_thread()))
        return 2 * number

    assert [future.result() for future in [beside(partial(work, number)) for number in range(3)]] == [0, 2, 4]
    assert [(number, threads, grad) for number, threads, grad, _ in seen] == [(n, 1, False) for n in range(3)]
    assert {thread for *_, thread in seen} != {threading.current_thread()}
    assert len({thread for *_, thread in seen}) == 1


def test_an_error_of_work_beside_waits_for_who_asks() -> None:
    failed = beside(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result()


@pytest.mark.usefixtures("two_lanes")
def test_a_lane_that_is_busy_elsewhere_is_not_waited_for() -> None:
    free = threading.Event()
    busy = lanes._pool().submit(free.wait, 10)
    assert in_lanes([lambda: 1, lambda: 2]) == [1, 2]
    assert not busy.done()
    free.set()
    assert busy.result()
