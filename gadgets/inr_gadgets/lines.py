"""The lines that the operator reads. Nothing is imported: a server that is not fit to work needs them, too."""

from __future__ import annotations

from typing import Literal

Level = Literal["", "ERROR", "WARNING"]

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
    return f"{level}: {line}" if level else line
