"""Clients of other projects against our server, where they are installed; without them the tests say so and skip.

``gadgetron_ismrmrd_client`` is looked for in ``$GADGETRON_HOME/bin`` and on the PATH; python-ismrmrd-server's
``client.py`` in the folder ``$PYTHON_ISMRMRD_SERVER``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from inr_gadgets.cli import app
from inr_gadgets.configs import find_config
from inr_gadgets.image_file import read_series
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate

pytestmark = pytest.mark.peer

FRAMES = 4
LEVELS = ("DBG", "WRN", "ERR")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(
        tmp_path_factory.mktemp("peers") / "scan.h5",
        matrix=32,
        frames=FRAMES,
        spokes=13,
        coils=4,
        noise_scan=True,
        ecg=True,
    ).scan


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Server(port=0, overrides={"recon.refine_passes": "1"}) as server:
        yield server.port


@pytest.fixture(scope="module")
def plain_port() -> Iterator[int]:
    """A server without settings of its own, as they are not of every method."""
    with Server(port=0) as server:
        yield server.port


@pytest.fixture(scope="module")
def gadgetron_client() -> str:
    home = os.environ.get("GADGETRON_HOME")
    folders = os.pathsep.join([*([str(Path(home) / "bin")] if home else []), os.environ.get("PATH", "")])
    found = shutil.which("gadgetron_ismrmrd_client", path=folders)
    if found is None:
        pytest.skip("gadgetron_ismrmrd_client is neither in $GADGETRON_HOME/bin nor on the PATH")
    return found


@pytest.fixture(scope="module")
def python_client() -> Path:
    folder = os.environ.get("PYTHON_ISMRMRD_SERVER")
    if folder is None:
        pytest.skip("PYTHON_ISMRMRD_SERVER does not name a folder with client.py")
    return Path(folder) / "client.py"


def send_by_gadgetron(client: str, port: int, scan: Path, output: Path, *options: str) -> str:
    """Run Gadgetron's client and return what it printed.

    It may miss its own connecting thread's notice, closes the socket after its timeout and aborts before it has sent a
    byte. Then it is run again.
    """
    words = [client, "-a", "127.0.0.1", "-p", str(port), "-t", "1000", "-f", str(scan), "-o", str(output), "-G", "g"]
    for _ in range(4):
        done = subprocess.run([*words, *options], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0 or "write: Bad file descriptor" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_both_series(output: Path) -> None:
    for series in (1, 2):
        images, _, meta = read_series(output, series, "g")
        assert len(images) == len(meta) == FRAMES


@pytest.mark.parametrize("by", ["name", "text"])
def test_gadgetron_s_client(gadgetron_client: str, port: int, scan: Path, tmp_path: Path, by: str) -> None:
    how = ["-c", "inr_dynamic.xml"] if by == "name" else ["-C", str(find_config("inr_dynamic"))]
    said = send_by_gadgetron(gadgetron_client, port, scan, tmp_path / "out.h5", *how)
    assert_both_series(tmp_path / "out.h5")
    assert sum(line.startswith(f"DBG: refined {FRAMES} frames in ") for line in said.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["-c", "nope.xml"], "ERROR: configuration 'nope.xml'; expected one of cg_sense, flow, grasp, inr_dynamic"),
        (["-c", "inr_dynamic.xml", "-P", "16"], "ERROR: a compressed acquisition (flags 53 to 56); expected plain"),
    ],
)
def test_what_gadgetron_s_client_prints_of_a_refusal(
    gadgetron_client: str, port: int, scan: Path, tmp_path: Path, options: list[str], line: str
) -> None:
    """A line of its own, a clean end, and the images of an earlier scan in the same file still there."""
    output = tmp_path / "out.h5"
    send_by_gadgetron(gadgetron_client, port, scan, output, "-c", "inr_dynamic.xml")
    said = send_by_gadgetron(gadgetron_client, port, scan, output, *options)
    assert sum(one.startswith(line) for one in said.splitlines()) == 1
    assert_both_series(output)


def exported(folder: Path, *options: object) -> tuple[list[Any], str]:
    """The DICOM files of ``out.h5``, and what was said."""
    pydicom = pytest.importorskip("pydicom")
    words = ["export", folder / "out.h5", "--dicom", folder / "dicom", *options]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return [pydicom.dcmread(path) for path in sorted((folder / "dicom").rglob("*.dcm"))], result.stderr


def test_export_of_gadgetron_s_client_s_file(gadgetron_client: str, port: int, scan: Path, tmp_path: Path) -> None:
    send_by_gadgetron(gadgetron_client, port, scan, tmp_path / "out.h5", "-c", "inr_dynamic.xml")
    files, said = exported(tmp_path)
    assert "does not say whose images they are" in said
    assert [data.SeriesDescription for data in files] == [*["INR live"] * FRAMES, *["INR refined"] * FRAMES]
    shutil.rmtree(tmp_path / "dicom")
    files, said = exported(tmp_path, "--scan", scan)
    assert (said, files[0].SeriesDescription) == ("", "simulated cine INR live")


def send_by_python(client: Path, port: int, scan: Path, folder: Path, *options: str) -> str:
    """Run python-ismrmrd-server's client in a folder and return what it logged."""
    words = [str(client), "-p", str(port), "-o", str(folder / "out.h5"), "-G", "g", *options, str(scan)]
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Session complete" in done.stderr
    return done.stderr


