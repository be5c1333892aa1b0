from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import ismrmrd
import numpy as np
import pytest
from gadgetron.external import connection as library
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

import wire
from inr_core.errors import DataError, ProtocolError
from inr_gadgets.wire.connection import Connection, PeerGoneError, StreamInterruptedError, take_over
from inr_gadgets.wire.messages import Close, ConfigFile, Error, Header, MessageId, Query, Response, Text
from inr_gadgets.wire.wire_format import LIMITS, serialise


def read_all(raw: bytes) -> list[object]:
    """Read a stream that has arrived completely, with nothing following."""
    a, b = socket.socketpair()
    with a, b:
        a.sendall(raw)
        a.shutdown(socket.SHUT_WR)
        return list(Connection(b))


def head_of(item: ismrmrd.Acquisition, **fields: int) -> bytes:
    head = item.getHead()
    for name, value in fields.items():
        setattr(head, name, value)
    return wire.message(1008, bytes(head))


def recon_data(dtype: type) -> ReconData:
    headers = np.empty((3, 1), dtype=object)
    for i in range(3):
        headers[i, 0] = wire.acquisition(i).getHead()
    data = (np.arange(24).reshape(2, 3, 4) * (1 + 1j)).astype(dtype)
    buffer = ReconBuffer(data, np.arange(6.0).reshape(2, 3), None, headers, SamplingDescription())
    return ReconData([ReconBit(buffer, None), ReconBit(buffer, buffer)])


def test_every_message_survives() -> None:
    sent = [ConfigFile("c"), Header("<h/>"), Text("t"), Query("q", 3), Response("r", 3), Error("e")]
    assert read_all(b"".join(one.pack() for one in [*sent, Close()])) == sent


def test_items_survive_with_their_time_of_arrival() -> None:
    sent = [wire.acquisition(5), wire.waveform(), wire.image(7)]
    before = time.monotonic()
    got = read_all(b"".join(map(serialise, sent)) + Close().pack())
    assert got == sent
    assert all(before <= item.arrived <= time.monotonic() for item in got)


def test_a_readout_may_be_changed() -> None:
    (got,) = read_all(serialise(wire.acquisition()) + Close().pack())
    got.data[:] = 0
    got.traj[:] = 0
    assert not got.data.any()


@pytest.mark.parametrize(("samples", "channels", "dims"), [(0, 2, 2), (5, 0, 2), (5, 3, 0), (0, 0, 0)])
def test_empty_parts_of_a_readout(samples: int, channels: int, dims: int) -> None:
    sent = ismrmrd.Acquisition.from_array(
        np.ones((channels, samples), np.complex64), np.ones((samples, dims), np.float32), scan_counter=3
    )
    assert read_all(serialise(sent) + Close().pack()) == [sent]


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_recon_data_of_any_precision(dtype: type) -> None:
    (got,) = read_all(serialise(recon_data(dtype)) + Close().pack())
    bit = got.bits[1]
    np.testing.assert_array_equal(bit.data.data, recon_data(np.complex64).bits[0].data.data)
    np.testing.assert_array_equal(bit.ref.trajectory, np.arange(6.0).reshape(2, 3))
    assert [head.scan_counter for head in bit.data.headers.ravel()] == [0, 1, 2]
    assert bit.data.density is None
    assert got.bits[0].ref is None


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32", "float64", "complex64", "complex128"])
def test_images_of_every_type(dtype: str) -> None:
    sent = ismrmrd.Image.from_array(np.arange(6).astype(dtype).reshape(2, 3), transpose=False)
    (got,) = read_all(serialise(sent) + Close().pack())
    assert got.data.dtype == dtype
    np.testing.assert_array_equal(got.data, sent.data)


def test_a_readout_in_double_precision_is_sent_in_single() -> None:
    item = wire.acquisition()
    double = ismrmrd.Acquisition(item.getHead(), item.data.astype(np.complex128), item.traj.astype(np.float64))
    assert serialise(double) == serialise(item)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(DataError, match="a dict to be sent; expected an acquisition, waveform, image"):
        serialise({})
    wrong = ismrmrd.Image.from_array(np.ones((2, 2), np.float32), transpose=False)
    head = wrong.getHead()
    head.data_type = ismrmrd.DATATYPE_INT
    with pytest.raises(DataError, match="an image of int64; expected one of uint16, int16"):
        serialise(ismrmrd.Image(head))


def attributes(xml: str) -> bytes:
    return struct.pack("<Q", len(xml)) + xml.encode()


