"""Images between the pixels and between the frames: values, geometry and time, through gadget, stream and program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from inr_core.errors import DataError, ParameterError
from inr_core.fields.grid_field import GridField, Level
from inr_core.methods.inr import InrMethod
from inr_core.methods.live import SeriesQuery
from inr_gadgets.cli import app
from inr_gadgets.export.pictures import load_movie, write_gif
from inr_gadgets.frame import Frame
from inr_gadgets.image_file import ImageWriter, read_series
from inr_gadgets.imaging.geometry import image_for
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.report import report_of
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from radial import cine_scan
from scans import readout

N, MATRIX, FOV = 4, (24, 20), (300.0, 250.0, 8.0)
run = CliRunner().invoke


def frames(n: int = N, first: int = 0) -> list[Frame]:
    """Frames of a small beating heart; 5 readouts of 8 ticks each, so that a frame lasts 40 ticks of 2.5 ms."""
    scan = cine_scan(frames=10, coils=3, matrix=MATRIX)
    made = []
    for index in range(n):
        samples, traj = scan.kspace[first + index].numpy(), scan.traj[first + index].numpy()
        stamps = [1000 + 8 * (index * len(traj) + i) for i in range(len(traj))]
        headers = [readout(i, position=(index, 0, 0), acquisition_time_stamp=s).getHead() for i, s in enumerate(stamps)]
        made.append(Frame.from_readouts(samples, traj, headers, matrix=MATRIX, fov_mm=FOV, index=index))
    return made


def gadget(**parameters: Any) -> tuple[ReconGadget, list[str]]:
    settings = {"deterministic": True, "device": "cpu", "offline": True, "refine_passes": 3.0, **parameters}
    made, lines = ReconGadget(None, ReconGadget.read_parameters(settings)), list[str]()
    made.announce = lines.append
    return made, lines


def series(images: list[Any]) -> np.ndarray:
    return np.stack([image.data[0, 0] for image in images])


# -- values and places ----------------------------------------------------------------------------------------------


def ramp_field(shape: tuple[int, int], frames: int) -> GridField:
    """The field 5 + 0.1 y - 0.07 x + 0.3 t, in pixels and frames."""
    field = GridField(shape, features=1, hidden=1, layers=1, levels=(Level(1, 1),))
    field.extend(frames, keep=10**6)
    t, y, x = torch.meshgrid(torch.arange(frames), *(torch.arange(n) for n in shape), indexing="ij")
    field.grids[0].value[:frames, 0] = 5 + 0.1 * y - 0.07 * x + 0.3 * t
    (first, first_bias), (last, last_bias) = field.layers
    first.value[:], first_bias.value[:], last_bias.value[:] = 1, 0, 0
    last.value[:] = torch.tensor([[1.0], [0.0]])
    return field


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(13, 22), (20, 17)])
def test_a_ramp_keeps_its_values_between_pixels_and_frames(shape: tuple[int, int], scale: float) -> None:
    query = SeriesQuery(scale, 3)
    ny, nx = query.shape(shape)
    assert (ny, nx) == (round(scale * shape[0]), round(scale * shape[1]))
    images = ramp_field(shape, 4)(query.times(4), (ny, nx))
    assert images.shape == (10, ny, nx)
    for number, t in enumerate(np.arange(10) / 3):
        for row, column in ((ny // 2, nx // 2), (ny // 3, nx // 2 + 2), (ny - ny // 4, nx // 5)):
            y = (row - ny // 2) * shape[0] / ny + shape[0] // 2
            x = (column - nx // 2) * shape[1] / nx + shape[1] // 2
            assert complex(images[number, row, column]) == pytest.approx(5 + 0.1 * y - 0.07 * x + 0.3 * t, abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 2.35])
def test_a_point_stays_where_it_is_in_millimetres(scale: float) -> None:
    """By the image's own header: pixel n // 2 lies at its position, and the field of view is that of the frame."""
    (frame,) = frames(1)
    field = ramp_field(MATRIX[::-1], 1)
    y, x = torch.meshgrid(torch.arange(20), torch.arange(24), indexing="ij")
    field.grids[0].value[0, 0] = torch.exp(-((y - 6) ** 2 + (x - 15) ** 2) / 4.0)
    shape = SeriesQuery(scale).shape(MATRIX[::-1])
    image = image_for(frame, field(torch.tensor([0.0]), shape)[0].numpy(), 2, 0, matrix=shape[::-1])
    assert tuple(image.getHead().matrix_size) == (*shape[::-1], 1)
    assert list(image.field_of_view) == [*FOV]
    assert list(image.position) == [0, 0, 0]
    weight = np.abs(image.data[0, 0])
    for axis, expected in ((0, 12.5 * (6 - 10)), (1, 12.5 * (15 - 12))):
        n = weight.shape[axis]
        mm = (np.arange(n) - n // 2) * image.field_of_view[1 - axis] / n
        assert (weight.sum(1 - axis) * mm).sum() / weight.sum() == pytest.approx(expected, abs=0.5)


def test_an_image_of_neither_matrix_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"shape \(20, 24\); expected .* = \(\.\., 40, 48\), the matrix that was asked for$"
    ):
        image_for(frames(1)[0], np.ones((20, 24)), 2, 0, matrix=(48, 40))


