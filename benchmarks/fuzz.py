"""Mutated scans against a real server, and mutated bytes against what decodes them: nothing hangs, crashes or grows.

python benchmarks/fuzz.py [--streams 10000] [--seed 0] [--config nufft] [--executions 200000] [--more]

Streams come from Hypothesis, over sockets, into `inr-recon serve`; bytes from Atheris (the extra `fuzz`), guided by
coverage, in a process of its own. --more adds to the result that is there.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self

import ismrmrd
from hypothesis import HealthCheck, Phase, given, seed, settings
from mutations import MUTATIONS, Mutation, mutated, recording
from options import Options
from results import RESULTS, TRIED, Figure, at_least, at_most, machine, save, show

from inr_core.errors import MissingDependencyError
from inr_gadgets.server_process import ServerProcess, serving
from inr_gadgets.serving.server import Server
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.limits import resident_bytes

_WAIT_S = 30.0  # for the client; a server that needs it has failed
_MIB = 1 << 20
_PARTS = {"threads": "task", "descriptors": "fd"}  # of a process, under /proc


@dataclass(frozen=True)
class Ending:
    """How a stream ended.

    Attributes
    ----------
    error
        The server's line that says what was wrong; empty if nothing was.
    images
        How many came.
    fault
        What the server must not do, in words; empty if it did nothing of that.
    seconds, cpu_s
        From the last byte sent to the end of the connection; the second is the server's own time.
    """

    error: str
    images: int
    fault: str
    seconds: float
    cpu_s: float


def exchange(host: Host, stream: bytes) -> Ending:
    """Send a stream, say that nothing follows, and read up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", host.port), timeout=_WAIT_S) as sock:
        sent: list[tuple[float, float]] = []

        def send() -> None:
            try:
                sock.sendall(stream)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server has ended it already
            sent.append((time.monotonic(), host.cpu_s()))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        items: list[Any] = []
        fault = ""
        try:
            items.extend(Connection(sock))
            sock.settimeout(_WAIT_S)
            if sock.recv(1):
                fault = "bytes after CLOSE"
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is at fault
            fault = f"{type(error).__name__}: {error}"
        ended, cpu_s = time.monotonic(), host.cpu_s()
        sender.join(_WAIT_S)
    texts = [item.text.strip() for item in items if hasattr(item, "text")]
    errors = [text for text in texts if text.startswith("ERR")]
    if len(errors) > 1 or "internal error" in "".join(errors):
        fault = fault or f"errors {errors}"
    begun, cpu_begun = sent[0] if sent else (ended - _WAIT_S, cpu_s)
    images = sum(isinstance(item, ismrmrd.Image) for item in items)
    return Ending("".join(errors), images, fault, max(ended - begun, 0.0), max(cpu_s - cpu_begun, 0.0))


class Host(Protocol):
    """Where the server runs, and what it takes there."""

    port: int

    def cpu_s(self) -> float:
        """CPU time so far."""

    def resident_bytes(self) -> int:
        """Memory now."""

    def held(self) -> dict[str, int]:
        """Threads and descriptors now."""

    def tracebacks(self) -> str:
        """What the log has of them; empty if nothing."""


