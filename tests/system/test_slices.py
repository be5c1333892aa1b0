"""Two interleaved slices, oblique and off-centre, through a whole replay: every image where its readouts were."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from inr_core.trajectory import radial_trajectory, spoke_angles
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from scans import header_xml, readout

NX, NY, SPOKES, FRAMES = 32, 24, 34, 2
# A turn about z, then one about the new x: read, phase and slice direction as columns.
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) @ [[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]
CENTRES = np.array([[40.0, -25.0, 10.0], [42.0, -22.0, 20.0]])
SPOTS = {0: (7, -4), 1: (-9, 6)}  # (x, y) pixels from the centre


def spoke(number: int, slice_: int) -> ismrmrd.Acquisition:
    """A golden-angle spoke of a slice that shows one Gaussian spot."""
    k = radial_trajectory(spoke_angles([number]), 2 * NX, spacing=1 / (2 * NX))[0].astype(np.float64)
    spectrum = np.exp(-2 * (np.pi * 1.2) ** 2 * (k**2).sum(-1) - 2j * np.pi * k @ SPOTS[slice_])
    counter = 2 * number + slice_
    made = readout(
        counter,
        data=np.stack([spectrum, 0.5j * spectrum]).astype(np.complex64),
        slice=slice_,
        repetition=number // SPOKES,
        kspace_encode_step_1=number % SPOKES,
        acquisition_time_stamp=5000 + 2 * counter,
    )
    made.user_int[:] = tuple(range(10, 18))
    made.position[:] = tuple(CENTRES[slice_])
    made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = (tuple(column) for column in TURN.T)
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    xml = header_xml(matrix=(NX, NY, 1), encoded=(2 * NX, NY, 1), fov=(320, 240, 8), encoded_fov=(640, 240, 8))
    with ScanWriter(folder / "scan.h5", xml.encode()) as writer:
        for number in range(SPOKES * FRAMES):
            for slice_ in SPOTS:
                writer.append(spoke(number, slice_))
    settings = {"recon.deterministic": "true", "recon.refine_passes": "40", "recon.device": "cpu"}
    with ScanFile(folder / "scan.h5") as scan:
        replay_to_file(Replay(settings=settings), scan, folder / "images.h5", on_text=lambda line: None)
    return folder / "images.h5"


@pytest.mark.parametrize("series", [1, 2])
def test_images_lie_where_their_readouts_were(images: Path, series: int) -> None:
    data, headers, attributes = read_series(images, series)
    assert sorted((h.slice, h.repetition) for h in headers) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for image, header, meta in zip(data[:, 0, 0], headers, attributes, strict=True):
        assert image.shape == (NY, NX)
        row, column = np.unravel_index(int(image.argmax()), image.shape)
        assert (column - NX // 2, row - NY // 2) == SPOTS[header.slice]
        assert list(header.position) == pytest.approx(CENTRES[header.slice])
        directions = np.array([header.read_dir, header.phase_dir, header.slice_dir])
        assert directions == pytest.approx(TURN.T, abs=1e-6)
        assert [float(v) for v in meta["ImageRowDir"]] == pytest.approx(TURN[:, 0], abs=1e-6)
        assert [float(v) for v in meta["ImageColumnDir"]] == pytest.approx(TURN[:, 1], abs=1e-6)
        assert list(header.field_of_view) == [320, 240, 8]
        assert list(header.user_int) == list(range(10, 18))
        middle = SPOKES * header.repetition + SPOKES // 2
        assert header.acquisition_time_stamp == 5000 + 2 * (2 * middle + header.slice)
        assert (int(meta["inr_group"]), int(meta["inr_frame"])) == (header.slice, header.repetition)
