"""How each message of the MRD stream lies in bytes: one reader and one writer per kind, with gadgetron-python's types.

The library's own are used where they are right. Where they are not the guard is here: reading ReconData warns and fails
on an empty encoding space, writing it fails with NumPy 2 when it has to be converted, a bucket with waveforms is not
read at all, int32 images lose the stream, and samples of another dtype are written as they lie.
"""

from __future__ import annotations

import ctypes
import math
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

import ismrmrd
import numpy as np
from gadgetron.external import constants, readers, writers
from gadgetron.types.acquisition_bucket import (
    AcquisitionBucket,
    bucket_meta,
    read_acquisitions,
    read_bucketstats,
)
from gadgetron.types.recon_data import (
    ReconBit,
    ReconBuffer,
    ReconData,
    read_sampling_description,
    write_recon_data,
)
from numpy.typing import NDArray

from inr_core.errors import DataError, ProtocolError
from inr_core.noise import MOST_COILS
from inr_gadgets.heads import head_of
from inr_gadgets.meta_xml import meta_xml
from inr_gadgets.wire.messages import (
    NAME_BYTES,
    Close,
    ConfigFile,
    ConfigText,
    Error,
    Header,
    MessageId,
    Query,
    Response,
    Text,
    decode,
)
from inr_gadgets.wire.plain_xml import check_xml

MIB = 1 << 20
# The most bytes that one message may have; what announces more than that is a fault of the sender, not a scan.
LIMITS = {
    MessageId.CONFIG_FILE: NAME_BYTES,
    MessageId.CONFIG_TEXT: 16 * MIB,
    MessageId.HEADER: 16 * MIB,
    MessageId.CLOSE: 0,
    MessageId.TEXT: 16 * MIB,
    MessageId.QUERY: MIB,
    MessageId.RESPONSE: MIB,
    MessageId.ERROR: MIB,
    MessageId.ACQUISITION: 256 * MIB,
    MessageId.WAVEFORM: 64 * MIB,
    MessageId.IMAGE: 1024 * MIB,
    MessageId.RECON_DATA: 2048 * MIB,
    MessageId.BUCKET: 2048 * MIB,
}
# What a library reader raises on bytes that make no sense; ismrmrd's Meta asserts, and its XML parser has SyntaxErrors.
MALFORMED = (
    *(ValueError, TypeError, ArithmeticError, AttributeError, LookupError),
    *(AssertionError, SyntaxError, struct.error),
)
# ISMRMRD's image data types. ismrmrd-python takes type 4, int32, for eight bytes an element.
_IMAGE_TYPES = {1: "uint16", 2: "int16", 3: "uint32", 5: "float32", 6: "float64", 7: "complex64", 8: "complex128"}
_COMPRESSED = 0b1111 << 52  # flags 53 to 56
_ACQUISITION_BYTES, _IMAGE_BYTES, _WAVEFORM_BYTES = 340, 198, 40  # of the headers


class Source(Protocol):
    """Where readers read: every read is counted, bounded by the message's limit, and complete."""

    def read(self, nbytes: int) -> bytes:
        """Return exactly that many bytes."""

    def read_writable(self, nbytes: int) -> NDArray[np.uint8]:
        """Return exactly that many bytes, in memory that arrays made from it may change."""

    def malformed(self, reason: object) -> ProtocolError:
        """Return the error for a message whose parts contradict each other."""


def _read_text(make: Callable[[str], Any], what: str, length: struct.Struct) -> Callable[[Source], Any]:
    def read(source: Source) -> Any:
        (nbytes,) = length.unpack(source.read(length.size))
        return make(decode(source.read(nbytes), what))

    return read


def _read_config_file(source: Source) -> ConfigFile:
    return ConfigFile(decode(source.read(NAME_BYTES).split(b"\0", 1)[0], "the configuration's name"))


def _read_query(source: Source) -> Query:
    reserved, correlation, nbytes = struct.unpack("<QQQ", source.read(24))
    if reserved:
        raise source.malformed(f"its reserved bytes hold {reserved}")
    return Query(decode(source.read(nbytes), "the query"), correlation)


def _read_response(source: Source) -> Response:
    correlation, nbytes = struct.unpack("<QQ", source.read(16))
    return Response(decode(source.read(nbytes), "the response"), correlation)


