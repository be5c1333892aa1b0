"""What is written of patients is their owner's from the first moment, and replaces nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inr_gadgets.private_file import new_private_file


@pytest.mark.parametrize("access", [os.O_WRONLY, os.O_RDWR])
def test_only_the_owner_may_open_it(tmp_path: Path, access: int) -> None:
    before = os.umask(0)
    try:
        with os.fdopen(new_private_file(tmp_path / "new", access), "wb") as file:
            file.write(b"some")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").read_bytes() == b"some"


def test_nothing_is_replaced_or_followed(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("old", "link"):
        with pytest.raises(FileExistsError):
            new_private_file(tmp_path / name)
    assert (tmp_path / "old").read_text() == "kept"
    assert not (tmp_path / "elsewhere").exists()
