"""Marks of an oblique patient through the stream and out again: each lies where DICOM and NIfTI say that it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inr_gadgets.cli import app
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with classic, enhanced and NIfTI files of an off-centre, double-oblique, oblong scan, and its truth."""
    folder = tmp_path_factory.mktemp("export")
    plane = {"position": "40:-60:110", "orientation": "C:S25:T-15", "rotation_deg": 40.0, "matrix": 60, "matrix_y": 51}
    made = simulate(folder / "scan.h5", phantom="quadrants", frames=2, spokes=55, coils=3, noise=0, **plane)
    settings = {"recon.method": "nufft", "recon.device": "cpu", "buffer.spokes_per_frame": "55"}
    with ScanFile(made.scan) as scan:
        replay_to_file(Replay(settings=settings), scan, folder / "out.h5", on_text=lambda line: None)
    for words in (["--dicom", "c", "--nifti", "n.nii.gz"], ["--dicom", "e", "--enhanced"]):
        given = [str(folder / word) if not word.startswith("-") else word for word in words]
        result = CliRunner().invoke(app, ["export", str(folder / "out.h5"), *given])
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
    return folder


def marks(folder: Path) -> np.ndarray:
    """(marks, 3) LPS, mm."""
    return np.asarray(np.load(folder / "scan.truth.npz")["marks_mm"])


def spot_near(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Centre of gravity, along the image's axes, of what is bright around the brightest pixel near a place."""
    near = np.rint(place).astype(int)
    window = tuple(slice(n - 3, n + 4) for n in near)
    brightest = near - 3 + np.unravel_index(int(image[window].argmax()), (7, 7))
    rows, columns = np.mgrid[tuple(slice(n - 2, n + 3) for n in brightest)]
    weight = image[rows, columns].astype(float) ** 2
    return np.array([(weight * rows).sum(), (weight * columns).sum()]) / weight.sum()


def test_nifti(exported: Path) -> None:
    image = nibabel.load(exported / "n.nii.gz")
    assert image.shape == (60, 51, 1, 2)
    frame = image.get_fdata()[:, :, 0, 1]
    for left, posterior, superior in marks(exported):
        x, y, z, _ = np.linalg.inv(image.affine) @ [-left, -posterior, superior, 1]
        assert abs(z) < 0.01
        np.testing.assert_allclose(spot_near(frame, np.array([x, y])), [x, y], atol=0.25)


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_dicom(exported: Path, kind: str) -> None:
    if kind == "classic":
        data = pydicom.dcmread(exported / "c" / "series_1" / "image_00002.dcm")
        frame, place, orientation, measures = data.pixel_array, data, data, data
    else:
        data = pydicom.dcmread(exported / "e" / "series_1.dcm")
        groups = data.PerFrameFunctionalGroupsSequence[1]
        place, orientation = groups.PlanePositionSequence[0], groups.PlaneOrientationSequence[0]
        frame, measures = data.pixel_array[1], groups.PixelMeasuresSequence[0]
    assert frame.shape == (51, 60)
    # PS3.3 C.7.6.2.1.1: columns are counted along the first three cosines, rows along the last; spacing is row first.
    along_row, along_column = np.reshape(np.array(orientation.ImageOrientationPatient, float), (2, 3))
    row_mm, column_mm = map(float, measures.PixelSpacing)
    for mark in marks(exported):
        way = mark - np.array(place.ImagePositionPatient, float)
        expected = np.array([way @ along_column / row_mm, way @ along_row / column_mm])
        np.testing.assert_allclose(spot_near(frame, expected), expected, atol=0.25)
    assert data.SeriesDescription == "simulated quadrants NUFFT live"
