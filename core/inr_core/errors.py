"""The exceptions of the project: one tree, one line each, saying what arrived, what was expected and what to do."""

from __future__ import annotations

from typing import Self


class InrError(Exception):
    """Base of everything that this project raises on purpose; its message is meant for the operator."""

    def __init__(self, arrived: str, expected: str = "", advice: str = "") -> None:
        """Join the three parts into one line; line breaks inside them become spaces."""
        self.arrived, self.expected, self.advice = arrived, expected, advice
        parts = [arrived]
        if expected:
            parts.append(f"expected {expected}")
        if advice:
            parts.append(advice)
        super().__init__(" ".join("; ".join(parts).split()))


class DataError(InrError):
    """The scan's data or header cannot be reconstructed as they are."""


class ParameterError(InrError):
    """A parameter is unknown, of the wrong type or out of range."""


class ConfigError(InrError):
    """A configuration does not exist, cannot be read, or asks for what this package does not have."""


class ProtocolError(InrError):
    """The stream broke the MRD protocol: a message cut short, an unknown id, a wrong order."""


class MissingDependencyError(InrError):
    """An optional package is absent; the message names the extra that brings it."""

    @classmethod
    def of_extra(cls, need: str, extra: str, error: ImportError) -> Self:
        """Of a package that an extra of this one brings.

        Parameters
        ----------
        need
            What needs which package: ``"DICOM needs pydicom"``.
        extra
            Name of the extra.
        error
            That the import gave.
        """
        return cls(f"{need} ({error})", f"the extra '{extra}'", f"pip install 'inr-recon[{extra}]'")
