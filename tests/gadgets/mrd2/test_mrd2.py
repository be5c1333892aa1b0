"""MRD version 2: what mrd-python writes is understood, and what it reads is written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ismrmrd
import numpy as np
import pytest

import wire
from inr_core.errors import DataError, MissingDependencyError, ParameterError, ProtocolError
from inr_gadgets.header import parse_header
from inr_gadgets.image_file import list_series, read_header_xml, read_series
from inr_gadgets.serving import stream as streaming
from inr_gadgets.wire.pipes import PipePair
from piping import Pipes

pytest.importorskip("mrd", reason="mrd-python, the extra 'mrd2', is not installed")

import mrd

import mrd_two
from inr_gadgets.mrd2 import items, reader
from inr_gadgets.mrd2.header import header_xml
from inr_gadgets.mrd2.stream import Mrd2Stream

HEADER = parse_header(wire.HEADER_XML)
DATA = [
    *(wire.acquisition(counter) for counter in range(3)),
    wire.waveform(),
    *(wire.acquisition(c) for c in (3, 4, 5)),
]

# Every element that a header may have, with values that differ from one another.
FULL_XML = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><version>1</version>
<subjectInformation><patientName>Doe^Jane</patientName><patientWeight_kg>61.5</patientWeight_kg>
<patientHeight_m>1.75</patientHeight_m><patientID>x7</patientID><patientBirthdate>1980-02-29</patientBirthdate>
<patientGender>F</patientGender></subjectInformation>
<studyInformation><studyDate>2026-11-20</studyDate><studyTime>07:08:09.125</studyTime><studyID>5</studyID>
<accessionNumber>77</accessionNumber><referringPhysicianName>Roe</referringPhysicianName>
<studyDescription>heart</studyDescription><studyInstanceUID>1.2.3</studyInstanceUID>
<bodyPartExamined>HEART</bodyPartExamined></studyInformation>
<measurementInformation><measurementID>m1</measurementID><seriesDate>2026-11-21</seriesDate>
<seriesTime>23:59:58</seriesTime><patientPosition>FFDL</patientPosition>
<relativeTablePosition><x>1.5</x><y>-2.5</y><z>3.5</z></relativeTablePosition>
<initialSeriesNumber>4</initialSeriesNumber><protocolName>cine</protocolName><sequenceName>trufi</sequenceName>
<seriesDescription>sax</seriesDescription>
<measurementDependency><dependencyType>noise</dependencyType><measurementID>m0</measurementID></measurementDependency>
<seriesInstanceUIDRoot>1.2</seriesInstanceUIDRoot><frameOfReferenceUID>1.9</frameOfReferenceUID>
<referencedImageSequence><referencedSOPInstanceUID>1.5</referencedSOPInstanceUID>
<referencedSOPInstanceUID>1.6</referencedSOPInstanceUID></referencedImageSequence></measurementInformation>
<acquisitionSystemInformation><systemVendor>V</systemVendor><systemModel>M</systemModel>
<systemFieldStrength_T>1.5</systemFieldStrength_T>
<relativeReceiverNoiseBandwidth>0.75</relativeReceiverNoiseBandwidth><receiverChannels>30</receiverChannels>
<coilLabel><coilNumber>2</coilNumber><coilName>B1</coilName></coilLabel><institutionName>I</institutionName>
<stationName>S</stationName><deviceID>D</deviceID><deviceSerialNumber>N</deviceSerialNumber>
</acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>64</x><y>33</y><z>2</z></matrixSize>
<fieldOfView_mm><x>600</x><y>310.5</y><z>16</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>32</x><y>31</y><z>1</z></matrixSize>
<fieldOfView_mm><x>300</x><y>310</y><z>8</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>1</minimum><maximum>32</maximum><center>16</center>
</kspace_encoding_step_1><user_7><minimum>2</minimum><maximum>9</maximum><center>5</center></user_7></encodingLimits>
<trajectory>goldenangle</trajectory>
<trajectoryDescription><identifier>g</identifier>
<userParameterLong><name>n</name><value>-3</value></userParameterLong>
<userParameterDouble><name>d</name><value>0.125</value></userParameterDouble>
<userParameterString><name>s</name><value>t</value></userParameterString><comment>c</comment></trajectoryDescription>
<parallelImaging><accelerationFactor><kspace_encoding_step_1>3</kspace_encoding_step_1>
<kspace_encoding_step_2>2</kspace_encoding_step_2></accelerationFactor><calibrationMode>interleaved</calibrationMode>
<interleavingDimension>contrast</interleavingDimension>
<multiband><spacing><dZ>10</dZ><dZ>20</dZ></spacing><deltaKz>0.5</deltaKz><multiband_factor>4</multiband_factor>
<calibration>full3D</calibration><calibration_encoding>1</calibration_encoding></multiband></parallelImaging>
<echoTrainLength>6</echoTrainLength></encoding>
<sequenceParameters><TR>3.5</TR><TE>1.25</TE><TE>2.5</TE><TI>100</TI><flipAngle_deg>45</flipAngle_deg>
<sequence_type>bSSFP</sequence_type><echo_spacing>0.5</echo_spacing><diffusionDimension>user_3</diffusionDimension>
<diffusion><gradientDirection><rl>1</rl><ap>0</ap><fh>0.5</fh></gradientDirection><bvalue>1000</bvalue></diffusion>
<diffusionScheme>bipolar</diffusionScheme></sequenceParameters>
<userParameters><userParameterLong><name>a</name><value>9</value></userParameterLong>
<userParameterBase64><name>b</name><value>SGVsbG8=</value></userParameterBase64></userParameters>
<waveformInformation><waveformName>e</waveformName><waveformType>respiratory</waveformType>
<userParameters><userParameterString><name>u</name><value>v</value></userParameterString></userParameters>
</waveformInformation></ismrmrdHeader>"""


