"""Frames that overlap (buffer.stride), through the real chain: an image every few spokes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import Simulated, simulate
from inr_gadgets.simulation.truth import read_truth
from radial import error

FRAMES, SPOKES, STRIDE = 8, 12, 4
OVERLAPPING = (FRAMES - 1) * SPOKES // STRIDE + 1


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("window")
    return simulate(folder / "scan.h5", matrix=32, frames=FRAMES, spokes=SPOKES, coils=4)


def run(scan: Path, output: Path, method: str, **settings: Any) -> dict[int, tuple[np.ndarray, list[Any]]]:
    """Series to magnitudes and headers."""
    chosen = {"recon.method": method, **settings}
    with ScanFile(scan) as opened:
        replay_to_file(Replay(settings=chosen), opened, output, on_text=lambda _: None)
    found = {}
    for number in (1, 2) if method == "inr" else (1,):
        images, headers, _ = read_series(output, number)
        found[number] = np.abs(images[:, 0, 0]), headers
    return found


def torch_of(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("method", ["inr", "cg_sense"])
def test_there_is_an_image_every_few_spokes_and_it_is_as_good(
    simulated: Simulated, tmp_path: Path, method: str
) -> None:
    settings = {"recon.deterministic": "true", "recon.refine_passes": "30"} if method == "inr" else {}
    plain = run(simulated.scan, tmp_path / "plain.h5", method, **settings)
    window = run(simulated.scan, tmp_path / "window.h5", method, **settings, **{"buffer.stride": str(STRIDE)})
    truth = read_truth(simulated.truth).images
    for number, (images, headers) in window.items():
        assert len(images) == OVERLAPPING
        assert [header.repetition for header in headers] == list(range(OVERLAPPING))
        stamps = [header.acquisition_time_stamp for header in headers]
        # Of the window's middle spoke, 3 ms from spoke to spoke.
        assert stamps == [round((i * STRIDE + SPOKES // 2) * 3.0 / 2.5) for i in range(OVERLAPPING)]
        # Every third of them is of the spokes of a frame that does not overlap.
        mine = images[:: SPOKES // STRIDE]
        assert error(*torch_of(mine, truth)) < 1.05 * error(*torch_of(plain[number][0], truth))
