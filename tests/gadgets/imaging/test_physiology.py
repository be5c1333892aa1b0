"""What waveforms say of a moment of the scan: beats, respiration, samples; blocks that come late; bounded memory."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_gadgets.clock import DAY_TICKS
from inr_gadgets.header import parse_header
from inr_gadgets.imaging import physiology
from inr_gadgets.imaging.physiology import Physiology
from scans import header_xml

ECG, PULSE, RESPIRATION, EXTERNAL = 0, 1, 2, 3


def waveform(kind: int, stamp: int, channels: Any, sample_ms: float = 2.5) -> ismrmrd.Waveform:
    made = ismrmrd.Waveform.from_array(np.atleast_2d(np.asarray(channels, np.uint32)))
    made.waveform_id, made.time_stamp, made.sample_time_us = kind, stamp, 1000 * sample_ms
    return made


def ecg(stamp: int, samples: int, *triggers: int, channels: int = 5) -> ismrmrd.Waveform:
    """Samples that hold their own number, as Siemens sends them: the triggers in the last of five channels."""
    data = np.zeros((channels, samples), np.uint32)
    data[0], data[-1, list(triggers)] = np.arange(samples), 16384
    return waveform(ECG, stamp, data)


def known(*waveforms: ismrmrd.Waveform, header: Any = None) -> Physiology:
    made = Physiology.of(header)
    for one in waveforms:
        made.add(one)
    return made


def test_the_beat_of_a_moment() -> None:
    """R waves 100 and 900 ms after the block's stamp of 1000 ticks."""
    found = known(ecg(1000, 800, 40, 360)).attributes(first=1100, duration_ms=10, middle=1140)
    assert found["inr_trigger_ms"] == "250.0"
    assert found["inr_rr_ms"] == "800.0"
    assert found["inr_cardiac_phase"] == "0.3125"
    assert found["inr_ecg"] == ["100", "101", "102", "103"]


def test_a_beat_without_an_end_is_as_long_as_the_one_before() -> None:
    found = known(ecg(0, 800, 40, 360)).attributes(400, 10, 440)
    assert (found["inr_trigger_ms"], found["inr_rr_ms"], found["inr_cardiac_phase"]) == ("200.0", "800.0", "0.2500")


def test_a_beat_that_is_longer_than_the_one_before_has_no_phase_yet() -> None:
    found = known(ecg(0, 800, 40, 80)).attributes(400, 10, 440)
    assert found["inr_trigger_ms"] == "900.0"
    assert "inr_cardiac_phase" not in found
    assert "inr_rr_ms" not in found


def test_before_the_first_trigger_and_long_after_the_last_nothing_is_said_of_beats() -> None:
    wave = known(ecg(0, 800, 40))
    for middle in (39, 40 + 2001):
        assert not {"inr_trigger_ms", "inr_rr_ms", "inr_cardiac_phase"} & set(wave.attributes(middle, 10, middle))
    assert wave.attributes(50, 10, 50)["inr_trigger_ms"] == "25.0"
    assert "inr_rr_ms" not in wave.attributes(50, 10, 50)  # a single beat has no length


def test_a_trigger_that_lasts_over_two_blocks_is_one() -> None:
    wave = known(ecg(0, 40, 39), ecg(40, 40, 0, 1), ecg(80, 400, 359))
    assert wave.attributes(100, 10, 100)["inr_rr_ms"] == "1000.0"


def test_blocks_may_come_late_and_out_of_order() -> None:
    in_order, late = known(ecg(0, 100, 40), ecg(100, 100, 60)), known(ecg(100, 100, 60), ecg(0, 100, 40))
    assert late.attributes(90, 50, 120) == in_order.attributes(90, 50, 120)
    assert in_order.attributes(90, 50, 120)["inr_ecg"] == [str(i) for i in [*range(90, 100), *range(10)]]


