"""The motion series: values, units and numbers of its images, through the gadgets and into pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch
from PIL import Image

from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_gadgets.export.panels import colour_wheel, flow_colours
from inr_gadgets.export.pictures import load_movie, write_contact_sheet, write_gif, write_mp4
from inr_gadgets.frame import Frame
from inr_gadgets.image_file import ImageWriter, list_series, read_series
from inr_gadgets.imaging.geometry import MOTION_SERIES, image_for
from inr_gadgets.imaging.image import ImageGadget
from inr_gadgets.reconstruction.motion import frame_ms, motion_images
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.report import report_of
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate
from scans import readout

MATRIX, FOV, SPOKES = (6, 4), (300.0, 100.0, 8.0), 5


def frames(n: int = 4, ticks: int = 16, partitions: int = 1) -> dict[int, Frame]:
    """Frames 7 and later, without data, ``ticks`` of 2.5 ms from one to the next."""
    made = {}
    for i in range(n):
        headers = [readout(j, acquisition_time_stamp=1000 + ticks * i).getHead() for j in range(SPOKES)]
        kspace, traj = np.zeros((2, SPOKES, 8), np.complex64), np.zeros((SPOKES, 8, 2), np.float32)
        made[7 + i] = Frame.from_readouts(
            kspace, traj, headers, matrix=MATRIX, fov_mm=FOV, index=7 + i, partitions=partitions
        ).without_data()
    return made


def series(n: int = 4, **changes: Any) -> RefinedSeries:
    flow = torch.randn(n - 1, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    return RefinedSeries(**{"first": 7, "images": torch.zeros(n, 4, 6) + 0j, "steps": 3, "flow": flow, **changes})


def test_an_image_of_two_real_channels_for_each_step() -> None:
    made = list(motion_images(series(), frames(), 0.0, {"inr_group": 2}))
    assert [image.data.shape for image in made] == [(2, 1, 4, 6)] * 3
    assert [image.image_series_index for image in made] == [MOTION_SERIES] * 3
    assert [int(image.meta["inr_frame"]) for image in made] == [7, 8, 9]
    assert [image.repetition for image in made] == [7, 8, 9]
    assert [image.acquisition_time_stamp for image in made] == [1000, 1016, 1032]
    np.testing.assert_array_equal(made[1].data[:, 0], series().flow[1])  # type: ignore[index]
    assert {image.meta["inr_flow_unit"] for image in made} == {"pixels/frame"}
    assert {int(image.meta["inr_group"]) for image in made} == {2}


def test_the_factors_to_millimetres_per_second() -> None:
    """Pixels of 50 and 25 mm, frames of 16 ticks = 40 ms."""
    image = next(iter(motion_images(series(), frames(), 99.0, {})))
    assert [float(factor) for factor in image.meta["inr_flow_mm_per_s"]] == [1250.0, 625.0]
    # Clocks that begin anew at each heart beat: the repetition time, here 5 spokes of 3 partitions at 4 ms.
    still = frames(ticks=0, partitions=3)
    image = next(iter(motion_images(series(), still, 4.0, {})))
    assert [float(factor) for factor in image.meta["inr_flow_mm_per_s"]] == pytest.approx(
        [5e4 / 60, 2.5e4 / 60], rel=1e-5
    )
    assert "inr_flow_mm_per_s" not in next(iter(motion_images(series(), still, 0.0, {}))).meta
    assert frame_ms([*frames(ticks=16).values()][:1], 2.0) == 10.0


def test_no_flow_no_images() -> None:
    assert not list(motion_images(series(flow=None), frames(), 0.0, {}))


def test_it_stays_on_the_measured_pixels() -> None:
    finer = series(query=SeriesQuery(2.0, 3), images=torch.zeros(10, 8, 12) + 0j)
    assert [image.data.shape for image in motion_images(finer, frames(), 0.0, {})] == [(2, 1, 4, 6)] * 3


def test_a_stream_with_motion(tmp_path: Path) -> None:
    simulate(tmp_path / "scan.h5", matrix=24, frames=4, spokes=5, coils=3, tr_ms=8.0)
    settings = {
        "recon.deterministic": "true",
        "recon.device": "cpu",
        "recon.passes": "2",
        "recon.draft_iterations": "2",
    }
    with ScanFile(tmp_path / "scan.h5") as scan:
        report = replay_to_file(Replay("flow", settings), scan, tmp_path / "out.h5", on_text=lambda line: None)
    assert {index: n for group in list_series(tmp_path / "out.h5").values() for index, n in group.items()} == {
        1: 4,
        2: 4,
        3: 3,
    }
    data, headers, meta = read_series(tmp_path / "out.h5", 3)
    assert (data.shape, data.dtype) == ((3, 2, 1, 24, 24), np.float32)
    assert np.isfinite(data).all()
    assert {header.image_type for header in headers} == {ismrmrd.IMTYPE_REAL}
    # Pixels of 300 / 24 mm, frames of 40 ms.
    assert [float(factor) for factor in meta[0]["inr_flow_mm_per_s"]] == [312.5, 312.5]
    assert report.as_dict()["scan"]["other_images"] == 3


def finished(tmp_path: Path) -> Path:
    """A file with magnitudes (2) and motion (3), as the image gadget finishes them."""
    gadget, geometry = ImageGadget(None), frames()
    gadget.announce = lambda line: None  # type: ignore[method-assign]
    magnitudes = [
        image_for(geometry[7 + i], np.ones((4, 6), np.complex64), 2, i, {"inr_frame": 7 + i}) for i in range(4)
    ]
    flow = torch.zeros(3, 2, 4, 6)
    flow[:, 0, :, :3], flow[:, 1, :, 3:] = 2.0, -1.0
    flow[1:, 0, 0, 5] = torch.tensor([0.5, 1.0])  # no two frames alike: a GIF would join them
    images = list(gadget.process([*magnitudes, *motion_images(series(flow=flow), geometry, 0.0, {"inr_method": "x"})]))
    with ImageWriter(tmp_path / "out.h5") as writer:
        for image in images:
            writer.append(image)
    report = report_of(images).as_dict()["scan"]
    assert (report["refined_frames"], report["other_images"]) == (4, 3)
    assert images[-1].meta["ImageComments"] == "X motion"
    assert float(np.abs(images[-1].data).max()) == 2.0  # no image's scale
    return tmp_path / "out.h5"


def test_pictures_show_it_in_colours(tmp_path: Path) -> None:
    path = finished(tmp_path)
    assert list(load_movie(path).panels) == ["refined"]
    movie = load_movie(path, [2, 3])
    assert list(movie.panels) == ["refined", "motion"]
    assert movie.n_frames == 3  # the last frame has no step after it
    np.testing.assert_array_equal(movie.panels["motion"][0, 0], [2, 2, 2, -1j, -1j, -1j])
    write_contact_sheet(tmp_path / "sheet.png", load_movie(path, [3]), columns=2)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape[2] == 3
    assert tuple(sheet[60, 20]) == (255, 0, 0)  # to the right, at full speed
    red, green, blue = sheet[60, 180].astype(int)  # upwards, at half of it
    assert green == 0
    assert (red, blue) == (64, 128)
    write_gif(tmp_path / "both.gif", movie)
    with Image.open(tmp_path / "both.gif") as gif:
        assert gif.n_frames == 3
        assert np.ptp(np.asarray(gif.convert("RGB")).astype(int), axis=2).max() > 200


def test_a_film_in_colours(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    write_mp4(tmp_path / "both.mp4", load_movie(finished(tmp_path), [2, 3]), seconds=0.1)
    assert (tmp_path / "both.mp4").stat().st_size > 500


def test_hues_are_directions_and_brightness_is_speed() -> None:
    right, down, left, up = flow_colours(np.array([1, 1j, -1, -1j]) * 3.0, 3.0)
    assert [tuple(int(c) for c in colour) for colour in (right, down, left, up)] == [
        (255, 0, 0),
        (128, 255, 0),
        (0, 255, 255),
        (128, 0, 255),
    ]
    assert tuple(flow_colours(np.array([1.5]), 3.0)[0]) == (128, 0, 0)
    assert tuple(flow_colours(np.array([30.0]), 3.0)[0]) == (255, 0, 0)
    assert not flow_colours(np.array([0, np.nan + 0j]), 3.0).any()
    wheel = colour_wheel(9)
    assert not wheel[0, 0].any()
    assert not wheel[4, 4].any()
    np.testing.assert_array_equal(wheel[4, 8], [255, 0, 0])
