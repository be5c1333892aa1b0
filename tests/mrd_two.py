"""Scans of MRD version 1 as streams of version 2, made with mrd-python's own types and writer; and read again."""

from __future__ import annotations

import dataclasses
import io
import typing
from collections.abc import Iterable
from enum import Enum
from typing import Any

import ismrmrd
import mrd
import numpy as np
from mrd import yardl_types

from inr_core.parameters import plain_name

TICK_NS = 2_500_000
NANOSECONDS = hasattr(mrd.AcquisitionHeader(), "sample_time_ns")  # the model since mrd-python 2.2


def header(old: Any, kind: Any = mrd.Header) -> Any:
    """A header of version 1 as one of version 2."""
    hints = _hints(kind)
    given = {}
    for field in dataclasses.fields(old):
        value = getattr(old, field.name)
        if value is not None and value != []:
            name = next(name for name in hints if plain_name(name) == plain_name(field.name))
            given[name] = _value(value, hints[name])
    return kind(**given)


def _hints(kind: Any) -> dict[str, Any]:
    spaces = {**vars(mrd.types), "set": set}
    return typing.get_type_hints(kind, spaces, {})


def _value(value: Any, hint: Any) -> Any:
    arguments = [one for one in typing.get_args(hint) if one is not type(None)]
    if isinstance(value, list):
        return [_value(one, arguments[0]) for one in value]
    kind = arguments[0] if typing.get_origin(hint) is typing.Union else hint
    if dataclasses.is_dataclass(value):
        return header(value, kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        word = plain_name(str(getattr(value, "value", value)))
        return next(one for one in kind if plain_name(one.name) == word)
    if kind is yardl_types.Time:
        return kind.from_components(value.hour, value.minute, value.second, value.fractional_second)
    if type(value).__name__ == "XmlDate":
        return value.to_date()
    return value


def _stamped(**stamps: Any) -> dict[str, Any]:
    if not NANOSECONDS:
        return stamps
    return {
        f"{name}_ns": [one * TICK_NS for one in value] if isinstance(value, list) else value * TICK_NS
        for name, value in stamps.items()
    }


def _sample_time(microseconds: float) -> dict[str, Any]:
    return {"sample_time_ns": round(1000 * microseconds)} if NANOSECONDS else {"sample_time_us": microseconds}


def acquisition(old: ismrmrd.Acquisition) -> Any:
    """A readout as an item of a stream."""
    counters = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition")
    idx = {name: int(getattr(old.idx, name)) for name in (*counters, "set", "segment")}
    head = old.getHead()
    numbers = ("measurement_uid", "scan_counter", "discard_pre", "discard_post", "center_sample", "encoding_space_ref")
    vectors = ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
    return mrd.StreamItem.Acquisition(
        mrd.Acquisition(
            head=mrd.AcquisitionHeader(
                flags=mrd.AcquisitionFlags(head.flags),
                idx=mrd.EncodingCounters(**idx, user=list(head.idx.user)),
                channel_order=list(range(old.active_channels)),
                user_int=list(head.user_int),
                user_float=list(head.user_float),
                **{name: int(getattr(head, name)) for name in numbers},
                **{name: np.array(getattr(head, name), np.float32) for name in vectors},
                **_stamped(
                    acquisition_time_stamp=head.acquisition_time_stamp,
                    physiology_time_stamp=list(head.physiology_time_stamp),
                ),
                **_sample_time(head.sample_time_us),
            ),
            data=np.array(old.data),
            trajectory=np.ascontiguousarray(old.traj.T),
        )
    )


def waveform(old: ismrmrd.Waveform) -> Any:
    """A piece of physiology as an item of a stream."""
    head = old.getHead()
    return mrd.StreamItem.WaveformUint32(
        mrd.Waveform(
            data=np.array(old.data),
            flags=head.flags,
            measurement_uid=head.measurement_uid,
            scan_counter=head.scan_counter,
            waveform_id=head.waveform_id,
            **_stamped(time_stamp=head.time_stamp),
            **_sample_time(head.sample_time_us),
        )
    )


def item(old: Any) -> Any:
    """A readout or a piece of physiology as an item of a stream."""
    return acquisition(old) if isinstance(old, ismrmrd.Acquisition) else waveform(old)


def stream(old_header: Any, items: Iterable[Any]) -> bytes:
    """A whole stream; ``items`` are of version 1 or 2."""
    raw = io.BytesIO()
    with mrd.BinaryMrdWriter(raw) as writer:
        writer.write_header(None if old_header is None else header(old_header))
        # One by one, as a running scan does; a list would be written as a block.
        writer.write_data(one if isinstance(one, mrd.StreamItem) else item(one) for one in items)
    return raw.getvalue()


def read(raw: bytes) -> tuple[Any, list[Any]]:
    """The header and the images of a stream, by mrd-python's own reader."""
    with mrd.BinaryMrdReader(io.BytesIO(raw)) as reader:
        return reader.read_header(), [one.value for one in reader.read_data()]
