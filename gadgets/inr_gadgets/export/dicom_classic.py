"""Classic MR images: a DICOM file for each plane of each frame."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from inr_gadgets.export.dicom_modules import (
    Identifiers,
    clock,
    common_modules,
    date,
    echo_time,
    image_time,
    number,
    windowed,
)
from inr_gadgets.export.facts import ScanFacts
from inr_gadgets.export.pixels import PixelScale
from inr_gadgets.export.series import ImageSet, PlacedImage

SOP_CLASS = MRImageStorage
# Names that converters give sequences; RM is research mode, which says nothing.
_SCANNING_SEQUENCES = {"flash": "GR", "truefisp": "GR", "bssfp": "GR", "epi": "EP", "turbospinecho": "SE"}
# Body parts of which there are two, or none is named: the side is unknown then, else there is none.
_PERHAPS_PAIRED = ("", "ANKLE", "BREAST", "ELBOW", "EYE", "FOOT", "HAND", "HIP", "KIDNEY", "KNEE", "SHOULDER", "WRIST")
_FLAVOURS = {"P": "PHASE MAP"}


def classic_files(images: ImageSet, facts: ScanFacts, start_ms: float) -> Iterator[Dataset]:
    """Yield the files of a set in the order of their instance numbers: frame by frame, planes along their normal.

    Parameters
    ----------
    images
        The set.
    facts
        Of the scan.
    start_ms
        Time of the first image of all that are exported.
    """
    ids = Identifiers.of(images, facts, "classic")
    scale = PixelScale.of([image.pixels for image in images.images], images.window, plain=True)
    first = image_time(images.images[0], facts, start_ms)
    for instance, image in enumerate(images.images, 1):
        data = common_modules(images, facts, ids, first)
        data.SOPClassUID, data.SOPInstanceUID = SOP_CLASS, ids.instance(instance)
        data.InstanceNumber = instance
        if data.get("BodyPartExamined", "") in _PERHAPS_PAIRED:
            data.Laterality = ""
        _timing(data, images, image, facts, start_ms)
        _plane(data, images, image)
        _sequence(data, images, facts)
        _pixels(data, image, scale)
        yield data


def _timing(data: Dataset, images: ImageSet, image: PlacedImage, facts: ScanFacts, start_ms: float) -> None:
    time = image_time(image, facts, start_ms)
    data.AcquisitionDate, data.AcquisitionTime = date(time), clock(time)
    data.ContentDate, data.ContentTime = date(time), clock(time)
    data.AcquisitionNumber = image.frame + 1
    data.TemporalPositionIdentifier = image.frame + 1
    data.NumberOfTemporalPositions = images.n_frames
    if images.n_frames > 1:
        data.TemporalResolution = number(images.frame_ms)
    if image.trigger_ms is not None:
        data.TriggerTime = number(image.trigger_ms)


def _plane(data: Dataset, images: ImageSet, image: PlacedImage) -> None:
    grid = image.grid
    data.ImagePositionPatient = [number(value) for value in grid.first]
    data.ImageOrientationPatient = [number(value) for value in (*grid.row_dir, *grid.column_dir)]
    data.SliceLocation = number(grid.location_mm)
    data.SliceThickness = number(grid.thickness_mm) if grid.thickness_mm else ""
    spacing = images.plane_distances_mm[image.stack]
    if spacing:
        data.SpacingBetweenSlices = number(spacing)
    data.PixelSpacing = [number(grid.spacing_mm[1]), number(grid.spacing_mm[0])]


def _sequence(data: Dataset, images: ImageSet, facts: ScanFacts) -> None:
    data.ImageType = ["DERIVED", "PRIMARY", _FLAVOURS.get(images.component, "OTHER"), images.component]
    data.DerivationDescription = "reconstructed from raw data by inr-recon"
    data.ImageComments = data.SeriesDescription
    data.ScanningSequence = _SCANNING_SEQUENCES.get(facts.sequence.lower(), "RM")
    data.SequenceVariant = "NONE"
    # Times since a trigger are allowed beside this option alone.
    data.ScanOptions = "CG" if "TriggerTime" in data else ""
    data.MRAcquisitionType = "2D"
    data.EchoTrainLength = ""
    data.EchoNumbers = images.contrast + 1
    repetition, echo = facts.of_contrast(facts.tr_ms, images.contrast), echo_time(images, facts)
    data.RepetitionTime = "" if repetition is None else number(repetition)
    data.EchoTime = "" if echo is None else number(echo)
    flip = facts.of_contrast(facts.flip_deg, images.contrast)
    if flip is not None:
        data.FlipAngle = number(flip)
    if facts.field_t is not None:
        data.MagneticFieldStrength = number(facts.field_t)
    if facts.frequency_mhz is not None:
        data.ImagingFrequency = number(facts.frequency_mhz)


def _pixels(data: Dataset, image: PlacedImage, scale: PixelScale) -> None:
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = image.grid.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    if not scale.is_plain:
        # Not of the standard's classic MR image, but what scanners write and viewers read where they need a scale.
        data.RescaleIntercept, data.RescaleSlope = number(scale.intercept), number(scale.slope)
        data.RescaleType = "US"
    windowed(data, scale)
    data.PixelData = scale.stored(image.pixels).tobytes()
