"""Pictures: one grey scale, the right rate, names, and the figure of the demonstration."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
from PIL import Image

from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.demo_figure import key_moments, load_demo, write_demo_figure, write_demo_gif
from inr_gadgets.export.pictures import Movie, load_movie, write_contact_sheet, write_gif, write_mp4
from inr_gadgets.image_file import ImageWriter

LABEL = 22  # rows of the label above a panel


def disc(frames: int = 6, shape: tuple[int, int] = (20, 24)) -> np.ndarray:
    """A disc that grows and shrinks, (frames, y, x), brightest 1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = 5 + 2 * np.sin(np.arange(frames) * 2 * np.pi / frames + 0.2)  # no two alike
    return np.clip(radius[:, None, None] - np.hypot(x - 12, y - 8) + 0.5, 0, 1)


def write_series(path: Path, series: int, images: np.ndarray, tick: float = 16, skip: int = -1, **fields: Any) -> None:
    with ImageWriter(path, f"run {series}" if fields.pop("own_group", False) else None) as writer:
        append_series(writer, series, images, tick, skip, **fields)


def append_series(
    writer: ImageWriter,
    series: int,
    images: np.ndarray,
    tick: float = 16,
    skip: int = -1,
    group: int | None = None,
    **fields: Any,
) -> None:
    for i, image in enumerate(images):
        if i == skip:
            continue
        stored = ismrmrd.Image.from_array(
            image.astype(np.float32),
            transpose=False,
            image_series_index=series,
            image_index=i + 1,
            repetition=i,
            acquisition_time_stamp=round(1000 + i * tick),
            **fields,
        )
        stored.meta = {"inr_frame": str(i), "inr_latency_ms": str(20 + i)}
        if group is not None:
            stored.meta["inr_group"] = str(group)
        writer.append(stored)


def png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def gif_frames(path: Path) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        frames, durations = [], []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L")))
            durations.append(gif.info["duration"])
    return frames, durations


