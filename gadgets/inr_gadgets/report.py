"""The report of a scan, made from its images' meta attributes alone: the same whatever road the readouts took."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.imaging.geometry import DELAYED_SERIES, LIVE_SERIES, REFINED_SERIES

Group = tuple[int, int, int, int]
_GROUP_NAMES = ("slice", "set", "contrast", "group")


class Report:
    """Gathers one row per image and turns them into the JSON of ``replay --report``.

    Only the numbers of an image are kept, never its pixels, so a report of hours of scan stays small.

    Attributes
    ----------
    seconds
        From the first readout to the last image, for who replays the scan; None where nobody looked at the clock.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._said: dict[str, set[str]] = {"inr_device": set(), "inr_versions": set()}

    def add(self, image: Any) -> None:
        """Take the numbers of one image (ismrmrd.Image)."""
        self.add_meta(image.image_series_index, image.meta, (image.slice, image.set, image.contrast))

    def add_meta(self, series: int, meta: Mapping[str, Any], place: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Take the numbers of one image from its attributes.

        Parameters
        ----------
        series
            The image's series: 1 live, 2 refined, 4 delayed.
        meta
            Its attributes, as text or numbers; docs/architecture.md lists the names.
        place
            (slice, set, contrast) of the image. Frames are numbered within these and ``inr_group``, which also tells
            averages and partitions apart.

        Raises
        ------
        DataError
            For an attribute that is not a number where one is due.
        """
        self._rows.setdefault(int(series), []).append(
            {
                "group": (*(int(i) for i in place), _number(meta, "inr_group", int) or 0),
                "frame": _frame(meta),
                "latency_ms": _number(meta, "inr_latency_ms", float),
                "steps": _number(meta, "inr_steps", int),
                "refine_s": _number(meta, "inr_refine_s", float),
                "peak_memory_mib": _number(meta, "inr_peak_memory_mib", float),
            }
        )
        for name, values in self._said.items():
            if name in meta:
                values.add(_text(meta[name]))

    def as_dict(self) -> dict[str, Any]:
        """Return the report: ``frames`` (one row per live image) and ``scan`` (what holds for the whole)."""
        live, refined, late = (self._rows.get(series, []) for series in (LIVE_SERIES, REFINED_SERIES, DELAYED_SERIES))
        everything = [row for rows in self._rows.values() for row in rows]
        latencies = [row["latency_ms"] for row in live if row["latency_ms"] is not None]
        dropped = _gaps(live, everything)
        return {
            "frames": [
                {
                    "frame": row["frame"],
                    **dict(zip(_GROUP_NAMES, row["group"], strict=True)),
                    "latency_ms": row["latency_ms"],
                    "steps": row["steps"],
                }
                for row in live
            ],
            "scan": {
                "live_frames": len(live),
                "refined_frames": len(refined),
                "delayed_frames": len(late),
                "other_images": len(everything) - len(live) - len(refined) - len(late),
                "dropped_frames": len(dropped),
                "dropped": dropped,
                "latency_ms": _summary(latencies),
                "live_steps": sum(row["steps"] or 0 for row in live),
                "refine_steps": _refine_steps(refined),
                "refine_s": _largest(refined, "refine_s"),
                "peak_memory_mib": _largest(everything, "peak_memory_mib"),
                "seconds": self.seconds,
                "device": _joined(self._said["inr_device"]),
                "versions": _joined(self._said["inr_versions"]),
            },
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    def sentence(self) -> str:
        """Return the report in one line, for people."""
        return summary_line(self.as_dict()["scan"])


def _refine_steps(refined: list[dict[str, Any]]) -> int:
    """Each refined image carries the steps of its group's whole refinement."""
    groups = {row["group"]: row["steps"] or 0 for row in refined}
    return sum(groups.values())


def summary_line(scan: dict[str, Any]) -> str:
    """Return the part ``scan`` of a report in one line, for people."""
    parts = [f"{scan['live_frames']} live frames"]
    if scan["refined_frames"]:
        parts[0] += f", {scan['refined_frames']} refined"
    if scan["delayed_frames"]:
        parts[0] += f", {scan['delayed_frames']} delayed"
    if scan["other_images"]:
        parts[0] += f", {scan['other_images']} other images"
    if scan["latency_ms"]["median"] is not None:
        parts.append("latency {median:.0f} ms median, {p95:.0f} ms p95".format(**scan["latency_ms"]))
    if scan["refine_s"] is not None:
        parts.append(f"refined {scan['refine_s']:.1f} s after the last readout")
    if scan["peak_memory_mib"] is not None:
        parts.append(f"{scan['peak_memory_mib']:.0f} MiB")
    if scan["device"] is not None:
        parts.append(f"on {scan['device']}")
    if scan["dropped_frames"]:
        parts.append(f"{scan['dropped_frames']} frames dropped")
    return "; ".join(parts)


def report_of(images: Iterable[Any]) -> Report:
    """Make the report of images (ismrmrd.Image) that are at hand."""
    report = Report()
    for image in images:
        report.add(image)
    return report


def _text(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


def _number(meta: Mapping[str, Any], name: str, kind: type[int] | type[float]) -> Any:
    """Return a meta attribute as a number; None when the image does not have it."""
    if name not in meta:
        return None
    try:
        number = float(meta[name])
    except (TypeError, ValueError):
        raise DataError(
            f"image attribute {name} = {_text(meta[name])!r}", "a number", "these images are not ours"
        ) from None
    if not math.isfinite(number):
        raise DataError(f"image attribute {name} = {number}", "a finite number", "these images are not ours")
    return kind(number)


def _frame(meta: Mapping[str, Any]) -> float | int | None:
    """The frame's number; with a fraction for an image between two frames."""
    number = _number(meta, "inr_frame", float)
    return number if number is None or number % 1 else int(number)


def _summary(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "p95": None, "max": None}
    median, p95, largest = np.percentile(values, [50, 95, 100])
    return {"median": round(float(median), 3), "p95": round(float(p95), 3), "max": round(float(largest), 3)}


def _largest(rows: list[dict[str, Any]], name: str) -> float | None:
    return max((row[name] for row in rows if row[name] is not None), default=None)


def _joined(values: set[str]) -> str | None:
    return "; ".join(sorted(values)) or None


def _gaps(live: list[dict[str, Any]], everything: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the frames that have no live image: gaps in inr_frame, up to the last frame that any series shows."""
    last: dict[Group, float] = {}
    for row in everything:
        if row["frame"] is not None:
            last[row["group"]] = max(row["frame"], last.get(row["group"], -1))
    seen = {(row["group"], row["frame"]) for row in live}
    return [
        {"frame": frame, **dict(zip(_GROUP_NAMES, group, strict=True))}
        for group, end in sorted(last.items())
        for frame in range(int(end) + 1)
        if live and (group, frame) not in seen
    ]
