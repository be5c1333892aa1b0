"""``inr-recon stream``: what goes through a pipe, what does not, and how it ends."""

from __future__ import annotations

import io
import logging
import os
import pty
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ismrmrd
import ismrmrd.serialization
import pytest
import typer
from typer.testing import CliRunner

import wire
from inr_core.errors import DataError, InrError, ParameterError, ProtocolError
from inr_gadgets.image_file import list_series, read_header_xml, read_series
from inr_gadgets.serving import stream as streaming
from inr_gadgets.wire.messages import Close, ConfigFile, ConfigText, Header, Text
from inr_gadgets.wire.pipes import PipePair, open_sink, open_source
from inr_gadgets.wire.wire_format import serialise
from piping import Pipes

GOOD = wire.messages(6)
CONFIG, HEADER, CLOSE = GOOD[0], GOOD[1], GOOD[-1]
DATA = GOOD[2:-1]


def test_images_flow_while_the_scan_runs(pipes: Callable[..., Pipes]) -> None:
    open_pipes = pipes()
    open_pipes.write(b"".join(GOOD[:5]))
    assert open_pipes.reader.read() == Header(wire.HEADER_XML)
    assert open_pipes.reader.read().image_index == 1  # and no TEXT, though the gadget has said something
    open_pipes.write(b"".join(GOOD[5:]))
    assert [type(open_pipes.reader.read()) for _ in range(3)] == [ismrmrd.Image, ismrmrd.Image, Close]
    assert open_pipes.end()
    with pytest.raises(ProtocolError, match="the connection ended after 3 items"):  # the sink is closed
        open_pipes.reader.read()


def test_bytes_may_come_in_any_pieces(pipes: Callable[..., Pipes]) -> None:
    open_pipes = pipes()
    raw = b"".join(GOOD)
    for position in range(0, len(raw), 7):
        open_pipes.write(raw[position : position + 7])
    assert [type(item) for item in open_pipes.reader] == [Header, *3 * [ismrmrd.Image]]
    assert open_pipes.end()


def test_pipes_that_others_have_made_non_blocking() -> None:
    source, feed = os.pipe()
    result, sink = os.pipe()
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    pair = PipePair(source, sink)
    raw, got = bytes(range(256)) * 2000, bytearray()  # eight times what a pipe holds

    def later() -> None:
        time.sleep(0.2)
        os.write(feed, b"y")
        while len(got) < len(raw):
            time.sleep(0.002)
            got.extend(os.read(result, 1 << 16))

    thread = threading.Thread(target=later)
    thread.start()
    assert pair.peek() == b"y"
    pair.sendall(raw)
    thread.join(20)
    assert got == raw
    pair.close()
    pair.close()  # which does nothing: the numbers may be others' by now
    os.close(feed)
    os.close(result)


def test_a_fault_of_the_session_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty:
        done = True

        def run(self) -> bool:
            raise OSError(28, "No space left on device")

    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    assert not streaming._hold(Faulty())  # type: ignore[arg-type]
    assert len(shown) == 1


def test_a_reader_that_is_not_there_at_all(pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture) -> None:
    open_pipes = pipes()
    open_pipes.leave("result")
    open_pipes.write(CONFIG + HEADER)
    assert not open_pipes.end()
    assert "stdin: the other side is gone (Broken pipe)" in caplog.text


def test_what_goes_out_is_read_by_ismrmrds_own_deserializer(tmp_path: Path) -> None:
    sink = run(tmp_path, b"".join(GOOD))
    with ismrmrd.serialization.ProtocolDeserializer(io.BytesIO(sink)) as reader:
        header, *images = reader.deserialize()
    assert header.encoding[0].reconSpace.matrixSize.x == 16
    assert [image.image_index for image in images] == [1, 2, 3]
    assert sink.startswith(HEADER)  # as it came, byte for byte
    assert sink.endswith(CLOSE)


def test_the_streams_of_ismrmrds_own_serializer_are_read(tmp_path: Path) -> None:
    source = io.BytesIO()
    with ismrmrd.serialization.ProtocolSerializer(source) as writer:
        writer.serialize(ismrmrd.serialization.ConfigText(wire.CONFIG_XML))
        writer.serialize(ismrmrd.xsd.CreateFromDocument(wire.HEADER_XML.encode()))
        for counter in range(4):
            writer.serialize(wire.acquisition(counter))
            writer.serialize(wire.waveform())
    assert indices(run(tmp_path, source.getvalue())) == [1, 2]


def run(folder: Path, raw: bytes, **options: object) -> bytes:
    """A stream from a file into a file, which must succeed."""
    (folder / "in.mrd").write_bytes(raw)
    out = folder / f"out{len(list(folder.iterdir()))}.mrd"
    assert streaming.stream(source=folder / "in.mrd", sink=out, table=wire.TABLE, **options)
    return out.read_bytes()


