"""Compiling in a process of its own: this one goes on with its scans, and ends when it is told to."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

COMMAND = (sys.executable, "-m", "inr_gadgets.cli", "prepare")
_LOOK_S = 0.1


class CompilingError(Exception):
    """Nothing was compiled; says why in one line."""


def compile_apart(
    shape: tuple[int, int], stopped: Callable[[], bool], *, gently: bool = False, command: Sequence[str] = COMMAND
) -> bool:
    """Run ``inr-recon prepare`` for images of (ny, nx) and wait for its end.

    Parameters
    ----------
    stopped
        Asked again and again; True kills the process. Nobody is disturbed by what it leaves half done.
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
        If the process failed.
    """
    ny, nx = shape
    words = [*command, *(["--gently"] if gently else []), f"{nx}x{ny}"]
    with tempfile.TemporaryFile() as said:
        # A session of its own: Ctrl-C at the terminal is for this process to answer.
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        ) as child:
            while child.poll() is None:
                if stopped():
                    child.kill()
                    return False
                time.sleep(_LOOK_S)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if child.returncode != 0:
        raise CompilingError(lines[-1] if lines else f"it ended with code {child.returncode}")
    return True