def test_movie_of_both_series(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5") as writer:
        append_series(writer, 1, disc(), skip=2)
        append_series(writer, 2, 0.5 * disc())
    movie = load_movie(tmp_path / "out.h5")
    assert list(movie.panels) == ["live", "refined"]
    # Frame 2 is missing in one of the two: left out of both, so that they stay in step.
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(movie.panels["live"], disc()[kept], rtol=1e-6)
    np.testing.assert_allclose(movie.panels["refined"], 0.5 * disc()[kept], rtol=1e-6)
    assert movie.frame_ms == 40
    assert list(load_movie(tmp_path / "out.h5", [2]).panels) == ["refined"]
    assert load_movie(tmp_path / "out.h5", frame_ms=55).frame_ms == 55


def test_frame_time_is_that_of_the_whole_series(tmp_path: Path) -> None:
    # One tick is 2.5 ms: single differences of 39 ms frames are 37.5 or 40.
    write_series(tmp_path / "out.h5", 1, disc(101), tick=15.6)
    assert load_movie(tmp_path / "out.h5").frame_ms == 39


def test_slices_are_panels_of_their_own(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5") as writer:
        for plane in (0, 1):
            append_series(writer, 1, (1 + plane) * disc(), slice=plane)
    movie = load_movie(tmp_path / "out.h5")
    assert list(movie.panels) == ["live slice 0", "live slice 1"]
    np.testing.assert_allclose(movie.panels["live slice 1"], 2 * disc(), rtol=1e-6)


def test_volumes_are_panels_of_their_planes(tmp_path: Path) -> None:
    volumes = np.stack([disc(), 2 * disc(), 3 * disc()], axis=1)[:, None]  # (frames, 1, z, y, x)
    write_series(tmp_path / "out.h5", 1, volumes)
    movie = load_movie(tmp_path / "out.h5")
    assert list(movie.panels) == ["live z 0", "live z 1", "live z 2"]
    np.testing.assert_allclose(movie.panels["live z 2"], 3 * disc(), rtol=1e-6)


def test_phases_of_a_gated_cine_are_its_frames(tmp_path: Path) -> None:
    """As Gadgetron numbers them: every image is of repetition 0, and time is that since the trigger."""
    images = []
    for phase, image in enumerate(disc()):
        head = ismrmrd.Image.from_array(image.astype(np.uint16), transpose=False, image_series_index=1, phase=phase)
        head.physiology_time_stamp[0] = 10 + 12 * phase
        images.append(head)
    with ImageWriter(tmp_path / "out.h5") as writer:
        for image in images:
            writer.append(image)
    movie = load_movie(tmp_path / "out.h5")
    assert (movie.n_frames, movie.frame_ms) == (6, 30)


def test_slices_are_a_montage(tmp_path: Path) -> None:
    bright = np.stack([np.full((3, 10, 12), value) for value in (1, 0.5)])
    names = {f"slice {i}": bright[i % 2] for i in range(5)}
    write_gif(tmp_path / "a.gif", Movie(names, 40, columns=3), white=1, zoom=2)
    frame = gif_frames(tmp_path / "a.gif")[0][0]
    assert frame.shape == (2 * (20 + LABEL) + 4, 3 * 24 + 2 * 4)
    rows = frame[LABEL:][:20], frame[20 + 2 * LABEL + 4 :]
    assert [[int(row[10, 12 + 28 * i]) for i in range(3)] for row in rows] == [[255, 128, 255], [128, 255, 0]]


@pytest.mark.parametrize(("slices", "series", "columns"), [(2, 2, 4), (3, 2, 3), (9, 1, 4), (1, 1, 1)])
def test_series_are_rows_of_slices(tmp_path: Path, slices: int, series: int, columns: int) -> None:
    with ImageWriter(tmp_path / "out.h5") as writer:
        for index in range(1, series + 1):
            for plane in range(slices):
                append_series(writer, index, disc(2), slice=plane)
    assert load_movie(tmp_path / "out.h5").columns == columns


def test_averages_do_not_replace_each_other(tmp_path: Path) -> None:
    with ImageWriter(tmp_path / "out.h5") as writer:
        for group in (0, 1):
            append_series(writer, 1, (1 + group) * disc(), group=group)
    movie = load_movie(tmp_path / "out.h5")
    assert list(movie.panels) == ["live group 0", "live group 1"]
    np.testing.assert_allclose(movie.panels["live group 1"], 2 * disc(), rtol=1e-6)


def test_fewer_greys_are_a_smaller_gif(tmp_path: Path) -> None:
    movie = Movie({"noise": np.random.default_rng(0).random((4, 24, 24))}, 40)
    for greys in (256, 4):
        write_gif(tmp_path / f"{greys}.gif", movie, white=1, zoom=1, greys=greys)
    frames, _ = gif_frames(tmp_path / "4.gif")
    assert set(np.unique(frames[0])) == {0, 85, 170, 255}
    np.testing.assert_allclose(frames[0][LABEL:], 255 * movie.panels["noise"][0], atol=43)
    assert (tmp_path / "4.gif").stat().st_size < (tmp_path / "256.gif").stat().st_size / 2


def test_another_series_is_shown_if_there_is_no_other(tmp_path: Path) -> None:
    write_series(tmp_path / "out.h5", 7, disc())
    assert list(load_movie(tmp_path / "out.h5").panels) == ["series 7"]


def test_gif_is_upright_labelled_and_on_one_scale(tmp_path: Path) -> None:
    bright = disc()
    movie = Movie({"live": bright, "refined": 0.5 * bright}, 40)
    write_gif(tmp_path / "a.gif", movie, white=1, zoom=3)
    frames, durations = gif_frames(tmp_path / "a.gif")
    assert len(frames) == 6
    assert durations == [40] * 6
    assert frames[0].shape == (60 + LABEL, 2 * 72 + 4)
    for i, frame in enumerate(frames):
        left, right = frame[LABEL:, :72], frame[LABEL:, 76:]
        np.testing.assert_allclose(left[1::3, 1::3], 255 * bright[i], atol=3)
        np.testing.assert_allclose(right[1::3, 1::3], 127.5 * bright[i], atol=3)
        assert frame[:LABEL, :60].max() > 200  # the name
        assert frame[:LABEL, 76:140].max() > 200


def test_gif_keeps_the_rate(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", Movie({"live": disc(20)}, 39), zoom=1)
    assert sum(gif_frames(tmp_path / "a.gif")[1]) == 780
    # 8 ms a frame is more than a GIF can: every third frame, the whole still in 160 ms.
    write_gif(tmp_path / "b.gif", Movie({"live": disc(20)}, 8), zoom=1)
    frames, durations = gif_frames(tmp_path / "b.gif")
    assert len(frames) == 7
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(168, abs=5)


def test_automatic_white_and_zoom(tmp_path: Path) -> None:
    images = 1000 * disc()
    images[0, 0, 0] = np.nan
    write_gif(tmp_path / "a.gif", Movie({"live": images}, 40), smooth=True)
    frames, _ = gif_frames(tmp_path / "a.gif")
    assert frames[0].shape == (LABEL + 11 * 20, 11 * 24)
    assert frames[0][LABEL:].max() > 250
    assert frames[0][LABEL, 0] == 0


def test_contact_sheet(tmp_path: Path) -> None:
    write_contact_sheet(
        tmp_path / "a.png", Movie({"live": disc(9), "refined": disc(9)}, 40), columns=3, zoom=2, white=1
    )
    sheet = png(tmp_path / "a.png")
    assert sheet.shape == (2 * (40 + LABEL + 4), 3 * 48 + 2 * 4)
    for column, frame in enumerate((0, 4, 8)):
        tile = sheet[LABEL : LABEL + 40 : 2, column * 52 : column * 52 + 48 : 2]
        np.testing.assert_allclose(tile, 255 * disc(9)[frame], atol=1)


def test_mp4_is_given_even_frames_at_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, Any] = {"frames": []}

    def write_frames(path: str, size: tuple[int, int], **options: Any) -> Any:
        calls.update(path=path, size=size, **options)
        while True:
            calls["frames"].append((yield))

    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(write_frames=write_frames))
    write_mp4(tmp_path / "a.mp4", Movie({"live": disc(5, (21, 25))}, 50), zoom=1, white=1, seconds=0.6)
    assert calls["size"] == (26, 22 + LABEL)
    assert calls["fps"] == 20
    assert {frame.shape for frame in calls["frames"]} == {(22 + LABEL, 26)}
    assert len(calls["frames"]) == 15  # the loop of 250 ms three times


def test_a_real_film(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    write_mp4(tmp_path / "a.mp4", Movie({"live": disc(5, (21, 25))}, 50), zoom=4, white=1, seconds=1)
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "a.mp4") == (20, 1.0)  # the loop of 250 ms four times
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / "a.mp4", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(words, capture_output=True, check=True, timeout=120).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(20, 84 + LABEL, 100)
    np.testing.assert_allclose(shown[7, LABEL + 2 :: 4, 2::4], 255 * disc(5, (21, 25))[2], atol=40)


@pytest.mark.parametrize(
    ("module", "write", "extra"),
    [
        ("imageio_ffmpeg", write_mp4, r"MP4 needs imageio-ffmpeg .*; expected the extra 'video'; pip install"),
        ("imageio.v3", write_gif, r"pictures need imageio .*; expected the extra 'pictures'; pip install 'inr-recon"),
        ("PIL", write_contact_sheet, r"pictures need Pillow .*; expected the extra 'pictures'"),
    ],
)
def test_missing_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, write: Any, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=extra):
        write(tmp_path / "a", Movie({"live": disc()}, 40))


