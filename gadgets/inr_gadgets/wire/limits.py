"""What a server lets its clients take of its time and its memory. Nothing heavy is imported."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from inr_core.parameters import parameter

GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_STATM = Path("/proc/self/statm")
_PART = 0.8  # of the memory that there is


@dataclass(frozen=True)
class ServerLimits:
    """What `inr-recon serve` grants its clients; set where it is started (`--set`), never by a client."""

    connections: int = parameter(
        64, "connections at once, idle ones too; one more is refused in one line", minimum=1, maximum=4096
    )
    scans: int = parameter(16, "scans reconstructed at once; one more is refused in one line", minimum=1, maximum=256)
    header_s: float = parameter(
        600.0,
        "from connecting to the end of the scan's header; a scanner may connect early and wait",
        unit="s",
        minimum=0.1,
        maximum=1e6,
    )
    pause_s: float = parameter(
        1800.0, "between two messages of a scan, which may pause", unit="s", minimum=0.1, maximum=1e6
    )
    message_s: float = parameter(60.0, "from a message's first byte to its last", unit="s", minimum=0.1, maximum=1e6)
    send_s: float = parameter(
        120.0, "for the client to take one image or line that is sent to it", unit="s", minimum=0.1, maximum=1e6
    )
    message_mib: int = parameter(64, "longest readout or waveform", unit="MiB", minimum=1, maximum=2048)
    header_mib: int = parameter(16, "longest XML header of a scan", unit="MiB", minimum=1, maximum=16)
    text_mib: int = parameter(1, "longest configuration, JSON, line or query", unit="MiB", minimum=1, maximum=16)
    matrix: int = parameter(1024, "largest reconstructed matrix, each way", unit="pixels", minimum=16, maximum=4096)
    scan_gib: float = parameter(256.0, "bytes of one scan", unit="GiB", minimum=0.001, maximum=1e6)
    memory_gib: float = parameter(
        0.0,
        "resident memory of the server beyond which a scan ends and none begins; 0: four fifths of what the machine or "
        "the container has",
        unit="GiB",
        minimum=0.0,
        maximum=1e6,
    )

    @property
    def memory_bytes(self) -> int:
        """The most resident memory, with what 0 stands for."""
        return int(self.memory_gib * GIB) or int(_PART * installed_bytes())


def installed_bytes() -> int:
    """Memory of the machine, or of the container that this process runs in."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return machine


def resident_bytes() -> int:
    """Memory that this process takes now; some microseconds. In a chroot without /proc, the most that it ever took."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
