"""Heart and breath of a simulated scan, on the images of every series: by their waveforms, whatever the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.clock import DAY_TICKS
from inr_gadgets.header import parse_header
from inr_gadgets.image_file import read_series
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.messages import Close
from inr_gadgets.wire.wire_format import serialise

FRAMES, SPOKES, TR_MS, BEAT_MS, BREATH_MS = 14, 5, 8.0, 180.0, 400.0
TICK_MS = 2.5
SETTINGS = {"method": "inr", "device": "cpu", "deterministic": "true", "refine_passes": "2"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("physiology") / "scan.h5"
    times = {"tr_ms": TR_MS, "period_ms": BEAT_MS, "respiration_ms": BREATH_MS}
    return simulate(path, matrix=24, frames=FRAMES, spokes=SPOKES, coils=3, ecg=True, **times).scan


def rewritten(scan: Path, name: str, change: Callable[[list[Any]], list[Any]]) -> Path:
    """The scan with its items changed, which are in the order in which they are sent."""
    path = scan.with_name(name)
    path.unlink(missing_ok=True)
    with ScanFile(scan) as opened, ScanWriter(path, opened.header_xml) as writer:
        for item in change(list(opened)):
            writer.append(item)
    return path


def replayed(scan: Path, series: int = 1, method: str = "nufft", **how: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    settings = {"recon.method": method, "recon.device": "cpu", "recon.deterministic": "true"}
    output = scan.with_suffix(".images.h5")
    output.unlink(missing_ok=True)
    with ScanFile(scan) as opened:
        settings |= how.pop("settings", {})
        replay_to_file(Replay(settings=settings, **how), opened, output, on_text=lambda line: None)
    _, headers, meta = read_series(output, series)
    return headers, meta


def assert_physiology(meta: list[dict[str, Any]], steps: int = 1) -> None:
    """Each image tells the time since the last R wave, the phase, the breath's level and the ECG of its own time."""
    for number, attributes in enumerate(meta):
        at_ms = (number / steps * SPOKES + SPOKES // 2) * TR_MS
        off = (float(attributes["inr_trigger_ms"]) - at_ms % BEAT_MS + BEAT_MS / 2) % BEAT_MS - BEAT_MS / 2
        assert abs(off) <= TICK_MS
        if at_ms > BEAT_MS:  # of the first beat nothing tells its length before it has ended
            assert float(attributes["inr_rr_ms"]) == BEAT_MS
            assert float(attributes["inr_cardiac_phase"]) == pytest.approx(
                float(attributes["inr_trigger_ms"]) / BEAT_MS, abs=1e-4
            )
        begin = number / steps * SPOKES * TR_MS
        inside = np.arange(0, 2000, 20.0)
        inside = inside[(inside >= begin - TICK_MS) & (inside < begin + SPOKES * TR_MS + TICK_MS)]
        levels = 2048 - 1000 * np.cos(2 * np.pi * inside / BREATH_MS)
        assert levels.min() - 1 <= float(attributes["inr_respiration"]) <= levels.max() + 1
        assert len(attributes["inr_ecg"]) in (SPOKES * TR_MS // TICK_MS, SPOKES * TR_MS // TICK_MS + 1)
        assert abs(float(attributes["FrameAcquisitionDuration"]) - SPOKES * TR_MS) < 1e-3
        assert abs(float(attributes["TemporalResolution"]) - SPOKES * TR_MS / steps) < 1e-3


def test_on_live_images(scan: Path) -> None:
    headers, meta = replayed(scan)
    assert len(meta) == FRAMES
    assert_physiology(meta)
    # An R wave is the only place at which the ECG is so far from its rest.
    shown = np.concatenate([np.array(attributes["inr_ecg"], float) for attributes in meta])
    assert shown.max() > 3300
    for header, attributes in zip(headers, meta, strict=True):
        assert float(attributes["TriggerTime"]) == header.physiology_time_stamp[0] * TICK_MS
    middle = [(number * SPOKES + SPOKES // 2) * TR_MS for number in range(FRAMES)]
    assert [header.acquisition_time_stamp for header in headers] == [round(ms / TICK_MS) for ms in middle]


def test_on_images_of_the_refined_and_the_delayed_series(scan: Path) -> None:
    settings = {"recon.refine_passes": "2", "recon.delay_frames": "2"}
    _, refined = replayed(scan, 2, "inr", settings=settings)
    _, _, delayed = read_series(scan.with_suffix(".images.h5"), 4)
    for meta in (refined, delayed):
        assert len(meta) == FRAMES
        assert_physiology(meta)


def test_between_frames_it_is_that_of_their_time(scan: Path) -> None:
    settings = {"recon.refine_passes": "2", "recon.frame_scale": "2"}
    headers, meta = replayed(scan, 2, "inr", settings=settings)
    assert len(meta) == 2 * FRAMES - 1
    assert_physiology(meta, steps=2)
    for header, attributes in zip(headers, meta, strict=True):
        moment = round(header.acquisition_time_stamp * TICK_MS % BEAT_MS, 3)
        stamped = header.physiology_time_stamp[0] * TICK_MS
        assert abs((stamped - moment + BEAT_MS / 2) % BEAT_MS - BEAT_MS / 2) <= 2 * TICK_MS
        assert float(attributes["TriggerTime"]) == stamped


def test_over_the_wire(scan: Path) -> None:
    with Server(port=0, warm=None) as server:
        _, meta = replayed(scan, address="127.0.0.1", port=server.port, settings={"recon.refine": "false"})
    assert_physiology(meta)


def test_over_midnight(scan: Path) -> None:
    """Frame 5 begins before midnight and ends after it."""

    def later(items: list[Any]) -> list[Any]:
        shift = DAY_TICKS - round(5.5 * SPOKES * TR_MS / TICK_MS)
        for item in items:
            kind = "time_stamp" if isinstance(item, ismrmrd.Waveform) else "acquisition_time_stamp"
            setattr(item, kind, (getattr(item, kind) + shift) % DAY_TICKS)
        return items

    headers, meta = replayed(rewritten(scan, "midnight.h5", later))
    assert headers[4].acquisition_time_stamp > headers[6].acquisition_time_stamp
    assert_physiology(meta)


def test_blocks_that_come_after_their_readouts_reach_the_refined_series(scan: Path) -> None:
    """Where a host sends all waveforms at the end; the frames cross a wire, as between Gadgetron's gadgets."""
    with ScanFile(scan) as opened:
        header = parse_header(opened.header_xml)
        items = [*opened.acquisitions(), *opened.waveforms()]
    buffer, recon = BufferGadget(header), ReconGadget(header, ReconGadget.read_parameters(SETTINGS))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=_send, args=(ours, buffer.process(items)))
        sender.start()
        images = [item for item in recon.process(Connection(theirs)) if isinstance(item, ismrmrd.Image)]
        sender.join()
    series = {number: [i.meta for i in images if i.image_series_index == number] for number in (1, 2)}
    assert len(series[1]) == len(series[2]) == FRAMES
    assert not any("inr_ecg" in attributes for attributes in series[1])
    assert_physiology(series[2])


def _send(sock: socket.socket, items: Iterator[Any]) -> None:
    for item in items:
        sock.sendall(serialise(item))
    sock.sendall(Close().pack())


def test_without_waveforms_the_readouts_stamps_tell_the_trigger_time(scan: Path) -> None:
    def bare(items: list[Any]) -> list[Any]:
        return [item for item in items if isinstance(item, ismrmrd.Acquisition)]

    headers, meta = replayed(rewritten(scan, "bare.h5", bare))
    for header, attributes in zip(headers, meta, strict=True):
        assert float(attributes["TriggerTime"]) == header.physiology_time_stamp[0] * TICK_MS
        assert not {"inr_ecg", "inr_rr_ms", "inr_respiration", "inr_trigger_ms"} & set(attributes)


def test_waveforms_without_a_clock_cost_no_image(scan: Path) -> None:
    def unstamped(items: list[Any]) -> list[Any]:
        for item in items:
            if isinstance(item, ismrmrd.Waveform):
                item.time_stamp = 0
            else:
                item.acquisition_time_stamp += 10_000_000
        return items

    _, meta = replayed(rewritten(scan, "unstamped.h5", unstamped))
    assert len(meta) == FRAMES
    assert not any("inr_ecg" in attributes for attributes in meta)
