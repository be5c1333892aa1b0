"""The motion that flow_inr finds, against the beating phantom's true motion.

    python benchmarks/flow.py [--set recon.passes=70]

The end-point error is the distance between the found and the true displacement from a frame to the next, in pixels, at
the pixels of the left ventricle's wall, where the phantom's motion is known everywhere. Beside it: no motion at all,
and Farneback's flow (OpenCV; pip install opencv-python-headless) of GRASP's series, at the best of a few window sizes;
without OpenCV scikit-image's TV-L1 takes its place. Two scans: of the usual frame rate, and of half of it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from options import Options
from results import Figure, at_most, machine, save, show

from inr_core.phantoms import CinePhantom, Grid
from inr_gadgets.commands.common import parse_settings
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import SimulationParameters, simulate
from inr_gadgets.simulation.truth import read_truth

_SCANS = (SimulationParameters(matrix=128, coils=12), SimulationParameters(matrix=128, coils=12, spokes=26, frames=20))
_FAST = 0.5  # pixels: steps in which the wall moves by more on average are scored by themselves, too
_WINDOWS = (7, 11, 15, 21)  # pixels

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two frames (y, x), 0 to 1 -> displacement (2, y, x) along x and y."""


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_settings("flow_inr")
    arguments = parser.parse_args()
    described, figures = machine(), list[Figure]()
    with tempfile.TemporaryDirectory() as folder:
        for parameters in _SCANS:
            figures += measure(parameters, Path(folder), parse_settings(arguments.set))
    title = "phantom, 128 x 128, 12 coils: end-point error in the myocardium, pixels"
    show(title, figures)
    print(f"written to {save('flow', described, title, figures)}")


def measure(parameters: SimulationParameters, folder: Path, settings: dict[str, str]) -> list[Figure]:
    """The figures of one scan."""
    scan = folder / f"scan_{parameters.spokes}.h5"
    simulate(scan, parameters)
    wanted, wall = true_motion(parameters, read_truth(scan.with_suffix(".truth.npz")).times_ms)
    grasp = reconstruct(scan, "grasp", {}, series=2)[:, 0, 0]
    found = {
        "zero flow": np.zeros_like(wanted),
        **optical_flows(np.abs(grasp), wanted, wall),
        "flow_inr": reconstruct(scan, "flow_inr", settings, series=3)[:, :, 0],
    }
    speed = end_point_errors(found["zero flow"], wanted, wall)
    fast = speed > _FAST
    figures = []
    for name, flow in found.items():
        errors = end_point_errors(flow, wanted, wall)
        what = f"{parameters.spokes} spokes a frame, {name}"
        mean = float(errors.mean())
        figures.append(at_most(what, mean, 0.5) if name == "flow_inr" else Figure(what, mean))
        figures.append(Figure(f"{what}, the {fast.sum()} steps of more than {_FAST:g}", float(errors[fast].mean())))
    return figures


def true_motion(parameters: SimulationParameters, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (steps, 2, y, x) in pixels along x and y from each frame to the next, and where they are scored."""
    phantom = CinePhantom(period_ms=parameters.period_ms)
    grid = Grid((parameters.matrix, parameters.matrix), (parameters.fov_mm, parameters.fov_mm))
    steps = list(itertools.pairwise(times_ms))
    motion = [phantom.motion(grid.points, *step)[0] / grid.pixel_mm for step in steps]
    wall = [phantom.wall(grid.points, start) for start, _ in steps]
    return np.stack(motion).transpose(0, 3, 1, 2), np.stack(wall)


def reconstruct(scan: Path, method: str, settings: dict[str, str], series: int) -> np.ndarray:
    """A series (n, channels, z, y, x) of a method."""
    output = scan.with_name(f"{scan.stem}_{method}.h5")
    replay = Replay(settings={"recon.method": method, "recon.offline": "true", **settings}, pace="max")
    with ScanFile(scan) as file:
        replay_to_file(replay, file, output, group="inr", on_text=print)
    return read_series(output, series, "inr")[0]


def end_point_errors(found: np.ndarray, wanted: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(steps,): mean distance of (steps, 2, y, x) displacements over the pixels (steps, y, x) of each step."""
    distance = np.hypot(*np.moveaxis(found - wanted, 1, 0))
    return np.array([step[inside].mean() for step, inside in zip(distance, where, strict=True)])


def optical_flows(images: np.ndarray, wanted: np.ndarray, wall: np.ndarray) -> dict[str, np.ndarray]:
    """The rival's flow of a series (frames, y, x), by name."""
    images = np.clip(images / np.percentile(images, 99.8), 0, 1)

    def estimated(estimate: Estimate) -> np.ndarray:
        return np.stack([estimate(a, b) for a, b in itertools.pairwise(images)])

    if not _has_opencv():
        print("OpenCV is not installed (pip install opencv-python-headless): TV-L1 instead of Farneback")
        return {"TV-L1 (scikit-image) of GRASP": estimated(tv_l1)}
    tried = {window: estimated(partial(farneback, window=window)) for window in _WINDOWS}
    best = min(tried, key=lambda window: float(end_point_errors(tried[window], wanted, wall).mean()))
    return {f"Farneback of GRASP, window {best}, the best of {', '.join(map(str, _WINDOWS))}": tried[best]}


def farneback(first: np.ndarray, second: np.ndarray, window: int) -> np.ndarray:
    """Polynomial expansion (Farneback, doi 10.1007/3-540-45103-X_50), three octaves."""
    import cv2

    grey = [np.round(255 * image).astype(np.uint8) for image in (first, second)]
    flow = cv2.calcOpticalFlowFarneback(
        *grey, None, pyr_scale=0.5, levels=3, winsize=window, iterations=5, poly_n=5, poly_sigma=1.1, flags=0
    )
    return np.asarray(flow, np.float64).transpose(2, 0, 1)


def tv_l1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Zach, Pock and Bischof's duality based TV-L1 (doi 10.1007/978-3-540-74936-3_22)."""
    from skimage.registration import optical_flow_tvl1

    along_y, along_x = optical_flow_tvl1(first, second)
    return np.stack([along_x, along_y])


def _has_opencv() -> bool:
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
