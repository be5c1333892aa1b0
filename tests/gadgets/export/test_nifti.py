"""NIfTI files: affine, times and values, read back by nibabel."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.export.nifti import write_nifti
from inr_gadgets.export.series import load_sets, newest_group
from inr_gadgets.image_file import ImageWriter
from stored import rotation, slab, stored_image

nibabel = pytest.importorskip("nibabel")


def export(path: Path, target: Path, said: list[str] | None = None, *series: int) -> list[Path]:
    lines = [] if said is None else said
    sets = load_sets(path, newest_group(path), series or None, announce=lines.append)
    return write_nifti(target, sets, announce=lines.append)


def test_affine_by_hand(tmp_path: Path) -> None:
    # Axial, 14 x 9 pixels of 20 x 22 mm; pixel (7, 4) of plane 1.5 at LPS (10, -20, 30). RAS: x and y change sign.
    values = slab(tmp_path / "out.h5")
    (path,) = export(tmp_path / "out.h5", tmp_path / "a.nii.gz")
    image = nibabel.load(path)
    expected = [[-20, 0, 0, -10 + 140], [0, -22, 0, 20 + 88], [0, 0, 7.5, 30 - 11.25], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.affine, expected, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), expected, atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(image.header.get_zooms(), (20, 22, 7.5, 0.04), rtol=1e-6)
    np.testing.assert_array_equal(image.get_fdata(), values.transpose(3, 2, 1, 0))
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"INR live"


@pytest.mark.parametrize("side", [1, -1])
def test_every_voxel_of_a_double_oblique_stack_is_in_its_place(tmp_path: Path, side: int) -> None:
    turned = rotation(35, -20, 110) * [[1], [1], [side]]
    values = slab(tmp_path / "out.h5", directions=turned, centre=(-60, 45, -120), frames=1)
    (path,) = export(tmp_path / "out.h5", tmp_path / "a.nii")
    image = nibabel.load(path)
    data = image.get_fdata()
    assert data.shape == (14, 9, 4)
    inverse = np.linalg.inv(image.affine)
    rng = np.random.default_rng(0)
    for place, y, x in rng.integers((4, 9, 14), size=(30, 3)):
        lps = [-60, 45, -120] + (place - 1.5) * 7.5 * turned[2] + (x - 7) * 20 * turned[0] + (y - 4) * 22 * turned[1]
        voxel = inverse @ [-lps[0], -lps[1], lps[2], 1]
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-4)
        assert data[tuple(np.rint(voxel[:3]).astype(int))] == values[0, place, y, x]
    assert np.linalg.det(image.affine) > 0


def test_only_the_owner_may_read_and_the_same_images_are_the_same_file(tmp_path: Path) -> None:
    slab(tmp_path / "out.h5")
    first, second = (export(tmp_path / "out.h5", tmp_path / name)[0] for name in ("a.nii.gz", "b.nii.gz"))
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert first.read_bytes() == second.read_bytes()


def test_series_are_files(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "g") as writer:
        for series, dtype in ((1, np.uint16), (2, np.float32)):
            writer.append(stored_image(np.full((4, 5), series, dtype), series=series))
    written = export(tmp_path / "out.h5", tmp_path / "h.nii.gz")
    assert [path.name for path in written] == ["h_series_1.nii.gz", "h_series_2.nii.gz"]
    assert [nibabel.load(path).get_data_dtype() for path in written] == [np.uint16, np.float32]
    assert [nibabel.load(path).shape for path in written] == [(5, 4, 1), (5, 4, 1)]
    assert [path.name for path in export(tmp_path / "out.h5", tmp_path / "h.nii", None, 2)] == ["h.nii"]


def crossed(path: Path) -> None:
    """An axial and a sagittal plane of two frames."""
    with ImageWriter(path, "g") as writer:
        for i, directions in enumerate([np.eye(3), np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])] * 2):
            fields: dict[str, Any] = {"slice": i % 2, "repetition": i // 2, "acquisition_time_stamp": 8 * i}
            writer.append(stored_image(np.full((4, 4), i, np.float32), directions=directions, **fields))


def test_planes_that_are_not_parallel_are_files_of_their_own(tmp_path: Path) -> None:
    crossed(tmp_path / "out.h5")
    said: list[str] = []
    written = export(tmp_path / "out.h5", tmp_path / "h.nii.gz", said)
    assert [path.name for path in written] == ["h_stack_1.nii.gz", "h_stack_2.nii.gz"]
    assert said == ["the planes of series 1 are not all parallel, or moved: 2 files"]
    assert [nibabel.load(path).get_fdata()[0, 0, 0].tolist() for path in written] == [[0, 2], [1, 3]]
    np.testing.assert_allclose(nibabel.load(written[1]).affine[:3, 0], [0, -75, 0], atol=1e-5)


def test_uneven_planes_are_files_of_their_own(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "g") as writer:
        for i, z in enumerate((0, 8, 20)):
            writer.append(stored_image(np.full((4, 4), i, np.float32), position=(0, 0, z), slice=i))
    said: list[str] = []
    written = export(tmp_path / "out.h5", tmp_path / "h.nii.gz", said)
    assert [path.name for path in written] == [f"h_plane_{i}.nii.gz" for i in (1, 2, 3)]
    assert said == ["the planes of series 1 are not evenly spaced: one file a plane"]
    assert [nibabel.load(path).affine[2, 3] for path in written] == [0, 8, 20]


def test_frames_that_a_plane_lacks_are_left_out(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "g") as writer:
        for i in range(5):
            stamps: dict[str, Any] = {"repetition": i // 2, "acquisition_time_stamp": 8 * i}
            writer.append(
                stored_image(np.full((4, 4), i, np.float32), position=(0, 0, 8 * (i % 2)), slice=i % 2, **stamps)
            )
    said: list[str] = []
    (path,) = export(tmp_path / "out.h5", tmp_path / "h.nii.gz", said)
    assert nibabel.load(path).get_fdata()[0, 0].tolist() == [[0, 2], [1, 3]]
    assert said == ["1 frames of series 1 that a plane lacks are left out"]


def test_thickness_is_that_of_a_lonely_plane(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5", "g") as writer:
        writer.append(stored_image(np.zeros((4, 4), np.float32), fov=(40, 40, 6.5)))
    assert nibabel.load(export(tmp_path / "out.h5", tmp_path / "h.nii")[0]).header.get_zooms() == (10, 10, 6.5)


def test_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slab(tmp_path / "out.h5")
    with pytest.raises(ParameterError, match=r"the NIfTI file .*a.img; expected a name that ends in .nii or .nii.gz"):
        export(tmp_path / "out.h5", tmp_path / "a.img")
    export(tmp_path / "out.h5", tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a.nii exists already; expected a new file; choose another name or remove it"):
        export(tmp_path / "out.h5", tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a.nii cannot be written \(.*No such file.*; expected a folder that may be"):
        export(tmp_path / "out.h5", tmp_path / "no" / "a.nii")
    with ImageWriter(tmp_path / "apart.h5", "g") as writer:
        for i in range(2):
            writer.append(
                stored_image(np.zeros((4, 4), np.float32), position=(0, 0, 8 * i), slice=i, meta={"inr_frame": str(i)})
            )
    with pytest.raises(DataError, match=r"the planes of series 1 have no frame in common; expected as many frames"):
        export(tmp_path / "apart.h5", tmp_path / "b.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(
        MissingDependencyError, match=r"NIfTI needs nibabel .*; expected the extra 'nifti'; pip install"
    ):
        export(tmp_path / "out.h5", tmp_path / "c.nii")
