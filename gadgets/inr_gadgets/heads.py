"""The headers of fixed size that readouts, waveforms and images have."""

from __future__ import annotations

from typing import Any


def head_of(item: Any) -> Any:
    """A copy of an item's header: the library's own getHead(), a deep copy, takes ten times as long."""
    head = item._head
    return type(head).from_buffer_copy(head)
