"""Errors are one tree, and one line each."""

from __future__ import annotations

import pytest

from inr_core import errors
from inr_core.errors import ConfigError, DataError, InrError, MissingDependencyError, ParameterError, ProtocolError


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (("3 coils",), "3 coils"),
        (("3 coils", "4"), "3 coils; expected 4"),
        (("3 coils", "", "send all"), "3 coils; send all"),
        (("3 coils", "4", "send all"), "3 coils; expected 4; send all"),
        (("a\nmessage\tin  pieces", "one\r\nline"), "a message in pieces; expected one line"),
    ],
)
def test_three_parts_become_one_line(parts: tuple[str, ...], line: str) -> None:
    error = DataError(*parts)
    assert str(error) == line
    assert error.arrived == parts[0]


def test_all_errors_share_one_base() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {ConfigError, DataError, MissingDependencyError, ParameterError, ProtocolError} < set(kinds)
    assert all(issubclass(kind, InrError) for kind in kinds)


def test_an_absent_package_names_the_extra_that_brings_it() -> None:
    error = MissingDependencyError.of_extra("DICOM needs pydicom", "dicom", ImportError("No module named 'pydicom'"))
    assert str(error) == (
        "DICOM needs pydicom (No module named 'pydicom'); expected the extra 'dicom'; pip install 'inr-recon[dicom]'"
    )
