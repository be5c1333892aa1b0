"""What other programs find in our files: dcm2niix, dciodvfy and dcmdump, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from inr_gadgets.cli import app
from stored import FULL_HEADER, rotation, slab

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
pytestmark = pytest.mark.peer

PLANES: dict[str, dict[str, Any]] = {
    "axial": {},
    "oblique, off-centre": {"directions": rotation(0, 25, 0), "centre": (37.5, -12, 88)},
    "double oblique": {"directions": rotation(35, -20, 110), "centre": (-60, 45, -120)},
    "left-handed": {"directions": rotation(35, -20, 110) * [[1], [1], [-1]]},
    "coronal, one plane": {"directions": rotation(-90, 0, 0), "slices": 1, "shape": (15, 8)},
    "sagittal, one frame": {"directions": np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]), "frames": 1},
}


def run(program: str, *words: Any) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([found, *map(str, words)], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout + done.stderr


def export(*words: Any) -> None:
    result = CliRunner().invoke(app, ["export", *map(str, words)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", ["--classic", "--enhanced"])
@pytest.mark.parametrize("plane", PLANES)
def test_dcm2niix_makes_our_nifti_of_our_dicom(tmp_path: Path, plane: str, kind: str) -> None:
    if kind == "--enhanced" and PLANES[plane].get("slices") == 1:
        pytest.skip("versions before 2023 take the frames of one enhanced plane for planes")
    # Of vendors' enhanced images dcm2niix before 2023 reads their private elements alone: ours then have no vendor.
    header = FULL_HEADER if kind == "--classic" else None
    values = slab(tmp_path / "out.h5", header_xml=header, **PLANES[plane])
    export(tmp_path / "out.h5", "--dicom", tmp_path / "d", kind, "--nifti", tmp_path / "ours.nii")
    (tmp_path / "theirs").mkdir()
    run("dcm2niix", "-b", "n", "-f", "images", "-o", tmp_path / "theirs", tmp_path / "d")
    (path,) = (tmp_path / "theirs").glob("*.nii")
    # Each program has its own order of rows; in the patient they must agree.
    ours, theirs = (nibabel.as_closest_canonical(nibabel.load(file)) for file in (tmp_path / "ours.nii", path))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-4)
    rounding = 0.5 if kind == "--classic" else np.ptp(values) / 65535
    np.testing.assert_allclose(theirs.get_fdata(), ours.get_fdata(), atol=1.01 * rounding)


@pytest.mark.parametrize(
    "options", [["--classic"], ["--enhanced"], ["--classic", "--anonymous"], ["--enhanced", "--anonymous"]]
)
@pytest.mark.parametrize("header", [FULL_HEADER, None], ids=["header", "no header"])
@pytest.mark.parametrize("trigger", [0, 40])
def test_dciodvfy_finds_no_error(tmp_path: Path, options: list[str], header: bytes | None, trigger: int) -> None:
    slab(tmp_path / "out.h5", header_xml=header, frames=2, slices=2, physiology_time_stamp=(trigger, 0, 0))
    export(tmp_path / "out.h5", "--dicom", tmp_path / "d", *options)
    for file in sorted((tmp_path / "d").rglob("*.dcm"))[-2:]:
        found = [line for line in run("dciodvfy", "-new", file).splitlines() if line.startswith(("Error", "Abort"))]
        assert found == []
        assert not [line for line in run("dcmdump", file).splitlines() if line.startswith(("E:", "F:"))]
