"""Our gadgets in the real Gadgetron, sent to by its real client; skips, saying why, where they are not installed.

Needs ``$GADGETRON_HOME`` and the programs ``gadgetron`` and ``gadgetron_ismrmrd_client`` there or on the PATH. The
configurations are sent as text, so that nothing needs to be installed in that prefix.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from typer.testing import CliRunner

import gadgetron_server as real
import gadgetron_stand_in as stand_in
from gadgetron_server import Gadgetron, configuration, connect, execute, native
from inr_gadgets.cli import app
from inr_gadgets.coordinates import PixelPositions
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.serving.worker import Worker
from inr_gadgets.simulate import simulate
from inr_gadgets.wire.wire_format import serialise

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(real.missing()), reason=real.missing() or "it is here")]

FRAMES, SPOKES = 4, 13
EXACT = {"deterministic": "true", "refine_passes": "3"}  # of recon
SAME = 1e-4


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gadgetron")
    return simulate(
        folder / "scan.h5", matrix=32, frames=FRAMES, spokes=SPOKES, coils=4, noise_scan=True, ecg=True
    ).scan


@pytest.fixture(scope="module")
def gadgetron(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gadgetron]:
    with real.running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def worker() -> Iterator[int]:
    with Worker(port=0) as ours:
        yield ours.port


@pytest.fixture(scope="module")
def expected(scan: Path) -> dict[int, np.ndarray]:
    """Both series by our own chain, in this process."""
    output = scan.with_name("replay.h5")
    settings = {f"recon.{name}": value for name, value in EXACT.items()}
    with ScanFile(scan) as file:
        replay_to_file(Replay(settings=settings), file, output, on_text=lambda line: None)
    return {series: read_series(output, series)[0] for series in (1, 2)}


def send(gadgetron: Gadgetron, scan: Path, folder: Path, text: str) -> tuple[str, Path]:
    config, output = folder / "config.xml", folder / "out.h5"
    config.write_text(text)
    return gadgetron.send(scan, output, "-C", str(config)), output


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, relative to the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def all_three(form: str, worker: int) -> list[str]:
    parameters = {"buffer": {}, "recon": EXACT, "image": {}}
    if form == "execute":
        return [execute(gadget, **values) for gadget, values in parameters.items()]
    return [connect(gadget, worker, **values) for gadget, values in parameters.items()]


@pytest.mark.parametrize("form", ["execute", "connect"])
def test_three_gadgets_give_what_replay_gives(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path, form: str
) -> None:
    said, output = send(gadgetron, scan, tmp_path, configuration(all_three(form, worker)))
    assert "ERROR" not in said
    for series, images in expected.items():
        assert difference(read_series(output, series, "g")[0], images) <= SAME


@pytest.mark.parametrize("form", ["execute", "connect"])
def test_heart_and_breath_cross_its_links(
    gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path, form: str
) -> None:
    """Waveforms are handed on from gadget to gadget as messages of their own: ReconData has no room for them."""
    _, output = send(gadgetron, scan, tmp_path, configuration(all_three(form, worker)))
    for series in (1, 2):
        _, headers, meta = read_series(output, series, "g")
        for header, attributes in zip(headers, meta, strict=True):
            since_ms = float(attributes["inr_trigger_ms"])
            assert since_ms == pytest.approx(2.5 * header.physiology_time_stamp[0], abs=5)
            assert float(attributes["TriggerTime"]) == 2.5 * header.physiology_time_stamp[0]
            assert {"inr_ecg", "inr_respiration"} <= set(attributes)
            assert attributes["GADGETRON_ImageNumber"] == str(header.image_index)


def ours(scan: Path, nodes: list[str], folder: Path) -> np.ndarray:
    """Series 1 of a chain of our own gadgets, in this process."""
    config, output = folder / "ours.xml", folder / "ours.h5"
    config.write_text(configuration(nodes))
    with ScanFile(scan) as file:
        replay_to_file(Replay(config=config), file, output, on_text=lambda line: None)
    return read_series(output, 1)[0]


def test_our_own_server_gives_the_same(
    scan: Path, expected: dict[int, np.ndarray], gadgetron: Gadgetron, tmp_path: Path
) -> None:
    """The same client, the same configuration."""
    with Server(port=0, overrides={f"recon.{name}": value for name, value in EXACT.items()}) as server:
        output = tmp_path / "out.h5"
        Gadgetron(server.port, gadgetron.log).send(scan, output, "-c", "inr_dynamic.xml")
    for series, images in expected.items():
        assert difference(read_series(output, series, "g")[0], images) <= SAME


def test_our_own_client(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path
) -> None:
    """``inr-recon replay --address`` sends to the real Gadgetron as well."""
    config, output = tmp_path / "config.xml", tmp_path / "out.h5"
    config.write_text(configuration(all_three("connect", worker)))
    how = Replay(config=config, address="127.0.0.1", port=gadgetron.port)
    with ScanFile(scan) as file:
        replay_to_file(how, file, output, on_text=lambda line: None)
    for series, images in expected.items():
        assert difference(read_series(output, series)[0], images) <= SAME


def test_forms_mixed(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path
) -> None:
    nodes = [execute("buffer"), connect("recon", worker, **EXACT), execute("image")]
    _, output = send(gadgetron, scan, tmp_path, configuration(nodes))
    for series, images in expected.items():
        assert difference(read_series(output, series, "g")[0], images) <= SAME


@pytest.mark.parametrize("form", ["execute", "connect"])
def test_the_buffer_alone(
    gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames have no writer to the client: they end in Gadgetron, without an error."""
    node = execute("buffer") if form == "execute" else connect("buffer", worker)
    with caplog.at_level("INFO"):
        said, _ = send(gadgetron, scan, tmp_path, configuration([node]))
    assert "ERROR" not in said
    assert "buffer: 4 frames of 52 spokes" in (gadgetron.log.read_text() if form == "execute" else caplog.text)


