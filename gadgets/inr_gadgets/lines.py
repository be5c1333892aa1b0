"""The lines that the operator reads. Nothing is imported: a server that is not fit to work needs them, too."""

from __future__ import annotations

from typing import Literal

Level = Literal["", "ERROR", "WARNING"]

# FIRE colours a line by its first three characters: ERR red, WRN yellow, DBG white. Other hosts print it as it is: an
# error keeps the whole word, which people and scripts look for.
_PREFIXES = {"ERROR": "ERROR: ", "WARNING": "WRN: "}
_PLAIN = "DBG: "

_LONGEST_LINE = 2000  # characters: names that came over the wire are part of our lines, and may be long


def operator_line(level: Level, text: str) -> str:
    """Return the one line that the operator of the scanner reads.

    Parameters
    ----------
    level
        ``"ERROR"``, ``"WARNING"``, or empty for a plain line. The only place where a level becomes a prefix.
    text
        What to say; line breaks and characters that a console would obey become spaces.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > _LONGEST_LINE:
        line = line[:_LONGEST_LINE] + " ..."
    return _PREFIXES.get(level, "") + line


def line_for_host(line: str) -> str:
    """Return a line as it is sent over the wire: one that is neither an error nor a warning is marked as plain."""
    return line if line.startswith(tuple(_PREFIXES.values())) else _PLAIN + line


def line_from_host(line: str) -> str:
    """Return a line that came over the wire without the mark of a plain one."""
    return line.removeprefix(_PLAIN)
