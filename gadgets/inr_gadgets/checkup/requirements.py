"""What this package asks of Python and of other packages, as its own metadata say: what pyproject.toml says."""

from __future__ import annotations

import importlib.metadata
import re


def oldest_python() -> tuple[int, ...]:
    """The oldest Python that will do, ``(3, 11)``; empty, which is older than any, from a bare source."""
    try:
        wanted = importlib.metadata.metadata("inr-recon")["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:
        return ()
    return numbers(wanted or "")


def oldest_versions() -> dict[str, str]:
    """The oldest version of each package that will do; none from a bare source."""
    try:
        wanted = importlib.metadata.requires("inr-recon") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement) for requirement in wanted)
    return {match[1]: match[2] for match in found if match}


def numbers(version: str) -> tuple[int, ...]:
    """A version's first numbers, to compare by."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