GATHER = [
    native("AcquisitionAccumulateTrigger", trigger_dimension="repetition", sorting_dimension="slice"),
    native("BucketToBuffer"),
]


@pytest.mark.parametrize("form", ["execute", "connect"])
def test_recon_alone_after_gadgetron_s_own_buffer(
    gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path, form: str
) -> None:
    """With waveforms in the buckets; complex images go to the client."""
    node = execute("recon", **EXACT) if form == "execute" else connect("recon", worker, **EXACT)
    said, output = send(gadgetron, scan, tmp_path, configuration([*GATHER, node]))
    assert "ERROR" not in said
    found = read_series(output, 1, "g")[0]
    wanted = ours(scan, [execute("buffer", whiten="off", delays="off"), execute("recon", **EXACT)], tmp_path)
    assert difference(found, wanted) <= SAME


def test_slices_that_gadgetron_has_gathered(gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path) -> None:
    """Two, spoke by spoke in turn; the second is half as bright."""
    both = tmp_path / "slices.h5"
    with ScanFile(scan) as file, contextlib.closing(ScanWriter(both, file.header_xml)) as writer:
        spokes = [one for one in file if isinstance(one, ismrmrd.Acquisition) and one.trajectory_dimensions]
        for one, number in itertools.product(spokes, (0, 1)):
            head = one.getHead()
            head.idx.slice, head.scan_counter = number, 2 * head.scan_counter + number
            head.position[2] += 10 * number
            writer.append(ismrmrd.Acquisition(head, one.data / np.float32(1 + number), one.traj))
    nodes = [*GATHER, connect("recon", worker, **EXACT, refine="false")]
    said, output = send(gadgetron, both, tmp_path, configuration(nodes))
    assert "ERROR" not in said
    found, headers, _ = read_series(output, 1, "g")
    assert [head.slice for head in headers] == [0, 1] * FRAMES
    nodes = [execute("buffer", delays="off"), execute("recon", **EXACT, refine="false")]
    assert difference(found, ours(both, nodes, tmp_path)) <= SAME


