"""Curves of regions: what is measured, how far off it is, and the command that draws it."""

from __future__ import annotations

import csv
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inr_core.errors import DataError
from inr_gadgets.cli import app
from inr_gadgets.export.curves import load_curves, read_regions
from inr_gadgets.export.curves_figure import write_curves_figure
from inr_gadgets.image_file import ImageWriter

FRAMES, NY, NX = 8, 10, 12
TIMES = 2000.0 * np.arange(FRAMES) + 1000
BOLUS = np.array([1, 1, 3, 9, 6, 4, 3, 3], float)
TISSUE = np.array([2, 2, 2, 3, 4, 5, 5, 4], float)


def truth_images(slices: int = 1) -> np.ndarray:
    """(frames, slices, y, x): a vessel of four pixels and an organ of six in a body of 0.5, dimmer slice by slice."""
    images = np.full((FRAMES, slices, NY, NX), 0.5)
    images[:, :, 2:4, 3:5] = BOLUS[:, None, None, None]
    images[:, :, 6:9, 7:9] = TISSUE[:, None, None, None]
    return images / (1 + np.arange(slices))[:, None, None]


def write_truth(path: Path, slices: int | None = None, **changes: np.ndarray) -> Path:
    images = truth_images(slices or 1)
    masks = {"roi_vessel": images[3] == BOLUS[3], "roi_organ": images[0] == TISSUE[0]}
    if slices is None:
        images, masks = images[:, 0], {name: mask[0] for name, mask in masks.items()}
    arrays = {"truth": images.swapaxes(-1, -2) * 1j, "times_ms": TIMES}
    arrays |= {name: mask.swapaxes(-1, -2) for name, mask in masks.items()}
    np.savez(path, **(arrays | changes))
    return path


def write_images(path: Path, images: np.ndarray, group: str = "g", series: int = 2, skip: tuple[int, ...] = ()) -> Path:
    """(frames, slices, y, x) as a series, in the order in which a stack's slices come."""
    with ImageWriter(path, group) as writer:
        for frame, slice_ in np.ndindex(images.shape[:2]):
            if frame in skip:
                continue
            image = ismrmrd.Image.from_array(images[frame, slice_].astype(np.float32), transpose=False)
            image.image_series_index, image.slice = series, slice_
            image.meta = ismrmrd.Meta({"inr_frame": frame})
            writer.append(image)
    return path


