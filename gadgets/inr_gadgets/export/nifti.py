"""Image sets as NIfTI: (x, y, z, t) with the affine to RAS, one file for each stack of planes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.export.series import ImageSet, PlacedImage
from inr_gadgets.private_file import new_private_file

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNEVEN_MM = 0.05  # of distances between planes of one file


def write_nifti(
    path: str | os.PathLike[str], sets: Sequence[ImageSet], *, announce: Callable[[str], None]
) -> list[Path]:
    """Write image sets; only the owner may read the files (0600).

    Parallel planes at even distances are one file; others are one file a plane. Of frames that a plane lacks nothing
    is written. Where there is more than one file, each has a name of its own: ``heart_series_2.nii.gz``, with
    ``_stack_1`` or ``_stack_1_plane_2`` after it.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.
    sets
        What to write.
    announce
        Takes lines for the operator: what was split, what was left out.

    Returns
    -------
    The files.

    Raises
    ------
    MissingDependencyError
        Without nibabel (extra ``nifti``).
    ParameterError
        If the name is not that of a NIfTI file.
    DataError
        If a file is there already, or cannot be written.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingDependencyError.of_extra("NIfTI needs nibabel", "nifti", error) from error
    path = Path(path)
    ending = next((end for end in (".nii.gz", ".nii") if path.name.endswith(end)), None)
    if ending is None:
        raise ParameterError(f"the NIfTI file {path}", "a name that ends in .nii or .nii.gz")
    stem = path.name.removesuffix(ending)
    volumes = [(images, name, planes) for images in sets for name, planes in _volumes(images, announce)]
    targets = []
    for images, name, _ in volumes:
        parts = [stem, f"series_{images.number}" if len(sets) > 1 else "", name]
        targets.append(path.with_name("_".join(part for part in parts if part) + ending))
    for target in targets:
        if target.exists():
            raise DataError(f"{target} exists already", "a new file", "choose another name or remove it")
    for (images, _, planes), target in zip(volumes, targets, strict=True):
        values, affine = _volume(planes)
        image = nibabel.Nifti1Image(values, affine)
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*image.header.get_zooms()[:3], images.frame_ms / 1000)[: values.ndim])
        image.header["descrip"] = images.label.encode()[:79]
        if images.window is not None:
            centre, width = images.window
            image.header["cal_min"], image.header["cal_max"] = centre - width / 2, centre + width / 2
        _write(target, image, compressed=ending == ".nii.gz")
    return targets


def _volumes(images: ImageSet, announce: Callable[[str], None]) -> list[tuple[str, list[list[PlacedImage]]]]:
    """(name, planes), each plane a list of its frames, for each file of a set."""
    volumes = []
    for stack in range(images.n_stacks):
        planes: dict[int, list[PlacedImage]] = {}
        for image in images.images:
            if image.stack == stack:
                planes.setdefault(image.position, []).append(image)
        name = f"stack_{stack + 1}" if images.n_stacks > 1 else ""
        ordered = [planes[position] for position in sorted(planes)]
        if _is_even(ordered):
            volumes.append((name, _common(ordered, images.label, announce)))
            continue
        announce(f"the planes of {images.label} are not evenly spaced: one file a plane")
        for position, plane in enumerate(ordered, 1):
            volumes.append(("_".join(part for part in (name, f"plane_{position}") if part), [plane]))
    if images.n_stacks > 1:
        announce(f"the planes of {images.label} are not all parallel, or moved: {images.n_stacks} files")
    return volumes


def _is_even(planes: Sequence[Sequence[PlacedImage]]) -> bool:
    distances = np.diff([plane[0].grid.location_mm for plane in planes])
    return len(distances) == 0 or bool(np.ptp(distances) < _UNEVEN_MM)


def _common(
    planes: Sequence[Sequence[PlacedImage]], label: str, announce: Callable[[str], None]
) -> list[list[PlacedImage]]:
    """The frames that all planes have."""
    shared = set.intersection(*({image.frame for image in plane} for plane in planes))
    missing = len({image.frame for plane in planes for image in plane} - shared)
    if not shared:
        raise DataError(f"the planes of {label} have no frame in common", "as many frames of each")
    if missing:
        announce(f"{missing} frames of {label} that a plane lacks are left out")
    return [[image for image in plane if image.frame in shared] for plane in planes]


def _volume(planes: Sequence[Sequence[PlacedImage]]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(x, y, z, t), or (x, y, z) of a single frame, and the affine to RAS in mm."""
    grid = planes[0][0].grid
    if len(planes) > 1:
        along = (planes[-1][0].grid.first - grid.first) / (len(planes) - 1)
    else:
        along = grid.normal * (grid.thickness_mm or 1.0)
    to_lps = np.eye(4)
    to_lps[:3, 0] = grid.row_dir * grid.spacing_mm[0]
    to_lps[:3, 1] = grid.column_dir * grid.spacing_mm[1]
    to_lps[:3, 2] = along
    to_lps[:3, 3] = grid.first
    values = np.stack([np.stack([image.pixels for image in plane], axis=-1) for plane in planes], axis=2)
    values = values.transpose(1, 0, 2, 3)  # (y, x, z, t) before
    return np.ascontiguousarray(values if values.shape[3] > 1 else values[..., 0]), _LPS_TO_RAS @ to_lps


def _write(path: Path, image: Any, *, compressed: bool) -> None:
    import gzip

    try:
        content = image.to_bytes()
        with os.fdopen(new_private_file(path), "wb") as file:
            # Without a date: the same images are the same file.
            file.write(gzip.compress(content, compresslevel=6, mtime=0) if compressed else content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error})", "a folder that may be written", "choose another or free space"
        ) from error
