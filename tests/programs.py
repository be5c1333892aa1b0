"""The programs of benchmarks/ and training/, for tests of what is logic in them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[1]


def program(name: str, folder: str = "benchmarks") -> ModuleType:
    """Import a module of such a folder; it finds its neighbours there, one of which is called as one of tests/ is."""
    ours = sys.modules.pop("scans", None)
    sys.path.insert(0, str(_ROOT / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(_ROOT / folder))
        sys.modules.pop("scans", None)
        if ours is not None:
            sys.modules["scans"] = ours