def test_buckets_before_our_buffer(gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path) -> None:
    nodes = [GATHER[0], *all_three("connect", worker)]
    _, output = send(gadgetron, scan, tmp_path, configuration(nodes))
    wanted = ours(scan, [execute("buffer", whiten="off"), execute("recon", **EXACT), execute("image")], tmp_path)
    assert difference(read_series(output, 1, "g")[0], wanted) <= SAME


def test_float_to_ushort_after_our_images(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path
) -> None:
    _, output = send(gadgetron, scan, tmp_path, configuration([*all_three("connect", worker), native("FloatToUShort")]))
    for series, images in expected.items():
        found = read_series(output, series, "g")[0]
        assert found.dtype == np.uint16
        assert np.abs(found - np.clip(np.rint(images), 0, 4095)).max() <= 1


def test_what_its_own_gadgets_finished_is_exported(
    gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path
) -> None:
    """Complex images of ours, magnitude, scale and whole numbers of Gadgetron's; its file does not name the patient."""
    pydicom = pytest.importorskip("pydicom")
    nodes = [*all_three("connect", worker)[:2], *map(native, ("Extract", "AutoScale", "FloatToUShort"))]
    _, output = send(gadgetron, scan, tmp_path, configuration(nodes))
    folder = tmp_path / "dicom"
    words = ["export", output, "--dicom", folder, "--scan", scan, "--series", 1, "--png", tmp_path / "sheet.png"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    images, headers, _ = read_series(output, 1, "g")
    for frame, header in enumerate(headers):
        data = pydicom.dcmread(folder / "series_1" / f"image_{frame + 1:05d}.dcm")
        np.testing.assert_array_equal(data.pixel_array, images[frame, 0, 0])
        expected = PixelPositions.of(header).at(0, 0)
        np.testing.assert_allclose(np.array(data.ImagePositionPatient, float), expected, atol=1e-3)
        assert (data.SeriesDescription, data.TemporalPositionIdentifier) == ("simulated cine INR series 1", frame + 1)


@pytest.mark.parametrize("dtype", ["complex64", "int16"])
def test_the_mri_core_s_reader_of_images(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path, dtype: str
) -> None:
    """Only that one reads int16. A node's own readers are all that it has, so waveforms need theirs."""
    node = connect("image", worker, dtype=dtype)
    names = {"gadgetron_mricore": "MRIImageReader", "gadgetron_core_readers": "WaveformReader"}
    inner = "".join(f"<reader><dll>{dll}</dll><classname>{name}</classname></reader>" for dll, name in names.items())
    nodes = [*all_three("connect", worker)[:2], node.replace("<external>", f"<external><readers>{inner}</readers>")]
    _, output = send(gadgetron, scan, tmp_path, configuration(nodes))
    found = read_series(output, 1, "g")[0]
    assert found.dtype == dtype
    if dtype == "int16":
        assert np.abs(found - np.clip(np.rint(expected[1]), 0, 4095)).max() <= 1
    else:
        assert difference(np.abs(found), expected[1]) <= SAME


def test_removed_oversampling(gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path) -> None:
    """It leaves embedded trajectories too long, which is recognised."""
    nodes = [native("RemoveROOversampling"), *all_three("connect", worker)]
    said, _ = send(gadgetron, scan, tmp_path, configuration(nodes))
    assert "RemoveROOversampling, which does not crop trajectories" in said


def test_removed_oversampling_without_a_trajectory(gadgetron: Gadgetron, worker: int, tmp_path: Path) -> None:
    bare = simulate(tmp_path / "bare.h5", matrix=32, frames=FRAMES, spokes=SPOKES, coils=4, trajectory="none").scan
    said, output = send(
        gadgetron, bare, tmp_path, configuration([native("RemoveROOversampling"), *all_three("connect", worker)])
    )
    assert "ERROR" not in said
    found = read_series(output, 1, "g")[0]
    wanted = ours(bare, all_three("connect", worker), tmp_path)
    assert float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)) < 0.15


