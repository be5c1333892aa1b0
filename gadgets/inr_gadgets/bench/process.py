"""A program run by itself, with its time and its memory."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inr_core.errors import InrError, MissingDependencyError

_LOOK_S = 0.02  # between two looks at the program
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ProgramError(InrError):
    """A program ended with an error, or took too long."""


@dataclass(frozen=True)
class Measured:
    """What a program took.

    Attributes
    ----------
    wall_s
        From its start to its end.
    host_mib
        Its largest resident set.
    """

    wall_s: float
    host_mib: float


def run_measured(words: Sequence[str], limit_s: float | None = None, folder: Path | None = None) -> Measured:
    """Run a program to its end.

    The resident set is what ``wait4`` tells. Linux lets a program inherit the peak of the process that started it, so
    where that tells no more than our own peak, it is the largest value seen while the program ran, every 20 ms. Of a
    program that was over before the first look our own peak remains, an upper bound.

    Parameters
    ----------
    words
        The program and its arguments.
    limit_s
        Seconds after which it is ended; None for as long as it takes.
    folder
        Where it runs; None for here.

    Raises
    ------
    ProgramError
        When it fails, with the last line that it said, or exceeds the limit.
    MissingDependencyError
        When there is no such program.
    """
    inherited = _own_peak_kib()
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        begin = time.monotonic()
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, cwd=folder
            )
        except FileNotFoundError as error:
            raise MissingDependencyError(
                f"{words[0]} cannot be started ({error.strerror})", "the program", "install it"
            ) from error
        seen, usage = _watch(process, None if limit_s is None else begin + limit_s)
        wall_s = time.monotonic() - begin
        if process.returncode:
            said.seek(0)
            raise _failure(words, process.returncode, said.read(), limit_s, wall_s)
    peak_kib = seen if seen and usage.ru_maxrss <= inherited else usage.ru_maxrss
    return Measured(wall_s, peak_kib / 2**10)


def _watch(process: subprocess.Popen[bytes], deadline: float | None) -> tuple[int, resource.struct_rusage]:
    """Wait for the end; the largest resident set that was seen, KiB, and what the system counted."""
    seen, pid = 0, 0
    try:
        while pid == 0:
            seen = max(seen, _status_kib(process.pid, "VmHWM"))
            if deadline is not None and time.monotonic() > deadline:
                process.kill()
                deadline = None
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                time.sleep(_LOOK_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return seen, usage


def _failure(words: Sequence[str], code: int, said: str, limit_s: float | None, wall_s: float) -> ProgramError:
    if limit_s is not None and code == -signal.SIGKILL and wall_s >= limit_s:
        return ProgramError("it was ended at the time limit", advice="allow more time")
    lines = [line.strip() for line in _COLOUR.sub("", said).splitlines() if line.strip()]
    last = lines[-1].removeprefix("inr-recon: ") if lines else "it said nothing"
    if code > 0:
        return ProgramError(last)
    return ProgramError(f"{Path(words[0]).name} was ended by {signal.Signals(-code).name} ({last})")


def resident_mib(pid: int, *, peak: bool = False) -> float:
    """The resident set of a running process, or its largest so far, MiB; Linux only.

    Raises
    ------
    ProgramError
        When there is no such process, or the system does not say.
    """
    resident = _status_kib(pid, "VmHWM" if peak else "VmRSS")
    if not resident:
        raise ProgramError(f"process {pid} without a resident set", "a running process, on Linux")
    return resident / 2**10


def _status_kib(pid: int, name: str) -> int:
    """``VmRSS`` or ``VmHWM``, its largest value so far, of a process; 0 where it is over, and on other systems."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


def _own_peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
