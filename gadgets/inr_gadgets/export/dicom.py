"""Image sets as DICOM: classic MR images, one file a plane and frame, or enhanced ones, one file a series."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inr_core.errors import DataError, MissingDependencyError
from inr_gadgets.export.facts import ScanFacts
from inr_gadgets.export.pixels import GREY_LEVELS, MOST, finite
from inr_gadgets.export.series import ImageSet
from inr_gadgets.private_file import new_private_file


def write_dicom(
    folder: str | os.PathLike[str],
    sets: Sequence[ImageSet],
    facts: ScanFacts,
    *,
    enhanced: bool = False,
    announce: Callable[[str], None],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Write image sets into a folder; only the owner may read what is made (0600, folders 0700).

    Classic images are ``series_1/image_00001.dcm`` and so on, enhanced ones ``series_1.dcm``. There are no private
    elements. Magnitudes that are so small that whole numbers are no grey scale are multiplied by a power of ten, all by
    the same.

    Parameters
    ----------
    folder
        Made if it does not exist.
    sets
        What to write.
    facts
        Of the scan.
    enhanced
        Enhanced MR Image Storage instead of MR Image Storage.
    announce
        Takes a line for the operator if values were multiplied.
    progress
        Called with the number of images that are written.

    Returns
    -------
    For each set its file, or the folder of its files.

    Raises
    ------
    MissingDependencyError
        Without pydicom (extra ``dicom``).
    DataError
        If something of that name is there already, or cannot be written.
    """
    try:
        import pydicom  # noqa: F401 - what the modules below need
    except ImportError as error:
        raise MissingDependencyError.of_extra("DICOM needs pydicom", "dicom", error) from error
    from inr_gadgets.export.dicom_classic import classic_files
    from inr_gadgets.export.dicom_enhanced import enhanced_file

    folder = Path(folder)
    targets = [folder / (f"series_{images.number}" + (".dcm" if enhanced else "")) for images in sets]
    for target in targets:
        if target.exists():
            raise DataError(f"{target} exists already", "a new one", "choose another folder or remove it")
    factor = common_factor(sets)
    if factor != 1:
        announce(f"magnitudes are multiplied by {factor:g} in DICOM, where viewers expect whole numbers")
        sets = [images.multiplied(factor) if images.has_fractions else images for images in sets]
    start_ms = min(image.time_ms for images in sets for image in images.images)
    done = 0
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for images, target in zip(sets, targets, strict=True):
            if enhanced:
                _write(target, enhanced_file(images, facts, start_ms))
                done += len(images.images)
                progress(done)
                continue
            target.mkdir(mode=0o700)
            for path, data in _named(target, classic_files(images, facts, start_ms)):
                _write(path, data)
                done += 1
                progress(done)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error})", "a folder that may be written", "choose another or free space"
        ) from error
    return targets


def common_factor(sets: Sequence[ImageSet]) -> float:
    """The power of ten that gives all magnitudes of fractions grey levels enough; 1 where they have them."""
    highest = [max(float(finite(image.pixels).max()) for image in one.images) for one in sets if one.has_fractions]
    highest = [value for value in highest if value > 0]
    if not highest:
        return 1.0
    exponent = math.ceil(math.log10(GREY_LEVELS / min(highest)))
    fitting = math.floor(math.log10(MOST / max(highest)))
    return float(10.0 ** max(0, min(exponent, fitting)))


def _named(folder: Path, files: Iterator[Any]) -> Iterator[tuple[Path, Any]]:
    for number, data in enumerate(files, 1):
        yield folder / f"image_{number:05d}.dcm", data


def _write(path: Path, data: Any) -> None:
    """Write a file that nobody else can open, not even while it is written."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    with os.fdopen(new_private_file(path), "wb") as file:
        data.save_as(file, enforce_file_format=True)
