"""What throughput.py and fuzz.py make of what they measured."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

from inr_core.errors import MissingDependencyError
from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.header import parse_header
from programs import program

throughput, fuzz = program("throughput"), program("fuzz")


def test_the_scan_has_all_that_costs_time() -> None:
    scan = throughput.make_scan(4)
    gadget = BufferGadget(parse_header(throughput._HEADER))
    lines: list[str] = []
    gadget.announce = lines.append
    frames = list(gadget.process(scan))
    assert [frame.kspace.shape for frame in frames] == [(32, 13, 256)] * 4
    assert "coils whitened from 8 noise readouts" in lines[0]


def test_figures_of_a_few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_REPEATS", 1)
    scan = throughput.make_scan(2)
    figures = {figure.what: figure for figure in [*throughput.wire_figures(scan), *throughput.gadget_figures(scan)]}
    assert all(figure.value is not None and figure.value > 0 for figure in figures.values())
    rate, cost = (
        figures[what].value
        for what in ("buffer and image gadgets, readouts a CPU second", "the same, CPU ms a readout")
    )
    assert rate * cost == pytest.approx(1000)


def test_bytes_pass_through_a_feed() -> None:
    feed = throughput.Feed(lambda sock: sock.sendall(bytes(3_000_000)))
    assert sum(len(piece) for piece in iter(lambda: feed.ours.recv(1 << 16), b"")) == 3_000_000
    feed.close()
    feed = throughput.Feed(throughput.take_all)
    feed.ours.sendall(bytes(3_000_000))
    feed.ours.shutdown(socket.SHUT_WR)
    feed.close()


def test_cpu_time_is_the_median_of_this_thread_s() -> None:
    work = iter([0, 400, 0, 0, 400])
    assert throughput.cpu_s(lambda: [np.linalg.svd(np.eye(40)) for _ in range(next(work))] and None) < 0.05


def ending(cpu_s: float = 0.1, error: str = "", images: int = 0) -> object:
    return fuzz.Ending(error, images, "", 2 * cpu_s, cpu_s)


def test_figures_of_all_runs_of_the_fuzzing() -> None:
    mib = 1 << 20
    tally = fuzz.Tally(
        [ending(0.2, "ERROR: x"), ending(1.5, images=3)], [100 * mib, 90 * mib, 95 * mib, 80 * mib, 107 * mib]
    )
    run = tally.described() | {"seed": 1, "threads": 0, "descriptors": 2, "good_scan_afterwards": True}
    decoded = {"executions": 9_999, "crashed": True, "slowest_unit_s": 0, "peak_mib": 100, "edges": 7}
    figures = {
        figure.what: figure for figure in fuzz.figures_of([run, run | {"good_scan_afterwards": False}], [decoded])
    }
    assert figures["mutated streams"].value == 4
    assert figures["of these refused with one line"].value == figures["of these with images"].value == 2
    assert (figures["slowest end of a stream, CPU s"].value, figures["the same, s"].value) == (1.5, 3.0)
    assert not figures["slowest end of a stream, CPU s"].reached
    assert figures["growth of memory from a run's first fifth to its last, %"].value == pytest.approx(7.0)
    for what in ("descriptors left over", "runs without a good scan afterwards", "runs that crashed"):
        assert not figures[what].reached
    assert figures["threads left over"].reached
    assert not figures["inputs of the decoders, guided by coverage"].reached
    assert fuzz.figures_of([], []) == []


def test_without_atheris_it_says_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"atheris is not installed; .*; pip install 'inr-recon\[fuzz\]'"):
        fuzz.run_bytes(10)
    assert "atheris" not in sys.modules