def test_images_of_another_scale_have_the_truths_curves(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    curves = load_curves([write_images(tmp_path / "out.h5", 37 * truth_images())], truth)
    np.testing.assert_allclose(curves.regions.times_s, TIMES / 1e3)
    assert list(curves.truth) == ["vessel", "organ"]
    np.testing.assert_allclose(curves.truth["vessel"], BOLUS)
    np.testing.assert_allclose(curves.series["g"]["vessel"], BOLUS, rtol=1e-6)
    np.testing.assert_allclose(curves.series["g"]["organ"], TISSUE, rtol=1e-6)
    for row in curves.errors():
        assert (row.rms, row.peak, row.delay_s) == pytest.approx((0, 0, 0), abs=1e-6)


def test_errors_of_a_flattened_and_delayed_curve(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    images = truth_images()
    wrong = np.array([1, 1, 2, 5, 6, 4, 3, 3], float)
    images[:, 0, 2:4, 3:5] = wrong[:, None, None]
    row = load_curves([write_images(tmp_path / "out.h5", images)], truth).errors()[0]
    # One factor for all pixels of both regions.
    scale = (4 * wrong @ BOLUS + 6 * TISSUE @ TISSUE) / (4 * wrong @ wrong + 6 * TISSUE @ TISSUE)
    assert (row.region, row.series) == ("vessel", "g")
    assert row.rms == pytest.approx(np.linalg.norm(scale * wrong - BOLUS) / np.linalg.norm(BOLUS), rel=1e-5)
    assert row.peak == pytest.approx(scale * 6 / 9 - 1, rel=1e-5)
    assert row.delay_s == pytest.approx(2.0)


def test_a_stack_is_measured_over_its_slices(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz", slices=3)
    regions = read_regions(truth)
    assert [mask.sum(axis=(1, 2)).tolist() for mask in regions.masks.values()] == [[4, 0, 0], [6, 0, 0]]
    curves = load_curves([write_images(tmp_path / "out.h5", 5 * truth_images(3))], truth)
    np.testing.assert_allclose(curves.series["g"]["vessel"], BOLUS, rtol=1e-6)


def test_images_between_the_frames_are_left_out(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    with ImageWriter(tmp_path / "out.h5", "g") as writer:
        for number in range(2 * FRAMES - 1):
            picture = truth_images()[number // 2, 0] if number % 2 == 0 else np.full((NY, NX), 7.0)
            image = ismrmrd.Image.from_array(picture.astype(np.float32), transpose=False)
            image.meta = ismrmrd.Meta({"inr_frame": f"{number / 2:g}"})
            writer.append(image)
    curves = load_curves([tmp_path / "out.h5"], truth)
    np.testing.assert_allclose(curves.series["g"]["vessel"], BOLUS, rtol=1e-6)


def test_frames_that_are_missing_are_gaps(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    curves = load_curves([write_images(tmp_path / "out.h5", truth_images(), skip=(3, 7))], truth)
    found = curves.series["g"]["vessel"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 7]
    row = curves.errors()[0]
    assert (row.rms, row.peak, row.delay_s) == pytest.approx((0, 0, 0), abs=1e-6), "over the frames that are there"


def test_groups_and_series_are_lines_of_their_own(tmp_path: Path) -> None:
    truth, out, other = write_truth(tmp_path / "scan.truth.npz"), tmp_path / "out.h5", tmp_path / "other.h5"
    write_images(out, truth_images(), "nufft", 1)
    write_images(out, truth_images(), "inr", 1)
    with ImageWriter(other, "inr") as writer:
        for series in (1, 2):
            image = ismrmrd.Image.from_array(series * np.ones((NY, NX), np.float32), transpose=False)
            image.image_series_index = series
            writer.append(image)
    assert list(load_curves([out], truth).series) == ["inr", "nufft"]
    assert list(load_curves([out, other], truth).series) == ["inr", "nufft", "other/inr"]
    assert list(load_curves([out, other], truth, groups=["inr"]).series) == ["inr", "other/inr"]
    assert list(load_curves([other], truth, series=[1, 2]).series) == ["inr live", "inr refined"]
    with pytest.raises(DataError, match=r"out.h5 has no group 'grasp'; expected one of: inr, nufft"):
        load_curves([out], truth, groups=["grasp"])
    with pytest.raises(DataError, match=r"has no series 2; expected one of: 1"):
        load_curves([out], truth, series=[2])


def test_groups_that_are_dates_are_shown_by_their_method(tmp_path: Path) -> None:
    truth, out = write_truth(tmp_path / "scan.truth.npz"), tmp_path / "out.h5"
    for group in ("2026-01-02 03:04:05", "2026-01-02 03:04:05 2"):
        with ImageWriter(out, group) as writer:
            image = ismrmrd.Image.from_array(np.ones((NY, NX), np.float32), transpose=False)
            image.meta = ismrmrd.Meta({"inr_frame": 0, "inr_method": "grasp"})
            writer.append(image)
    write_images(out, truth_images(), "2026-01-02 plain")
    assert list(load_curves([out], truth).series) == ["grasp", "out/2026-01-02 03:04:05 2", "2026-01-02 plain"]


def test_the_figure(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz", slices=2)
    curves = load_curves([write_images(tmp_path / "out.h5", truth_images(2) + 0.2, skip=(2,))], truth)
    write_curves_figure(tmp_path / "curves.png", curves)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[0] > 300
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert ((red > 180) & (green < 80) & (blue < 80)).sum() > 100, "the reconstruction's lines"
    assert (pixels.sum(-1) < 60).sum() > 300, "the truth's lines"
    with pytest.raises(DataError, match=r"none/curves.png cannot be written; expected a folder that exists"):
        write_curves_figure(tmp_path / "none" / "curves.png", curves)


def test_the_command(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    out = write_images(tmp_path / "out.h5", truth_images(), "inr")
    table, picture = tmp_path / "c.csv", tmp_path / "c.png"
    words = ["curves", str(out), "--truth", str(truth), "--csv", str(table), "--png", str(picture)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["vessel", "inr", "0.0", "%", "+0.0", "%", "+0.00", "s"] in lines
    assert lines[-2:] == [[str(table)], [str(picture)]]
    assert picture.stat().st_size > 1000
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * FRAMES
    peak = next(row for row in rows if row["series"] == "truth" and row["time_s"] == "7.0000")
    assert (peak["region"], float(peak["signal"])) == ("vessel", 9.0)


def test_what_is_no_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.npz is not there; expected the .truth.npz beside a simulated scan"):
        read_regions(tmp_path / "none.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"broken.npz cannot be read \(.*\); expected the .truth.npz"):
        read_regions(broken)
    np.savez(tmp_path / "bare.npz", truth=np.ones((2, 3, 3)), times_ms=np.zeros(2))
    with pytest.raises(DataError, match=r"bare.npz has no regions of interest; expected .* simulate --phantom dce"):
        read_regions(tmp_path / "bare.npz")
    empty = write_truth(tmp_path / "empty.npz", roi_organ=np.zeros((NX, NY), bool))
    with pytest.raises(DataError, match=r"region organ of .* has no pixel; expected at least one; simulate with a lar"):
        read_regions(empty)
    small = write_truth(tmp_path / "small.npz", roi_organ=np.ones((NX, 3), bool))
    with pytest.raises(DataError, match=r"region organ of .* is \(1, 3, 12\); expected the truth's .* \(1, 10, 12\)"):
        read_regions(small)


def test_images_of_another_scan_are_refused(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "scan.truth.npz")
    small = write_images(tmp_path / "small.h5", truth_images()[..., :6])
    with pytest.raises(
        DataError, match=r"images \(channels, z, y, x\) = \(1, 1, 10, 6\); expected .* \(1, 1, 10, 12\)"
    ):
        load_curves([small], truth)
    longer = write_images(tmp_path / "long.h5", np.concatenate([truth_images()] * 2))
    with pytest.raises(DataError, match=r"has frame 8 of slice 0; expected the truth's 8 frames of 1 slices; give the"):
        load_curves([longer], truth)
    ImageWriter(tmp_path / "nothing.h5", "g").close()
    with pytest.raises(DataError, match=r"nothing.h5 holds no images; expected the output of a reconstruction"):
        load_curves([tmp_path / "nothing.h5"], truth)