def indices(raw: bytes) -> list[int]:
    """The image_index of the images of a stream that holds nothing but a header, images and CLOSE."""
    with ismrmrd.serialization.ProtocolDeserializer(io.BytesIO(raw)) as reader:
        header, *images = reader.deserialize()
    assert isinstance(header, ismrmrd.xsd.ismrmrdHeader)
    return [image.image_index for image in images]


def test_the_configuration_comes_from_the_command_line_first(tmp_path: Path) -> None:
    two, three = tmp_path / "two.xml", tmp_path / "three.xml"
    two.write_text(wire.config_xml("buffer", "recon", buffer_spokes="2"))
    three.write_text(wire.config_xml("buffer", "recon", buffer_spokes="3"))
    own = ConfigText(two.read_text()).pack()
    scan = b"".join(GOOD[1:])
    assert indices(run(tmp_path, own + scan)) == [1, 2, 3]
    assert indices(run(tmp_path, own + scan, config=str(three))) == [1, 2]
    assert indices(run(tmp_path, scan, config=str(three))) == [1, 2]
    assert indices(run(tmp_path, own + scan, settings={"buffer.spokes": "6"})) == [1]


def test_a_stream_without_a_configuration_is_reconstructed_by_the_default_one(pipes: Callable[..., Pipes]) -> None:
    """As ismrmrd_hdf5_to_stream writes it: the header comes first."""
    open_pipes = pipes(default="there_is_no_such")
    open_pipes.write(b"".join(GOOD[1:]))
    assert [type(item) for item in open_pipes.reader] == [Header]
    assert not open_pipes.end()
    assert streaming._DEFAULT == "inr_dynamic"


def test_a_configuration_after_the_header_is_refused(
    pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture
) -> None:
    open_pipes = pipes(default="inr_dynamic")
    open_pipes.write(HEADER + CONFIG)
    assert not open_pipes.end()
    assert "ERROR: a configuration after the header; expected the configuration first" in caplog.text


def test_an_error_is_logged_and_the_images_before_it_are_kept(
    pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture
) -> None:
    open_pipes = pipes(overrides={"recon.fail_at": "3"})
    open_pipes.write(b"".join(GOOD))
    assert [type(item) for item in open_pipes.reader] == [Header, ismrmrd.Image, ismrmrd.Image]
    assert not open_pipes.end()
    assert "stdin: ERROR: image 3 is bad; expected a good one; try again" in caplog.text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the connection ended after 0 items; expected CLOSE"),
        (b"".join(GOOD[:-1]), "the connection ended after 7 items; expected CLOSE"),
        (b"".join(GOOD[:4])[:-5], "ACQUISITION message (id 1008) cut short"),
        (HEADER[:3], "HEADER message (id 3) cut short"),
        (struct.pack("<H", 4711), "a message with the unknown id 4711"),
        (Text("hello").pack() + DATA[0], "data (Acquisition) before the configuration"),
    ],
)
def test_a_stream_that_is_no_whole_one(
    pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture, raw: bytes, message: str
) -> None:
    open_pipes = pipes()
    open_pipes.write(raw)
    open_pipes.leave("feed")
    assert not open_pipes.end()
    assert "stdin: ERROR: " in caplog.text
    assert message in caplog.text


def test_a_reader_that_leaves_ends_the_work(pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture) -> None:
    """It leaves while nothing is being written, so that only the pipe itself can tell."""
    caplog.set_level(logging.INFO)
    open_pipes = pipes(overrides={"recon.linger": "true"})
    open_pipes.write(b"".join(GOOD))
    for _ in range(5):
        last = open_pipes.reader.read()
    assert last.image_index == 99
    open_pipes.leave("result")
    assert not open_pipes.end()
    assert "left before the end of the reconstruction, which is stopped" in caplog.text


def test_an_end_from_outside_keeps_what_was_made(pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture) -> None:
    open_pipes = pipes()
    open_pipes.write(b"".join(GOOD[:5]))
    assert isinstance(open_pipes.reader.read(), Header)
    assert open_pipes.reader.read().image_index == 1
    open_pipes.session.end("told to stop (SIGTERM)")
    assert list(open_pipes.reader) == []
    assert not open_pipes.end()
    assert "ERROR: told to stop (SIGTERM); sent are the 1 images made so far" in caplog.text


