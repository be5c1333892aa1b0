"""The server: accepts at once, warms up behind, serves many clients, and ends cleanly.

Nothing heavy is imported here: a scanner connects, and may give up, long before torch is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from inr_core.devices import give_pages_back
from inr_core.errors import ConfigError
from inr_gadgets.lines import operator_line
from inr_gadgets.serving.listening import is_loopback, listen, refuse, set_options
from inr_gadgets.serving.signals import Signals
from inr_gadgets.wire.limits import ServerLimits

if TYPE_CHECKING:
    from inr_gadgets.chain import GadgetTable
    from inr_gadgets.serving.preparation import Preparation

logger = logging.getLogger(__name__)

_STOP_S = 30.0  # for sessions to send what they have; after that they are cut
_KEPT_BYTES = 256 << 20  # of memory that no scan uses: the next one begins a tenth sooner with it
_ACCEPT_S = 5.0  # for the accepting thread to end


Warm = Callable[[Callable[[], bool]], None]  # told by what it calls whether it may end early


def warm_up(stopped: Callable[[], bool]) -> None:
    """Import what a first scan needs and reconstruct something tiny."""
    importlib.import_module("inr_gadgets.serving.session")
    importlib.import_module("inr_gadgets.reconstruction.warming").warm_up(stopped)


class Conversation(Protocol):
    """What a server holds with one client."""

    def run(self) -> bool:
        """Hold it to its end, in the thread that calls; tell whether it was a scan."""

    def end(self, reason: str) -> None:
        """End it early; called from any thread."""


class Client:
    """A connection, the thread that serves it, and, once it is imported and made, its session."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.sock, self.peer = sock, peer
        self.session: Conversation | None = None
        self.thread: threading.Thread | None = None


class Server:
    """Listens and serves every client in a thread of its own.

    Usable as a context manager: it serves from the beginning of the block and is stopped at its end.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9002,
        *,
        save: str | Path | None = None,
        overrides: Mapping[str, object] | None = None,
        table: GadgetTable | None = None,
        warm: Warm | None = warm_up,
        after_scan: Callable[[], None] | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        """Bind and listen.

        Parameters
        ----------
        host, port
            Where; port 0 takes a free one, see :attr:`port`.
        save
            A folder that keeps every incoming scan as .h5; it is made, for its owner alone, if it does not exist.
        overrides
            Parameters that win over the configurations', ``{"recon.virtual_coils": "6"}``.
        table
            The gadgets that a configuration may name; None for this package's.
        warm
            Called in the background as soon as the server accepts, with a function that says whether it may end early;
            None for nothing.
        after_scan
            Called after each scan, when its client has been sent CLOSE.
        limits
            Of time and memory; None for the defaults. Who only connects, or asks something, is no scan but is a
            connection.

        Raises
        ------
        ConfigError
            When the address cannot be had or the folder cannot be made.
        ParameterError
            When an override is of no gadget, or its value is bad.
        """
        self._overrides = dict(overrides or {})
        if self._overrides:
            _check(self._overrides, table)
        self._save = _folder(save)
        self._table, self._warm, self._after_scan = table, warm, after_scan
        self._limits = limits or ServerLimits()
        self._slots = _Slots(self._limits.scans)
        self._lock = threading.Lock()
        self._clients: set[Client] = set()
        self._ending: str | None = None
        self._threads: list[threading.Thread] = []
        self._listener = listen(host, port)
        self._waker, self._wake = socket.socketpair()
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        if not is_loopback(self._listener.getsockname()[0]):
            logger.warning(
                "listening on %s: whoever reaches this port can send scans and see the images; "
                "MRD has neither passwords nor encryption",
                self._listener.getsockname()[0],
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("the server was stopped")

    def start(self) -> None:
        """Accept clients from now on, in the background."""
        self._begin(self._accept, "accept")
        if self._warm is not None:
            self._begin(functools.partial(_warm_up, self._warm, self._warm_enough), "warm-up")

    def stop(self, reason: str, *, within_s: float = _STOP_S) -> None:
        """Accept nobody more, let every session send what it has, and return when all have ended.

        Parameters
        ----------
        reason
            For the operators: ``"the server was told to stop (SIGTERM)"``.
        within_s
            How long the sessions may take; after that their connections are cut.
        """
        with self._lock:
            if self._ending is not None:
                return
            self._ending = reason
        self._wake.close()
        _join(self._threads[:1], _ACCEPT_S)  # the accepting one: nobody comes after this
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            if client.session is not None:
                client.session.end(reason)
        _join([client.thread for client in clients], within_s)
        for client in clients:
            if client.thread is not None and client.thread.is_alive():
                logger.error("%s: cut, as its scan did not end within %g s", client.peer, within_s)
                with contextlib.suppress(OSError):
                    client.sock.shutdown(socket.SHUT_RDWR)
        _join([client.thread for client in clients], 5.0)
        _join(self._threads, _STOP_S)
        self._listener.close()
        self._waker.close()

    @property
    def busy(self) -> bool:
        """Whether a client is connected."""
        return bool(self._clients)

    def _warm_enough(self) -> bool:
        """Whether the server ends, or a scan has begun: that warms up what it needs, and needs the cores."""
        return self._ending is not None or self._slots.taken

    def _begin(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        for sock, address in self._connections():
            if len(self._clients) >= self._limits.connections:
                self._turn_away(sock, address)
                continue
            client = Client(sock, f"{address[0]}:{address[1]}")
            client.thread = threading.Thread(target=self._serve, args=(client,), name=client.peer, daemon=True)
            logger.info("%s: connected", client.peer)
            try:
                with self._lock:  # whoever finds a client in the set can join its thread
                    client.thread.start()
                    self._clients.add(client)
            except RuntimeError as error:
                logger.error("%s: refused (%s)", client.peer, error)
                line = f"this server has no thread left for another client ({error})"
                refuse(sock, self.refusal(line), listen_s=0.0)
                sock.close()

    def _turn_away(self, sock: socket.socket, address: tuple[str, int]) -> None:
        most = self._limits.connections
        logger.warning("%s:%d: refused, as %d others are connected", *address, most)
        with contextlib.closing(sock):
            line = (
                f"one connection too many: this server has {most}; expected one of them to end first; try again later"
            )
            refuse(sock, self.refusal(line), listen_s=0.0)

    def _connections(self) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        while self._ending is None:
            poll.poll()
            if self._ending is not None:
                return
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                # The client may be gone already; or there are no descriptors left, and others have to end first.
                logger.warning("a connection could not be accepted (%s)", error.strerror or error)
                time.sleep(0.1)
                continue
            yield sock, (str(address[0]), int(address[1]))

    def _serve(self, client: Client) -> None:
        try:
            with contextlib.closing(client.sock):
                self._hold_session(client)
        except Exception:
            logger.exception("%s: the session failed", client.peer)
        finally:
            with self._lock:
                self._clients.discard(client)
            give_pages_back(above=_KEPT_BYTES)

    def _hold_session(self, client: Client) -> None:
        set_options(client.sock)
        try:
            # Only now: the import costs half a second, in which the next client is accepted already.
            session = self.conversation(client)
        except Exception as error:
            refuse(client.sock, self.refusal(f"the server is not fit to work: {error}; its log has the details"))
            raise
        with self._lock:
            client.session, ending = session, self._ending
        if ending is not None:
            session.end(ending)
        if session.run() and self._after_scan is not None:
            self._after_scan()

    def conversation(self, client: Client) -> Conversation:
        """Make what is held with a client, importing what that needs."""
        from inr_gadgets.serving.session import Session, SessionSettings
        from inr_gadgets.wire.connection import Connection

        settings = SessionSettings(overrides=self._overrides, save=self._save, limits=self._limits, slots=self._slots)
        if self._table is not None:
            settings = dataclasses.replace(settings, table=self._table)
        return Session(Connection(client.sock, self._limits), client.peer, settings)

    def refusal(self, line: str) -> bytes:
        """An error in the clients' dialect, TEXT (5), without the modules that may not have been imported."""
        text = f"{operator_line('ERROR', line)}\n\0".encode()
        return struct.pack("<HI", 5, len(text)) + text