def _read_acquisition(source: Source) -> ismrmrd.Acquisition:
    # Twice as fast as the library's deserialize_from, which copies everything once more.
    head = ismrmrd.AcquisitionHeader.from_buffer_copy(source.read(_ACQUISITION_BYTES))
    if head.flags & _COMPRESSED:
        raise ProtocolError(
            "a compressed acquisition (flags 53 to 56)",
            "plain samples",
            "send without compression (the client's -P, -T, -Z)",
        )
    samples, channels, dims = head.number_of_samples, head.active_channels, head.trajectory_dimensions
    if channels > MOST_COILS:
        raise source.malformed(f"{channels} coils, where ISMRMRD has at most {MOST_COILS}")
    body = source.read_writable(samples * (4 * dims + 8 * channels))
    if not len(body):  # which frombuffer refuses
        return ismrmrd.Acquisition(head)
    traj = np.frombuffer(body, np.float32, samples * dims).reshape(samples, dims)
    data = np.frombuffer(body, np.complex64, samples * channels, samples * dims * 4).reshape(channels, samples)
    return ismrmrd.Acquisition(head, data, traj)


def _read_waveform(source: Source) -> ismrmrd.Waveform:
    return ismrmrd.Waveform.deserialize_from(source.read)


def _read_image(source: Source) -> ismrmrd.Image:
    raw = source.read(_IMAGE_BYTES)
    (data_type,) = struct.unpack_from("<H", raw, 2)
    if data_type not in _IMAGE_TYPES:
        kinds = ", ".join(f"{number} {name}" for number, name in _IMAGE_TYPES.items())
        raise source.malformed(f"image data type {data_type}, not one of {kinds}")
    (length,) = constants.uint64.unpack(source.read(8))
    attributes = decode(source.read(length), "the attributes of an image")
    check_xml(attributes, "the attributes of an image", ProtocolError)
    head = ismrmrd.ImageHeader.from_buffer_copy(raw)
    x, y, z = head.matrix_size
    dtype = np.dtype(_IMAGE_TYPES[data_type])
    body = source.read(head.channels * x * y * z * dtype.itemsize)
    image = ismrmrd.Image(head, attributes)
    if body:
        image.data[...] = np.frombuffer(body, dtype).reshape(head.channels, z, y, x)
    return image


def _read_recon_data(source: Source) -> ReconData:
    (count,) = constants.uint64.unpack(source.read(8))
    bits = []
    for _ in range(count):
        buffer = _read_recon_buffer(source)
        bits.append(ReconBit(buffer, readers.read_optional(source, _read_recon_buffer)))
    return ReconData(bits)


def _read_recon_buffer(source: Source) -> ReconBuffer:
    data = _read_array(source, np.complex64)
    trajectory = readers.read_optional(source, _read_array, np.float32)
    density = readers.read_optional(source, _read_array, np.float32)
    return ReconBuffer(data, trajectory, density, _read_headers(source), read_sampling_description(source))


def _read_shape(source: Source) -> list[int]:
    """Gadgetron's empty array has no dimensions at all, where NumPy's would hold one element, and the library fails."""
    return readers.read_vector(source).tolist() or [0]


def _read_array(source: Source, kind: type[np.generic]) -> np.ndarray:
    shape, dtype = _read_shape(source), np.dtype(kind)
    return np.frombuffer(source.read_writable(math.prod(shape) * dtype.itemsize), dtype).reshape(shape, order="F")


def _read_headers(source: Source) -> np.ndarray:
    """Return an object array of acquisition headers; the library's makes NumPy guess at their layout, and warn."""
    shape = _read_shape(source)
    raw = source.read(math.prod(shape) * _ACQUISITION_BYTES)
    headers = np.empty(math.prod(shape), dtype=object)
    for i in range(headers.size):
        headers[i] = ismrmrd.AcquisitionHeader.from_buffer_copy(raw, i * _ACQUISITION_BYTES)
    return headers.reshape(shape, order="F")


def _read_bucket(source: Source) -> AcquisitionBucket:
    meta = bucket_meta.from_buffer_copy(source.read(ctypes.sizeof(bucket_meta)))
    data, data_stats = read_acquisitions(source, meta.data), read_bucketstats(source)
    reference, reference_stats = read_acquisitions(source, meta.reference), read_bucketstats(source)
    return AcquisitionBucket(
        data, data_stats, reference, reference_stats, _read_waveforms(source, meta.waveforms.count)
    )


