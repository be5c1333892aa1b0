"""What a stored series is of: names, windows, and what tells images of one place and time apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Attributes that name a series: ours, Gadgetron's, FIRE's.
_LABELS = ("ImageComments", "GADGETRON_SeqDescription", "SequenceDescriptionAdditional", "GADGETRON_ImageComment")


def image_kinds(headers: Sequence[Any], meta: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, int, int]]:
    """(set, contrast, average, repeat) of each image: what tells images of one place and time apart.

    ``repeat`` counts the groups (``inr_group``) of one slice, set, contrast and average, such as partitions.
    """
    places = [(header.slice, header.set, header.contrast, header.average) for header in headers]
    groups = [int(attributes.get("inr_group", 0)) for attributes in meta]
    known: dict[tuple[int, ...], list[int]] = {}
    for place, group in sorted(set(zip(places, groups, strict=True))):
        known.setdefault(place, []).append(group)
    return [
        (place[1], place[2], place[3], known[place].index(group)) for place, group in zip(places, groups, strict=True)
    ]


def kind_label(kind: tuple[int, ...], kinds: Sequence[tuple[int, ...]]) -> str:
    """``"set 1 contrast 0"``: what differs among the kinds of a series."""
    words = ("set", "contrast", "average", "group")
    return " ".join(f"{word} {kind[i]}" for i, word in enumerate(words) if len({other[i] for other in kinds}) > 1)


def series_label(index: int, meta: Mapping[str, Any]) -> str:
    """What a series is called: as our images, Gadgetron's or FIRE's say it; else by its number, ``"series 7"``."""
    for name in _LABELS:
        value = meta.get(name)
        text = "_".join(value) if isinstance(value, (list, tuple)) else str(value or "")
        if text.strip():
            return text.strip().strip("_")
    # Of our images that other gadgets finished only the method is known.
    return f"{str(meta.get('inr_method', '')).upper()} series {index}".strip()


def common_window(meta: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Centre and width that all images have in their attributes; None where they differ or there are none."""
    for prefix in ("", "GADGETRON_"):
        names = f"{prefix}WindowCenter", f"{prefix}WindowWidth"
        found = {tuple(str(attributes.get(name, "")) for name in names) for attributes in meta}
        if len(found) == 1:
            try:
                centre, width = (float(text) for text in found.pop())
            except ValueError:
                continue
            if np.isfinite(centre) and np.isfinite(width) and width > 0:
                return centre, width
    return None


def positive(value: Any) -> float | None:
    """The number above 0 that an attribute says; None if it says none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
