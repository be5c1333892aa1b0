"""What an examination of this machine finds: one line each, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    subject
        What was looked at.
    state
        ``"ok"``, ``"missing"`` (optional: something will not be available) or ``"bad"`` (something that is needed does
        not work).
    text
        What was found, and what to do where something is amiss.
    """

    subject: str
    state: str
    text: str