# -- the gadget -----------------------------------------------------------------------------------------------------


def test_finer_images_have_their_matrix_and_time() -> None:
    images = list(gadget(matrix_scale=1.5, frame_scale=3)[0].process(frames()))
    assert len(images) == 3 * (N - 1) + 1
    for number, image in enumerate(images):
        assert image.data.shape == (1, 1, 30, 36)
        assert tuple(image.getHead().matrix_size) == (36, 30, 1)
        assert list(image.field_of_view) == [*FOV]
        assert (image.image_series_index, image.repetition, image.image_index) == (2, number, number + 1)
        # The middle of a frame's five readouts is the third.
        assert image.acquisition_time_stamp == round(1016 + 40 * number / 3)
        assert float(image.meta["inr_frame"]) == pytest.approx(number / 3, abs=1e-6)
        assert image.position[0] == number // 3
    assert [image.meta["inr_frame"] for image in images[:5]] == [0, "0.333333", "0.666667", 1, "1.333333"]


def test_finer_series_agree_where_the_measured_one_is() -> None:
    """The same training, looked at more closely: images of frames stay, and so do those in the middle of pixels."""
    plain, finer, larger = (
        series(list(gadget(**query)[0].process(frames()))) for query in ({}, {"frame_scale": 2}, {"matrix_scale": 2})
    )
    np.testing.assert_allclose(finer[::2], plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())
    np.testing.assert_allclose(larger[:, ::2, ::2], plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())
    neighbours = np.abs(plain[1:] - plain[:-1])
    assert (np.abs(finer[1::2] - plain[:-1]) < neighbours + 0.2 * neighbours.max()).all()


def test_the_last_frames_of_a_long_scan_keep_their_times() -> None:
    images = list(gadget(history_frames=3, frame_scale=2)[0].process(frames(6)))
    assert [float(image.meta["inr_frame"]) for image in images] == [3, 3.5, 4, 4.5, 5]
    assert [image.repetition for image in images] == [6, 7, 8, 9, 10]
    assert [image.acquisition_time_stamp for image in images] == [1136, 1156, 1176, 1196, 1216]


@pytest.mark.parametrize("query", [{"matrix_scale": 2}, {"frame_scale": 2}])
def test_a_draft_is_sent_as_it_is_and_no_success(monkeypatch: pytest.MonkeyPatch, query: dict[str, Any]) -> None:
    monkeypatch.setattr("inr_core.solvers.inr_trainer.InrTrainer.refine", lambda *_, **__: 1)
    arrived, made = list[Any](), gadget(refine_passes=50.0, **query)[0]
    with pytest.raises(
        DataError,
        match=r"^a refinement that ended before its field was trained; expected the field, for images between the "
        r"pixels or frames; the images sent are those of the measured ones; give it more recon.refine_seconds$",
    ):
        arrived.extend(made.process(frames()))
    assert [image.data.shape for image in arrived] == [(1, 1, 20, 24)] * N
    assert [image.meta["inr_frame"] for image in arrived] == list(range(N))


def test_a_single_frame_is_sent_and_no_success() -> None:
    arrived = list[Any]()
    with pytest.raises(
        DataError, match=r"^1 frames without a refined series; expected a series, for images between the pixels or"
    ):
        arrived.extend(gadget(matrix_scale=2)[0].process(frames(1)))
    assert [(image.image_series_index, image.data.shape) for image in arrived] == [(1, (1, 1, 20, 24))]


def test_a_series_of_another_matrix_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refine = InrMethod.refine
    monkeypatch.setattr(InrMethod, "refine", lambda *all: replace(refine(*all), query=SeriesQuery(2.0)))
    with pytest.raises(DataError, match=r"an image of shape \(20, 24\); expected .*, the matrix that was asked for"):
        list(gadget()[0].process(frames()))