def _read_waveforms(source: Source, count: int) -> list[ismrmrd.Waveform]:
    """Return a bucket's waveforms, all headers before all samples; the library asks the wrong class for the headers."""
    heads = [ismrmrd.WaveformHeader.from_buffer_copy(source.read(_WAVEFORM_BYTES)) for _ in range(count)]
    shapes = [(head.channels, head.number_of_samples) for head in heads]
    samples = [np.frombuffer(source.read(4 * math.prod(shape)), np.uint32).reshape(shape) for shape in shapes]
    return [ismrmrd.Waveform(head, data) for head, data in zip(heads, samples, strict=True)]


READERS: dict[int, Callable[[Source], Any]] = {
    MessageId.CONFIG_FILE: _read_config_file,
    MessageId.CONFIG_TEXT: _read_text(ConfigText, "the configuration", constants.uint32),
    MessageId.HEADER: _read_text(Header, "the header", constants.uint32),
    MessageId.CLOSE: lambda _: Close(),
    MessageId.TEXT: _read_text(Text, "a TEXT message", constants.uint32),
    MessageId.QUERY: _read_query,
    MessageId.RESPONSE: _read_response,
    MessageId.ERROR: _read_text(Error, "an ERROR message", constants.uint64),
    MessageId.ACQUISITION: _read_acquisition,
    MessageId.WAVEFORM: _read_waveform,
    MessageId.IMAGE: _read_image,
    MessageId.RECON_DATA: _read_recon_data,
    MessageId.BUCKET: _read_bucket,
}


def serialise(item: Any) -> bytes:
    """Return an item of data as one message.

    Raises
    ------
    DataError
        When the item is of a type or dtype that ISMRMRD has no message for.
    """
    for kind, write in _WRITERS:
        if isinstance(item, kind):
            parts = _Parts()
            write(parts, item)
            return b"".join(parts)
    raise DataError(f"a {type(item).__name__} to be sent", "an acquisition, waveform, image or ReconData")


class _Parts(list[bytes]):
    """A destination for the library's writers; what they write in pieces is sent in one."""

    def write(self, part: Any) -> None:
        self.append(bytes(part))


def _write_acquisition(parts: _Parts, item: ismrmrd.Acquisition) -> None:
    if item.data.dtype != np.complex64 or item.traj.dtype != np.float32:
        # The library would write the bytes of whatever dtype it holds, and the reader would lose the stream.
        item = ismrmrd.Acquisition(head_of(item), item.data.astype(np.complex64), item.traj.astype(np.float32))
    writers.write_acquisition(parts, item)


def _write_image(parts: _Parts, item: ismrmrd.Image) -> None:
    if _IMAGE_TYPES.get(item.data_type) != item.data.dtype.name:
        raise DataError(f"an image of {item.data.dtype.name}", f"one of {', '.join(_IMAGE_TYPES.values())}")
    attributes = meta_xml(item.meta)
    item._head.attribute_string_len = len(attributes)  # in the image, too, as the library does
    parts += [constants.GadgetMessageIdentifier.pack(MessageId.IMAGE), bytes(item._head)]
    parts += [constants.uint64.pack(len(attributes)), attributes, item.data.tobytes()]


def _write_recon_data(parts: _Parts, item: ReconData) -> None:
    write_recon_data(parts, ReconData([ReconBit(_typed(bit.data), bit.ref and _typed(bit.ref)) for bit in item.bits]))


def _typed(buffer: ReconBuffer) -> ReconBuffer:
    """Convert the arrays: the library's own conversion, ``np.array(.., copy=False)``, fails with NumPy 2."""
    return ReconBuffer(
        np.asarray(buffer.data, np.complex64),
        None if buffer.trajectory is None else np.asarray(buffer.trajectory, np.float32),
        None if buffer.density is None else np.asarray(buffer.density, np.float32),
        buffer.headers,
        buffer.sampling,
    )


_WRITERS: list[tuple[type, Callable[[_Parts, Any], None]]] = [
    (ismrmrd.Image, _write_image),
    (ismrmrd.Acquisition, _write_acquisition),
    (ismrmrd.Waveform, writers.write_waveform),
    (ReconData, _write_recon_data),
]

if sys.byteorder != "little":
    raise ImportError("the MRD stream is little-endian; this machine is not")
