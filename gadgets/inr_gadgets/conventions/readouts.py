"""What a readout is for: imaging, noise, or something that an image must not be made of; and where it belongs."""

from __future__ import annotations

from typing import Any, NamedTuple

import ismrmrd

from inr_core.errors import DataError


def _mask(*flags: int) -> int:
    """ISMRMRD counts its flags from 1."""
    return sum(1 << (flag - 1) for flag in flags)


NOISE = _mask(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
REVERSE = _mask(ismrmrd.ACQ_IS_REVERSE)
_COMPRESSED = _mask(*range(ismrmrd.ACQ_COMPRESSION1, ismrmrd.ACQ_COMPRESSION4 + 1))
_NOT_IMAGING = {
    _mask(ismrmrd.ACQ_IS_NAVIGATION_DATA): "navigator",
    _mask(ismrmrd.ACQ_IS_PHASECORR_DATA): "phase-correction",
    _mask(ismrmrd.ACQ_IS_DUMMYSCAN_DATA): "dummy",
    _mask(ismrmrd.ACQ_IS_RTFEEDBACK_DATA): "RT-feedback",
    _mask(ismrmrd.ACQ_IS_HPFEEDBACK_DATA): "HP-feedback",
    _mask(ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE, ismrmrd.ACQ_IS_PHASE_STABILIZATION): "phase-stabilisation",
    _mask(ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA): "coil-correction",
    # "Calibration and imaging" is imaging; calibration alone is not.
    _mask(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION): "calibration",
}
_ANY_OTHER = sum(_NOT_IMAGING)


class Group(NamedTuple):
    """The readouts that may share a frame: one slice of one set, contrast, average and partition."""

    encoding: int
    slice: int
    set: int
    contrast: int
    average: int
    partition: int


def kind(flags: int) -> str:
    """``imaging``, ``noise``, or the name of what the readout is instead.

    Raises
    ------
    DataError
        If the readout is compressed.
    """
    if flags & _COMPRESSED:
        raise DataError(
            "compressed readouts (flags 53 to 56)", "plain complex samples", "send them without -P, -T or -Z"
        )
    if flags & NOISE:
        return "noise"
    if flags & _ANY_OTHER:
        return next(name for mask, name in _NOT_IMAGING.items() if flags & mask)
    return "imaging"


def group_of(head: Any) -> Group:
    """The group of a readout, from its header."""
    idx = head.idx
    return Group(head.encoding_space_ref, idx.slice, idx.set, idx.contrast, idx.average, idx.kspace_encode_step_2)