def serve(
    host: str = "127.0.0.1",
    port: int = 9002,
    save: str | Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    once: bool = False,
    limits: ServerLimits | None = None,
    warm: Warm | None = warm_up,
    preparation: Preparation | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then let every scan send what it has, and return.

    Called in the main thread. The other parameters are those of :class:`Server`.

    Parameters
    ----------
    once
        Return after the first scan, too, whether it could be reconstructed or not: its client knows.
    preparation
        What compiles after a scan, for the next one; of no use with ``once``.
    """
    after_scan = None if preparation is None else preparation.look
    run_until_told(
        lambda end_waiting: Server(
            host,
            port,
            save=save,
            overrides=overrides,
            limits=limits,
            warm=warm,
            after_scan=end_waiting if once else after_scan,
        ),
        preparation,
    )


def run_until_told(make: Callable[[Callable[[], None]], Server], preparation: Preparation | None = None) -> None:
    """Run a server until SIGINT or SIGTERM; then let every scan send what it has, and return. In the main thread.

    Parameters
    ----------
    make
        Makes the server; what it is given ends the waiting as a signal does, when called from any thread.
    preparation
        What compiles after scans, if anything does; closed with the server.
    """
    with Signals() as signals:
        server = make(signals.end_waiting)
        if preparation is not None:
            preparation.busy = lambda: server.busy
        server.start()
        logger.info("listening on %s port %d", server.host, server.port)
        name = signals.wait()
        if preparation is not None:
            preparation.close()  # scans that send what they have need the cores
        if name is None:
            logger.info("the one scan has ended")
            server.stop("this server takes one scan, which has ended")
        else:
            logger.info("%s: no more clients; the scans that run send what they have", name)
            server.stop(f"the server was told to stop ({name})")


def _check(overrides: Mapping[str, object], table: GadgetTable | None) -> None:
    # Half a second of imports (not torch) is worth it, for who sets something; the start without that stays light.
    from inr_gadgets.chain import GADGETS, check_parameters

    check_parameters(overrides, GADGETS if table is None else table)


class _Slots(threading.Semaphore):
    """The places of the scans that are reconstructed at once.

    Attributes
    ----------
    taken
        Whether one was ever taken.
    """

    taken = False

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """As any semaphore."""
        got = super().acquire(blocking, timeout)
        self.taken = self.taken or got
        return got


def _warm_up(warm: Warm, stopped: Callable[[], bool]) -> None:
    began = time.monotonic()
    try:
        warm(stopped)
    except Exception:
        # A scan will fail in the same way, and its operator is told then.
        logger.exception("the warm-up failed")
    else:
        logger.info("warm after %.1f s", time.monotonic() - began)


def _folder(save: str | Path | None) -> Path | None:
    if save is None:
        return None
    folder = Path(save)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        others = folder.stat().st_mode & 0o077
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made ({error.strerror or error})", "a folder for the scans") from None
    if others:
        logger.warning("%s holds patients' data and is open to other users; chmod 700 closes it", folder)
    return folder


def _join(threads: Sequence[threading.Thread | None], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    for thread in threads:
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
