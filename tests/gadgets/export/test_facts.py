"""Patient, study, scanner and sequence, from the header of the scan or the one beside the images."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import scans
from inr_gadgets.export.facts import ScanFacts, facts_of, find_facts
from inr_gadgets.header import parse_header
from inr_gadgets.scan_file import ScanWriter
from stored import FULL_HEADER, slab

MADE = dt.datetime(2026, 11, 20, 12, 30)


def test_a_full_header() -> None:
    facts = facts_of(parse_header(FULL_HEADER), MADE, "me")
    assert facts == ScanFacts(
        made=MADE,
        begun=dt.datetime(2026, 11, 19),
        identity="me",
        patient_name="Müller^Käthe",
        patient_id="PID 7",
        birth_date=dt.date(1970, 2, 28),
        sex="F",
        weight_kg=61.5,
        height_m=1.68,
        study_time=dt.datetime(2026, 11, 18, 9, 5, 7),
        study_id="S1",
        study_uid="1.2.840.99.1",
        study_description="heart in motion",
        accession="4711",
        physician="Curie^Marie",
        body_part="HEART",
        frame_of_reference_uid="1.2.840.99.2",
        patient_position="HFS",
        protocol="cine_sax",
        series_description="",
        manufacturer="SIEMENS",
        model="Sola",
        serial_number="4242",
        institution="Klinik",
        station="MR1",
        field_t=1.5,
        frequency_mhz=63.6,
        sequence="TrueFISP",
        tr_ms=[3.0],
        te_ms=[1.5, 3.5],
        flip_deg=[50.0],
    )
    assert [facts.of_contrast(facts.te_ms, contrast) for contrast in (0, 1, 2)] == [1.5, 3.5, 3.5]
    assert facts.of_contrast([], 0) is None


def test_an_empty_header() -> None:
    facts = facts_of(scans.header(tr=None), MADE, "me")
    assert facts == ScanFacts(made=MADE, begun=dt.datetime(2026, 11, 20), identity="me", frequency_mhz=123.2)


def test_what_does_not_convert_is_unknown() -> None:
    broken = FULL_HEADER.replace(b"1970-02-28", b"yesterday").replace(b">1.5<", b">-1<").replace(b">61.5<", b">light<")
    facts = facts_of(parse_header(broken.replace(b"Klinik", b"Kli\\ni\nk")), MADE, "me")
    assert (facts.birth_date, facts.field_t, facts.weight_kg) == (None, None, None)
    assert facts.institution == "Kli ni k"
    assert facts.te_ms == [3.5]


def test_nothing_that_identifies_is_left() -> None:
    facts = facts_of(parse_header(FULL_HEADER), MADE, "me").without_identity()
    assert facts.anonymous
    assert (facts.manufacturer, facts.model, facts.body_part, facts.tr_ms) == ("SIEMENS", "Sola", "HEART", [3.0])
    assert facts.made == facts.begun == dt.datetime(1900, 1, 1)
    text = repr(facts).replace("'me'", "").replace("1.2.840.99", "")  # what UIDs are made of, and never written
    for secret in ("ller", "PID", "1970", "2026", "Curie", "4711", "4242", "Klinik", "MR1", "cine_sax", "motion", "61"):
        assert secret not in text


def test_the_header_is_found_beside_the_images(tmp_path: Path) -> None:
    slab(tmp_path / "out.h5", header_xml=FULL_HEADER, group="run")
    said: list[str] = []
    assert find_facts(tmp_path / "out.h5", "run", announce=said.append).patient_id == "PID 7"
    assert find_facts(tmp_path / "out.h5", "run", anonymous=True, announce=said.append).patient_id == ""
    assert said == []


def test_the_scan_says_it_where_it_is_named(tmp_path: Path) -> None:
    slab(tmp_path / "out.h5", header_xml=FULL_HEADER)
    other = FULL_HEADER.replace(b"PID 7", b"PID 8")
    with ScanWriter(tmp_path / "scan.h5", other) as writer:
        writer.append(scans.readout())
    facts = find_facts(tmp_path / "out.h5", "2026-11-20 12:30:00", tmp_path / "scan.h5", announce=print)
    assert facts.patient_id == "PID 8"


def test_without_a_header_dates_are_those_of_the_images(tmp_path: Path) -> None:
    said: list[str] = []
    slab(tmp_path / "out.h5")
    facts = find_facts(tmp_path / "out.h5", "2026-11-20 12:30:00", announce=said.append)
    assert (facts.made, facts.begun) == (MADE, dt.datetime(2026, 11, 20))
    assert (facts.patient_name, facts.study_time) == ("", None)
    assert said == [
        f"{tmp_path / 'out.h5'} does not say whose images they are: no name, dates of the file; see --scan SCAN.h5"
    ]
    assert find_facts(tmp_path / "out.h5", "2026-11-20 12:30:00", anonymous=True, announce=said.append).anonymous
    assert len(said) == 1
    slab(tmp_path / "named.h5", group="2026-99-99 12:30:00")
    facts = find_facts(tmp_path / "named.h5", "2026-99-99 12:30:00", announce=said.append)
    assert facts.made == dt.datetime.fromtimestamp(int((tmp_path / "named.h5").stat().st_mtime))


def test_scans_of_one_protocol_are_told_apart(tmp_path: Path) -> None:
    identities = []
    for name, header in (("a", None), ("b", None), ("c", scans.header_xml().encode()), ("d", FULL_HEADER)):
        slab(tmp_path / f"{name}.h5", header_xml=header, group="g", frames=2 if name == "a" else 3)
        identities.append(find_facts(tmp_path / f"{name}.h5", "g", announce=lambda _: None).identity)
    assert len(set(identities)) == 4
    assert identities[3] == FULL_HEADER.decode()
