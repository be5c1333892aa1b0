"""A recorded stream and everything that can be done to it: what a broken, confused or hostile client sends."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from hypothesis import strategies as st

from inr_core.trajectory import spoke_angles
from inr_gadgets.wire.messages import Close, ConfigFile, Header, Query, Text
from inr_gadgets.wire.wire_format import serialise

_N, _COILS, _SPOKES, _FRAMES = 24, 3, 5, 3
_HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><subjectInformation><patientName>A^B</patientName>
<patientWeight_kg>70</patientWeight_kg></subjectInformation><acquisitionSystemInformation>
<relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>48</x><y>24</y><z>1</z></matrixSize>
<fieldOfView_mm><x>600.0</x><y>300.0</y><z>8.0</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>24</x><y>24</y><z>1</z></matrixSize>
<fieldOfView_mm><x>300.0</x><y>300.0</y><z>8.0</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_2><minimum>0</minimum><maximum>0</maximum><center>0</center>
</kspace_encoding_step_2></encodingLimits><trajectory>goldenangle</trajectory></encoding>
<sequenceParameters><TR>3.0</TR></sequenceParameters></ismrmrdHeader>"""
# What numbers become in XML, JSON and text.
_VALUES = (
    *("0", "-1", "1", "2", "255", "65535", "65536", "4294967296", "9" * 400, "1e-300", "1e308", "1e400", "NaN", "-inf"),
    *("", "x", "True", "\N{FULLWIDTH DIGIT FIVE}", "../../etc/passwd", "os.system", "__import__('os')", "%s%n", "\0"),
)
_JSON_VALUES = (
    None,
    True,
    "",
    "../../../etc/passwd",
    -1,
    10**30,
    math.nan,
    math.inf,
    1e308,
    [[]],
    {"a": {}},
    "x" * 5000,
)
_NAMES = (
    "spokesperframe",
    "method",
    "config",
    "customconfig",
    "whiten",
    "savestate",
    "virtualcoils",
    "device",
    "scale",
    "",
)
_LENGTHS = (0, 1, 2, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_FLOATS = (0.0, -1.0, 1e-45, 3.4e38, math.nan, math.inf, -math.inf)
_FIELDS = [
    (name, kind)
    for name, kind in ismrmrd.AcquisitionHeader._fields_
    if not hasattr(kind, "_fields_")  # the counters have a mutation of their own
]
_COUNTERS = [name for name, _ in ismrmrd.EncodingCounters._fields_ if name != "user"]
_ACQUISITION, _WAVEFORM = 1008, 1026


def recording(config: str = "nufft") -> list[bytes]:
    """Messages of a whole scan: configuration, header, parameters, noise, spokes in three frames, a waveform, CLOSE."""
    rng = np.random.default_rng(0)

    def samples(shape: tuple[int, int]) -> np.ndarray:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    items: list[Any] = []
    for _ in range(2):
        noise = ismrmrd.Acquisition.from_array(samples((_COILS, 2 * _N)), sample_time_us=5.0)
        noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        items.append(noise)
    for number in range(_FRAMES * _SPOKES):
        angle = math.radians(float(spoke_angles(number, 111.246117975, 0.0, 1)))
        radius = (np.arange(2 * _N) - _N) / (2 * _N)
        traj = np.stack([radius * math.cos(angle), radius * math.sin(angle)], axis=1).astype(np.float32)
        spoke = ismrmrd.Acquisition.from_array(samples((_COILS, 2 * _N)), traj, scan_counter=number, center_sample=_N)
        spoke.sample_time_us, spoke.acquisition_time_stamp = 5.0, number
        spoke.idx.kspace_encode_step_1, spoke.idx.repetition = number % _SPOKES, number // _SPOKES
        spoke.read_dir[:], spoke.phase_dir[:], spoke.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        items.append(spoke)
    items.insert(9, ismrmrd.Waveform.from_array(np.arange(10, dtype=np.uint32).reshape(2, 5), waveform_id=1))
    settings = json.dumps({"version": "1.0", "parameters": {"spokesperframe": _SPOKES, "config": config}})
    opening = [ConfigFile(config).pack(), Header(_HEADER).pack(), Text(settings).pack()]
    return [*opening, *map(serialise, items), Close().pack()]


@dataclass(frozen=True)
class Mutation:
    """One change of a stream.

    Attributes
    ----------
    kind
        A name of :data:`KINDS`.
    at
        Number of the message; taken modulo how many there are.
    where, value
        What the kind makes of them; any numbers do.
    """

    kind: str
    at: int
    where: int
    value: int

    def apply(self, messages: list[bytes]) -> list[bytes]:
        """The stream with this change."""
        return KINDS[self.kind](list(messages), self.at % len(messages), self.where, self.value)


def _flip(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    raw = bytearray(messages[at])
    if raw:
        raw[where % len(raw)] ^= 1 << value % 8
    messages[at] = bytes(raw)
    return messages


def _overwrite(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    """Near the beginning of the message, where ids, lengths and the header are."""
    raw = bytearray(messages[at])
    start = where % min(len(raw), 64) if raw else 0
    chunk = struct.pack("<Q", _LENGTHS[value % len(_LENGTHS)])[: (1, 2, 4, 8)[value % 4]]
    raw[start : start + len(chunk)] = chunk[: max(len(raw) - start, 0)]
    messages[at] = bytes(raw)
    return messages


def _cut_message(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    messages[at] = messages[at][: where % (len(messages[at]) + 1)]
    return messages


def _cut_stream(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    return [*messages[:at], messages[at][: where % (len(messages[at]) + 1)]]


def _repeat(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    return messages[:at] + [messages[at]] * (2 + value % 30) + messages[at + 1 :]


def _drop(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    return messages[:at] + messages[at + 1 + value % 3 :] or [b""]


def _swap(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    other = where % len(messages)
    messages[at], messages[other] = messages[other], messages[at]
    return messages


def _set_id(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    known = (1, 2, 3, 4, 5, 6, 7, 8, 1008, 1018, 1022, 1023, 1024, 1026, 1050)
    identifier = known[value % len(known)] if where % 4 else value % 65536
    messages[at] = struct.pack("<H", identifier) + messages[at][2:]
    return messages


def _insert(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    image = ismrmrd.Image.from_array(np.ones((3, 4), np.float32), transpose=False)
    strangers = [
        Query("what are you?", value).pack(),
        Text("a line").pack(),
        Text('{"parameters": {"method": "inr"}}').pack(),
        Text("{" + '"a":[' * 2000).pack(),
        Close().pack(),
        serialise(image),
        struct.pack("<HQ", 1023, value % 5),
        struct.pack("<HQ", 8, 1) + b"x",
        np.random.default_rng(value % 1000).bytes(where % 300),
        messages[where % len(messages)],
    ]
    return [*messages[:at], strangers[value % len(strangers)], *messages[at:]]


def _readout(change: Callable[[Any, int, int], None]) -> Callable[[list[bytes], int, int, int], list[bytes]]:
    """A mutation of a readout's header; samples stay as they are, so that sizes may contradict them, or of both."""

    def mutate(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
        readouts = [
            i for i, raw in enumerate(messages) if raw[:2] == struct.pack("<H", _ACQUISITION) and len(raw) > 342
        ]
        for i in readouts if value % 3 == 0 else readouts[at % max(len(readouts), 1) :][:1]:
            head = ismrmrd.AcquisitionHeader.from_buffer_copy(messages[i][2:342])
            change(head, where, value)
            body = messages[i][342:]
            if value % 2:  # as many bytes as the header says
                size = head.number_of_samples * (4 * head.trajectory_dimensions + 8 * head.active_channels)
                body = body.ljust(min(size, 1 << 20), b"\x3f")[: min(size, 1 << 20)]
            messages[i] = messages[i][:2] + bytes(head) + body
        return messages

    return mutate


def _set_field(head: Any, where: int, value: int) -> None:
    name, kind = _FIELDS[where % len(_FIELDS)]
    element = getattr(kind, "_type_", kind)
    floating = element == "f" or getattr(element, "_type_", "") == "f"
    number: Any = _FLOATS[value % len(_FLOATS)] if floating else _LENGTHS[value % len(_LENGTHS)]
    if hasattr(kind, "_length_"):
        array = getattr(head, name)
        array[value % len(array)] = number
    else:
        setattr(head, name, number)


def _set_counter(head: Any, where: int, value: int) -> None:
    setattr(head.idx, _COUNTERS[where % len(_COUNTERS)], value % 65536)


def _set_size(head: Any, where: int, value: int) -> None:
    """Sizes that a readout could have, more or less."""
    name = ("number_of_samples", "active_channels", "trajectory_dimensions", "discard_pre", "discard_post")[where % 5]
    setattr(head, name, (0, 1, 2, 3, 4, 47, 48, 49, 1023, 1024, 1025)[value % 11])


def _text_of(identifier: int) -> Callable[[Callable[[str, int, int], str]], Any]:
    """A mutation of the text of the first message with that id."""

    def wrap(change: Callable[[str, int, int], str]) -> Callable[[list[bytes], int, int, int], list[bytes]]:
        def mutate(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
            for i, raw in enumerate(messages):
                if raw[:2] == struct.pack("<H", identifier) and len(raw) > 6:
                    text = change(raw[6:].decode("utf-8", "replace"), where, value).encode()
                    messages[i] = struct.pack("<HI", identifier, len(text)) + text
                    break
            return messages

        return mutate

    return wrap


def _split_words(text: str) -> list[str]:
    """The text in pieces, tags and what stands between them."""
    return text.replace("<", "\x01<").replace(">", ">\x01").split("\x01")


@_text_of(3)
def _xml_value(text: str, where: int, value: int) -> str:
    words = _split_words(text)
    values = [i for i, word in enumerate(words) if word.strip() and not word.startswith("<")]
    if values:
        words[values[where % len(values)]] = _VALUES[value % len(_VALUES)]
    return "".join(words)


@_text_of(3)
def _xml_tags(text: str, where: int, value: int) -> str:
    words = _split_words(text)
    i, j = where % len(words), value % len(words)
    edits: list[Callable[[], None]] = [
        lambda: words.pop(i),  # type: ignore[list-item, return-value]
        lambda: words.insert(i, words[j]),
        lambda: words.insert(i, "<a>" * (1 + value % 200)),
        lambda: words.insert(i, '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]>'),
        lambda: words.insert(i, "<![CDATA[ ]]>&#0;"),
        lambda: words.__setitem__(
            i, words[i].replace(">", ' xsi:type="b" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">')
        ),
        lambda: words.__setitem__(slice(i, i + 12), words[i : i + 12] * (1 + value % 40)),
    ]
    edits[value % len(edits)]()
    return "".join(words)


@_text_of(5)
def _json(text: str, where: int, value: int) -> str:
    name, thing = _NAMES[where % len(_NAMES)], _JSON_VALUES[value % len(_JSON_VALUES)]
    if value % 5 == 0:
        return text[: where % (len(text) + 1)] + text[value % (len(text) + 1) :]
    return json.dumps({"parameters": {name: thing} if value % 7 else thing})


def _config(messages: list[bytes], at: int, where: int, value: int) -> list[bytes]:
    messages[0] = struct.pack("<H1024s", 1, _VALUES[value % len(_VALUES)].encode()[:1024])
    return messages


KINDS: dict[str, Callable[[list[bytes], int, int, int], list[bytes]]] = {
    "flip": _flip,
    "overwrite": _overwrite,
    "cut message": _cut_message,
    "cut stream": _cut_stream,
    "repeat": _repeat,
    "drop": _drop,
    "swap": _swap,
    "id": _set_id,
    "insert": _insert,
    "field": _readout(_set_field),
    "counter": _readout(_set_counter),
    "size": _readout(_set_size),
    "xml value": _xml_value,
    "xml tags": _xml_tags,
    "json": _json,
    "config": _config,
}

_number = st.integers(0, 1 << 20)
MUTATIONS = st.lists(
    st.builds(Mutation, st.sampled_from(sorted(KINDS)), st.integers(0, 63), _number, _number), min_size=1, max_size=4
)
"""Hypothesis' strategy: one to four changes, and as few and as small ones as still fail when it shrinks them."""


def mutated(messages: list[bytes], mutations: list[Mutation]) -> bytes:
    """The bytes of a stream after some changes."""
    for mutation in mutations:
        messages = mutation.apply(messages) or [b""]
    return b"".join(messages)
