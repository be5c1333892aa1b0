"""``inr-recon stream`` in real shell pipes, between the programs of others.

Those of ISMRMRD's C++ library, ``ismrmrd_hdf5_to_stream`` and ``ismrmrd_stream_to_hdf5``, are looked for on the PATH
and in ``$ISMRMRD_BIN``; its Python package, which has the same two ways, and mrd-python are always tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inr_gadgets.cli import app
from inr_gadgets.image_file import list_series, read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate

FRAMES = 4
PYTHON, STREAM = f"'{sys.executable}'", f"'{sys.executable}' -m inr_gadgets.cli stream"
# The programs of the C++ library once more, with the serialisers of its Python package.
HDF5_TO_STREAM = """
import sys, ismrmrd, ismrmrd.serialization as serial
scan = ismrmrd.Dataset(sys.argv[1], create_if_needed=False)
with serial.ProtocolSerializer(sys.stdout.buffer) as out:
    out.serialize(ismrmrd.xsd.CreateFromDocument(scan.read_xml_header()))
    for number in range(scan.number_of_acquisitions()):
        out.serialize(scan.read_acquisition(number))
        if number == 0:
            out.serialize(scan.read_waveform(0))
"""
STREAM_TO_HDF5 = """
import sys, ismrmrd, ismrmrd.serialization as serial
with ismrmrd.Dataset(sys.argv[1]) as images, serial.ProtocolDeserializer(sys.stdin.buffer) as source:
    header, *items = source.deserialize()
    images.write_xml_header(header.toXML().encode())
    for item in items:
        images.append_image(f"image_{item.image_series_index}", item)
"""
TO_MRD_2 = """
import sys, mrd_two
from inr_gadgets.header import parse_header
from inr_gadgets.scan_file import ScanFile
with ScanFile(sys.argv[1]) as scan:
    sys.stdout.buffer.write(mrd_two.stream(parse_header(scan.header_xml), scan))
"""
FROM_MRD_2 = """
import sys, mrd, numpy as np
with mrd.BinaryMrdReader(sys.stdin.buffer) as reader:
    assert reader.read_header().encoding[0].recon_space.matrix_size.x == 32
    np.save(sys.argv[1], np.stack([item.value.data for item in reader.read_data()]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scan, its images as replay makes them, and the programs above."""
    made = tmp_path_factory.mktemp("streams")
    simulate(made / "scan.h5", matrix=32, frames=FRAMES, spokes=13, coils=3, ecg=True)
    with ScanFile(made / "scan.h5") as scan:
        replay_to_file(Replay("nufft"), scan, made / "replayed.h5", on_text=[].append)
    programs = {"to_stream": HDF5_TO_STREAM, "to_hdf5": STREAM_TO_HDF5, "to_v2": TO_MRD_2, "from_v2": FROM_MRD_2}
    for name, text in programs.items():
        (made / f"{name}.py").write_text(text)
    return made


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, in which any program of a pipe may fail it."""
    paths = [str(Path(__file__).parents[1]), *sys.path]
    path = os.pathsep.join([os.environ.get("ISMRMRD_BIN", ""), os.environ.get("PATH", "")])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PATH": path, "OMP_NUM_THREADS": "1"}
    words = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)


def expect_the_images(folder: Path, name: str) -> None:
    """The images are those of replay to the bit, and export takes them."""
    assert list(list_series(folder / name).values()) == [{1: FRAMES}]
    found, headers, meta = read_series(folder / name, 1)
    wanted, their_headers, _ = read_series(folder / "replayed.h5", 1)
    np.testing.assert_array_equal(found, wanted)
    for ours, theirs in zip(headers, their_headers, strict=True):
        theirs.attribute_string_len = ours.attribute_string_len  # latencies have more digits or fewer
        assert bytes(ours) == bytes(theirs)
    assert [one["inr_frame"] for one in meta] == [str(number) for number in range(FRAMES)]
    result = CliRunner().invoke(app, ["export", str(folder / name), "--png", str(folder / f"{name}.png")])
    assert result.exit_code == 0, result.output
    assert (folder / f"{name}.png").stat().st_size > 0


def test_between_ismrmrds_serialisers(folder: Path) -> None:
    line = f"{PYTHON} to_stream.py scan.h5 | {STREAM} -c nufft | {PYTHON} to_hdf5.py python.h5"
    done = shell(folder, line)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "inr-recon: stdin: 4 frames of 52 spokes" in done.stderr
    expect_the_images(folder, "python.h5")


@pytest.mark.peer
def test_between_ismrmrds_programs(folder: Path) -> None:
    needed = ("ismrmrd_hdf5_to_stream", "ismrmrd_stream_to_hdf5")
    where = os.pathsep.join([os.environ.get("ISMRMRD_BIN", ""), os.environ.get("PATH", "")])
    missing = [name for name in needed if shutil.which(name, path=where) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are neither in $ISMRMRD_BIN nor on the PATH")
    source = "ismrmrd_hdf5_to_stream -i scan.h5 --use-stdout"
    done = shell(folder, f"{source} | {STREAM} -c nufft | ismrmrd_stream_to_hdf5 --use-stdin -o programs.h5")
    assert done.returncode == 0, done.stderr
    expect_the_images(folder, "programs.h5")
    # The configuration may come in the stream; and what was streamed into a file again is a scan as before.
    again = "ismrmrd_stream_to_hdf5 --use-stdin -o again.h5"
    done = shell(folder, f"{source} -c nufft | {STREAM} -o named.h5 && {source} | {again}")
    assert done.returncode == 0, done.stderr
    expect_the_images(folder, "named.h5")
    with ScanFile(folder / "again.h5") as scan:
        replay_to_file(Replay("nufft"), scan, folder / "again.out.h5", on_text=[].append)
    expect_the_images(folder, "again.out.h5")


def test_version_2(folder: Path) -> None:
    pytest.importorskip("mrd", reason="mrd-python, the extra 'mrd2', is not installed")
    done = shell(folder, f"{PYTHON} to_v2.py scan.h5 | tee scan.mrd | {STREAM} -c nufft | {PYTHON} from_v2.py two.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(folder / "two.npy"), read_series(folder / "replayed.h5", 1)[0])


def test_a_program_that_fails_fails_the_pipe(folder: Path) -> None:
    done = shell(folder, f"({PYTHON} to_stream.py scan.h5 2> /dev/null | head -c 9999) | {STREAM} -c nufft -o cut.mrd")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "ERROR" in line)
    assert "cut short" in line
    assert "Traceback" not in done.stderr
    assert (folder / "cut.mrd").read_bytes().endswith(b"\4\0")
