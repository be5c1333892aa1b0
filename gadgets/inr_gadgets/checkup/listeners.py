"""Which process listens at a port, from what Linux shows in /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"  # a socket's state


def who_listens(port: int, proc: Path = _PROC) -> str:
    """Return ``"name (process 123)"`` of who listens at a TCP port of this machine; empty where that cannot be seen.

    Parameters
    ----------
    port
        The port.
    proc
        Where the system shows its processes. Those of others are hidden from all but root.
    """
    inodes = _listening(port, proc)
    for process in proc.glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):  # another user's, or gone in the meantime
            if any(_target(link) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed in the meantime, as the one by which the folder is read
        return ""


def _listening(port: int, proc: Path) -> set[str]:
    """``socket:[inode]`` of the sockets that listen at a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for words in map(str.split, lines):
            if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found
