"""Mutated scans against a real server: each ends, in one line at most, and the server is as it was.

`benchmarks/fuzz.py` does the same with thousands of them, and with bytes for the decoders guided by coverage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from inr_gadgets.chain import GADGETS
from inr_gadgets.serving.server import Server
from programs import program
from wire import Mean

fuzz, mutations = program("fuzz"), program("mutations")
Mutation = mutations.Mutation
GOOD = mutations.recording()


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    # A line a readout, thousands of times, is most of the time otherwise.
    logging.getLogger("inr_gadgets").setLevel(logging.CRITICAL)
    with Server(port=0, table=GADGETS | {"recon": Mean}, warm=None) as running, fuzz.InProcess(running) as found:
        yield found
    logging.getLogger("inr_gadgets").setLevel(logging.NOTSET)


def test_the_recorded_stream_is_a_good_one(host: Any) -> None:
    ending = fuzz.exchange(host, b"".join(GOOD))
    assert (ending.error, ending.images, ending.fault) == ("", 3, "")


def test_mutated_streams(host: Any) -> None:
    """A few hundred; generous in time, as the machine may have other work."""
    fuzz.exchange(host, b"".join(GOOD))
    time.sleep(0.2)
    before, tally = host.held(), fuzz.Tally()
    fuzz.fuzz_streams(host, 300, 7, tally, 5.0)
    assert len(tally.endings) >= 300
    assert 60 < sum(bool(ending.error) for ending in tally.endings) < 290
    assert fuzz.exchange(host, b"".join(GOOD)).images == 3
    deadline = time.monotonic() + 5
    while host.held() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host.held() == before
    assert tally.growth < 0.1


def text_of(words: str) -> bytes:
    return mutations.Text(words).pack()


def header_with(old: str, new: str) -> bytes:
    xml = GOOD[1][6:].decode()
    assert old in xml
    return mutations.Header(xml.replace(old, new, 1)).pack()


def overwritten(at: int, raw: bytes) -> list[bytes]:
    """The stream with other bytes somewhere."""
    whole = b"".join(GOOD)
    return [whole[:at], raw, whole[at + len(raw) :]]


# What the fuzzing found, each of which was an internal error or worse.
FOUND = {
    "a number of 400 digits in the field of view": [GOOD[0], header_with("600.0", "9" * 400), *GOOD[2:]],
    "a repetition time of 400 digits": [GOOD[0], header_with("<TR>3.0", "<TR>" + "9" * 400), *GOOD[2:]],
    "limits that are no numbers": [
        GOOD[0],
        header_with("<z>1<", "<z>4<").replace(b"<maximum>0<", b"<maximum>x<"),
        *GOOD[2:],
    ],
    "a configuration's name that is longer than a file's": [
        *GOOD[:2],
        text_of('{"parameters": {"config": "' + "x" * 5000 + '"}}'),
        *GOOD[3:],
    ],
    "noise of a dwell time that is not finite": mutations.Mutation("field", 1, 30329, 100).apply(GOOD),
    "a frame whose first trajectory lies elsewhere": overwritten(14839, b"#" + bytes(7)),
    "samples that are the next readout's header": mutations.Mutation("cut message", 31, 1119, 0).apply(GOOD),
}


@pytest.mark.parametrize("stream", FOUND.values(), ids=FOUND)
def test_what_was_found(host: Any, stream: list[bytes]) -> None:
    assert fuzz.exchange(host, b"".join(stream)).fault == ""


@pytest.mark.parametrize("kind", sorted(mutations.KINDS))
def test_every_kind_of_mutation_changes_the_stream(kind: str) -> None:
    changed = {mutations.mutated(GOOD, [Mutation(kind, 5, where, where * 7)]) for where in range(40)}
    assert len(changed - {b"".join(GOOD)}) > 2


def test_a_fault_is_found(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle that cannot fail is none."""
    assert threading.active_count() >= 2

    def broken(self: Mean, items: Iterable[Any]) -> Iterator[Any]:
        yield from ()
        raise ZeroDivisionError("nought")

    monkeypatch.setattr(Mean, "process", broken)
    assert "internal error: ZeroDivisionError" in fuzz.exchange(host, b"".join(GOOD)).fault
    with pytest.raises(AssertionError, match="internal error: ZeroDivisionError"):
        fuzz.fuzz_streams(host, 20, 1, fuzz.Tally(), 5.0)