def test_without_a_refined_series_nothing_can_be_finer() -> None:
    with pytest.raises(
        ParameterError,
        match=r"^recon.matrix_scale or frame_scale with recon.refine=false; expected a refined series, whose",
    ):
        ReconGadget.read_parameters({"matrix_scale": 2, "refine": "false"})


# -- report and pictures --------------------------------------------------------------------------------------------


def test_the_report_counts_images_and_misses_no_frame() -> None:
    images = list(gadget(frame_scale=3, offline=False)[0].process(frames()))
    scan = report_of(images).as_dict()["scan"]
    assert (scan["live_frames"], scan["refined_frames"], scan["dropped_frames"]) == (N, 3 * (N - 1) + 1, 0)


def test_a_film_lasts_as_long_as_the_scan_and_shows_series_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    with ImageWriter(path) as writer:
        for image in gadget(frame_scale=3, matrix_scale=2, offline=False)[0].process(frames()):
            writer.append(image)
    refined = load_movie(path, [2])
    assert refined.n_frames == 10
    assert refined.frame_ms == pytest.approx(100 / 3)
    both = load_movie(path)
    assert {name: images.shape for name, images in both.panels.items()} == {
        "live": (N, 20, 24),
        "refined": (N, 40, 48),
    }
    assert both.frame_ms == pytest.approx(100)
    np.testing.assert_array_equal(both.panels["refined"], refined.panels["refined"][::3])
    write_gif(tmp_path / "both.gif", both, zoom=1)
    assert both.size(1, 256) == (48, 40)


# -- stream and program ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("scan") / "scan.h5", matrix=24, frames=4, spokes=7, coils=3).scan


def test_the_stream_answers_as_the_file_does(scan: Path, tmp_path: Path) -> None:
    settings = {
        "recon.deterministic": "true",
        "recon.refine_passes": "2",
        "recon.device": "cpu",
        "recon.matrixScale": "1.5",
        "recon.frame_scale": "2",
    }
    with Server(port=0) as server:
        for name, address in (("file", None), ("wire", "127.0.0.1")):
            how = Replay(settings=settings, address=address, port=server.port)
            with ScanFile(scan) as opened:
                replay_to_file(how, opened, tmp_path / f"{name}.h5", on_text=lambda _: None)
    here, there = (read_series(tmp_path / f"{name}.h5", 2) for name in ("file", "wire"))
    np.testing.assert_array_equal(here[0], there[0])
    assert there[0].shape == (7, 1, 1, 36, 36)
    assert [float(meta["inr_frame"]) for meta in there[2]] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    stamps = [header.acquisition_time_stamp for header in there[1]]
    assert stamps == sorted(set(stamps))
    assert isinstance(there[1][0], ismrmrd.ImageHeader)


def test_the_program_takes_factors(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    words = ["reconstruct", str(scan), "-o", str(out), "--set", "recon.refine_passes=2", "--set", "recon.device=cpu"]
    result = run(app, [*words, "--matrix", "1.5x", "--frames", "3X"])
    assert result.exit_code == 0, result.stderr
    assert read_series(out, 2)[0].shape == (10, 1, 1, 36, 36)
    assert "10 refined" in result.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--matrix", "twice"], "--matrix twice; expected a factor; for example --matrix 2x"),
        (["--frames", "x"], "--frames x; expected a factor; for example --frames 2x"),
        (["--frames", "1.5x"], "recon.frame_scale = '1.5'; expected a whole number"),
        (["--matrix", "0.5x"], "recon.matrix_scale = '0.5'; expected a number from 1 to 8"),
        (["--matrix", "nanx"], "recon.matrix_scale = 'nan'; expected a number from 1 to 8"),
        (
            ["--matrix", "2x", "--set", "recon.MatrixScale=2"],
            "recon.MatrixScale given by --matrix and by --set; expected one of the two",
        ),
        (
            ["--method", "nufft", "--matrix", "2x"],
            "images between the pixels or frames of method nufft; expected one",
        ),
        (
            ["--method", "grasp", "--frames", "2"],
            "images between the pixels or frames of method grasp; expected one",
        ),
        (
            ["--method", "td_dip", "--matrix", "2"],
            "images between the pixels or frames of method td_dip; expected one",
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_work(scan: Path, tmp_path: Path, words: list[str], line: str) -> None:
    result = run(app, ["reconstruct", str(scan), "-o", str(tmp_path / "out.h5"), *words])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"inr-recon: {line}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