def test_a_header_keeps_all_it_says() -> None:
    old = parse_header(FULL_XML)
    new = mrd_two.header(old)
    new.user_parameters.user_parameter_base64[0].value = "SGVsbG8="  # a text there
    assert new.measurement_information.patient_position == mrd.PatientPosition.F_FDL
    assert new.encoding[0].trajectory == mrd.Trajectory.GOLDENANGLE
    assert parse_header(header_xml(new)) == old


def test_a_header_with_what_version_1_has_no_word_for() -> None:
    new = mrd_two.header(HEADER)
    new.encoding[0].trajectory = mrd.Trajectory(17)
    with pytest.raises(
        DataError, match=r"trajectory = .*17.* in an MRD v2 header; expected one of cartesian, epi, rad"
    ):
        header_xml(new)


def test_a_user_parameter_that_is_not_base64() -> None:
    new = mrd_two.header(HEADER)
    parameter = mrd.UserParameterBase64Type(name="b", value="%%%")
    new.user_parameters = mrd.UserParametersType(user_parameter_base64=[parameter])
    with pytest.raises(DataError, match="a user parameter that is not base64"):
        header_xml(new)


def full_acquisition() -> ismrmrd.Acquisition:
    """A readout with a value of its own in every field."""
    made = wire.acquisition(7, samples=9, channels=3)
    for number, name in enumerate(("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast"), 50):
        setattr(made.idx, name, number)
    made.idx.phase, made.idx.repetition, made.idx.set, made.idx.segment = 1, 2, 3, 4
    made.idx.user[:] = range(10, 18)
    made.user_int[:], made.user_float[:] = range(-4, 4), [0.5 * one for one in range(8)]
    made.position[:], made.read_dir[:], made.phase_dir[:] = (1.5, -2.5, 3.5), (1, 0, 0), (0, 0, 1)
    made.slice_dir[:], made.patient_table_position[:] = (0, -1, 0), (7, 8, 9)
    made.physiology_time_stamp[:] = (11, 22, 33)
    made.flags, made.measurement_uid, made.scan_counter, made.acquisition_time_stamp = 1 << 18, 12, 70000, 123456
    made.discard_pre, made.discard_post, made.center_sample, made.encoding_space_ref = 1, 2, 5, 1
    made.sample_time_us, made.channel_mask[0], made.version = 2.5, 0b111, 1
    return made


def test_a_readout_keeps_all_it_says() -> None:
    old = full_acquisition()
    new = items.acquisition(mrd_two.acquisition(old).value)
    assert bytes(new.getHead()) == bytes(old.getHead())
    np.testing.assert_array_equal(new.data, old.data)
    np.testing.assert_array_equal(new.traj, old.traj)
    assert new.data.dtype == np.complex64
    assert new.traj.flags.c_contiguous