def test_images_into_a_file_for_export_and_replay(tmp_path: Path) -> None:
    (tmp_path / "in.mrd").write_bytes(b"".join(GOOD))
    for group in (1, 2):  # an existing file gets one more
        assert streaming.stream(source=tmp_path / "in.mrd", sink=tmp_path / "out.h5", table=wire.TABLE)
        assert list(list_series(tmp_path / "out.h5").values()) == [{0: 3}] * group
    data, _, meta = read_series(tmp_path / "out.h5", 0)
    assert data.shape == (3, 1, 1, 3, 4)
    assert meta[0]["DataRole"] == "Image"
    for group_name in list_series(tmp_path / "out.h5"):
        assert read_header_xml(tmp_path / "out.h5", group_name) == wire.HEADER_XML.encode()
    with pytest.raises(DataError, match="nowhere is not a folder; expected a folder for the images"):
        streaming.stream(source=tmp_path / "in.mrd", sink=tmp_path / "nowhere" / "out.h5", table=wire.TABLE)


def test_nothing_is_left_behind_by_what_cannot_begin(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"\x89HDF")
    for name in ("out.mrd", "out.h5"):
        with pytest.raises(ProtocolError, match="an HDF5 file as input"):
            streaming.stream(source=tmp_path / "scan.h5", sink=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]


def test_hdf5_as_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(ProtocolError, match="an HDF5 file as input; expected an MRD stream; ismrmrd_hdf5_to_stream"):
        streaming.stream(source=tmp_path / "scan.h5", sink=tmp_path / "out")


def test_a_stream_that_is_nothing_but_closed(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(CLOSE)
    with pytest.raises(DataError, match="a stream without a scan; expected a header and acquisitions before CLOSE"):
        streaming.stream(source=tmp_path / "in", sink=tmp_path / "out", table=wire.TABLE)


def test_bad_settings_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"recon\.virtual_coils = 'many'; expected a whole number"):
        streaming.stream(settings={"recon.virtual_coils": "many"}, source=tmp_path / "none", table=wire.TABLE)
    with pytest.raises(InrError, match="there_is_no_such"):
        streaming.stream("there_is_no_such", source=tmp_path / "none")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none cannot be read \(No such file or directory\); expected a file with an"):
        open_source(tmp_path / "none")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        open_source(tmp_path)
    (tmp_path / "there").touch()
    with pytest.raises(DataError, match="there exists already; expected a new file; choose another name"):
        open_sink(tmp_path / "there")
    with pytest.raises(DataError, match=r"images cannot be written \(No such file or directory\)"):
        open_sink(tmp_path / "nowhere" / "images")


def test_images_of_patients_are_private(tmp_path: Path) -> None:
    os.close(open_sink(tmp_path / "images"))
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o600


def test_a_named_pipe_may_be_there_already(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(tmp_path / "fifo")
    os.write(sink, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(sink)
    os.close(reader)


def test_terminals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    isatty = os.isatty
    monkeypatch.setattr(os, "isatty", lambda _: isatty(theirs))
    with pytest.raises(DataError, match="the terminal as input; expected an MRD stream from a pipe or a file"):
        open_source(None)
    with pytest.raises(DataError, match="the terminal as output; expected a pipe or a file for the images"):
        open_sink(None)
    os.close(ours)
    os.close(theirs)


def test_exit_codes_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inr_gadgets.commands import run as commands

    app = typer.Typer()
    commands.register(app)
    calls: list[tuple[object, ...]] = []

    def stream(*arguments: object, protocol: str) -> bool:
        calls.append((*arguments, protocol))
        return len(calls) == 1

    monkeypatch.setattr(streaming, "stream", stream)
    arguments = ["stream", "-c", "nufft", "-i", "a", "-o", "b", "--set", "recon.device=cpu", "--protocol", "v2"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, ["stream"]).exit_code == 1
    assert calls == [("nufft", {"recon.device": "cpu"}, Path("a"), Path("b"), "v2"), (None, {}, None, None, "auto")]


def test_a_signal_ends_the_scan(pipes: Callable[..., Pipes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread waits for the session, and for SIGINT."""

    class Endless:
        def __init__(self) -> None:
            self.ended = threading.Event()

        def run(self) -> bool:
            os.kill(os.getpid(), 2)
            return self.ended.wait(20)

        def end(self, reason: str) -> None:
            assert reason == "told to stop (SIGINT)"
            self.ended.set()

    with pytest.raises(KeyboardInterrupt):
        streaming._hold(Endless())  # type: ignore[arg-type]


def test_readouts_carry_the_time_of_their_arrival(pipes: Callable[..., Pipes]) -> None:
    open_pipes = pipes()
    open_pipes.write(CONFIG + HEADER + serialise(wire.acquisition(0)) + serialise(wire.acquisition(1)) + CLOSE)
    _, image = open_pipes.reader
    assert 0 <= float(image.meta["seconds_since_arrival"]) < 5


def test_a_named_configuration_of_the_stream(pipes: Callable[..., Pipes], caplog: pytest.LogCaptureFixture) -> None:
    open_pipes = pipes()
    open_pipes.write(ConfigFile("there_is_no_such").pack() + HEADER + b"".join(DATA) + CLOSE)
    assert not open_pipes.end()
    assert "ERROR: configuration 'there_is_no_such'" in caplog.text
