"""A disk that fills up: the file stays whole, one line says so, and the scan goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

import wire
from inr_core.errors import DataError
from inr_gadgets import disk_room
from inr_gadgets.image_file import ImageWriter, list_series
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server

DATA = wire.messages(200)
ROOM = 4 << 20


def full_after(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    """A disk of that many bytes."""

    def reserve(descriptor: int, start: int, length: int) -> None:
        if start + length > nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk_room, "_reserve", reserve)


def test_blocks_are_reserved_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    writer = ScanWriter(path, wire.HEADER_XML.encode())
    held = path.stat()
    writer.append(wire.acquisition())
    writer.close()
    done = path.stat()
    assert done.st_size < 100_000
    assert done.st_blocks * 512 < 200_000
    if held.st_blocks * 512 < ROOM:
        pytest.skip("this file system reserves nothing")


def test_a_full_disk_leaves_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_after(monkeypatch, 16 << 20)
    large = [wire.acquisition(number, 512, 16) for number in range(4)]
    full = pytest.raises(DataError, match=r"scan.h5 cannot be written \(No space left on device\); free space on the")
    with full, ScanWriter(tmp_path / "scan.h5", b"<x/>") as writer:
        for number in range(300):
            writer.append(large[number % 4])
    with ScanFile(tmp_path / "scan.h5") as scan:
        kept = list(scan)
    assert 0 < len(kept) < 300
    assert len(kept) % 64 == 0
    assert kept[:4] == large


@pytest.mark.parametrize("room", [0, 2 << 20])
def test_a_file_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    full_after(monkeypatch, room)
    with pytest.raises(DataError, match=r"\(No space left on device\)"):
        ScanWriter(tmp_path / "scan.h5", b"<x/>")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, None])
def test_without_reservations_some_spare_room_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    class Library:
        if number is not None:

            @staticmethod
            def fallocate64(*_: object) -> int:
                return -1

    monkeypatch.setattr(disk_room.ctypes, "CDLL", lambda *_, **__: Library)
    monkeypatch.setattr(disk_room.ctypes, "get_errno", lambda: number)
    free = os.statvfs(tmp_path)
    with (tmp_path / "file").open("w") as file:
        disk_room._reserve(file.fileno(), 0, 1000)
        with pytest.raises(OSError, match="No space left on device"):
            disk_room._reserve(file.fileno(), 0, free.f_bavail * free.f_frsize)


def test_a_full_disk_leaves_the_images_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_after(monkeypatch, 8 << 20)
    image = ismrmrd.Image.from_array(np.ones((512, 512), np.float32), transpose=False, image_series_index=1)
    full = pytest.raises(
        DataError, match=r"out.h5 cannot be written \(No space left on device\); free space on the disk"
    )
    with full, ImageWriter(tmp_path / "out.h5", "images") as writer:
        for _ in range(20):
            writer.append(image)
    kept = list_series(tmp_path / "out.h5")["images"][1]
    assert 0 < kept < 20


def test_the_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("inr_gadgets.scan_file.WRITE_BLOCK", 16)
    writes: list[Any] = []

    def reserve(descriptor: int, start: int, length: int) -> None:
        writes.append(length)
        if len(writes) > 2:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(disk_room, "_reserve", reserve)
    monkeypatch.setattr(disk_room, "_STEP", 0)
    with Server(port=0, table=wire.TABLE, warm=None, save=tmp_path / "scans") as server:
        reply = wire.talk(server.port, b"".join(DATA))
    assert len(reply.images) == 100
    (warning,) = [text for text in reply.texts if "image" not in text]
    assert warning.startswith("WRN: the scan is not kept on the server: ")
    assert "cannot be written (Disk quota exceeded); free space on the disk, or choose another folder" in warning
    assert "Traceback" not in caplog.text


SMALL_DISK = """
mount -t tmpfs -o size=6m tmpfs "$1" && chmod 700 "$1" && exec "$2" -c '
import sys, wire
from inr_gadgets.serving.server import Server
from inr_gadgets.wire.wire_format import serialise
messages = wire.messages(0)
data = [serialise(wire.acquisition(number, 512, 8)) for number in range(400)]
with Server(port=0, table=wire.TABLE, warm=None, save=sys.argv[1]) as server:
    for _ in range(2):
        reply = wire.talk(server.port, b"".join([*messages[:2], *data, messages[-1]]))
        print(len(reply.images), sum("WRN" in text for text in reply.texts))
' "$1"
"""


def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    """HDF5 itself, which does not survive it: the process must end well, too."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here (unshare)")
    path = os.pathsep.join(
        str(Path(sys.modules[name].__file__).parents[up])
        for name, up in (("inr_core", 1), ("inr_gadgets", 1), ("wire", 0))
    )
    done = subprocess.run(
        [*alone, "sh", "-c", SMALL_DISK, "sh", str(tmp_path), sys.executable],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "mount" in done.stderr:
        pytest.skip(f"no small disk can be mounted here ({done.stderr.strip()})")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["200 1", "200 1"]
