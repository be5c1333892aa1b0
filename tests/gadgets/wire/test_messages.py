from __future__ import annotations

import struct

import pytest

from inr_core.errors import ProtocolError
from inr_gadgets.lines import line_for_host, line_from_host, operator_line
from inr_gadgets.wire.messages import (
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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ConfigFile("inr"), struct.pack("<H1024s", 1, b"inr")),
        (ConfigText("<a/>"), struct.pack("<HI4s", 2, 4, b"<a/>")),
        (Header("<b/>"), struct.pack("<HI4s", 3, 4, b"<b/>")),
        (Close(), struct.pack("<H", 4)),
        (Text("µ"), struct.pack("<HI2s", 5, 2, "µ".encode())),
        (Query("q", 7), struct.pack("<HQQQ1s", 6, 0, 7, 1, b"q")),
        (Response("r", 7), struct.pack("<HQQ1s", 7, 7, 1, b"r")),
        (Error("bad"), struct.pack("<HQ3s", 8, 3, b"bad")),
    ],
)
def test_bytes_are_those_of_the_protocol(message, expected: bytes) -> None:
    assert message.pack() == expected


def test_the_ids_of_data() -> None:
    ids = [MessageId.ACQUISITION, MessageId.IMAGE, MessageId.RECON_DATA, MessageId.WAVEFORM]
    assert ids == [1008, 1022, 1023, 1026]


def test_a_name_that_is_too_long_is_not_cut_off() -> None:
    with pytest.raises(ProtocolError, match="a configuration name of 1025 bytes; expected at most 1024"):
        ConfigFile("a" * 1025).pack()


@pytest.mark.parametrize("raw", [b"text", b"text\0", b"text\0\0\0"])
def test_trailing_nul_or_not(raw: bytes) -> None:
    assert decode(raw, "it") == "text"


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(ProtocolError, match=r"the header is not UTF-8 \(byte 1\); expected UTF-8; correct the sender"):
        decode(b"a\xff", "the header")


def test_operator_line_is_one_short_line() -> None:
    assert operator_line("ERROR", "a\nb\r\n\x1b[31mc") == "ERROR: a b [31mc"
    assert operator_line("", " plain ") == "plain"
    assert len(operator_line("", "x" * 10_000)) == 2004


@pytest.mark.parametrize(
    ("level", "wire", "shown"),
    [
        ("", "DBG: 13 spokes", "13 spokes"),
        ("WARNING", "WRN: 13 spokes", "WRN: 13 spokes"),
        ("ERROR", "ERROR: 13 spokes", "ERROR: 13 spokes"),
    ],
)
def test_three_characters_tell_the_level_on_the_wire(level, wire: str, shown: str) -> None:
    line = line_for_host(operator_line(level, "13 spokes"))
    assert line == wire
    assert line[:3] in ("DBG", "WRN", "ERR")
    assert line_for_host(operator_line("", operator_line(level, "13 spokes"))) == wire  # announced by a gadget
    assert line_from_host(line) == shown
