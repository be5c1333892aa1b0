"""An enhanced MR image: all planes and frames of a series in one DICOM file, with their places and times."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage

from inr_core.errors import DataError
from inr_gadgets.export.dicom_modules import (
    Identifiers,
    clock,
    common_modules,
    date,
    echo_time,
    image_time,
    made_uid,
    number,
    windowed,
)
from inr_gadgets.export.facts import ScanFacts
from inr_gadgets.export.pixels import PixelScale
from inr_gadgets.export.series import ImageSet, PlacedImage

SOP_CLASS = EnhancedMRImageStorage
_LARGEST = 2**32 - 2  # bytes of pixels
_COMPONENTS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
# SNOMED CT codes of the regions that scans of moving organs are of; any other is the whole body, which is never wrong.
_REGIONS = {
    "HEART": ("80891009", "Heart"),
    "CHEST": ("816094009", "Chest"),
    "LIVER": ("10200004", "Liver"),
    "ABDOMEN": ("818981001", "Abdomen"),
    "HEAD": ("69536005", "Head"),
    "BRAIN": ("12738006", "Brain"),
}
_BODY = ("38266002", "Entire body")


def enhanced_file(images: ImageSet, facts: ScanFacts, start_ms: float) -> Dataset:
    """The file of a set; the parameters are those of :func:`inr_gadgets.export.dicom_classic.classic_files`.

    Image type and frame type are DERIVED, as ORIGINAL would make facts of the pulse sequence mandatory that an MRD
    header does not have. Repetition time and flip angle are missing, as their group asks for the specific absorption
    rate and the operating mode of the gradients.

    Raises
    ------
    DataError
        If there are too many pixels for one file.
    """
    size = 2 * sum(image.pixels.size for image in images.images)
    if size >= _LARGEST:
        raise DataError(
            f"an enhanced image of {size / 2**30:.1f} GiB (series {images.number})",
            "less than 4 GiB, which is all that DICOM can count",
            "write classic images",
        )
    ids = Identifiers.of(images, facts, "enhanced")
    scale = PixelScale.of([image.pixels for image in images.images], images.window)
    first = image_time(images.images[0], facts, start_ms)
    data = common_modules(images, facts, ids, first)
    data.SOPClassUID, data.SOPInstanceUID = SOP_CLASS, ids.instance(1)
    data.InstanceNumber = 1
    # Enhanced equipment must be named.
    data.Manufacturer = data.Manufacturer or "unknown"
    data.ManufacturerModelName = facts.model[:64] or "unknown"
    data.DeviceSerialNumber = facts.serial_number[:64] or "unknown"
    data.ContentDate, data.ContentTime = date(first), clock(first)
    data.AcquisitionDateTime = date(first) + clock(first)
    data.AcquisitionNumber = 1
    data.AcquisitionContextSequence = Sequence([])
    _image(data, images, facts)
    _dimensions(data, ids)
    shared = Dataset()
    _shared_groups(shared, images, facts, scale)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame_groups(images, image, facts, start_ms) for image in images.images]
    )
    if any(image.trigger_ms is not None for image in images.images):
        data.CardiacSynchronizationTechnique = "REALTIME"
        data.CardiacSignalSource = "ECG"
    stored = np.stack([scale.stored(image.pixels) for image in images.images])
    data.NumberOfFrames = len(stored)
    data.PixelData = stored.tobytes()
    return data


def _image(data: Dataset, images: ImageSet, facts: ScanFacts) -> None:
    data.ImageType = _image_type(images)
    _description(data, images)
    data.ContentQualification = "RESEARCH"
    data.ImageComments = data.SeriesDescription
    data.ResonantNucleus = "1H"
    data.ApplicableSafetyStandardAgency = "OTHER"
    if facts.field_t is not None:
        data.MagneticFieldStrength = facts.field_t
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    data.PresentationLUTShape = "IDENTITY"
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = images.images[0].grid.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0


def _image_type(images: ImageSet) -> list[str]:
    return ["DERIVED", "PRIMARY", "DYNAMIC" if images.n_frames > 1 else "VOLUME", "NONE"]


def _description(data: Dataset, images: ImageSet) -> None:
    """What both the image and its frames must say."""
    data.PixelPresentation = "MONOCHROME"
    data.VolumetricProperties = "VOLUME"
    data.VolumeBasedCalculationTechnique = "NONE"
    data.ComplexImageComponent = _COMPONENTS[images.component]
    data.AcquisitionContrast = "UNKNOWN"


def _dimensions(data: Dataset, ids: Identifiers) -> None:
    """Frames are indexed by stack, plane in the stack, and time."""
    organisation = Dataset()
    organisation.DimensionOrganizationUID = made_uid("dimensions", ids.series)
    data.DimensionOrganizationSequence = Sequence([organisation])
    indices = []
    for keyword, label in (
        ("StackID", "Stack"),
        ("InStackPositionNumber", "Plane"),
        ("TemporalPositionIndex", "Time"),
    ):
        index = Dataset()
        index.DimensionOrganizationUID = organisation.DimensionOrganizationUID
        index.DimensionIndexPointer = Tag(keyword)
        index.FunctionalGroupPointer = Tag("FrameContentSequence")
        index.DimensionDescriptionLabel = label
        indices.append(index)
    data.DimensionIndexSequence = Sequence(indices)


def _shared_groups(groups: Dataset, images: ImageSet, facts: ScanFacts, scale: PixelScale) -> None:
    kind = Dataset()
    kind.FrameType = _image_type(images)
    _description(kind, images)
    groups.MRImageFrameTypeSequence = Sequence([kind])
    region, anatomy = Dataset(), Dataset()
    region.CodeValue, region.CodeMeaning = _REGIONS.get(facts.body_part, _BODY)
    region.CodingSchemeDesignator = "SCT"
    anatomy.FrameLaterality = "U"
    anatomy.AnatomicRegionSequence = Sequence([region])
    groups.FrameAnatomySequence = Sequence([anatomy])
    window = Dataset()
    windowed(window, scale)
    groups.FrameVOILUTSequence = Sequence([window])
    values = Dataset()
    values.RescaleIntercept, values.RescaleSlope = number(scale.intercept), number(scale.slope)
    values.RescaleType = "US"
    groups.PixelValueTransformationSequence = Sequence([values])
    echo = echo_time(images, facts)
    if echo is not None:
        times = Dataset()
        times.EffectiveEchoTime = echo
        groups.MREchoSequence = Sequence([times])


def _frame_groups(images: ImageSet, image: PlacedImage, facts: ScanFacts, start_ms: float) -> Dataset:
    grid, groups = image.grid, Dataset()
    time = image_time(image, facts, start_ms)
    content = Dataset()
    content.FrameReferenceDateTime = content.FrameAcquisitionDateTime = date(time) + clock(time)
    if image.duration_ms is not None:
        content.FrameAcquisitionDuration = image.duration_ms
    content.StackID = str(image.stack + 1)
    content.InStackPositionNumber = image.position + 1
    content.TemporalPositionIndex = image.frame + 1
    content.DimensionIndexValues = [image.stack + 1, image.position + 1, image.frame + 1]
    groups.FrameContentSequence = Sequence([content])
    position, orientation, measures = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [number(value) for value in grid.first]
    groups.PlanePositionSequence = Sequence([position])
    orientation.ImageOrientationPatient = [number(value) for value in (*grid.row_dir, *grid.column_dir)]
    groups.PlaneOrientationSequence = Sequence([orientation])
    measures.PixelSpacing = [number(grid.spacing_mm[1]), number(grid.spacing_mm[0])]
    if grid.thickness_mm:
        measures.SliceThickness = number(grid.thickness_mm)
    distance = images.plane_distances_mm[image.stack]
    if distance:
        measures.SpacingBetweenSlices = number(distance)
    groups.PixelMeasuresSequence = Sequence([measures])
    if image.trigger_ms is not None:
        beat = Dataset()
        beat.NominalCardiacTriggerDelayTime = image.trigger_ms
        groups.CardiacSynchronizationSequence = Sequence([beat])
    return groups
