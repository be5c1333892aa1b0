"""Compiling for the sizes of scans that nothing was compiled for, once they have ended."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence

from inr_gadgets.reconstruction.compile_apart import COMMAND, CompilingError, compile_apart

logger = logging.getLogger(__name__)

Shape = tuple[int, int]


def take_wanted() -> list[Shape]:
    """Sizes (ny, nx) that scans of this process had and nothing is compiled for."""
    prepared = sys.modules.get("inr_core.operators.prepared")  # without it there was no such scan
    return [] if prepared is None else list(prepared.take_wanted())


def make_ready(shape: Shape, stopped: Callable[[], bool]) -> None:
    """Load into this process what was compiled, and reconstruct a toy scan with it."""
    import torch

    from inr_core.operators.prepared import is_kept
    from inr_gadgets.reconstruction import warming

    if is_kept(shape):  # and not for other sources than this process has
        warming.make_ready(shape, torch.device("cpu"), stopped)


class Preparation:
    """Compiles in a process of its own, of the lowest priority, so that the next scan of a size is a fast one.

    Parameters
    ----------
    wanted
        Gives the sizes (ny, nx) that have come since it was last asked.
    command
        See :func:`~inr_gadgets.reconstruction.compile_apart.compile_apart`.
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
        command: Sequence[str] = COMMAND,
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
                thread = threading.Thread(target=self._run, name="preparation", daemon=True)
                thread.start()
                self._thread = thread

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
            except (OSError, CompilingError) as error:
                logger.warning("nothing is compiled for %d x %d: %s", *reversed(shape), error)
            except Exception:
                logger.exception("compiling for %d x %d failed; the server goes on as it did", *reversed(shape))

    def _compile_for(self, shape: Shape) -> None:
        ny, nx = shape
        began = time.monotonic()
        logger.info("compiling for %d x %d, at the lowest priority", nx, ny)
        if not compile_apart(shape, self._stopped.is_set, gently=True, command=self._command):
            return
        seconds = time.monotonic() - began
        logger.info("compiled for %d x %d in %.0f s: the next scan of that size is faster", nx, ny, seconds)
        disturbed = False

        def stopped() -> bool:
            nonlocal disturbed  # a scan that has come and gone has disturbed it, too
            disturbed = disturbed or self._stopped.is_set() or self.busy()
            return disturbed

        if not stopped():
            self._ready(shape, stopped)