def test_what_a_readout_leaves_out_is_nought() -> None:
    found = mrd.Acquisition(data=np.ones((2, 5), np.complex64))
    new = items.acquisition(found)
    assert new.traj.shape == (5, 0)
    assert (new.scan_counter, new.center_sample, new.idx.slice, new.acquisition_time_stamp) == (0, 0, 0, 0)
    assert (new.active_channels, new.number_of_samples) == (2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda one: setattr(one.head.idx, "repetition", 70000),
            r"repetition = 70000 in an item of MRD v2; expected a n",
        ),
        (lambda one: setattr(one.head, "center_sample", 1 << 16), "center_sample = 65536"),
        (lambda one: setattr(one.head, "user_int", list(range(9))), "9 values of user_int .*; expected at most 8"),
        (
            lambda one: setattr(one.head.idx, "user", [1 << 17]),
            r"user = \[131072\] in an item of MRD v2; expected numb",
        ),
        (
            lambda one: setattr(one, "trajectory", np.ones((2, 3), np.float32)),
            "9 samples with a trajectory of 3; expec",
        ),
        (lambda one: setattr(one, "phase", np.ones(9, np.float32)), "a readout with a phase for each sample; expected"),
    ],
)
def test_a_readout_that_version_1_cannot_hold(change: Callable[[Any], None], message: str) -> None:
    found = mrd_two.acquisition(full_acquisition()).value
    change(found)
    with pytest.raises(DataError, match=message):
        items.acquisition(found)


def test_nanoseconds_become_ticks() -> None:
    """The model since mrd-python 2.2, whichever is installed."""
    head = vars(mrd_two.acquisition(full_acquisition()).value.head)
    head = {
        name: value for name, value in head.items() if not name.startswith(("acquisition_time", "physio", "sample"))
    }
    stamps = {
        "acquisition_time_stamp_ns": 9_999_999_999,
        "physiology_time_stamp_ns": [5_000_000, 1],
        "sample_time_ns": 2500,
    }
    found = SimpleNamespace(
        head=SimpleNamespace(**head, **stamps),
        data=np.ones((2, 5), np.complex64),
        trajectory=np.zeros((0, 0), np.float32),
        phase=None,
    )
    new = items.acquisition(found)
    assert new.acquisition_time_stamp == 4000
    assert list(new.physiology_time_stamp) == [2, 0, 0]
    assert new.sample_time_us == 2.5


def test_a_waveform_keeps_all_it_says() -> None:
    old = ismrmrd.Waveform.from_array(
        np.arange(12, dtype=np.uint32).reshape(3, 4),
        version=1,
        flags=5,
        measurement_uid=6,
        scan_counter=70000,
        time_stamp=8,
        sample_time_us=2.5,
        waveform_id=9,
    )
    new = items.waveform(mrd_two.waveform(old).value)
    assert bytes(new.getHead()) == bytes(old.getHead())
    np.testing.assert_array_equal(new.data, old.data)


def full_image(dtype: str) -> ismrmrd.Image:
    pixels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    made = ismrmrd.Image.from_array(pixels, transpose=False)
    head = made.getHead()
    head.flags, head.measurement_uid, head.image_type = 1 << 4, 3, ismrmrd.IMTYPE_PHASE
    head.image_index, head.image_series_index, head.acquisition_time_stamp = 70, 2, 4000
    head.average, head.slice, head.contrast, head.phase, head.repetition, head.set = range(1, 7)
    head.field_of_view[:], head.position[:] = (300.5, 200, 8), (1, -2, 3.5)
    head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = (0, 1, 0), (1, 0, 0), (0, 0, -1)
    head.patient_table_position[:], head.physiology_time_stamp[:] = (4, 5, 6), (7, 8, 9)
    head.user_int[:], head.user_float[:] = range(-4, 4), [0.5 * one for one in range(8)]
    made.setHead(head)
    made.meta = {"DataRole": "Image", "ImageRowDir": ["1", "0", "0"]}
    return made


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32", "float64", "complex64", "complex128"])
def test_an_image_keeps_all_it_says(dtype: str) -> None:
    old = full_image(dtype)
    raw = mrd_two.stream(HEADER, [items.image(old)])
    _, (new,) = mrd_two.read(raw)
    assert new.data.dtype == dtype
    np.testing.assert_array_equal(new.data, old.data)
    factor = mrd_two.TICK_NS if mrd_two.NANOSECONDS else 1
    suffix = "_ns" if mrd_two.NANOSECONDS else ""
    wanted = {
        "flags": mrd.ImageFlags.FIRST_IN_AVERAGE,
        "measurement_uid": 3,
        "image_type": mrd.ImageType.PHASE,
        "image_index": 70,
        "image_series_index": 2,
        "average": 1,
        "slice": 2,
        "contrast": 3,
        "phase": 4,
        "repetition": 5,
        "set": 6,
        "user_int": list(range(-4, 4)),
        "user_float": [0.5 * one for one in range(8)],
        f"acquisition_time_stamp{suffix}": 4000 * factor,
        f"physiology_time_stamp{suffix}": [7 * factor, 8 * factor, 9 * factor],
        "field_of_view": [300.5, 200, 8],
        "position": [1, -2, 3.5],
        "col_dir": [0, 1, 0],
        "line_dir": [1, 0, 0],
        "slice_dir": [0, 0, -1],
        "patient_table_position": [4, 5, 6],
    }
    found = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(new.head).items()}
    assert found == wanted
    meta = {name: [one.value for one in values] for name, values in new.meta.items()}
    assert meta == {"DataRole": ["Image"], "ImageRowDir": ["1", "0", "0"]}