def test_refuses(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"panels of shapes .*; expected one or more series \(frames, y, x\) of as many frames each"
    ):
        Movie({"a": disc(3), "b": disc(4)}, 40)
    with pytest.raises(DataError, match=r"panels without a frame; expected at least one frame"):
        Movie({"a": disc(0)}, 40)
    with pytest.raises(ParameterError, match=r"a frame of 0 ms; expected more than 0 ms"):
        Movie({"a": disc()}, 0)
    with pytest.raises(ParameterError, match=r"a GIF of 1 grey levels; expected 2 to 256"):
        write_gif(tmp_path / "a.gif", Movie({"a": disc()}, 40), greys=1)
    with pytest.raises(DataError, match=r"a.gif cannot be written; expected a folder that exists; make it first"):
        write_gif(tmp_path / "no" / "a.gif", Movie({"a": disc()}, 40))
    with pytest.raises(DataError, match=r"a.png cannot be written \(.*Is a directory"):
        (tmp_path / "a.png").mkdir()
        write_contact_sheet(tmp_path / "a.png", Movie({"a": disc()}, 40))
    with pytest.raises(ParameterError, match=r"a contact sheet of 0 columns; expected at least 1"):
        write_contact_sheet(tmp_path / "b.png", Movie({"a": disc()}, 40), columns=0)


