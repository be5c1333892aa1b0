"""The programs of benchmarks/, for tests of what is logic in them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def program(name: str) -> ModuleType:
    """Import a module of benchmarks/; it finds its neighbours there, one of which is called as one of tests/ is."""
    ours = sys.modules.pop("scans", None)
    sys.path.insert(0, str(_BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(_BENCHMARKS))
        sys.modules.pop("scans", None)
        if ours is not None:
            sys.modules["scans"] = ours
