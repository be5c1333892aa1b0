"""When readouts are due: by TR, by time stamps, by an absolute clock."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import ismrmrd
import pytest

from inr_core.errors import DataError, ParameterError
from inr_gadgets.header import repetition_time_ms
from inr_gadgets.wire import pace as pace_module
from inr_gadgets.wire.pace import Pace


def header(tr: float | None = None) -> SimpleNamespace:
    return SimpleNamespace(sequenceParameters=None if tr is None else SimpleNamespace(TR=[tr]))


def readouts(stamps: list[int]) -> list[ismrmrd.Acquisition]:
    made = []
    for stamp in stamps:
        readout = ismrmrd.Acquisition()
        readout.acquisition_time_stamp = stamp
        made.append(readout)
    return made


def due(pace: Pace, items: list[object]) -> list[float]:
    return [seconds for _, seconds in pace.due_s(items)]


def test_by_tr() -> None:
    assert due(Pace("scan", 1.0, header(4.0)), readouts([0, 0, 0])) == pytest.approx([0, 0.004, 0.008])


def test_half_speed() -> None:
    assert due(Pace("scan", 0.5, header(4.0)), readouts([0, 0, 0])) == pytest.approx([0, 0.008, 0.016])


def test_a_frame_at_half_speed_takes_twice_as_long_as_at_the_scanner() -> None:
    # 13 spokes of 3 ms: the next frame's first readout is due after 78 ms instead of 39.
    assert due(Pace("scan", 0.5, header(3.0)), readouts([0] * 14))[13] == pytest.approx(0.078)


def test_half_speed_by_time_stamps() -> None:
    assert due(Pace("scan", 0.5, header()), readouts([100, 102, 110])) == pytest.approx([0, 0.010, 0.050])


def test_by_time_stamps_without_tr() -> None:
    assert due(Pace("scan", 1.0, header()), readouts([100, 102, 101, 110])) == pytest.approx([0, 0.005, 0.005, 0.025])


def test_a_waveform_is_due_with_the_readout_before_it() -> None:
    first, second = readouts([0, 0])
    assert due(Pace("scan", 1.0, header(4.0)), [first, second, ismrmrd.Waveform(), second]) == pytest.approx(
        [0, 0.004, 0.004, 0.008]
    )


def test_everything_at_once() -> None:
    assert due(Pace("max", 1.0, header(4.0)), readouts([0, 100])) == [0, 0]


def test_no_tr_and_no_running_stamps() -> None:
    with pytest.raises(DataError, match=r"no TR and its time stamps do not run; expected one of the two .*--pace max"):
        due(Pace("scan", 1.0, header(0.0)), readouts([7] * 1001))


@pytest.mark.parametrize(
    ("pace", "speed", "message"),
    [
        ("slow", 1.0, "pace 'slow'; expected one of max, scan"),
        ("scan", 0.0, "speed 0.0; expected a number above 0; 1 is the scan's own pace, 0.5 half of it"),
        ("max", 0.5, "speed 0.5 at pace 'max'; expected pace 'scan', which it is a factor on"),
        ("scan", float("nan"), "speed nan; expected a number above 0; 1 is the scan's own pace, 0.5 half of it"),
    ],
)
def test_bad_pace(pace: str, speed: float, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Pace(pace, speed, header())
    assert str(caught.value) == message


@pytest.mark.parametrize("tr", [float("nan"), -1.0, 0.0, "fast", None])
def test_a_tr_that_makes_no_sense_is_none(tr: object) -> None:
    assert repetition_time_ms(SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[tr]))) is None


class Clock:
    """A clock that only sleeping, and what the test adds, moves on."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_lateness_does_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    seen = []
    for readout in Pace("scan", 1.0, header(10.0)).paced(readouts([0] * 5)):
        seen.append(readout.arrived - 50.0)
        clock.now += 0.025 if len(seen) == 2 else 0.001
    # The second readout keeps the consumer for 25 ms; the third and fourth come late, the fifth is on time again.
    assert seen == pytest.approx([0, 0.010, 0.035, 0.036, 0.040])


def test_a_consumer_that_cannot_keep_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    pace, unpaced = Pace("scan", 1.0, header(10.0)), Pace("max", 1.0, header(10.0))
    for _ in pace.paced(readouts([0] * 2)):
        clock.now += 0.5
    assert pace.warning == ""
    for each in (pace, unpaced):
        for _ in each.paced(readouts([0] * 3)):
            clock.now += 1.0
    assert pace.warning == (
        "WRN: the readouts were sent up to 2.0 s late, as they were not taken in time; "
        "the latencies are those of a slower scan"
    )
    assert unpaced.warning == ""


def test_stopped_while_waiting() -> None:
    stopped = threading.Event()
    taken = []
    for readout in Pace("scan", 1.0, header(1e7)).paced(readouts([0] * 3), stopped):
        taken.append(readout)
        stopped.set()
    assert len(taken) == 1