class InProcess:
    """A server of this process.

    Parameters
    ----------
    server
        Running.
    """

    def __init__(self, server: Server) -> None:
        self.port = server.port
        self._found: list[str] = []
        self._handler = logging.Handler()
        self._handler.emit = self._look  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)

    def _look(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self._found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

    def cpu_s(self) -> float:
        """CPU time so far, of the client, too."""
        return time.process_time()

    def resident_bytes(self) -> int:
        """Memory now."""
        return resident_bytes()

    def held(self) -> dict[str, int]:
        """Threads and descriptors now."""
        return {"threads": threading.active_count(), "descriptors": len(list(Path("/proc/self/fd").iterdir()))}

    def tracebacks(self) -> str:
        """What the log has of them; empty if nothing."""
        found, self._found = self._found, []
        return "; ".join(found)


class OwnProcess:
    """A server in a process of its own, with its log in a file.

    Parameters
    ----------
    server
        Running.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.port = server.port
        self._read = server.log.open()
        self._proc = Path("/proc") / str(server.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._read.close()

    def cpu_s(self) -> float:
        """CPU time so far, in steps of 10 ms."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Memory now."""
        return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def held(self) -> dict[str, int]:
        """Threads and descriptors now."""
        return {name: len(list((self._proc / part).iterdir())) for name, part in _PARTS.items()}

    def tracebacks(self) -> str:
        """What the log has of them, and of warnings; empty if nothing."""
        new = self._read.read()
        return new if "Traceback" in new or "Warning" in new else ""


@dataclass
class Tally:
    """What the streams came to."""

    endings: list[Ending] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def add(self, ending: Ending, host: Host) -> None:
        """Count one."""
        self.endings.append(ending)
        if len(self.endings) % 50 == 0:
            self.memory.append(host.resident_bytes())

    @property
    def growth(self) -> float:
        """Of the memory, from the first fifth's mean to the last's, as a part of it."""
        fifth = max(len(self.memory) // 5, 1)
        return statistics.mean(self.memory[-fifth:]) / statistics.mean(self.memory[:fifth]) - 1

    def described(self) -> dict[str, Any]:
        """Numbers for the result's file."""
        return {
            "streams": len(self.endings),
            "refused": sum(bool(ending.error) for ending in self.endings),
            "with_images": sum(bool(ending.images) for ending in self.endings),
            "slowest_s": round(max(ending.seconds for ending in self.endings), 3),
            "slowest_cpu_s": round(max(ending.cpu_s for ending in self.endings), 3),
            "growth_percent": round(100 * self.growth, 1),
            "memory_mib": [round(nbytes / _MIB, 1) for nbytes in self.memory],
        }


def fuzz_streams(host: Host, n_streams: int, number: int, tally: Tally, most_s: float, config: str = "nufft") -> None:
    """Send mutated streams; Hypothesis raises the smallest change that makes the server do what it must not.

    Parameters
    ----------
    host
        Of the server.
    n_streams, number
        How many, and the number that they follow from.
    tally
        Counts them.
    most_s
        Within which each must have ended.
    config
        What the scan asks for.
    """
    messages = recording(config)

    @seed(number)
    @settings(
        max_examples=n_streams,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(MUTATIONS)
    def one(mutations: list[Mutation]) -> None:
        ending = exchange(host, mutated(messages, mutations))
        tally.add(ending, host)
        assert not ending.fault, ending.fault
        found = host.tracebacks()
        assert not found, found
        assert ending.seconds <= most_s, f"{ending.seconds:.1f} s to the end of the connection"

    one()


def run_streams(n_streams: int, number: int, config: str) -> dict[str, Any]:
    """Mutated streams against a server, and a good one afterwards."""
    good = b"".join(recording(config))
    tally = Tally()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "log") as server,
        OwnProcess(server) as host,
    ):
        for _ in range(3):
            exchange(host, good)
        time.sleep(0.5)
        before = host.held()
        fuzz_streams(host, n_streams, number, tally, _WAIT_S, config)
        time.sleep(0.5)
        left = {name: count - before[name] for name, count in host.held().items()}
        after = exchange(host, good)
    return {
        "config": config,
        "seed": number,
        **tally.described(),
        **left,
        "good_scan_afterwards": not after.error and after.images > 0,
    }


def run_bytes(executions: int) -> dict[str, Any]:
    """Mutated bytes against the decoders, by Atheris."""
    if find_spec("atheris") is None:
        raise MissingDependencyError(
            "atheris is not installed", "it, for the decoders", "pip install 'inr-recon[fuzz]'"
        )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(__file__).with_name("fuzz_decode.py")
        words = [sys.executable, str(program), f"-runs={executions}", "-print_final_stats=1", "-max_len=65536", folder]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            TRIED.mkdir(parents=True, exist_ok=True)
            kept = [shutil.copy(path, TRIED) for path in Path(folder).glob("crash-*")]
            print(f"{done.stdout[-2000:]}{done.stderr[-2000:]}\nkept: {', '.join(map(str, kept))}", file=sys.stderr)
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    covered = re.findall(r"cov: (\d+)", done.stderr)
    return {
        "executions": int(stats.get("number_of_executed_units", 0)),
        "crashed": done.returncode != 0,
        "slowest_unit_s": int(stats.get("slowest_unit_time_sec", 0)),
        "peak_mib": int(stats.get("peak_rss_mb", 0)),
        "edges": int(covered[-1]) if covered else 0,
    }


def figures_of(streams: list[dict[str, Any]], decoded: list[dict[str, Any]]) -> list[Figure]:
    """The figures of all runs together."""
    figures = []
    if streams:
        figures += [
            at_least("mutated streams", sum(run["streams"] for run in streams), 10_000),
            Figure("of these refused with one line", sum(run["refused"] for run in streams)),
            Figure("of these with images", sum(run["with_images"] for run in streams)),
            at_most("slowest end of a stream, CPU s", max(run["slowest_cpu_s"] for run in streams), 1),
            Figure("the same, s", max(run["slowest_s"] for run in streams)),
            at_most(
                "growth of memory from a run's first fifth to its last, %",
                max(run["growth_percent"] for run in streams),
                5,
            ),
            at_most("threads left over", max(run["threads"] for run in streams), 0),
            at_most("descriptors left over", max(run["descriptors"] for run in streams), 0),
            at_most("runs without a good scan afterwards", sum(not run["good_scan_afterwards"] for run in streams), 0),
        ]
    if decoded:
        figures += [
            at_least("inputs of the decoders, guided by coverage", sum(run["executions"] for run in decoded), 10_000),
            Figure("edges reached", max(run["edges"] for run in decoded)),
            at_most("runs that crashed", sum(run["crashed"] for run in decoded), 0),
            at_most("slowest input, s", max(run["slowest_unit_s"] for run in decoded), 1),
        ]
    return figures


def main() -> None:
    """Run, print, save."""
    parser = Options(__doc__)
    parser.add_argument("--streams", type=int, default=10_000, help="mutated scans; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="number that they follow from")
    parser.add_argument("--config", default="nufft", help="what the scans ask for; nufft takes the least time")
    parser.add_argument("--executions", type=int, default=200_000, help="inputs of the decoders; 0 for none")
    parser.add_argument("--more", action="store_true", help="add to the result that is there")
    arguments = parser.parse_args()
    described = machine()
    described["versions"] |= {name: version(name) for name in ("hypothesis", "atheris") if find_spec(name)}
    known = RESULTS / "fuzz.json"
    runs: dict[str, Any] = json.loads(known.read_text()) if arguments.more and known.exists() else {}
    streams, decoded = runs.get("streams", []), runs.get("decoded", [])
    if arguments.streams:
        streams.append(run_streams(arguments.streams, arguments.seed, arguments.config))
    if arguments.executions:
        decoded.append(run_bytes(arguments.executions))
    figures = figures_of(streams, decoded)
    show("fuzzing", figures)
    path = save("fuzz", described, "a recorded scan, mutated", figures, streams=streams, decoded=decoded)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
