"""The sockets of a server: where it listens, how its clients' connections are kept, and how one is turned away."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import time

from inr_core.errors import ConfigError

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # s, s, times: a cable that was pulled


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError where the address cannot be had."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # localhost may be ::1 first, where clients that were told 127.0.0.1 find nobody.
        family = min(found, key=lambda entry: entry[0] != socket.AF_INET)[0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({reason})",
            "a free port of this machine",
            "choose another --port or --host",
        ) from None


def set_options(sock: socket.socket) -> None:
    """Let a client's connection send at once, and find out when its cable was pulled."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # Linux has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def refuse(sock: socket.socket, refusal: bytes, listen_s: float = 30.0) -> None:
    """Send a refusal and CLOSE (4), and read on for so long, or until the client closes its side."""
    with contextlib.suppress(OSError):
        sock.sendall(refusal + struct.pack("<H", 4))
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(1.0)
        end = time.monotonic() + listen_s
        while time.monotonic() < end and sock.recv(1 << 16):
            pass  # closed earlier, it would be reset and the line lost


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(address.split("%")[0]).is_loopback
