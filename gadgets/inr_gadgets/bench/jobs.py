"""What is done for a row: one of our methods, or a peer, run by itself and scored."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from inr_core.errors import DataError
from inr_core.metrics import Score, score
from inr_gadgets.bench import peers
from inr_gadgets.bench.cases import Case
from inr_gadgets.bench.process import run_measured
from inr_gadgets.bench.rows import MethodSpec, Row
from inr_gadgets.image_file import ImageWriter, list_series, read_series
from inr_gadgets.imaging.geometry import LIVE_SERIES, REFINED_SERIES

_GROUP = "bench"


@dataclass(frozen=True)
class Job:
    """Something that reconstructs.

    Attributes
    ----------
    label, settings, version
        As for :class:`~inr_gadgets.bench.rows.Row`.
    run
        Takes a scan and a file for its images, which does not exist; writes it and gives the fields of the row.
    """

    label: str
    settings: str
    version: str
    run: Callable[[Case, Path], dict[str, Any]]


def our_job(spec: MethodSpec, limit_s: float | None) -> Job:
    """``inr-recon reconstruct`` by a method, within so many seconds."""

    def run(case: Case, output: Path) -> dict[str, Any]:
        report_file = output.with_suffix(".json")
        words = ["reconstruct", str(case.scan), "-o", str(output), "--group", _GROUP, "--report", str(report_file)]
        measured = run_measured([sys.executable, "-m", "inr_gadgets.cli", *words, *spec.words()], limit_s)
        report = json.loads(report_file.read_text())["scan"]
        series = _last_series(output)
        images, meta = _series(output, series)
        on_cuda = not str(report["device"]).startswith("CPU")
        return {
            "series": series,
            "scores": score(images, case.truth.images).summary(),
            "seconds": report["seconds"],
            "wall_s": measured.wall_s,
            "host_mib": measured.host_mib,
            "device_mib": report["peak_memory_mib"] if on_cuda else None,
            "device": report["device"],
            "remark": "; ".join(sorted({str(m["inr_remark"]) for m in meta if "inr_remark" in m})),
        }

    try:
        own = f"inr-recon {version('inr-recon')}"
    except PackageNotFoundError:
        own = "inr-recon, not installed"
    return Job(str(spec), " ".join(spec.words()), own, run)


def bart_job(weights: Sequence[float], limit_s: float | None) -> Job:
    """BART's GRASP at the best of several weights, an advantage over methods with one; so many seconds a weight."""

    def run(case: Case, output: Path) -> dict[str, Any]:
        runs: list[tuple[float, peers.PeerResult, Score]] = []
        for weight in weights:
            result = peers.grasp(case.scan, weight, limit_s=limit_s)
            runs.append((weight, result, score(result.images, case.truth.images)))
        weight, best, scores = max(runs, key=lambda one: float(one[2].psnr.mean()))
        _write(output, best.images)
        return {
            "series": REFINED_SERIES,
            "scores": scores.summary(),
            "seconds": best.seconds,
            "wall_s": sum(result.seconds for _, result, _ in runs),
            "host_mib": max(result.host_mib for _, result, _ in runs),
            "device": "CPU",
            "remark": f"best of {len(runs)} weights: {weight:g}" if len(runs) > 1 else f"weight {weight:g}",
        }

    return Job(peers.GRASP_NAME, f"weights {' '.join(f'{weight:g}' for weight in weights)}", peers.version(), run)


def images_of(folder: Path, row: Row) -> np.ndarray:
    """Magnitudes (frames, y, x) of a row that worked.

    Raises
    ------
    DataError
        When the file of a row is gone.
    """
    return _series(folder / row.images, row.series)[0]


def _last_series(path: Path) -> int:
    """The refined images, or else the live ones; other series hold no pictures of the object."""
    found = list_series(path)[_GROUP]
    for series in (REFINED_SERIES, LIVE_SERIES):
        if series in found:
            return series
    raise DataError(f"{path} has the series {list(found)}", f"{LIVE_SERIES} (live) or {REFINED_SERIES} (refined)")


def _series(path: Path, series: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    data, _, meta = read_series(path, series, _GROUP)
    return np.abs(data[:, 0, 0]).astype(np.float64), meta


def _write(path: Path, images: np.ndarray) -> None:
    with ImageWriter(path, _GROUP) as writer:
        for number, image in enumerate(np.abs(images).astype(np.float32)):
            made = ismrmrd.Image.from_array(np.ascontiguousarray(image), transpose=False)
            made.image_series_index, made.image_index, made.repetition = REFINED_SERIES, number, number
            writer.append(made)
