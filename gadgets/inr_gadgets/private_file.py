"""Files that hold patients' data: only their owner may open them."""

from __future__ import annotations

import os
from pathlib import Path


def new_private_file(path: Path, access: int = os.O_WRONLY) -> int:
    """Create a file of mode 0600 and return its descriptor.

    It is created with its mode, not changed to it: there is no moment at which others can open the file.

    Parameters
    ----------
    path
        Of the file.
    access
        ``os.O_WRONLY`` or ``os.O_RDWR``.

    Raises
    ------
    FileExistsError
        If there is something of that name, a link that leads nowhere included.
    OSError
        If it cannot be made.
    """
    return os.open(path, access | os.O_CREAT | os.O_EXCL, 0o600)