def test_an_image_of_another_type_is_refused() -> None:
    made = SimpleNamespace(data=np.zeros((1, 1, 2, 2), np.int8))
    with pytest.raises(DataError, match="an image of int8; expected one of uint16, int16, uint32, float32"):
        items.image(made)  # type: ignore[arg-type]


def run(folder: Path, name: str, raw: bytes, **options: Any) -> bytes:
    (folder / f"{name}.in").write_bytes(raw)
    config = folder / "config.xml"
    config.write_text(wire.CONFIG_XML)
    source, sink = folder / f"{name}.in", folder / f"{name}.out"
    assert streaming.stream(str(config), None, source, sink, table=wire.TABLE, **options)
    return sink.read_bytes()


def test_the_images_are_those_of_version_1_to_the_bit(tmp_path: Path) -> None:
    _, images = mrd_two.read(run(tmp_path, "two", mrd_two.stream(HEADER, DATA)))
    one = io.BytesIO(run(tmp_path, "one", b"".join(wire.messages(6)[1:])))
    with ismrmrd.serialization.ProtocolDeserializer(one) as source:
        _, *expected = source.deserialize()
    assert len(images) == len(expected) == 3
    for ours, theirs in zip(images, expected, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
        assert ours.head.image_index == theirs.image_index


def test_images_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.mrd").write_bytes(mrd_two.stream(HEADER, DATA))
    (tmp_path / "config.xml").write_text(wire.CONFIG_XML)
    source, sink = tmp_path / "in.mrd", tmp_path / "out.h5"
    assert streaming.stream(str(tmp_path / "config.xml"), None, source, sink, table=wire.TABLE)
    assert read_series(sink, 0)[0].shape == (3, 1, 1, 3, 4)
    assert b"ismrmrdHeader" in (read_header_xml(sink, next(iter(list_series(sink)))) or b"")


def test_the_header_goes_back_as_it_came(tmp_path: Path) -> None:
    raw = mrd_two.stream(HEADER, DATA)
    header, _ = mrd_two.read(run(tmp_path, "two", raw))
    assert header == mrd_two.read(mrd_two.stream(HEADER, []))[0]


def test_images_flow_while_the_scan_runs(pipes: Callable[..., Pipes]) -> None:
    """As soon as its last readout has come, though not a quarter of what the library's own reader waits for has."""
    open_pipes = pipes(Mrd2Stream, default="unused", chain=wire_chain())
    raw = mrd_two.stream(HEADER, DATA)
    some = len(mrd_two.stream(HEADER, DATA[:3])) - 1  # without the mark of the end
    open_pipes.write(raw[:some])
    live = reader.live_reader(open_pipes.reader._socket)
    assert live.read_header() == mrd_two.header(HEADER)
    images = iter(live.read_data())
    assert next(images).value.head.image_index == 1
    for position in range(some, len(raw), 7):  # and in pieces that fit no boundary
        open_pipes.write(raw[position : position + 7])
    assert [one.value.head.image_index for one in images] == [2, 3]
    assert open_pipes.end()


def wire_chain() -> Any:
    from inr_gadgets.configs import parse_config

    return parse_config(wire.CONFIG_XML, wire.TABLE)


def test_readouts_may_come_as_a_block(pipes: Callable[..., Pipes]) -> None:
    """As the writers of other languages send them."""
    raw = io.BytesIO()
    with mrd.BinaryMrdWriter(raw) as writer:
        writer.write_header(mrd_two.header(HEADER))
        writer.write_data([mrd_two.item(one) for one in DATA])
    open_pipes = pipes(Mrd2Stream, default="unused", chain=wire_chain())
    open_pipes.write(raw.getvalue())
    _, images = mrd_two.read(rest(open_pipes))
    assert len(images) == 3


def rest(open_pipes: Pipes) -> bytes:
    """All that comes until the sink is closed."""
    raw = b""
    while part := os.read(open_pipes.result, 1 << 16):
        raw += part
    return raw


def test_an_error_is_logged_and_the_images_before_it_are_kept(
    pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture
) -> None:
    open_pipes = pipes(Mrd2Stream, default="unused", chain=wire_chain(), overrides={"recon.fail_at": "3"})
    open_pipes.write(mrd_two.stream(HEADER, DATA))
    _, images = mrd_two.read(rest(open_pipes))
    assert [one.head.image_index for one in images] == [1, 2]
    assert not open_pipes.end()
    assert "stdin: ERROR: image 3 is bad" in caplog.text


SCHEMA_AT = 5 + 4 + 3  # where the model's description begins
GOOD = mrd_two.stream(HEADER, DATA)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "cut short after 0 items; expected the mark of its end"),
        (GOOD[:100], "cut short after 0 items"),
        (GOOD[:-1], "cut short after 7 items"),
        (GOOD[:-50], "cut short after 6 items"),
        (b"x" + GOOD[1:], "a stream that begins with b'xardl'; expected b'yardl', as MRD v2 does"),
        (
            GOOD[: SCHEMA_AT + 9] + b"?" + GOOD[SCHEMA_AT + 10 :],
            "an MRD v2 stream of another model than that of the",
        ),
        (GOOD[:9] + b"\xff\xff\xff\xff\x7f" + GOOD[12:], r"34359738367 bytes in one piece; expected at most"),
        (GOOD[:5] + b"\2" + GOOD[6:], "a malformed MRD v2 stream (Invalid binary format version)"),
        (mrd_two.stream(None, DATA), "an MRD v2 stream without a header"),
        (
            mrd_two.stream(HEADER, [items.image(wire.image())]),
            "mageFloat of MRD v2; expected acquisitions and waveforms",
        ),
    ],
)
def test_a_stream_that_is_no_whole_one(
    pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture, raw: bytes, message: str
) -> None:
    open_pipes = pipes(Mrd2Stream, default="unused", chain=wire_chain())
    open_pipes.write(raw)
    open_pipes.leave("feed")
    assert not open_pipes.end()
    assert "stdin: ERROR: " in caplog.text
    assert message in caplog.text


