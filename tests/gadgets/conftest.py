"""Fixtures of the stream's tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wire
from inr_gadgets.serving.server import Server
from piping import Pipes


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    a, b = socket.socketpair()
    with a, b:
        yield a, b


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with the small gadgets of ``wire``, and no thread left of it afterwards."""
    before = set(threading.enumerate())
    with Server(port=0, table=wire.TABLE, warm=None) as running:
        yield running
    assert wire.no_threads_left(before)


@pytest.fixture
def pipes() -> Iterator[Callable[..., Pipes]]:
    """Makes sessions between pipes, with the small gadgets of ``wire``; they are ended after the test."""
    made: list[Pipes] = []

    def make(*speak: Any, **settings: object) -> Pipes:
        made.append(Pipes(*speak, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
