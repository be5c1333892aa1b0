"""What a scan has learnt, as a file: the warm start of the next scan of the same slices."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inr_core.errors import DataError
from inr_gadgets.frame import Frame
from inr_gadgets.planes import Field, Plane, move

if TYPE_CHECKING:
    from inr_core.solvers.learnt import Learnt

_FORMAT, _VERSION = "inr-recon state", 1
_ABOUT = "about"
_MOST_BYTES = 1 << 31  # unpacked
_MOST_SLICES, _MOST_PARTS = 1024, 64
_SAME_FOV = 1e-3  # relative
# What zipfile, json and numpy say of bytes that are not what they should be.
_DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, MemoryError),
    *(AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError),
)


@dataclass(frozen=True)
class SliceGeometry:
    """What must be the same in both scans for a slice to begin with what the other one learnt.

    Attributes
    ----------
    group
        Number of the slice in its scan; a hint where several slices lie in one plane.
    coils
        Labels of the coils; empty where the header has none.
    """

    group: int
    n_coils: int
    field: Field
    plane: Plane
    coils: tuple[str, ...] = ()

    @classmethod
    def of(cls, frame: Frame, n_coils: int, coils: tuple[str, ...]) -> SliceGeometry:
        """Of the slice of a frame."""
        return cls(frame.group, n_coils, Field(frame.matrix, frame.fov_mm), Plane.of(frame.headers[0]), coils)

    def check(self, other: SliceGeometry) -> None:
        """Raise DataError, with what differs and by how much, if ``other`` is of another slice."""
        pairs = [
            ("coils", self.n_coils, other.n_coils),
            ("coils", _listed(self.coils), _listed(other.coils)),
            ("pixels", _product(self.field.matrix), _product(other.field.matrix)),
            ("mm of field of view", _product(self.field.fov_mm), _product(other.field.fov_mm)),
        ]
        same = [
            self.n_coils == other.n_coils,
            self.coils == other.coils or not (self.coils and other.coils),
            self.field.matrix == other.field.matrix,
            bool(np.allclose(self.field.fov_mm, other.field.fov_mm, rtol=_SAME_FOV, atol=0)),
        ]
        for (what, mine, theirs), equal in zip(pairs, same, strict=True):
            if not equal:
                raise DataError(f"a state of {mine} {what}", f"{theirs}, as in this scan")
        way = move(self.plane, other.plane, self.field)
        if way.is_new_plane:
            raise DataError(f"a state of another plane ({way})", "the same to half a pixel and a quarter of the slice")


@dataclass(frozen=True)
class SliceRecord:
    """A slice in a file."""

    geometry: SliceGeometry
    learnt: Learnt


class ScanState:
    """The slices of a scan, with what it has learnt of each.

    On disk it is an uncompressed .npz: arrays of numbers, and one text of JSON that says what they are. Nothing in it
    can be executed. It holds images of the patient, so only its owner may read it.
    """

    def __init__(self, slices: Sequence[SliceRecord]) -> None:
        self.slices = tuple(slices)

    def __str__(self) -> str:
        """How many slices it has, in words."""
        return f"{len(self.slices)} slice{'' if len(self.slices) == 1 else 's'}"

    def learnt_of(self, geometry: SliceGeometry) -> Learnt:
        """What is known of a slice.

        Raises
        ------
        DataError
            If none of the slices is that one; the message says how the likeliest differs.
        """
        refusal: DataError | None = None
        for record in sorted(self.slices, key=lambda record: record.geometry.group != geometry.group):
            try:
                record.geometry.check(geometry)
            except DataError as error:
                refusal = refusal or error
            else:
                return record.learnt
        raise refusal or DataError("a state without slices", "one of a scan with frames")

    def save(self, path: Path) -> None:
        """Write it in one go: another scan that reads the file sees the old state or the new one.

        Raises
        ------
        OSError
            If it cannot be written; what was there stays.
        """
        arrays: dict[str, np.ndarray] = {}
        about = {
            "format": _FORMAT,
            "version": _VERSION,
            "written_by": f"inr-recon {version('inr-recon')}",
            "slices": [_described(i, record, arrays) for i, record in enumerate(self.slices)],
        }
        # Made with mode 0600.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **{_ABOUT: np.array(json.dumps(about))}, **arrays)  # type: ignore[arg-type]
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise

    @classmethod
    def load(cls, path: Path) -> ScanState:
        """Read a file of :meth:`save`.

        Raises
        ------
        DataError
            If it is absent, of something else, damaged, too large, or of a newer version.
        """
        expected, advice = "a file that recon.save_state wrote", "name another one in recon.warm_start, or none"
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES:
                raise DataError(f"{path} of {size} bytes", f"at most {_MOST_BYTES}", advice)
            with np.load(path, allow_pickle=False) as file:
                return cls(_records(json.loads(str(file[_ABOUT])), file, path))
        except FileNotFoundError:
            raise DataError(f"{path}, which is not there", expected, advice) from None
        except _DAMAGE as error:
            raise DataError(f"{path} is no state, or damaged ({_why(error)})", expected, advice) from error


def _described(i: int, record: SliceRecord, arrays: dict[str, np.ndarray]) -> dict[str, object]:
    """A slice as JSON, its tensors put into ``arrays``."""
    learnt, geometry = record.learnt, record.geometry
    parts = {"compression": learnt.compression, "csm": learnt.csm, "average": learnt.average}
    if learnt.image is not None:
        parts["image"] = learnt.image
    parts |= {f"field_{j}": part for j, part in enumerate(learnt.field)}
    arrays |= {f"slice_{i}_{name}": part.detach().cpu().numpy() for name, part in parts.items()}
    return {
        "group": geometry.group,
        "coils": list(geometry.coils),
        "matrix": list(geometry.field.matrix),
        "fov_mm": list(geometry.field.fov_mm),
        "plane": geometry.plane._asdict(),
        "n_averaged": learnt.n_averaged,
        "level": learnt.level,
        "image": learnt.image is not None,
        "field_parts": len(learnt.field),
        "field_scale": learnt.field_scale,
    }


def _records(about: Any, arrays: Any, path: Path) -> list[SliceRecord]:
    if about["format"] != _FORMAT:
        raise ValueError("another format")
    if int(about["version"]) > _VERSION:
        raise DataError(
            f"{path} of version {int(about['version'])}, by {str(about.get('written_by'))[:40]}",
            f"version {_VERSION}",
            "update inr-recon, or leave recon.warm_start out",
        )
    if len(about["slices"]) > _MOST_SLICES:
        raise ValueError("too many slices")
    return [_record(i, row, arrays) for i, row in enumerate(about["slices"])]


def _record(i: int, row: Any, arrays: Any) -> SliceRecord:
    import torch

    from inr_core.solvers.learnt import Learnt

    def part(name: str, kind: str, dimensions: int | None = None) -> torch.Tensor:
        array = arrays[f"slice_{i}_{name}"]
        if array.dtype != kind or (dimensions is not None and array.ndim != dimensions):
            raise ValueError(f"{name} of {array.dtype} with {array.ndim} axes")
        return torch.from_numpy(array)

    if not 0 <= int(row["field_parts"]) <= _MOST_PARTS:
        raise ValueError("a field of too many parts")
    level, scale = row["level"], float(row["field_scale"])
    if not (0 < scale < float("inf") and (level is None or 0 <= float(level) < float("inf"))):
        raise ValueError("a level or scale that is none")
    learnt = Learnt(
        part("compression", "complex64", 2),
        part("csm", "complex64", 3),
        part("average", "complex64", 3),
        int(row["n_averaged"]),
        part("image", "complex64", 2) if row["image"] else None,
        None if level is None else float(level),
        tuple(part(f"field_{j}", "float32") for j in range(int(row["field_parts"]))),
        scale,
    )
    (nx, ny), (x_mm, y_mm, z_mm) = row["matrix"], row["fov_mm"]
    field = Field((int(nx), int(ny)), (float(x_mm), float(y_mm), float(z_mm)))
    if min(nx, ny) < 1 or not min(x_mm, y_mm) > 0:
        raise ValueError("a matrix or field of view that is none")
    vectors = {name: (float(x), float(y), float(z)) for name, (x, y, z) in row["plane"].items()}
    coils = tuple(str(label) for label in row["coils"])
    return SliceRecord(SliceGeometry(int(row["group"]), learnt.n_coils, field, Plane(**vectors), coils), learnt)


def coil_labels(header: Any) -> tuple[str, ...]:
    """The coils' names in the scan's header, in the order of their numbers; empty where it has none."""
    system = getattr(header, "acquisitionSystemInformation", None)
    labels = getattr(system, "coilLabel", None) or ()
    return tuple(str(label.coilName) for label in sorted(labels, key=lambda label: int(label.coilNumber)))


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(labels)


def _product(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
