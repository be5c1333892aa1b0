"""The waveforms of a simulated scan, in blocks as Siemens' converter writes them: samples, and triggers beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import ismrmrd
import numpy as np

from inr_gadgets.clock import TICK_MS

_BLOCK_MS = 100.0
_ECG, _ECG_SAMPLE_MS = 0, 2.5
_RESPIRATION, _RESPIRATION_SAMPLE_MS = 2, 20.0
_TRIGGER = 16384
# Of the header: what the waveforms are, and which of their channels has the triggers.
WAVEFORM_INFORMATION = "".join(
    f"<waveformInformation><waveformName>{name}</waveformName><waveformType>{kind}</waveformType><userParameters>"
    "<userParameterLong><name>TriggerChannel</name><value>1</value></userParameterLong></userParameters>"
    "</waveformInformation>"
    for name, kind in (("ECG", "ecg"), ("RESP", "respiratory"))
)


def waveforms(
    start_ms: float, end_ms: float, *, period_ms: float, respiration_ms: float, readout_ms: float
) -> Iterator[ismrmrd.Waveform]:
    """The blocks of electrocardiogram and respiration that begin in [start, end).

    Parameters
    ----------
    start_ms, end_ms
        Since the scan's beginning, at which there is an R wave and the breath is out.
    period_ms, respiration_ms
        Duration of a heart beat and of a breath.
    readout_ms
        From readout to readout.
    """
    for block in range(math.ceil(start_ms / _BLOCK_MS), math.ceil(end_ms / _BLOCK_MS)):
        begin = block * _BLOCK_MS
        counter = math.ceil(begin / readout_ms)
        since_r = (begin + np.arange(0, _BLOCK_MS, _ECG_SAMPLE_MS)) % period_ms
        yield _waveform(_ECG, begin, _ECG_SAMPLE_MS, _voltage(since_r, period_ms), since_r, counter)
        times = begin + np.arange(0, _BLOCK_MS, _RESPIRATION_SAMPLE_MS)
        level = 2048 - 1000 * np.cos(2 * math.pi * times / respiration_ms)
        yield _waveform(_RESPIRATION, begin, _RESPIRATION_SAMPLE_MS, level, times % respiration_ms, counter)


def _voltage(since_r: np.ndarray, period_ms: float) -> np.ndarray:
    """P, Q, R, S and T as Gaussian bumps around 2048."""
    since_r = (since_r + period_ms / 2) % period_ms - period_ms / 2
    bumps = ((-160, 25, 150), (-28, 8, -120), (0, 10, 1400), (28, 9, -280), (0.3 * period_ms, 45, 320))
    waves = [height * np.exp(-(((since_r - at) / width) ** 2)) for at, width, height in bumps]
    return np.asarray(2048 + np.sum(waves, axis=0))


def _waveform(
    kind: int, begin_ms: float, sample_ms: float, samples: np.ndarray, since: np.ndarray, counter: int
) -> ismrmrd.Waveform:
    """A block of two channels: samples, and the triggers at the first of them after each beat or breath begins."""
    triggers = np.where(since < sample_ms, _TRIGGER, 0)
    waveform = ismrmrd.Waveform.from_array(np.stack([samples, triggers]).astype(np.uint32))
    waveform.waveform_id, waveform.sample_time_us = kind, 1000 * sample_ms
    waveform.time_stamp, waveform.scan_counter = round(begin_ms / TICK_MS), counter
    return waveform
