"""The XML header: what is read from it, and what is refused in one line."""

from __future__ import annotations

import pytest

from inr_core.errors import DataError
from inr_gadgets import header as module
from inr_gadgets.header import encoding, noise_bandwidth, parse_header, refuse_without_radial
from scans import header, header_xml


def test_an_encoding_is_read() -> None:
    scan = header(matrix=(48, 32, 1), fov=(300.0, 300.0, 6.0), tr=2.5, bandwidth=0.79)
    space = encoding(scan)
    assert space.matrix == (48, 32)
    assert space.recon_fov_mm == (300.0, 300.0, 6.0)
    assert space.encoded_matrix == (64, 32, 1)
    assert space.encoded_fov_mm == (600.0, 300.0, 8.0)
    assert (space.trajectory, space.tr_ms) == ("goldenangle", 2.5)
    assert space.aspect == pytest.approx(48 / 32)
    assert noise_bandwidth(scan) == 0.79


def test_what_the_header_does_not_say() -> None:
    scan = header(tr=None)
    assert encoding(scan).tr_ms is None
    assert noise_bandwidth(scan) == 1.0


def test_what_the_converter_for_philips_writes() -> None:
    """A repetition time that is none, no frequency, and cartesian."""
    text = header_xml(trajectory="cartesian", bandwidth=0.793).replace("<TR>3.0<", "<TR>ETH<")
    scan = parse_header(text.replace(">123200000<", ">0<"))
    space = encoding(scan, told_radial=True)
    assert (space.tr_ms, space.matrix, noise_bandwidth(scan)) == (None, (32, 32), 0.793)


@pytest.mark.parametrize("ending", [b"", b"\0", b"\n\0\0", b"  \r\n"])
def test_bytes_text_byte_order_mark_and_trailing_nul(ending: bytes) -> None:
    for document in (header_xml().encode() + ending, b"\xef\xbb\xbf" + header_xml().encode() + ending):
        assert encoding(parse_header(document)).matrix == (32, 32)
    assert encoding(parse_header(header_xml() + ending.decode())).matrix == (32, 32)


def test_a_declared_encoding_other_than_the_bytes_own_does_not_matter() -> None:
    document = header_xml().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    assert encoding(parse_header(document)).matrix == (32, 32)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "an empty header; expected an ISMRMRD header; send the header before the data"),
        (b"\0", "an empty header"),
        (b"<ismrmrdHeader", r"a malformed header \(.*\); expected an ISMRMRD header"),
        (b"not xml at all", "a malformed header"),
        (b"<a/>", r"a malformed header \(it lacks experimentalConditions\); expected an ISMRMRD header"),
        (b"\xff\xfe<\x00", "a header that is not UTF-8 .*; expected an ISMRMRD header in UTF-8"),
        (header_xml().replace("trajectory>", "trajectorie>"), "a malformed header .*trajectorie"),
        (
            '<!DOCTYPE x [<!ENTITY a "aa">]>' + header_xml()[38:],
            "a header with a DOCTYPE; expected XML without .* entities",
        ),
        ("\ufeff<?xml version='1.0'?>\n<!DOCTYPE x>" + header_xml()[38:], "a header with a DOCTYPE"),
        ("<?xml version='1.0'?><!doctype x>" + header_xml()[38:], "a malformed header"),
        ("<?xml version='1.0'?><?xml version='1.0' encoding='cp037'?>" + header_xml()[38:], "a malformed header"),
        ("<a>" * 65, "a header whose elements are nested more than 64 deep; expected a flatter one"),
        ("<a b='c' d='e'>" + "<f/>" * 49_998, "a header with more than 50000 elements; expected fewer"),
    ],
)
def test_what_is_no_header_is_refused_in_one_line(document: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        parse_header(document)
    assert "\n" not in str(error.value)


def test_a_huge_header_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", 100)
    with pytest.raises(DataError, match=r"a header of \d+ bytes; expected at most 100"):
        parse_header(header_xml())


@pytest.mark.parametrize("trajectory", ["cartesian", "epi", "spiral"])
def test_scans_that_are_not_radial_are_refused(trajectory: str) -> None:
    scan = header(trajectory=trajectory)
    message = rf"trajectory '{trajectory}' \(encoding space 0\); expected radial readouts: radial, goldenangle, other"
    with pytest.raises(DataError, match=message):
        encoding(scan)
    with pytest.raises(DataError, match=message):
        refuse_without_radial(scan)


@pytest.mark.parametrize("trajectory", ["cartesian", "spiral"])
def test_the_user_may_know_better_than_a_converter(trajectory: str) -> None:
    scan = header(trajectory=trajectory)
    refuse_without_radial(scan, told_radial=True)
    assert encoding(scan, told_radial=True).trajectory == trajectory
    with pytest.raises(DataError, match=r"if it is radial all the same, say how: buffer\.angles or buffer\.traj"):
        encoding(scan)
    mixed = header(trajectory=["radial", trajectory])  # whoever wrote this knew the difference
    with pytest.raises(DataError, match=f"trajectory '{trajectory}'"):
        encoding(mixed, 1, told_radial=True)


def test_one_radial_encoding_among_others_is_enough_to_begin() -> None:
    scan = header(trajectory=["cartesian", "radial"])
    refuse_without_radial(scan)
    assert encoding(scan, 1).trajectory == "radial"
    with pytest.raises(DataError, match="trajectory 'cartesian'"):
        encoding(scan, 0)


def test_an_encoding_that_is_not_there() -> None:
    with pytest.raises(DataError, match="readouts of encoding space 3, but the header has 1 encoding space; expected"):
        encoding(header(), 3)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"a matrix of 0 x 32 x 1 in reconSpace of encoding 0; expected 2 to 4096"):
        encoding(header(matrix=(0, 32, 1)))
    with pytest.raises(DataError, match=r"of 1e-300 x 1e\+300 mm; expected 0.001 to"):
        encoding(header(fov=(1e-300, 1e300, 8.0)))
    with pytest.raises(
        DataError, match=r"a reconstructed field of view of 0 x 300 mm; expected 0.001 to 100000 mm each way"
    ):
        encoding(header(fov=(0.0, 300.0, 8.0)))


def test_a_number_that_is_none_is_refused_where_it_matters() -> None:
    scan = parse_header(header_xml().replace("<reconSpace><matrixSize><x>32", "<reconSpace><matrixSize><x>many"))
    with pytest.raises(DataError, match="a matrix of many x 32 x 1"):
        encoding(scan)


def test_numbers_that_no_scan_has_count_as_none() -> None:
    """Integers of more digits than a float holds among them."""
    digits = "9" * 400
    scan = parse_header(header_xml().replace("<TR>3.0", f"<TR>{digits}").replace("<x>64<", f"<x>{digits}<"))
    assert encoding(scan).tr_ms is None
    assert encoding(scan).encoded_matrix == (0, 32, 1)
    assert encoding(header(encoded_fov=(float("inf"), 300.0, 8.0))).encoded_fov_mm == (0.0, 300.0, 8.0)
    assert encoding(header(tr=1e300)).tr_ms is None
    for bandwidth in (1e-30, 1e30, -1.0, float("nan")):
        assert noise_bandwidth(header(bandwidth=bandwidth)) == 1.0
