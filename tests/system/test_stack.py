"""A stack of stars through a whole replay: the images are those of its slices, each where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inr_core.metrics import fit_scale
from inr_gadgets.check import check_scan
from inr_gadgets.export.pictures import load_movie
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from scans import header_xml, readout

N, P, FRAMES, SPOKES, COILS = 40, 4, 3, 21, 4


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stack") / "scan.h5"
    sizes = {"matrix": N, "frames": FRAMES, "spokes": SPOKES, "coils": COILS, "partitions": P, "slice_mm": 12.0}
    # In 3.8 s of 20 the agent comes as far as the arteries.
    return simulate(path, phantom="dce", contrast_s=20, **sizes).scan


def replay(scan: Path, method: str, **settings: str) -> Path:
    output = scan.with_name(f"{scan.stem}_{method}.h5")
    output.unlink(missing_ok=True)
    given = {f"recon.{name}": value for name, value in settings.items()}
    how = Replay(
        settings={"recon.method": method, "recon.deterministic": "true", "recon.device": "cpu", "image.scale": "1"}
        | given
    )
    with ScanFile(scan) as opened:
        replay_to_file(how, opened, output, on_text=lambda line: None)
    return output


@pytest.fixture(scope="module")
def images(scan: Path) -> Path:
    return replay(scan, "inr", refine_passes="40")


@pytest.mark.parametrize("series", [1, 2])
def test_every_slice_lies_where_it_was(images: Path, series: int) -> None:
    data, headers, attributes = read_series(images, series)
    assert len(data) == P * FRAMES
    assert {(h.slice, h.repetition) for h in headers} == {(z, t) for z in range(P) for t in range(FRAMES)}
    for header, meta in zip(headers, attributes, strict=True):
        assert list(header.position) == pytest.approx([10, -20, 30 + 12 * (header.slice - P // 2)])
        assert list(header.field_of_view) == pytest.approx([380, 380, 12])
        assert list(header.matrix_size) == [N, N, 1]
        assert (int(meta["inr_group"]), int(meta["inr_frame"])) == (header.slice, header.repetition)
        # The middle spoke's partition at kz = 0: 15 ms from readout to readout, 2.5 ms a tick.
        middle = SPOKES * header.repetition + SPOKES // 2
        assert header.acquisition_time_stamp == round((60 * middle + 15 * (P // 2)) / 2.5)


@pytest.mark.parametrize("series", [1, 2])
def test_the_slices_show_the_truth(scan: Path, images: Path, series: int) -> None:
    truth = np.abs(np.load(scan.with_suffix(".truth.npz"))["truth"]).swapaxes(-1, -2)
    data, headers, _ = read_series(images, series)
    found = np.empty_like(truth)
    for image, header in zip(data[:, 0, 0], headers, strict=True):
        found[header.repetition, header.slice] = image
    found *= fit_scale(found, truth)
    inside = [1, 2, 3]  # slice 0 lies beyond the excited slab
    for number in inside:
        errors = [np.linalg.norm(found[:, number] - truth[:, other]) for other in inside]
        assert errors.index(min(errors)) == inside.index(number)
        assert min(errors) < 0.3 * np.linalg.norm(truth[:, number])


@pytest.mark.parametrize("method", ["nufft", "cg_sense"])
def test_the_images_are_those_of_the_slices_alone(scan: Path, method: str) -> None:
    together, headers, _ = read_series(replay(scan, method), 1)
    with ScanFile(scan) as opened:
        items = list(opened.acquisitions())
    data = np.stack([item.data for item in items]).reshape(-1, P, COILS, 2 * N).astype(np.complex128)
    numbers = np.arange(P) - P // 2
    for z in (1, 2):
        turns = np.exp(2j * np.pi * numbers * (z - P // 2) / P) / np.sqrt(P)
        plane = np.einsum("p,spck->sck", turns, data).astype(np.complex64)
        path = scan.with_name(f"slice_{z}.h5")
        xml = header_xml(matrix=(N, N, 1), encoded=(2 * N, N, 1), fov=(380, 380, 12), encoded_fov=(760, 380, 12))
        with ScanWriter(path, xml.encode(), overwrite=True) as writer:
            for number, samples in enumerate(plane):
                place = {"repetition": number // SPOKES, "kspace_encode_step_1": number % SPOKES}
                writer.append(readout(number, data=samples, trajectory=items[P * number].traj, **place))
        alone, _, _ = read_series(replay(path, method), 1)
        mine = np.stack([image for image, header in zip(together, headers, strict=True) if header.slice == z])
        np.testing.assert_allclose(mine, alone, atol=1e-4 * float(alone.max()))


def test_whole_numbers_are_scaled_by_the_middle_slice(scan: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    with ScanFile(scan) as opened:
        how = Replay(settings={"recon.method": "nufft", "image.dtype": "uint16"})
        replay_to_file(how, opened, tmp_path / "whole.h5", on_text=lines.append)
    images, headers, _ = read_series(tmp_path / "whole.h5", 1)
    assert headers[0].slice == P // 2
    assert np.percentile(images[0], 99.5) == pytest.approx(1000, rel=0.01)
    assert not any("clipped" in line for line in lines)


def test_pictures_of_the_slices_stand_in_their_order(images: Path) -> None:
    assert list(load_movie(images, [1]).panels) == [f"live slice {z}" for z in range(P)]


def test_over_the_wire_the_images_are_the_same(scan: Path, tmp_path: Path) -> None:
    settings = {"recon.method": "nufft", "recon.device": "cpu", "image.scale": "1"}
    with Server(port=0) as server, ScanFile(scan) as opened:
        how = Replay(settings=settings, address="127.0.0.1", port=server.port, pace="scan", speed=100.0)
        report = replay_to_file(how, opened, tmp_path / "wire.h5", on_text=lambda line: None).as_dict()
    assert (report["scan"]["live_frames"], report["scan"]["dropped_frames"]) == (P * FRAMES, 0)
    wire, headers, _ = read_series(tmp_path / "wire.h5", 1)
    alone, same, _ = read_series(replay(scan, "nufft"), 1)
    assert [(h.slice, h.repetition) for h in headers] == [(h.slice, h.repetition) for h in same]
    np.testing.assert_allclose(wire, alone, atol=1e-5 * float(alone.max()))


def test_check_says_what_will_happen(scan: Path, tmp_path: Path) -> None:
    result = check_scan(scan, "nufft", {})
    assert result.can_run
    assert "partitions 0 to 3 with kz = 0 at 2, Fourier transform along them into 4 slices of 12 mm" in result.lines[2]
    assert "imaged one by one" in check_scan(scan, "nufft", {"buffer.partitions": "single"}).lines[2]
    with ScanFile(scan) as opened, ScanWriter(tmp_path / "gap.h5", opened.header_xml) as writer:
        for item in opened.acquisitions():
            if item.idx.kspace_encode_step_2 != 1:
                writer.append(item)
    (problem,) = check_scan(tmp_path / "gap.h5", "nufft", {}).problems
    assert problem.startswith("partition 1 of a stack of stars did not come within 63 spokes; expected every partition")