def said(log: str) -> list[str]:
    """Our lines in the client's log."""
    return [line for line in (one.partition(" -     ")[2] for one in log.splitlines()) if line[:3] in LEVELS]


def with_json(scan: Path, folder: Path, **parameters: object) -> Path:
    """A copy of the scan that holds the JSON with which it was sent by a scanner."""
    copied = folder / "with_json.h5"
    shutil.copy(scan, copied)
    with h5py.File(copied, "r+") as file:
        text = json.dumps({"version": "1.1.0", "parameters": parameters}).encode()
        made = file["dataset"].create_dataset("configAdditional", (1,), h5py.special_dtype(vlen=bytes))
        made[0] = text
    return copied


def test_python_ismrmrd_server_s_client(python_client: Path, port: int, scan: Path, tmp_path: Path) -> None:
    log = send_by_python(python_client, port, scan, tmp_path, "-c", "inr_dynamic", "-w")
    assert_both_series(tmp_path / "out.h5")
    assert {line[:3] for line in said(log)} == {"DBG"}
    assert re.search(r"Sent +[1-9]\d* waveforms", log)


def test_export_of_its_file(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    """It keeps the scan's header beside the images."""
    send_by_python(python_client, plain_port, scan, tmp_path, "-c", "nufft")
    files, said = exported(tmp_path)
    assert (len(files), said, files[0].SeriesDescription) == (FRAMES, "", "simulated cine NUFFT live")


def test_its_json_chooses_the_configuration(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    """The name that it sends first is its own default, invertcontrast, which nobody here has."""
    copied = with_json(scan, tmp_path, config="nufft", customconfig="", conjugate="False", dtype="uint16")
    log = send_by_python(python_client, plain_port, copied, tmp_path)
    images, _, _ = read_series(tmp_path / "out.h5", 1, "g")
    assert (len(images), images.dtype) == (FRAMES, np.uint16)
    assert any("reconstructing by nufft" in line for line in said(log))


def test_its_json_without_the_configuration(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    """As a configuration on its command line and --ignore-json-config make it."""
    copied = with_json(scan, tmp_path, config="nonsense", customconfig="nonsense", dtype="uint16")
    send_by_python(python_client, plain_port, copied, tmp_path, "-c", "nufft", "--ignore-json-config")
    assert read_series(tmp_path / "out.h5", 1, "g")[0].dtype == np.uint16


def test_its_json_from_a_file_beside_it(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    parameters = {"parameters": {"spokesperframe": "26", "dtype": "uint16"}}
    (tmp_path / "nufft.json").write_text(json.dumps(parameters))
    send_by_python(python_client, plain_port, scan, tmp_path, "-c", "nufft")
    assert len(read_series(tmp_path / "out.h5", 1, "g")[0]) == FRAMES // 2


@pytest.mark.parametrize("kind", ["xml", "json"])
def test_its_own_configuration_as_text(
    python_client: Path, plain_port: int, scan: Path, tmp_path: Path, kind: str
) -> None:
    path = find_config("nufft")
    if kind == "json":
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"parameters": {"config": "nufft"}}))
    send_by_python(python_client, plain_port, scan, tmp_path, "-C", str(path))
    assert len(read_series(tmp_path / "out.h5", 1, "g")[0]) == FRAMES


def test_what_it_logs_of_a_refusal(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    log = send_by_python(python_client, plain_port, scan, tmp_path, "-c", "nonsense")
    (line,) = said(log)
    assert line.startswith("ERROR: configuration 'nonsense'; expected one of cg_sense, flow, grasp")


def test_images_that_it_sends_are_refused(python_client: Path, plain_port: int, scan: Path, tmp_path: Path) -> None:
    send_by_python(python_client, plain_port, scan, tmp_path, "-c", "nufft")
    (tmp_path / "out.h5").rename(tmp_path / "images.h5")
    log = send_by_python(python_client, plain_port, tmp_path / "images.h5", tmp_path, "-c", "nufft")
    (line,) = said(log)
    assert line.startswith("ERROR: an image (id 1022) from the host; expected raw data")
