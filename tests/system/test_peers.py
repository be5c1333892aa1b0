"""Clients of other projects against our server, where they are installed; without them the tests say so and skip.

``gadgetron_ismrmrd_client`` is looked for in ``$GADGETRON_HOME/bin`` and on the PATH; python-ismrmrd-server's
``client.py`` in the folder ``$PYTHON_ISMRMRD_SERVER``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inr_gadgets.configs import find_config
from inr_gadgets.image_file import read_series
from inr_gadgets.server import Server
from inr_gadgets.simulate import simulate

pytestmark = pytest.mark.peer

FRAMES = 4


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
        (["-c", "nope.xml"], "ERROR: configuration 'nope.xml'; expected one of cg_sense, grasp, inr_dynamic"),
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


def test_python_ismrmrd_server_s_client(python_client: Path, port: int, scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    words = ["-p", str(port), "-c", "inr_dynamic", "-w", "-o", str(output), "-G", "g", str(scan)]
    done = subprocess.run(
        [sys.executable, "client.py", *words],
        cwd=python_client.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_both_series(output)
