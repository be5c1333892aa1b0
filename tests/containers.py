"""A container's root without a container engine: namespaces of the kernel, by unshare and chroot. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_READY_S = 60.0
# Mounts are of a namespace of their own and vanish with it. The root is read-only, as `docker run --read-only --tmpfs
# /tmp` has it; of the network there is the loopback alone.
_ENTER = """
set -e
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
exec chroot --userspec="$user:$user" "$root" env -i "$@"
"""
_LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
"""


def missing(*programs: str) -> str:
    """Return why containers cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in (*programs, "unshare", "nsenter", "chroot") if shutil.which(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


@dataclass(frozen=True)
class Container:
    """A program that runs as the first process of its namespaces, and their network, which others can enter."""

    process: subprocess.Popen[str]
    pid: int

    def outside(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine, with this machine's files, in the container's network."""
        enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]
        return subprocess.run(enter, capture_output=True, text=True, timeout=timeout, check=False)

    def inr_recon(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run this checkout's inr-recon in the container's network."""
        return self.outside(sys.executable, "-m", "inr_gadgets.cli", *words)

    def user(self) -> int:
        """The user that the program runs as."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def peak_mib(self) -> float:
        """The most memory that it had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


@contextlib.contextmanager
def running(root: Path, words: Sequence[str], environment: Sequence[str], user: int, log: Path) -> Iterator[Container]:
    """Run a program in a root until the end of the block; what it says goes into the log."""
    inside = [*environment, *words]
    unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=SIGKILL"]
    with log.open("w") as said:
        process = subprocess.Popen(
            [*unshare, "sh", "-c", _ENTER, "sh", str(root), str(user), *inside], stdout=said, stderr=said, text=True
        )
    try:
        container = Container(process, _first_child(process))
        raised = container.outside(sys.executable, "-c", _LOOPBACK_UP)
        if raised.returncode:
            raise RuntimeError(raised.stderr)
        yield container
    finally:
        process.kill()
        process.wait()


def _first_child(process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + _READY_S
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < deadline and process.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise RuntimeError("no process in the container")
