"""Compiling for the sizes of scans that nothing was compiled for, once they have ended."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

Shape = tuple[int, int]

_LOOK_S = 0.2


def take_wanted() -> list[Shape]:
    """Sizes (ny, nx) that scans of this process had and nothing is compiled for."""
    prepared = sys.modules.get("inr_core.operators.prepared")  # without it there was no such scan
    return [] if prepared is None else list(prepared.take_wanted())


def make_ready(shape: Shape, stopped: Callable[[], bool]) -> None:
    """Load into this process what was compiled, and reconstruct a toy scan with it."""
    warming, torch = (importlib.import_module(name) for name in ("inr_gadgets.reconstruction.warming", "torch"))
    warming.make_ready(shape, torch.device("cpu"), stopped)


class Preparation:
    """Compiles in a process of its own, of the lowest priority, so that the next scan of a size is a fast one.

    Parameters
    ----------
    wanted
        Gives the sizes (ny, nx) that have come since it was last asked.
    command
        That compiles for a size, which is added to it as NXxNY.
    ready
        Called with a size that was compiled for, and with what says whether to stop: a scan has begun, or the server
        ends.

    Attributes
    ----------
    busy
        Whether a scan is being reconstructed; whoever has a server sets it.
    """

    def __init__(
        self,
        wanted: Callable[[], list[Shape]] = take_wanted,
        command: Sequence[str] = (sys.executable, "-m", "inr_gadgets.cli", "prepare", "--gently"),
        ready: Callable[[Shape, Callable[[], bool]], None] = make_ready,
    ) -> None:
        self._wanted, self._command, self._ready = wanted, command, ready
        self.busy: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._left: list[Shape] = []
        self._taken = set[Shape]()  # what failed once is not tried after each scan
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def look(self) -> None:
        """A scan has ended: begin with what it would have needed, unless that is being done already."""
        with self._lock:
            self._left += [shape for shape in self._wanted() if shape not in self._taken]
            self._taken.update(self._left)
            if self._left and self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End what is under way, and return when it has ended."""
        self._stopped.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._left or self._stopped.is_set():
                    self._thread = None
                    return
                shape = self._left.pop(0)
            try:
                self._compile_for(shape)
            except OSError as error:
                logger.warning("nothing is compiled for %d x %d: %s", *reversed(shape), error)
            except Exception:
                logger.exception("compiling for %d x %d failed; the server goes on as it did", *reversed(shape))

    def _compile_for(self, shape: Shape) -> None:
        ny, nx = shape
        began = time.monotonic()
        logger.info("compiling for %d x %d, at the lowest priority", nx, ny)
        with tempfile.TemporaryFile() as said:
            words = [*self._command, f"{nx}x{ny}"]
            # A session of its own: Ctrl-C at the server's terminal is the server's to answer.
            with subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            ) as child:
                while child.poll() is None and not self._stopped.wait(_LOOK_S):
                    pass
                if child.returncode is None:
                    child.kill()  # nobody is disturbed by what it leaves half done
                    return
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
        seconds = time.monotonic() - began
        if child.returncode != 0:
            logger.warning("nothing is compiled for %d x %d: %s", nx, ny, lines[-1] if lines else "no reason was given")
            return
        logger.info("compiled for %d x %d in %.0f s: the next scan of that size is faster", nx, ny, seconds)
        if not self._busy_or_stopped():
            self._ready(shape, self._busy_or_stopped)

    def _busy_or_stopped(self) -> bool:
        return self._stopped.is_set() or self.busy()
