"""Every image lies where the patient was: marks at known places of the patient, through the whole stream.

The oracle is an explicit sum: each mark is a Gaussian blob at its L, P, S, and a sample of a spoke is the sum over
the marks of exp(-2 pi i k . (p - c)), where k is the spoke's direction in the patient, made of read_dir and phase_dir
(and slice_dir, for partitions) as a scanner's gradients are, and c the header's position, which the scanner demodulates
to. What comes out is located by the image's header alone, and must lie within a tenth of a pixel along
each axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.trajectory import GOLDEN_ANGLE_DEG
from inr_gadgets.coordinates import PixelPositions
from inr_gadgets.image_file import read_series
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile, ScanWriter
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from inr_gadgets.simulation.prescription import Prescription, prescribe
from scans import header_xml, readout

SPOKES, FRAMES = 55, 2
FRAMING = {"buffer.spokes_per_frame": str(SPOKES)}
# In the plane, mm from the centre of the field of view: another distance and brightness in each quadrant.
PLACES = np.array([(52.0, 29.0), (-61.0, 43.0), (-37.0, -33.0), (44.0, -55.0)])
LEVELS = np.array([1.0, 0.8, 0.6, 0.45])


@dataclass(frozen=True)
class Scan:
    """A prescription, and how it is sampled."""

    plane: Prescription
    matrix: tuple[int, int] = (40, 40)
    fov_mm: tuple[float, float] = (200.0, 200.0)
    slices: int = 1
    partitions: int = 1
    slice_mm: float = 10.0
    embedded: bool = True

    def mark(self, number: int) -> np.ndarray:
        """L, P, S of a mark; of several slices each has marks of its own, turned among the quadrants."""
        height = self.slice_mm * (number // 4 - (self.slices * self.partitions) // 2)
        x, y = PLACES[number % 4] * (1 - 0.15 * (number // 4))
        return self.plane.at(x, y) + height * self.plane.slice_dir

    @property
    def marks(self) -> np.ndarray:
        """(marks, 3)."""
        return np.array([self.mark(i) for i in range(4 * self.slices * self.partitions)])

    @property
    def header(self) -> str:
        (nx, ny), (x_mm, y_mm) = self.matrix, self.fov_mm
        n, z_mm = self.partitions, self.partitions * self.slice_mm
        return header_xml(
            matrix=(nx, ny, n),
            encoded=(2 * nx, ny, n),
            fov=(x_mm, y_mm, z_mm),
            encoded_fov=(2 * x_mm, y_mm, z_mm),
            trajectory="radial" if self.embedded else "goldenangle",
            tr=None,
        )

    def readouts(self) -> Iterator[ismrmrd.Acquisition]:
        """Frame by frame and in it slice by slice, as a scanner's measured repetitions go."""
        counter = 0
        for frame in range(FRAMES):
            for number in range(self.slices):
                for spoke in range(SPOKES):
                    for partition in range(self.partitions):
                        yield self.readout(counter, frame, number, spoke, partition)
                        counter += 1

    def readout(self, counter: int, frame: int, number: int, spoke: int, partition: int) -> ismrmrd.Acquisition:
        """One spoke, by the explicit sum."""
        plane, nx = self.plane, self.matrix[0]
        angle = math.radians((frame * SPOKES + spoke) * GOLDEN_ANGLE_DEG)
        radius = (np.arange(2 * nx) - nx) / (2 * self.fov_mm[0])  # cycles per mm, twofold oversampled
        k = radius[:, None] * (math.cos(angle) * plane.read_dir + math.sin(angle) * plane.phase_dir)
        if self.partitions > 1:
            k = k + (partition - self.partitions // 2) / (self.partitions * self.slice_mm) * plane.slice_dir
        centre = plane.position + self.slice_mm * (number - self.slices // 2) * plane.slice_dir
        away = self.marks - centre
        # The slice profile of a plane, and blobs as wide as a pixel in it.
        profile = np.exp(-((away @ plane.slice_dir) ** 2) / (2 * 2.0**2)) if self.partitions == 1 else 1.0
        levels = np.tile(LEVELS, self.slices * self.partitions) * profile
        blob = np.exp(-2 * (math.pi * 4.0 * radius) ** 2)
        # A coil's sensitivity is a wave over the patient: a shift of k.
        shifts = 0.0015 * np.array([[1, 0.5, 0], [-1, 0.3, 1], [0.2, -1, -1]])
        data = [
            blob * (np.exp(-2j * math.pi * ((k - shift) @ away.T)) @ levels) * (1 + 0.2j * coil)
            for coil, shift in enumerate(shifts)
        ]
        # Both columns in cycles per pixel along x, whatever the pixel's other side.
        pixel_mm = self.fov_mm[0] / nx
        directions = np.array([math.cos(angle), math.sin(angle)]) * pixel_mm
        made = readout(
            counter,
            data=np.array(data, np.complex64),
            trajectory=radius[:, None] * directions if self.embedded else None,
            repetition=frame,
            slice=number,
            kspace_encode_step_1=spoke,
            kspace_encode_step_2=partition,
        )
        made.position[:] = tuple(centre if self.slices > 1 else plane.position)
        made.read_dir[:], made.phase_dir[:] = tuple(plane.read_dir), tuple(plane.phase_dir)
        made.slice_dir[:] = tuple(plane.slice_dir)
        return made


def written(scan: Scan, path: Path) -> Path:
    with ScanWriter(path, scan.header.encode()) as writer:
        for one in scan.readouts():
            writer.append(one)
    return path


def images_of(path: Path, series: int = 1, **settings: str) -> tuple[np.ndarray, list[Any]]:
    """Replayed in this process: (n, y, x) and their headers."""
    given = {"method": "nufft", "device": "cpu", "deterministic": "true"} | settings
    how = Replay(settings=FRAMING | {f"recon.{name}": value for name, value in given.items()})
    output = path.with_suffix(".images.h5")
    with ScanFile(path) as opened:
        replay_to_file(how, opened, output, on_text=lambda line: None)
    data, headers, _ = read_series(output, series)
    return data[:, 0, 0], headers


def spots(image: np.ndarray, count: int, radius: int) -> list[tuple[float, float]]:
    """(x, y) of the brightest spots, with fractions: the centres of gravity of what surrounds the brightest pixels."""
    left, found = image.astype(np.float64), []
    for _ in range(count):
        y, x = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        rows, columns = np.mgrid[y - 2 : y + 3, x - 2 : x + 3]
        weight = left[rows, columns] ** 2
        found.append((float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())))
        left[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = 0
    return found


def by_hand(header: Any, x: float, y: float) -> np.ndarray:
    """Where a pixel lies: pixel n // 2 at the position, and so many steps along the directions."""
    nx, ny, _ = header.matrix_size
    step_x, step_y = header.field_of_view[0] / nx, header.field_of_view[1] / ny
    along_x, along_y = np.array(header.read_dir), np.array(header.phase_dir)
    return np.array(header.position) + (x - nx // 2) * step_x * along_x + (y - ny // 2) * step_y * along_y


def assert_places(image: np.ndarray, header: Any, marks: np.ndarray, radius: int = 4, pixels: float = 0.1) -> None:
    """The spots lie within so many pixels of the marks, the brightest at the first; half a pixel would be a fault."""
    limits = pixels * np.divide(header.field_of_view[:2], header.matrix_size[:2])
    for (x, y), mark in zip(spots(image, len(marks), radius), marks, strict=True):
        found = by_hand(header, x, y)
        off = mark - found
        assert abs(off @ np.array(header.read_dir)) < limits[0]
        assert abs(off @ np.array(header.phase_dir)) < limits[1]
        assert abs(off @ np.array(header.slice_dir)) < 0.01
        np.testing.assert_allclose(PixelPositions.of(header).at(x, y), found, atol=1e-3)


def left_handed(plane: Prescription) -> Prescription:
    """Read and phase exchanged, and the normal kept: what Siemens' converter writes."""
    return replace(plane, read_dir=plane.phase_dir, phase_dir=plane.read_dir)


PLANES = {
    "transversal": Scan(prescribe("0:0:0", "T")),
    "coronal": Scan(prescribe("3:-4:5", "C")),
    "sagittal": Scan(prescribe("-31:12:7", "S")),
    "off-centre": Scan(prescribe("83.3:-61.7:140.1", "T")),
    "oblique": Scan(prescribe("10:-20:30", "T:C23", 35.0)),
    "double-oblique": Scan(prescribe("-21.7:44.4:-63.1", "C:T31:S-17", -70.0)),
    "double-oblique, odd": Scan(prescribe("17:-33:51", "S:C-25:T40", 110.0), (39, 39)),
    "oblong": Scan(prescribe("17:-33:51", "T:S35", 20.0), (44, 36), (220.0, 180.0)),
    "oblong pixels, odd": Scan(prescribe("17:-33:51", "T:S35:C10", 20.0), (45, 37), (220.0, 200.0)),
    "left-handed": Scan(left_handed(prescribe("10:-20:30", "T:C23:S9", 35.0))),
    "without a trajectory": Scan(prescribe("-21.7:44.4:-63.1", "C:T31:S-17", 15.0), (41, 41), embedded=False),
}


@pytest.mark.parametrize("name", PLANES)
def test_marks_lie_where_the_patient_has_them(name: str, tmp_path: Path) -> None:
    scan = PLANES[name]
    images, headers = images_of(written(scan, tmp_path / "scan.h5"))
    assert len(images) == FRAMES
    for image, header in zip(images, headers, strict=True):
        assert image.shape == scan.matrix[::-1]
        assert_places(image, header, scan.marks)


@pytest.mark.parametrize("kind", ["slices", "partitions"])
def test_each_slice_shows_its_own_marks(kind: str, tmp_path: Path) -> None:
    """Slices one after the other, and those that a stack of stars becomes."""
    plane = prescribe("-21.7:44.4:-63.1", "C:T31:S-17", -70.0)
    scan = Scan(plane, slices=3) if kind == "slices" else Scan(plane, partitions=3)
    images, headers = images_of(written(scan, tmp_path / "scan.h5"))
    assert sorted((header.slice, header.repetition) for header in headers) == [(z, t) for z in range(3) for t in (0, 1)]
    assert sorted(header.image_index for header in headers) == [1, 2, 3, 4, 5, 6]
    for image, header in zip(images, headers, strict=True):
        assert header.field_of_view[2] == scan.slice_mm
        assert_places(image, header, scan.marks[4 * header.slice : 4 * header.slice + 4])


def test_images_between_the_pixels_lie_there_too(tmp_path: Path) -> None:
    """Refined by the field, on a matrix of another parity."""
    scan = Scan(prescribe("17:-33:51", "S:C-25:T40", 110.0), (36, 30), (216.0, 180.0))
    path = written(scan, tmp_path / "scan.h5")
    settings = {"refine_passes": "30", "matrix_scale": "1.25", "frame_scale": "2"}
    images, headers = images_of(path, 2, method="inr", **settings)
    assert len(images) == 2 * FRAMES - 1
    for image, header in zip(images, headers, strict=True):
        assert image.shape == (38, 45)
        assert_places(image, header, scan.marks, radius=5, pixels=0.3)


def test_over_the_wire(tmp_path: Path) -> None:
    scan = PLANES["double-oblique, odd"]
    with Server(port=0, warm=None) as server, ScanFile(written(scan, tmp_path / "scan.h5")) as opened:
        how = Replay(settings=FRAMING | {"recon.method": "nufft"}, address="127.0.0.1", port=server.port)
        replay_to_file(how, opened, tmp_path / "wire.h5", on_text=lambda line: None)
    data, headers, _ = read_series(tmp_path / "wire.h5", 1)
    assert len(data) == FRAMES
    for image, header in zip(data[:, 0, 0], headers, strict=True):
        assert_places(image, header, scan.marks)


def test_the_simulated_quadrants_lie_where_their_truth_says(tmp_path: Path) -> None:
    given = {"position": "40:-60:110", "orientation": "C:S25:T-15", "rotation_deg": 40.0, "matrix": 60, "matrix_y": 51}
    made = simulate(tmp_path / "scan.h5", phantom="quadrants", frames=1, spokes=55, coils=3, noise=0, **given)
    images, headers = images_of(made.scan)
    assert_places(images[0], headers[0], np.load(made.truth)["marks_mm"], pixels=0.25)