BAD_META = struct.pack("<Q", 7) + b"<broken"
BAD = {
    "unknown id": (
        wire.message(999),
        r"a message with the unknown id 999; expected one of 1 CONFIG_FILE, .*1026 WAVEFORM",
    ),
    "half an id": (b"\x04", "a message id cut short: 1 bytes came; expected at least 2"),
    "no CLOSE": (b"", "the connection ended after 0 items; expected CLOSE .id 4. at the end of the stream"),
    "no CLOSE after data": (serialise(wire.acquisition()), "vanished: the connection ended after 1 items"),
    "cut header": (serialise(wire.acquisition())[:100], r"ACQUISITION message \(id 1008\) cut short: 98 bytes came"),
    "cut samples": (serialise(wire.acquisition())[:-1], "cut short: 531 bytes came; expected at least 532"),
    "cut name": (ConfigFile("a").pack()[:-1], r"CONFIG_FILE message \(id 1\) cut short: 1023 bytes came"),
    "huge text": (
        wire.message(5, b"\xff\xff\xff\xff"),
        "TEXT message .id 5. of 4294967299 bytes or more; expected at most",
    ),
    "huge query": (
        wire.message(6, struct.pack("<QQQ", 0, 0, 1 << 63)),
        r"QUERY message \(id 6\) of 92\d* bytes or more",
    ),
    "reserved": (wire.message(6, struct.pack("<QQQ", 1, 0, 0)), "malformed QUERY .* its reserved bytes hold 1"),
    "huge readout": (
        head_of(wire.acquisition(), number_of_samples=65535, active_channels=1024),
        r"ACQUISITION message \(id 1008\) of 53\d{7} bytes or more; expected at most 268435456",
    ),
    "too many coils": (
        head_of(wire.acquisition(), number_of_samples=1, active_channels=1025),
        r"malformed ACQUISITION message \(id 1008\): 1025 coils, where ISMRMRD has at most 1024",
    ),
    "huge waveform": (
        wire.message(1026, bytes(ismrmrd.WaveformHeader(number_of_samples=65535, channels=65535))),
        r"WAVEFORM message \(id 1026\) of 17\d{9} bytes or more",
    ),
    "huge image": (
        wire.message(1022, bytes(ismrmrd.ImageHeader(data_type=5, channels=9, matrix_size=(65535,) * 3)) + bytes(8)),
        r"IMAGE message \(id 1022\) of \d{17} bytes or more",
    ),
    "huge attributes": (
        wire.message(1022, bytes(ismrmrd.ImageHeader(data_type=5)) + b"\xff" * 8),
        r"IMAGE message \(id 1022\) of 18\d* bytes or more",
    ),
    "int32 image": (
        wire.message(1022, bytes(ismrmrd.ImageHeader(data_type=ismrmrd.DATATYPE_INT))),
        "malformed IMAGE message .*: image data type 4, not one of 1 uint16, 2 int16",
    ),
    "attributes": (wire.message(1022, bytes(ismrmrd.ImageHeader(data_type=5)) + BAD_META), "malformed IMAGE message"),
    "entities in attributes": (
        wire.message(
            1022, bytes(ismrmrd.ImageHeader(data_type=5)) + attributes('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
        ),
        "the attributes of an image with a DOCTYPE; expected XML without document type and entities",
    ),
    "huge recon data": (
        wire.message(1023, struct.pack("<QQQQ", 1, 2, 1 << 20, 1 << 20)),
        r"RECON_DATA message \(id 1023\) of \d+ bytes or more",
    ),
    "overflowing recon data": (
        wire.message(1023, struct.pack("<QQQQ", 1, 2, 1 << 33, 1 << 33)),
        r"RECON_DATA message \(id 1023\) of 590295810358705651744 bytes or more",
    ),
    "recon data without dimensions": (
        wire.message(1023, struct.pack("<QQ", 1, 0)),
        r"RECON_DATA message \(id 1023\) cut short: 16 bytes came",
    ),
    "compressed": (
        head_of(wire.acquisition(), flags=1 << 52),
        r"a compressed acquisition \(flags 53 to 56\); expected plain samples; send without compression",
    ),
    "not UTF-8": (wire.message(3, struct.pack("<I", 2) + b"\xff\xfe"), "the header is not UTF-8"),
}


@pytest.mark.parametrize(("raw", "expected"), BAD.values(), ids=BAD)
def test_bad_messages(raw: bytes, expected: str) -> None:
    with pytest.raises(ProtocolError, match=expected) as caught:
        read_all(raw)
    assert "\n" not in str(caught.value)


def test_every_kind_has_a_limit_that_a_text_just_reaches() -> None:
    assert set(LIMITS) == set(MessageId)
    text = "x" * (LIMITS[MessageId.RESPONSE] - 16)
    a, b = socket.socketpair()
    with a, b:
        sender = threading.Thread(target=lambda: Connection(a).send(Response(text)))
        sender.start()
        assert Connection(b).read() == Response(text)
        sender.join()


def test_an_interrupt_wakes_the_reader_and_sending_goes_on(pair) -> None:
    ours, theirs = Connection(pair[0]), Connection(pair[1])
    threading.Timer(0.05, ours.interrupt).start()
    with pytest.raises(StreamInterruptedError):
        ours.read()
    ours.send_text("still here")
    assert theirs.read() == Text("still here\n")


def test_a_pause_in_the_middle_of_a_message_is_no_error(pair) -> None:
    raw = serialise(wire.acquisition())
    ours = Connection(pair[0])
    pair[1].sendall(raw[:200])
    threading.Timer(0.25, pair[1].sendall, (raw[200:],)).start()
    assert ours.read() == wire.acquisition()


def test_sending_to_nobody(pair) -> None:
    ours = Connection(pair[0])
    pair[1].close()
    with pytest.raises(PeerGoneError, match=r"the other side is gone \(Broken pipe\)"):
        ours.send_text("anybody?")


def test_threads_do_not_mix_their_messages(pair) -> None:
    ours, theirs = Connection(pair[0]), Connection(pair[1])
    item = recon_data(np.complex64)

    def send(text: str) -> None:
        for _ in range(50):
            ours.send_text(text)
            ours.send(item)

    threads = [threading.Thread(target=send, args=(name * 50,)) for name in "abc"]
    for thread in threads:
        thread.start()
    got = [theirs.read() for _ in range(300)]
    for thread in threads:
        thread.join()
    texts = [one.text for one in got if isinstance(one, Text)]
    assert sorted(texts) == sorted(name * 50 + "\n" for name in "abc" for _ in range(50))


def test_finish_does_not_reset_a_peer_that_still_sends() -> None:
    """Over TCP: a socket closed with unread data would take our last line from the other side."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        sock, _ = listener.accept()
        ours = Connection(sock)
        client.sendall(bytes(100_000))
        ours.send_text("too bad")
        finisher = threading.Thread(target=ours.finish)
        finisher.start()
        for _ in range(20):
            client.sendall(bytes(10_000))
            time.sleep(0.005)
        theirs = Connection(client)
        assert [one.text for one in theirs] == ["too bad\n"]
        client.shutdown(socket.SHUT_WR)
        finisher.join(5)
        assert not finisher.is_alive()


@pytest.mark.parametrize("why", ["silence", "total", "hurry"])
def test_finish_is_bounded(pair, why: str) -> None:
    ours = Connection(pair[0])
    over, hurry = threading.Event(), threading.Event()

    def chatter() -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                pair[1].sendall(b"x")

    talker = threading.Thread(target=chatter)
    if why != "silence":
        talker.start()
    if why == "hurry":
        hurry.set()
    ours.finish(hurry, silence_s=0.3, total_s=0.3 if why == "total" else 60.0)
    over.set()
    if why != "silence":
        talker.join()
    assert pair[0].fileno() == -1


def test_taking_over_the_library_s_connection(pair) -> None:
    pair[1].sendall(b"".join(wire.messages(1, config="<configuration/>")))
    with library.Connection(pair[0]) as theirs:
        assert [type(item).__name__ for item in take_over(theirs)] == ["Waveform", "Acquisition"]
        pair[1].shutdown(socket.SHUT_WR)
    assert list(Connection(pair[1])) == []


@pytest.mark.filterwarnings("ignore:A builtin ctypes object gave a PEP3118")
def test_the_library_s_own_reader_understands_what_we_send(pair) -> None:
    sent = [wire.acquisition(), wire.waveform(), wire.image()]
    pair[1].sendall(b"".join(wire.messages(0, config="<configuration/>")[:2]))
    pair[1].sendall(b"".join(map(serialise, sent)) + serialise(recon_data(np.complex128)) + Close().pack())
    *items, data = list(library.Connection(pair[0]))
    assert items == sent
    assert len(data.bits) == 2
