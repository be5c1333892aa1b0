"""Pieces of work on several cores: all are done, in order, each on one thread, and errors are not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from inr_core import lanes
from inr_core.lanes import in_lanes, leave_a_core, n_lanes


@pytest.fixture
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two lanes, however many cores there are."""
    monkeypatch.setattr(lanes, "_cores", lambda: 2)
    lanes._pool.cache_clear()
    yield
    lanes._pool().shutdown()
    lanes._pool.cache_clear()


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
    before = torch.get_num_threads()
    assert in_lanes([torch.get_num_threads] * 4) == [1] * 4
    assert torch.get_num_threads() == before


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
    monkeypatch.setattr(lanes, "_cores", lambda: 1)
    assert in_lanes([threading.get_ident] * 2) == [threading.get_ident()] * 2


@pytest.mark.usefixtures("two_lanes")
def test_a_core_is_left_while_a_scan_runs() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), leave_a_core():
        assert n_lanes() == torch.get_num_threads() == 1
        assert in_lanes([threading.get_ident] * 2) == [threading.get_ident()] * 2
        with leave_a_core():
            assert n_lanes() == 1
        assert n_lanes() == 1
        raise KeyError
    assert n_lanes() == 2
    assert torch.get_num_threads() == before
