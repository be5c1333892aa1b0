"""One scan on every road, through the real chain: the images do not depend on how the readouts came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inr_core.devices import choose_device, device_name
from inr_core.metrics import score
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, offline_settings, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import Simulated, simulate

FRAMES = 6


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("roads")
    return simulate(folder / "scan.h5", matrix=32, frames=FRAMES, spokes=13, coils=4, noise_scan=True, ecg=True)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Server(port=0) as server:
        yield server.port


def replayed(how: Replay, scan: Path, output: Path, **options: Any) -> dict[str, Any]:
    with ScanFile(scan) as opened:
        return replay_to_file(how, opened, output, on_text=lambda _: None, **options).as_dict()


@pytest.mark.parametrize(
    "settings", [{"recon.method": "nufft"}, {"recon.deterministic": "true", "recon.refine": "false"}]
)
def test_the_same_bits_on_every_road(simulated: Simulated, port: int, tmp_path: Path, settings: dict[str, str]) -> None:
    roads = {
        "file": Replay(settings=settings),
        "again": Replay(settings=settings),
        "wire": Replay(settings=settings, address="127.0.0.1", port=port),
        "paced": Replay(settings=settings, address="127.0.0.1", port=port, pace="scan", speed=2.0),
    }
    reports = {name: replayed(how, simulated.scan, tmp_path / f"{name}.h5") for name, how in roads.items()}
    first, _, first_meta = read_series(tmp_path / "file.h5", 1)
    assert len(first) == FRAMES
    for name, report in reports.items():
        images, _, meta = read_series(tmp_path / f"{name}.h5", 1)
        np.testing.assert_array_equal(images, first)
        assert [sorted(m) for m in meta] == [sorted(m) for m in first_meta]
        assert report["scan"]["dropped_frames"] == 0
        assert len(report["frames"]) == FRAMES
        assert all(row["latency_ms"] > 0 for row in report["frames"])
        assert report["scan"]["device"] == device_name(choose_device("auto"))
        assert report["scan"]["peak_memory_mib"] > 0


def test_the_heart_is_upright(simulated: Simulated, tmp_path: Path) -> None:
    """Of the eight orientations of the images the one as they are fits the truth best."""
    replayed(Replay(settings={"recon.method": "nufft"}), simulated.scan, tmp_path / "out.h5")
    images = np.abs(read_series(tmp_path / "out.h5", 1)[0][:, 0, 0])
    truth = np.abs(np.load(simulated.truth)["truth"]).transpose(0, 2, 1)
    fits = {
        (turns, flip): score(np.rot90(images, turns, axes=(1, 2))[:, :, :: -1 if flip else 1], truth).psnr.mean()
        for turns in range(4)
        for flip in (False, True)
    }
    assert max(fits, key=lambda key: fits[key]) == (0, False)


def test_an_offline_reconstruction_writes_one_series(simulated: Simulated, tmp_path: Path) -> None:
    report = replayed(Replay(settings=offline_settings("nufft", None, {})), simulated.scan, tmp_path / "out.h5")
    assert report["scan"]["live_frames"] == FRAMES
    assert len(read_series(tmp_path / "out.h5", 1)[0]) == FRAMES
