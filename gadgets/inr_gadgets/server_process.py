"""``inr-recon serve`` as a process of its own, for programs that measure or show it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from inr_core.errors import InrError
from inr_gadgets.commands.common import say

_START_S = 600.0  # a cold import of torch from a slow disk, and the first compiling on a busy machine
_LOOK_S = 0.05
_LISTENING = re.compile(r"listening on (\S+) port (\d+)\n")
_WARM = re.compile(r"warm after|warm-up failed")


class ServerProcess:
    """A server on a free port of the loopback.

    Parameters
    ----------
    log
        File that keeps what it says.
    options
        Of ``inr-recon serve``.

    Attributes
    ----------
    port
        Known once it is ready.
    """

    def __init__(self, log: Path, *options: str) -> None:
        self.log, self.port = log, 0
        words = [sys.executable, "-m", "inr_gadgets.cli", "serve", "--port", "0", *options]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with log.open("w") as said:
            self._process = subprocess.Popen(words, stderr=said, stdout=subprocess.DEVNULL, env=environment)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Return when it listens and is warm, and its port is known.

        Raises
        ------
        ServerStartError
            When it ends before that, or takes too long.
        """
        self.port = int(self._wait_for(_LISTENING)[2])
        self._wait_for(_WARM)

    def stop(self) -> int:
        """Tell it to end, wait for it, and return its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        deadline = time.monotonic() + _START_S
        while True:
            ended = self._process.poll() is not None  # asked first: then all that it has said is there
            said = self.log.read_text()
            found = pattern.search(said)
            if found is not None:
                return found
            if ended:
                last = (said.strip().splitlines() or ["without a word"])[-1]
                raise ServerStartError(f"inr-recon serve ended at once ({last})", "it to listen", f"see {self.log}")
            if time.monotonic() > deadline:
                raise ServerStartError(f"inr-recon serve is not ready after {_START_S:g} s", advice=f"see {self.log}")
            time.sleep(_LOOK_S)


class ServerStartError(InrError):
    """The server did not come up."""


@contextlib.contextmanager
def serving(log: Path, *options: str) -> Iterator[ServerProcess]:
    """Run a warm server, with options of ``inr-recon serve``."""
    server = ServerProcess(log, *options)
    try:
        server.wait_until_ready()
        yield server
    finally:
        code = server.stop()
        if code:
            say(f"the server ended with code {code}; see {log}")