def _one(form: str, worker: int, gadget: str, **values: object) -> str:
    return execute(gadget, **values) if form == "execute" else connect(gadget, worker, **values)


@pytest.mark.parametrize("form", ["execute", "connect"])
def test_errors_reach_the_client(gadgetron: Gadgetron, worker: int, scan: Path, tmp_path: Path, form: str) -> None:
    nodes = [_one(form, worker, "buffer"), _one(form, worker, "recon", virtual_coils="many")]
    said, _ = send(gadgetron, scan, tmp_path, configuration(nodes))
    assert "Errors received" in said
    assert "recon: recon.virtual_coils = 'many'; expected a whole number" in said


def test_an_absent_configuration(gadgetron: Gadgetron, scan: Path, tmp_path: Path) -> None:
    node = execute("buffer").replace("<configuration></configuration>", "")
    said, _ = send(gadgetron, scan, tmp_path, configuration([node]))
    assert "ERROR" not in said


def test_whitened_by_gadgetron(
    gadgetron: Gadgetron, worker: int, scan: Path, expected: dict[int, np.ndarray], tmp_path: Path
) -> None:
    """By another square root of the same covariance, and to another scale, which the image gadget removes."""
    nodes = [native("NoiseAdjust"), *all_three("connect", worker)]
    said, output = send(gadgetron, scan, tmp_path, configuration(nodes))
    assert "ERROR" not in said
    for series, images in expected.items():
        assert difference(read_series(output, series, "g")[0], images) <= SAME


def test_the_stand_in_sends_what_gadgetron_sends(gadgetron: Gadgetron, tmp_path: Path) -> None:
    """Byte by byte, but for the header's XML, which Gadgetron writes anew."""
    plain = simulate(tmp_path / "plain.h5", matrix=16, frames=2, spokes=3, coils=2).scan
    with ScanFile(plain) as file:
        readouts = b"".join(serialise(item) for item in file)
    texts = {stand_in.configuration("buffer", spokes_per_frame=3): {"spokes_per_frame": 3}, stand_in.ABSENT: None}
    for text, values in texts.items():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            node = connect("buffer", listener.getsockname()[1], **(values or {}))
            if values is None:
                node = re.sub("<configuration.*configuration>", "", node)
            recorder = Recorder(listener)
            send(gadgetron, plain, tmp_path, configuration([node]))
            recorder.join(10)
        (length,) = struct.unpack_from("<I", recorder.bytes, 8 + len(text))
        header = bytes(recorder.bytes[12 + len(text) :][:length]).decode()
        assert recorder.bytes == stand_in.opening(text, header) + readouts + stand_in.CLOSE


class Recorder(threading.Thread):
    """Takes one link, keeps what comes up to CLOSE, and answers with CLOSE."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self.bytes = bytearray()
        self._listener = listener
        self.start()

    def run(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            sock.settimeout(2)
            with contextlib.suppress(TimeoutError):
                while part := sock.recv(1 << 16):
                    self.bytes += part
            sock.sendall(stand_in.CLOSE)


def test_installed_into_gadgetron_s_prefix(gadgetron: Gadgetron, scan: Path, tmp_path: Path) -> None:
    """``-c inr_dynamic.xml`` by name, once the wheel is in that prefix."""
    installed = Path(real.HOME) / "share/gadgetron/config/inr_dynamic.xml"
    if not installed.is_file():
        pytest.skip(f"{installed} is not there: pip install inr-recon into that prefix")
    said = gadgetron.send(scan, tmp_path / "out.h5", "-c", "inr_dynamic.xml")
    assert "ERROR" not in said
    for series in (1, 2):
        assert len(read_series(tmp_path / "out.h5", series, "g")[0]) == FRAMES
