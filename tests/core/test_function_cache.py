"""Compiled functions on disk: found again, never taken for one another, and done without where they cannot be kept."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import filelock
import numba
import pytest

from inr_core import compiling, function_cache
from inr_core.compiling import compiled
from inr_core.function_cache import SharedCache

MODULE = """
from inr_core.compiling import compiled

def twice(size):
    def function(x):
        return x + 2 * size
    return compiled(function)
"""
# Waits between reading the index and writing it until the other process does, too; forever if it may not come in.
AT_ONCE = """
import sys, time
from pathlib import Path
from numba.core.caching import IndexDataCacheFile
from sizes import twice

size, folder, write = int(sys.argv[1]), Path(sys.argv[2]), IndexDataCacheFile._save_index

def together(self, overloads):
    (folder / f"writes_{size}").touch()
    end = time.monotonic() + 3
    while len(list(folder.glob("writes_*"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    write(self, overloads)

IndexDataCacheFile._save_index = together
(folder / f"ready_{size}").touch()
while len(list(folder.glob("ready_*"))) < 2:
    time.sleep(0.01)
print(twice(size)(0))
"""
AFTERWARDS = """
from sizes import twice
made = [twice(size) for size in (1, 2)]
print([f(0) for f in made], [sum(f.stats.cache_hits.values()) for f in made])
"""


def started(program: str, folder: Path, *words: object) -> subprocess.Popen[str]:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(folder / "kept"),
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
    }
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def printed(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return said.strip()


def test_two_processes_that_keep_functions_of_two_sizes_at_once_do_not_mix_them_up(tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text(MODULE)
    both = [started(AT_ONCE, tmp_path, size, tmp_path) for size in (1, 2)]
    assert [printed(process) for process in both] == ["2", "4"]
    assert printed(started(AFTERWARDS, tmp_path)) == "[2, 4] [1, 1]"


def test_what_is_kept_is_not_used_when_a_part_has_changed(tmp_path: Path) -> None:
    names = set()
    for source in ("a = 1", "a = 2"):
        part = type(sys)("part")
        part.__file__ = str(tmp_path / "part.py")
        (tmp_path / "part.py").write_text(source)

        def function() -> int:
            return 1

        names.add(compiled(function, part).__qualname__)
    assert len(names) == 2


def test_without_a_folder_to_keep_it_in_it_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(function: object) -> SharedCache:
        raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")

    monkeypatch.setattr(compiling, "SharedCache", refuses)
    with caplog.at_level(logging.WARNING):
        assert compiled(lambda a, b: a + b)(1, 2) == 3
    assert "compiled anew in each process: cannot cache function 'f'" in caplog.text
    assert "set NUMBA_CACHE_DIR" in caplog.text


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for functions that are compiled now, and little patience."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(function_cache._Files, "patience_s", 0.05)
    monkeypatch.setattr(function_cache._Files, "lost", False)
    return tmp_path


def folder_of(function: object) -> Path:
    folder = Path(function._cache.cache_path)  # type: ignore[attr-defined]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_process_that_hangs_with_the_lock_holds_up_nobody(alone: Path, caplog: pytest.LogCaptureFixture) -> None:
    function = compiled(lambda a, b: a + b)
    folder = folder_of(function)
    assert folder.is_relative_to(alone)
    with filelock.FileLock(folder / "inr-recon.lock"), caplog.at_level(logging.WARNING):
        assert function(1, 2) == 3
    assert f"not looked for in {folder}: The file lock" in caplog.text and f"not kept in {folder}" in caplog.text
    assert not list(folder.glob("*.nbi")) and not function_cache.all_is_kept()
    assert function_cache._Files.patience_s == 0  # nobody waits twice


@pytest.mark.usefixtures("alone")
def test_a_file_system_without_locks_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(lock: filelock.FileLock) -> None:
        raise OSError(37, "No locks available")

    function = compiled(lambda a, b: a + b)
    folder = folder_of(function)
    monkeypatch.setattr(filelock.FileLock, "acquire", refuses)
    with caplog.at_level(logging.WARNING):
        assert function(1, 2) == 3
    assert f"compiled functions are not kept in {folder}: [Errno 37] No locks available" in caplog.text


@pytest.mark.usefixtures("alone")
def test_a_full_disk_costs_no_frame(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function_cache._Files, "_save_data", full)
    function = compiled(lambda a, b: a + b)
    folder_of(function)
    with caplog.at_level(logging.WARNING):
        assert function(1, 2) == 3
    assert "No space left on device" in caplog.text and not function_cache.all_is_kept()


KILLED = """
import os, sys
from numba.core.caching import IndexDataCacheFile
from sizes import twice

IndexDataCacheFile._save_data = lambda *given: os._exit(0)
twice(int(sys.argv[1]))(0)
"""


def test_a_process_that_dies_while_it_keeps_something_leaves_no_function_under_another_s_name(tmp_path: Path) -> None:
    source = tmp_path / "sizes.py"
    source.write_text(MODULE)
    one = "from sizes import twice; print(twice({})(0))"
    assert printed(started(one.format(1), tmp_path)) == "2"
    source.write_text(MODULE + "# of a later version")
    printed(started(KILLED, tmp_path, 50))
    assert printed(started(one.format(50), tmp_path)) == "100"


def test_a_folder_that_cannot_be_written_to_is_used_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed, copies = tmp_path / "closed", tmp_path / "copies"
    (closed / "functions").mkdir(parents=True)
    copies.mkdir()
    (closed / "functions" / "kept").write_text("as it was")
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(closed))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(closed))
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    monkeypatch.setattr(function_cache, "_copies", [])
    function_cache._open_closed_folder()
    assert str(closed) == numba.config.CACHE_DIR  # it can be written to
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(closed))
    function_cache._open_closed_folder()
    (copy,) = copies.iterdir()
    assert numba.config.CACHE_DIR == os.environ["NUMBA_CACHE_DIR"] == str(copy)
    assert not function_cache.all_is_kept()  # it is gone with this process
    assert (copy / "functions" / "kept").read_text() == "as it was"
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(closed))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    function_cache._open_closed_folder()
    assert str(closed) == numba.config.CACHE_DIR
    assert f"{closed} cannot be written to, nor copied: [Errno 2]" in caplog.text
