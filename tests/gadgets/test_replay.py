"""A scan replayed in this process and over TCP: the same images, kept as they come, whatever fails later."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import ConfigError, DataError, ParameterError
from inr_core.parameters import parameter
from inr_gadgets.gadget import Gadget
from inr_gadgets.image_file import list_series, read_header_xml, read_series
from inr_gadgets.reconstruction import warming
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from inr_gadgets.wire.client import ServerError
from scans import smallest_header

HEADER = smallest_header(tr_ms=2)

CONFIG = """<configuration><version>2</version><stream><external>
<execute name="inr_gadgets.external" target="recon" type="python"/></external></stream></configuration>"""


@dataclass(frozen=True)
class EchoParameters:
    fail_at: int = parameter(-1, "readout at which it fails")
    gain: float = parameter(1.0, "factor")
    refine: bool = parameter(True, "one image more at the end")


class EchoGadget(Gadget):
    """One image per readout, and one refined at the end."""

    name = "recon"
    parameter_type = EchoParameters
    works_while_idle = True

    def process(self, items: Iterable[Any]) -> Iterator[Any]:
        self.announce("echoing")
        n = 0
        for item in items:
            if not isinstance(item, ismrmrd.Acquisition):
                yield item
                continue
            if n == self.parameters.fail_at:
                raise DataError(f"readout {n}", "another")
            latency = 1e3 * (time.monotonic() - item.arrived)
            meta = {"inr_frame": n, "inr_latency_ms": latency, "inr_steps": 0, "inr_device": "cpu"}
            yield self.image(item.data, 1, n, meta)
            n += 1
        if n and self.parameters.refine:
            yield self.image(item.data, 2, 0, {"inr_frame": 0, "inr_refine_s": 0.25})

    def image(self, data: np.ndarray, series: int, n: int, meta: dict[str, Any]) -> ismrmrd.Image:
        pixels = np.full((8, 8), self.parameters.gain * np.abs(data).max(), np.float32)
        made = ismrmrd.Image.from_array(pixels, transpose=False)
        made.image_series_index, made.image_index = series, n + 1
        made.meta = ismrmrd.Meta({name: str(value) for name, value in meta.items()})
        return made


TABLE = {"recon": EchoGadget}


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[ScanFile]:
    path = tmp_path / "scan.h5"
    with ScanWriter(path, HEADER) as writer:
        for i in range(6):
            readout = ismrmrd.Acquisition.from_array(np.full((2, 16), i + 1, np.complex64))
            readout.acquisition_time_stamp = i
            writer.append(readout)
        writer.append(ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32)))
    with ScanFile(path) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "echo.xml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def port() -> Iterator[int]:
    with Server(port=0, table=TABLE, warm=None) as server:
        yield server.port


def said(lines: list[str]) -> list[str]:
    return [line for line in lines if "echoing" in line]


def test_both_roads_give_the_same_images_and_the_same_report(
    scan: ScanFile, config: Path, port: int, tmp_path: Path
) -> None:
    reports, lines = [], []
    for how in (
        Replay(config=config, settings={"recon.gain": "3"}, table=TABLE),
        Replay(config=config, settings={"recon.gain": "3"}, address="127.0.0.1", port=port),
    ):
        report = replay_to_file(how, scan, tmp_path / "out.h5", group=f"{how.address}", on_text=lines.append)
        reports.append(report.as_dict())
    here, there = (read_series(tmp_path / "out.h5", 1, group) for group in ("None", "127.0.0.1"))
    np.testing.assert_array_equal(here[0], there[0])
    assert here[0][:, 0, 0, 0, 0].tolist() == [3, 6, 9, 12, 15, 18]
    assert list_series(tmp_path / "out.h5") == {group: {1: 6, 2: 1} for group in ("None", "127.0.0.1")}
    assert read_header_xml(tmp_path / "out.h5", "127.0.0.1") == scan.header_xml
    for report in reports:
        assert report["scan"]["live_frames"] == 6
        assert report["scan"]["refined_frames"] == 1
        assert report["scan"]["refine_s"] == 0.25
        assert report["scan"]["device"] == "cpu"
        assert all(row["latency_ms"] >= 0 for row in report["frames"])
        assert [row["frame"] for row in report["frames"]] == list(range(6))
    assert len(said(lines)) == 2


def test_progress_counts_both_ways(scan: ScanFile, config: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    replay_to_file(
        Replay(config=config, table=TABLE),
        scan,
        tmp_path / "out.h5",
        on_text=lambda _: None,
        on_progress=lambda readouts, images: seen.append((readouts, images)),
    )
    assert max(readouts for readouts, _ in seen) == 6
    assert max(images for _, images in seen) == 7


@pytest.mark.parametrize(("pace", "events"), [("scan", ["warm", "readout"]), ("max", ["readout"])])
def test_at_the_scans_pace_it_is_warm_before_the_first_readout(
    pace: str, events: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = simulate(tmp_path / "scan.h5", matrix=16, frames=2, spokes=5, coils=2)
    seen: list[str] = []
    monkeypatch.setattr(warming, "warm_up", lambda others: seen.append("warm"))
    how = Replay(config="nufft", pace=pace, speed=1e4 if pace == "scan" else 1.0)
    with ScanFile(made.scan) as scan:
        how.images(scan, lambda image: None, lambda line: None, lambda n: seen.append("readout") if n == 1 else None)
    assert seen == events


def test_at_the_scans_pace(scan: ScanFile, config: Path, tmp_path: Path) -> None:
    """Six readouts 20 ms apart: no image can come before its readout is due."""
    how = Replay(config=config, pace="scan", speed=0.1, table=TABLE)
    came: list[float] = []
    how.images(scan, lambda _: came.append(time.monotonic()), lambda _: None)
    assert len(came) == 7
    assert came[5] - came[0] > 0.09


def test_images_made_before_a_failure_are_kept(scan: ScanFile, config: Path, port: int, tmp_path: Path) -> None:
    for name, address, error, message in (
        ("here.h5", None, DataError, "readout 3; expected another"),
        ("there.h5", "127.0.0.1", ServerError, "the server says: ERROR: readout 3; expected another"),
    ):
        how = Replay(config=config, settings={"recon.fail_at": "3"}, table=TABLE, address=address, port=port)
        with pytest.raises(error) as caught:
            replay_to_file(how, scan, tmp_path / name, on_text=lambda _: None)
        assert str(caught.value) == message
        assert list(list_series(tmp_path / name).values()) == [{1: 3}]


def test_a_failure_before_the_first_image_leaves_no_file(scan: ScanFile, config: Path, tmp_path: Path) -> None:
    how = Replay(config=config, settings={"recon.fail_at": "0"}, table=TABLE)
    with pytest.raises(DataError, match="readout 0"):
        replay_to_file(how, scan, tmp_path / "out.h5", on_text=lambda _: None)
    assert not (tmp_path / "out.h5").exists()


def test_no_image_at_all(config: Path, tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "empty.h5", HEADER):
        pass
    with ScanFile(tmp_path / "empty.h5") as scan, pytest.raises(DataError) as caught:
        replay_to_file(Replay(config=config, table=TABLE), scan, tmp_path / "out.h5", on_text=lambda _: None)
    assert str(caught.value) == (
        "no image came back; expected at least one; look at the lines above; inr-recon check tells more"
    )


def test_the_output_is_looked_at_before_the_work(scan: ScanFile, config: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    for output, message in (
        (tmp_path / "text.h5", "cannot be opened"),
        (scan.path, "is the scan itself; expected another file for the images; choose another name"),
        (tmp_path / "none" / "out.h5", "is not a folder; expected a folder for the images; make it or choose another"),
    ):
        with pytest.raises(DataError) as caught:
            replay_to_file(Replay(config=config, table=TABLE), scan, output, on_text=pytest.fail)
        assert message in str(caught.value)


def test_names_that_do_not_exist(scan: ScanFile, config: Path, port: int, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    with pytest.raises(ConfigError, match=r"configuration 'nonsense'; expected one of"):
        replay_to_file(Replay(config="nonsense"), scan, output, on_text=pytest.fail)
    with pytest.raises(ServerError, match=r"the server says: ERROR: configuration 'nonsense'; expected one of"):
        replay_to_file(Replay(config="nonsense", address="127.0.0.1", port=port), scan, output, on_text=lambda _: None)
    settings = {"recon.colour": "red"}
    with pytest.raises(ParameterError, match=r"recon\.colour.*recon\.gain"):
        replay_to_file(Replay(config=config, settings=settings, table=TABLE), scan, output, on_text=pytest.fail)
    remote = Replay(config=config, settings=settings, address="127.0.0.1", port=port)
    with pytest.raises(ServerError, match=r"recon\.colour.*recon\.gain"):
        replay_to_file(remote, scan, output, on_text=lambda _: None)


def test_an_interruption_ends_the_threads_and_keeps_what_there_is(
    scan: ScanFile, config: Path, port: int, tmp_path: Path
) -> None:
    for name, address in (("here.h5", None), ("there.h5", "127.0.0.1")):
        before = set(threading.enumerate())
        how = Replay(config=config, pace="scan", speed=0.01, table=TABLE, address=address, port=port)

        def interrupt(_readouts: int, images: int) -> None:
            if images == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            replay_to_file(how, scan, tmp_path / name, on_text=lambda _: None, on_progress=interrupt)
        assert list(list_series(tmp_path / name).values()) == [{1: 1}]
        ours = {"sender", "watch"} if address else {"before recon"}
        assert not ours & {thread.name for thread in set(threading.enumerate()) - before}
