"""The real Gadgetron and its client, where they are installed, and configurations for it, for the tests of both."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import inr_core
import inr_gadgets
from gadgetron_storage import storage

HOME = os.environ.get("GADGETRON_HOME", "")
READERS = ("AcquisitionReader", "WaveformReader")
MRI_CORE = "gadgetron_mricore"


def missing() -> str:
    """Why the real Gadgetron cannot be had here; empty when it can."""
    if not HOME:
        return "GADGETRON_HOME does not name Gadgetron's prefix"
    absent = [name for name in ("gadgetron", "gadgetron_ismrmrd_client") if program(name) is None]
    return f"{', '.join(absent)} neither in {HOME}/bin nor on the PATH" if absent else ""


def program(name: str) -> str | None:
    """A program of Gadgetron's."""
    return shutil.which(name, path=os.pathsep.join([f"{HOME}/bin", os.environ.get("PATH", "")]))


def environment() -> dict[str, str]:
    """That of a Gadgetron whose first ``python`` is this one, with the package as it is tested here."""
    roots = [str(Path(module.__path__[0]).parent) for module in (inr_core, inr_gadgets)]
    paths = [str(Path(sys.executable).parent), f"{HOME}/bin", os.environ.get("PATH", "")]
    return os.environ | {
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join(roots),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Gadgetron:
    """A running one."""

    port: int
    log: Path

    def send(self, scan: Path, output: Path, *options: str, timeout_s: float = 120) -> str:
        """Send a scan by the real client; return what it printed.

        It may miss its own connecting thread's notice and aborts before it has sent a byte. Then it is run again.
        """
        client = program("gadgetron_ismrmrd_client")
        words = [str(client), "-a", "127.0.0.1", "-p", str(self.port), "-f", str(scan), "-o", str(output), "-G", "g"]
        for _ in range(4):
            done = subprocess.run([*words, *options], capture_output=True, text=True, timeout=timeout_s, check=False)
            if done.returncode == 0 or "write: Bad file descriptor" not in done.stderr:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Gadgetron]:
    """Run Gadgetron, with a stand-in for its storage server, for the length of the block."""
    server = Gadgetron(free_port(), folder / "gadgetron.log")
    words = [str(program("gadgetron")), "-p", str(server.port), "-G", HOME, "-W", str(folder / "work")]
    with storage() as address, server.log.open("w") as log:
        process = subprocess.Popen([*words, "-E", address], stdout=log, stderr=subprocess.STDOUT, env=environment())
        try:
            _await(server.log, "working directory")
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _await(log: Path, line: str, within_s: float = 30) -> None:
    """Wait for a line of its log; a connection that only looks whether it listens can end a Gadgetron."""
    end = time.monotonic() + within_s
    while line not in log.read_text(errors="replace"):
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.1)
    time.sleep(0.3)  # from that line to the listening


def properties(**values: object) -> str:
    """``<property>`` elements."""
    return "".join(f'<property name="{name}" value="{value}"/>' for name, value in values.items())


def execute(gadget: str, **values: object) -> str:
    """A gadget of ours that Gadgetron starts."""
    node = f'<execute name="inr_gadgets.external" target="{gadget}" type="python"/>'
    return f"<external>{node}<configuration>{properties(**values)}</configuration></external>"


def connect(gadget: str, port: int, **values: object) -> str:
    """A gadget of ours that Gadgetron dials."""
    inner = f'<configuration gadget="{gadget}">{properties(**values)}</configuration>'
    return f'<external><connect port="{port}" address="127.0.0.1"/>{inner}</external>'


def native(name: str, **values: object) -> str:
    """A C++ gadget of Gadgetron's own."""
    head = f"<name>{name}</name><dll>{MRI_CORE}</dll><classname>{name}Gadget</classname>"
    return f"<gadget>{head}{properties(**values)}</gadget>"


def configuration(
    nodes: Sequence[str], *, readers: Sequence[str] = READERS, writers: Sequence[str] = ("ImageWriter",)
) -> str:
    """A configuration of Gadgetron's, version 2."""
    read = "".join(
        f"<reader><dll>gadgetron_core_readers</dll><classname>{name}</classname></reader>" for name in readers
    )
    write = "".join(
        f"<writer><dll>gadgetron_core_writers</dll><classname>{name}</classname></writer>" for name in writers
    )
    inner = f"<readers>{read}</readers><writers>{write}</writers><stream>{''.join(nodes)}</stream>"
    return f'<?xml version="1.0"?><configuration><version>2</version>{inner}</configuration>'