def test_across_midnight() -> None:
    wave = known(ecg(DAY_TICKS - 100, 200, 50, 150))
    found = wave.attributes(first=10, duration_ms=5, middle=10)
    assert (found["inr_trigger_ms"], found["inr_rr_ms"], found["inr_ecg"]) == ("150.0", "250.0", ["110", "111"])


def test_the_pulse_tells_beats_where_no_ecg_does() -> None:
    pulse = waveform(PULSE, 0, [np.arange(400), np.arange(400) % 200 == 100], sample_ms=5.0)
    found = known(pulse).attributes(400, 10, 400)
    assert (found["inr_trigger_ms"], found["inr_rr_ms"], found["inr_pulse"]) == ("500.0", "1000.0", ["200", "201"])
    both = known(pulse, ecg(0, 800, 40, 360)).attributes(400, 10, 400)
    assert both["inr_trigger_ms"] == "100.0"
    without_triggers = known(pulse, ecg(0, 800)).attributes(400, 10, 400)
    assert without_triggers["inr_trigger_ms"] == "500.0"


def test_respiration_is_the_mean_in_a_frame_and_interpolated_where_a_frame_is_shorter_than_a_sample() -> None:
    wave = known(waveform(RESPIRATION, 0, [[100, 200, 400, 800], [0] * 4], sample_ms=20.0))
    assert wave.attributes(0, 60, 10)["inr_respiration"] == "233.3"
    assert wave.attributes(12, 5, 14)["inr_respiration"] == "350.0"  # 35 ms: between 200 at 20 and 400 at 40
    assert "inr_respiration" not in wave.attributes(40, 5, 40)


def test_external_signals_are_shown_thinned() -> None:
    found = known(waveform(EXTERNAL, 0, [np.arange(200)])).attributes(0, 500, 0)
    assert found == {"inr_external_1": [str(i) for i in range(0, 200, 4)]}


def test_the_header_may_name_the_trigger_channel() -> None:
    information = (
        "<waveformInformation><waveformName>ECG</waveformName><waveformType>ecg</waveformType><userParameters>"
        "<userParameterLong><name>TriggerChannel</name><value>{}</value></userParameterLong></userParameters>"
        "</waveformInformation></ismrmrdHeader>"
    )
    data = np.zeros((3, 100), np.uint32)
    data[1, 20], data[2, 30] = 1, 1
    for channel, expected in ((1, "125.0"), (2, "100.0"), (4, "100.0")):  # there is no channel 4: the last one
        header = parse_header(header_xml().replace("</ismrmrdHeader>", information.format(channel)))
        assert known(waveform(ECG, 0, data), header=header).attributes(70, 5, 70)["inr_trigger_ms"] == expected


@pytest.mark.parametrize(
    "odd",
    [
        waveform(ECG, 0, np.zeros((1, 0))),
        waveform(ECG, 0, [1, 2, 3], sample_ms=0.0),
        waveform(ECG, 0, [1, 2, 3], sample_ms=float("nan")),
        waveform(5, 0, [1, 2, 3]),  # of Siemens' learning phase
        waveform(1024, 0, [1, 2, 3]),
    ],
)
def test_what_makes_no_sense_is_left_out(odd: ismrmrd.Waveform) -> None:
    assert known(odd).attributes(0, 100, 0) == {}


def test_without_waveforms_nothing_is_said() -> None:
    assert known().attributes(0, 100, 0) == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(physiology, "_MOST_SAMPLES", 1000)
    monkeypatch.setattr(physiology, "_MOST_TRIGGERS", 3)
    wave = known(*(ecg(100 * i, 100, 50) for i in range(50)))
    assert "inr_ecg" not in wave.attributes(2000, 10, 2000)
    assert wave.attributes(4900, 10, 4900)["inr_ecg"] == ["0", "1", "2", "3"]
    assert wave.attributes(4960, 10, 4960)["inr_rr_ms"] == "250.0"
    assert "inr_trigger_ms" not in wave.attributes(4500, 10, 4500)
