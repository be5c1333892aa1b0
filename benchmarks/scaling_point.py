"""One scan of scaling.py, in a process of its own so that its memory is its own; prints a line of JSON.

python benchmarks/scaling_point.py CYCLE.h5 FRAMES SLICES [GADGET.NAME=VALUE ..]
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from repeated_scan import RepeatedScan

from inr_core.devices import prepare_process
from inr_gadgets.bench.process import resident_mib
from inr_gadgets.commands.common import parse_settings
from inr_gadgets.imaging.geometry import LIVE_SERIES
from inr_gadgets.replay import Replay


@dataclass(frozen=True)
class Point:
    """What one scan took.

    Attributes
    ----------
    live_ms
        Of a live frame with all its slices: median over the last half of the scan, from image to image.
    live_mib, refine_mib
        What memory grew by while the scan ran, and further until the refined series was there (peak).
    refine_s
        From the last live image to the last refined one.
    peak_mib
        Largest resident set of the process.
    """

    live_ms: float
    refine_s: float
    live_mib: float
    refine_mib: float
    peak_mib: float


def measure(scan: RepeatedScan, settings: dict[str, str]) -> Point:
    """The whole chain in this process, as fast as it goes."""
    pid, live, last, at_end = os.getpid(), list[float](), time.monotonic(), 0.0
    prepare_process()
    # What is imported is no part of what the scan takes. A warm-up would leave memory behind that the scan then uses.
    for module in ("inr_core.methods.inr", "finufft"):
        importlib.import_module(module)
    before = resident_mib(pid)

    def keep(image: Any) -> None:
        nonlocal last, at_end
        last = time.monotonic()
        if image.image_series_index == LIVE_SERIES:
            live.append(last)
            if len(live) == scan.frames * scan.slices:
                at_end = resident_mib(pid)

    Replay(settings=settings).images(scan, keep, lambda line: None)  # type: ignore[arg-type]
    per_frame = np.diff(live[scan.slices - 1 :: scan.slices])
    peak = resident_mib(pid, peak=True)
    live_ms = 1e3 * float(np.median(per_frame[len(per_frame) // 2 :]))
    return Point(live_ms, last - live[-1], at_end - before, peak - at_end, peak)


def main() -> None:
    """Measure one point."""
    path, frames, slices, *given = sys.argv[1:]
    scan = RepeatedScan.read(Path(path), int(frames), int(slices))
    print(json.dumps(asdict(measure(scan, parse_settings(given)))))


if __name__ == "__main__":
    main()