def test_noise_in_a_stream_ends_it_in_one_line(pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture) -> None:
    start = len(mrd_two.stream(HEADER, []))
    rng = np.random.default_rng(5)
    for _ in range(20):
        raw = bytearray(GOOD)
        for position in rng.integers(start, len(raw), 4):
            raw[position] = rng.integers(256)
        open_pipes = pipes(Mrd2Stream, default="unused", chain=wire_chain())
        open_pipes.write(bytes(raw))
        open_pipes.leave("feed")
        open_pipes.end()
    assert "internal error" not in caplog.text


def test_an_array_larger_than_any_readout_takes_no_memory() -> None:
    source, feed = os.pipe()
    with os.fdopen(feed, "wb") as ours:
        ours.write(b"abc")
    pair = PipePair(source, -1)
    live = reader.LiveInput(Mrd2Stream(pair)._socket)
    with pytest.raises(ProtocolError, match=f"{1 << 40} bytes in one piece; expected at most"):
        live.read_bytearray(1 << 40)
    assert live.read_view(2) == b"ab"
    with pytest.raises(EOFError):
        live.read_view(2)
    pair.close()


def test_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="--protocol v3; expected one of auto, v1, v2"):
        run(tmp_path, "three", GOOD, protocol="v3")
    assert len(mrd_two.read(run(tmp_path, "two", GOOD, protocol="v2"))[1]) == 3
    monkeypatch.setitem(sys.modules, "inr_gadgets.mrd2.stream", None)
    with pytest.raises(MissingDependencyError, match=r"needs mrd-python .*; expected the extra 'mrd2'; pip install"):
        run(tmp_path, "none", GOOD)
