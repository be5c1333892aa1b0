"""Items of MRD version 2 as those of version 1 and back: readouts and waveforms come in, images go out.

Two models are in use. Up to mrd-python 2.1 time stamps are numbers in the sender's unit, as in version 1, and are
copied; from 2.2 on they are nanoseconds and become ticks of 2.5 ms, the unit of version 1 that scanners use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ismrmrd
import mrd
import numpy as np

from inr_core.errors import DataError
from inr_gadgets.heads import head_of

TICK_NS = 2_500_000
_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")


def acquisition(found: Any) -> ismrmrd.Acquisition:
    """Return a readout (mrd.Acquisition) as version 1 has it; what it leaves out is 0 there.

    Raises
    ------
    DataError
        If a number is larger than version 1 can hold, or samples come with phases of their own.
    """
    old, idx = found.head, found.head.idx
    phase = getattr(found, "phase", None)
    if phase is not None and np.any(phase):
        raise DataError("a readout with a phase for each sample", "readouts that need none", "apply it at the sender")
    data = np.ascontiguousarray(found.data, np.complex64)
    traj = np.ascontiguousarray(np.transpose(found.trajectory), np.float32)
    coils, samples = data.shape
    if traj.shape[0] != samples:
        traj = np.zeros((samples, 0), np.float32) if not traj.size else traj
    if traj.shape[0] != samples:
        raise DataError(f"{samples} samples with a trajectory of {traj.shape[0]}", "a coordinate for each sample")
    head = ismrmrd.AcquisitionHeader()
    _put(
        head,
        version=1,
        flags=int(old.flags),
        number_of_samples=samples,
        available_channels=coils,
        active_channels=coils,
        trajectory_dimensions=traj.shape[1],
        acquisition_time_stamp=_ticks(old, "acquisition_time_stamp"),
        sample_time_us=_microseconds(old),
    )
    for name in ("measurement_uid", "scan_counter", "discard_pre", "discard_post", "center_sample"):
        _put(head, **{name: getattr(old, name) or 0})
    _put(head, encoding_space_ref=old.encoding_space_ref or 0)
    for channel in old.channel_order:
        if channel < 64 * len(head.channel_mask):
            head.channel_mask[channel // 64] |= 1 << (channel % 64)
    for name in (*_COUNTERS, "kspace_encode_step_1", "kspace_encode_step_2", "segment"):
        _put(head.idx, **{name: getattr(idx, name) or 0})
    _fill(head.idx.user, idx.user, "user")
    _fill(head.physiology_time_stamp, _all_ticks(old, "physiology_time_stamp"), "physiology_time_stamp")
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position", "user_int", "user_float"):
        _fill(getattr(head, name), getattr(old, name), name)
    return ismrmrd.Acquisition(head, data, traj)


def waveform(found: Any) -> ismrmrd.Waveform:
    """Return a piece of physiology (mrd.WaveformUint32) as version 1 has it.

    Raises
    ------
    DataError
        If a number is larger than version 1 can hold.
    """
    data = np.ascontiguousarray(found.data, np.uint32)
    head = ismrmrd.WaveformHeader()
    _put(
        head,
        version=1,
        flags=int(found.flags),
        channels=data.shape[0],
        number_of_samples=data.shape[1],
        time_stamp=_ticks(found, "time_stamp"),
        sample_time_us=_microseconds(found),
    )
    for name in ("measurement_uid", "scan_counter", "waveform_id"):
        _put(head, **{name: getattr(found, name)})
    return ismrmrd.Waveform(head, data)


def image(made: ismrmrd.Image) -> Any:
    """Return one of our images as an item of a stream of version 2 (mrd.StreamItem).

    Raises
    ------
    DataError
        If version 2 has no images of its type.
    """
    kind = _IMAGE_KINDS.get(made.data.dtype.name)
    if kind is None:
        raise DataError(f"an image of {made.data.dtype.name}", f"one of {', '.join(_IMAGE_KINDS)}")
    old = head_of(made)
    head = mrd.ImageHeader(
        flags=mrd.ImageFlags(old.flags),
        measurement_uid=old.measurement_uid,
        image_type=mrd.ImageType(old.image_type),
        image_index=old.image_index,
        image_series_index=old.image_series_index,
        col_dir=np.array(old.read_dir, np.float32),
        line_dir=np.array(old.phase_dir, np.float32),
        user_int=list(old.user_int),
        user_float=list(old.user_float),
        **{name: getattr(old, name) for name in _COUNTERS},
        **{
            name: np.array(getattr(old, name), np.float32)
            for name in ("field_of_view", "position", "slice_dir", "patient_table_position")
        },
    )
    name, factor = _stamp(head, "acquisition_time_stamp")
    setattr(head, name, old.acquisition_time_stamp * factor)
    name, factor = _stamp(head, "physiology_time_stamp")
    setattr(head, name, [stamp * factor for stamp in old.physiology_time_stamp])
    text = mrd.ImageMetaValue.String
    meta = {name: [text(str(one)) for one in _list(value)] for name, value in made.meta.items()}
    return getattr(mrd.StreamItem, kind)(mrd.Image(head=head, data=np.ascontiguousarray(made.data), meta=meta))


_IMAGE_KINDS = {
    "uint16": "ImageUint16",
    "int16": "ImageInt16",
    "uint32": "ImageUint32",
    "float32": "ImageFloat",
    "float64": "ImageDouble",
    "complex64": "ImageComplexFloat",
    "complex128": "ImageComplexDouble",
}


def _stamp(record: Any, name: str) -> tuple[str, int]:
    """The field of a time stamp in the model at hand, and what of its unit a tick is."""
    return (name, 1) if hasattr(record, name) else (f"{name}_ns", TICK_NS)


def _ticks(record: Any, name: str) -> int:
    field, factor = _stamp(record, name)
    return round((getattr(record, field) or 0) / factor)


def _all_ticks(record: Any, name: str) -> list[int]:
    field, factor = _stamp(record, name)
    return [round(stamp / factor) for stamp in getattr(record, field)]


def _microseconds(record: Any) -> float:
    if hasattr(record, "sample_time_us"):
        return float(record.sample_time_us or 0.0)
    return float(record.sample_time_ns or 0) / 1000


def _put(target: Any, **values: Any) -> None:
    """Set fields of a C structure, which would keep the lower bits of a number that is too large."""
    for name, value in values.items():
        setattr(target, name, value)
        if isinstance(value, int) and getattr(target, name) != value:
            raise DataError(f"{name} = {value} in an item of MRD v2", f"a number that version 1 can hold ({name})")


def _fill(target: Any, values: Iterable[Any], name: str) -> None:
    """Fill an array of a C structure from its beginning."""
    given = [one.item() if isinstance(one, np.generic) else one for one in values]
    if len(given) > len(target):
        raise DataError(f"{len(given)} values of {name} in an item of MRD v2", f"at most {len(target)}")
    target[: len(given)] = given
    if list(target)[: len(given)] != given and all(isinstance(one, int) for one in given):
        raise DataError(f"{name} = {given} in an item of MRD v2", "numbers that version 1 can hold")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
