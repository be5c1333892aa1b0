"""Compiling in a process of its own: this one goes on with its scans, and ends when it is told to."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

COMMAND = (sys.executable, "-P", "-m", "inr_gadgets.cli", "prepare")  # -P: this package, not one that lies around
_LOOK_S = 0.1
_PATIENCE_S = 1800.0


class CompilingError(Exception):
    """Nothing was compiled; says why in one line."""


def compile_apart(
    shape: tuple[int, int], stopped: Callable[[], bool], *, gently: bool = False, command: Sequence[str] = COMMAND
) -> bool:
    """Run ``inr-recon prepare`` for images of (ny, nx) and wait for its end.

    Parameters
    ----------
    stopped
        Asked again and again; True kills the process. What it leaves half done is not found by others.
    gently
        At the lowest priority, beside scans.
    command
        That compiles for a size, which is added to it as NXxNY.

    Returns
    -------
    Whether it was done; False where it was stopped.

    Raises
    ------
    CompilingError
        If the process failed, or did not end within half an hour.
    """
    ny, nx = shape
    words = [*command, *(["--gently"] if gently else []), f"{nx}x{ny}"]
    with tempfile.TemporaryFile() as said:
        # A group of its own: Ctrl-C at the terminal is for this process to answer. Not a session of its own, which the
        # scheduler would give as much of the processor as this one, whatever its priority.
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, process_group=0)
        try:
            if not _ended(child, stopped):
                return False
        finally:
            child.kill()
            child.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if child.returncode != 0:
        reason = lines[-1].removeprefix("inr-recon: ") if lines else f"it ended with code {child.returncode}"
        raise CompilingError(reason)
    return True


def _ended(child: subprocess.Popen[bytes], stopped: Callable[[], bool]) -> bool:
    """Wait for the end of a process; False where it was stopped before."""
    until = time.monotonic() + _PATIENCE_S
    while child.poll() is None:
        if stopped():
            return False
        if time.monotonic() > until:
            raise CompilingError(f"it did not end within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_S)
    return True