def test_refuses_files(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    write_series(path, 1, disc(), tick=0)
    with pytest.raises(
        DataError, match=r"time stamps of .*out.h5 do not grow; expected 2.5 ms ticks .*; say how many ms"
    ):
        load_movie(path)
    assert load_movie(path, frame_ms=30).frame_ms == 30
    with pytest.raises(DataError, match=r"has no series 2; expected one of: 1"):
        load_movie(path, [2])
    with pytest.raises(DataError, match=r"has no group 'x'"):
        load_movie(path, group="x")
    motion = tmp_path / "motion.h5"
    write_series(motion, 3, np.zeros((2, 3, 1, 4, 4)))
    with pytest.raises(DataError, match=r"series 3 of .* \(channels, z, y, x\) = \(3, 1, 4, 4\); expected one channel"):
        load_movie(motion, [3])
    with ImageWriter(tmp_path / "apart.h5") as writer:
        append_series(writer, 1, disc(2), skip=0)
        append_series(writer, 2, disc(2), skip=1)
    with pytest.raises(
        DataError, match=r"the series live, refined of .* have no frame in common; expected series of one scan"
    ):
        load_movie(tmp_path / "apart.h5")


@pytest.fixture
def demo_files(tmp_path: Path) -> tuple[Path, Path]:
    truth = disc(8)
    with ImageWriter(tmp_path / "out.h5") as writer:
        append_series(writer, 1, 3 * truth + 0.1)
        append_series(writer, 2, 3 * truth)
    times = 40.0 * np.arange(8)
    np.savez(tmp_path / "scan.truth.npz", truth=truth.transpose(0, 2, 1), times_ms=times)
    return tmp_path / "out.h5", tmp_path / "scan.truth.npz"


def test_demo(tmp_path: Path, demo_files: tuple[Path, Path]) -> None:
    demo = load_demo(*demo_files, extra={"gridding": disc(8) + 0.3})
    assert list(demo.panels) == ["gridding", "live", "refined"]
    np.testing.assert_allclose(demo.panels["refined"], demo.truth, atol=1e-6)
    np.testing.assert_allclose(demo.latency_ms, 20 + np.arange(8))
    assert demo.frame_ms == 40
    assert [row["series"] for row in demo.rows] == ["gridding", "live", "refined"]
    assert demo.rows[0]["psnr"] < demo.rows[1]["psnr"] < demo.rows[2]["psnr"]
    write_demo_gif(tmp_path / "demo.gif", demo, zoom=2)
    frames, durations = gif_frames(tmp_path / "demo.gif")
    assert durations == [40] * 8
    np.testing.assert_array_equal(frames[3][LABEL:, -48:], frames[3][LABEL:, -48 - 52 : -52])  # truth and refined
    write_demo_figure(tmp_path / "demo.png", demo)
    height, width = png(tmp_path / "demo.png").shape[:2]
    assert (width, height) == (4 * 2.75 * 110, pytest.approx(13.6 * 110, abs=1))


def test_key_moments() -> None:
    radius = np.array([5, 3, 5, 5, 5, 4.6, 4, 4, 4.9, 5.5, 6, 6])
    y, x = np.mgrid[-12:12, -12:12]
    truth = (np.hypot(y, x)[None] < radius[:, None, None]).astype(np.float64)
    # Neither the smallest heart nor the fastest change of the first quarter.
    assert key_moments(truth) == {"systole": 6, "fastest motion": 8}


def test_demo_without_refinement_or_latency(tmp_path: Path, demo_files: tuple[Path, Path]) -> None:
    with ImageWriter(tmp_path / "live.h5") as writer:
        for i, image in enumerate(disc(8)):
            stored = ismrmrd.Image.from_array(
                image.astype(np.complex64), transpose=False, image_series_index=1, repetition=i
            )
            writer.append(stored)
    demo = load_demo(tmp_path / "live.h5", demo_files[1])
    assert list(demo.panels) == ["live"]
    assert np.isnan(demo.latency_ms).all()
    write_demo_figure(tmp_path / "demo.png", demo)
    figure = png(tmp_path / "demo.png")
    assert figure.shape[1] == 2 * 2.75 * 110
    # No latency: the PSNR has the whole width, so its lower frame goes through where the gap would be.
    lines = (figure[-int(0.1 * len(figure)) :, :, :3] == 0).all(axis=2)
    assert lines[:, 275:330].all(axis=1).any()


def test_demo_refuses(tmp_path: Path, demo_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    images, truth = demo_files
    with pytest.raises(
        DataError, match=r"the series 'gridding' is \(3, 20, 24\); expected the truth's .* = \(8, 20, 24\)"
    ):
        load_demo(images, truth, {"gridding": disc(3)})
    with pytest.raises(DataError, match=r"none.npz is not there; expected the .truth.npz beside a simulated scan"):
        load_demo(images, tmp_path / "none.npz")
    np.savez(tmp_path / "bare.npz", truth=disc(8))
    with pytest.raises(DataError, match=r"bare.npz does not say when its frames are; expected 'times_ms'"):
        load_demo(images, tmp_path / "bare.npz")
    (tmp_path / "bad.npz").write_text("text")
    with pytest.raises(DataError, match=r"bad.npz cannot be read .*; expected 'truth' \(frames, x, y\)"):
        load_demo(images, tmp_path / "bad.npz")
    with pytest.raises(DataError, match=r"none.h5 is not there"):
        load_demo(tmp_path / "none.h5", truth)
    demo = load_demo(images, truth)
    with pytest.raises(DataError, match=r"demo.png cannot be written \(.*No such file"):
        write_demo_figure(tmp_path / "no" / "demo.png", demo)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingDependencyError, match=r"the figure needs matplotlib .*; pip install 'inr-recon\[pictures\]'"
    ):
        write_demo_figure(tmp_path / "demo.png", demo)
