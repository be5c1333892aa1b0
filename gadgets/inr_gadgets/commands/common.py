"""What every command shares: one-line errors and exit codes, ``--set``, progress."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec

import typer

from inr_core.errors import InrError, ParameterError

P = ParamSpec("P")

FAILED, INTERRUPTED = 1, 130


def say(line: str) -> None:
    """Print one line for the operator on stderr; what is asked for goes to stdout."""
    print(f"inr-recon: {line}", file=sys.stderr, flush=True)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command whose errors become one line on stderr and an exit code other than 0.

    An :class:`inr_core.errors.InrError` or a refusal of the operating system is one line and code 1, an interruption
    code 130, wrong usage code 2 (typer's own). Any other exception is a fault of the program and keeps its traceback.
    """

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
                sys.stdout.flush()
            except InrError as error:
                say(str(error))
                raise typer.Exit(FAILED) from None
            except KeyboardInterrupt:
                say("interrupted; what was made so far is kept")
                raise typer.Exit(INTERRUPTED) from None
            except BrokenPipeError:
                # The reader of stdout has gone (| head): nothing is left to say, not even at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(FAILED) from None
            except OSError as error:
                where = f": {error.filename}" if error.filename else ""
                say(f"{error.strerror or error}{where}")
                raise typer.Exit(FAILED) from None

        app.command(name)(guarded)
        return guarded

    return register


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Turn ``--set gadget.name=value`` options into name to value; a later one replaces an earlier one.

    Raises
    ------
    ParameterError
        For a setting without ``=`` or without a name.
    """
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"--set {setting}", "gadget.name=value", "for example --set recon.virtual_coils=6")
        values[name.strip()] = value.strip()
    return values


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; as wide as the terminal, and never cut where the output is a file or a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


class Progress:
    """A progress line on stderr that shows only once the work has lasted a second, and only on a terminal.

    It may be updated from several threads.
    """

    def __init__(self, label: str, total: int | None = None, after_s: float = 1.0) -> None:
        self._label, self._total, self._after_s = label, total, after_s
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def update(self, done: int, note: str = "") -> None:
        """Show how many pieces of the work are done, and a few words beside them."""
        with self._lock:
            if self._bar is None:
                if time.monotonic() - self._begun < self._after_s or not sys.stderr.isatty():
                    return
                self._start()
        self._bar.update(self._task, completed=done, note=note)

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        columns = [progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn()]
        note = progress.TextColumn("{task.fields[note]}")
        self._bar = progress.Progress(
            *columns, progress.TimeElapsedColumn(), note, console=Console(stderr=True), transient=True
        )
        self._task = self._bar.add_task(self._label, total=self._total, note="")
        self._bar.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
