"""The waveforms of a scan (ECG, pulse, respiration, external signals), and what they say of a moment of it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inr_gadgets.clock import TICK_MS, elapsed

# Standard waveform ids of MRD. Siemens' converter has those of the learning phase 5 further on: they are of no frame.
WAVEFORMS = {0: "ecg", 1: "pulse", 2: "respiration", 3: "external_1", 4: "external_2"}
_RESPIRATION = 2
_BEAT_SOURCES = (0, 1)
_IDS_OF_TYPES = {"ecg": 0, "pulse": 1, "respiratory": 2}
# Kept of each waveform: eleven minutes of an ECG at 400 Hz, and an hour of its beats.
_MOST_SAMPLES, _MOST_TRIGGERS = 1 << 18, 1 << 12
_MOST_SHOWN = 64  # samples of a waveform on one image
_LONGEST_BEAT_MS = 5000.0


class Physiology:
    """Takes the scan's waveforms as they come, and tells what they were at the time of an image.

    Waveforms may come before or after the readouts of their time, as they do in blocks from a scanner: a live image has
    what had come when it was made, and a refined one all. Memory is bounded; the oldest samples go first. What makes no
    sense (no samples, no sample time, an id that is not standard) is left out: nothing that a monitor sends may cost an
    image.

    Parameters
    ----------
    trigger_channels
        By waveform id, the channel that holds the triggers that the scanner found; of others it is the last one, where
        there are several.
    """

    def __init__(self, trigger_channels: Mapping[int, int] | None = None) -> None:
        self._trigger_channels = dict(trigger_channels or {})
        self._waves: dict[int, _Wave] = {}
        self._reference: int | None = None

    @classmethod
    def of(cls, header: Any) -> Physiology:
        """For a scan with this header, whose ``waveformInformation`` may name the trigger channels."""
        channels: dict[int, int] = {}
        for information in getattr(header, "waveformInformation", None) or ():
            kind = str(getattr(information.waveformType, "value", information.waveformType))
            for parameter in getattr(information.userParameters, "userParameterLong", None) or ():
                if kind in _IDS_OF_TYPES and parameter.name == "TriggerChannel" and isinstance(parameter.value, int):
                    channels.setdefault(_IDS_OF_TYPES[kind], parameter.value)
        return cls(channels)

    def add(self, waveform: Any) -> None:
        """Take an ismrmrd.Waveform."""
        kind, data, sample_ms = int(waveform.waveform_id), waveform.data, float(waveform.sample_time_us) / 1e3
        if kind not in WAVEFORMS or not data.size or not (math.isfinite(sample_ms) and sample_ms > 0):
            return
        if self._reference is None:
            self._reference = int(waveform.time_stamp)
        named = self._trigger_channels.get(kind, -1)
        channel = named if 0 < named < len(data) else len(data) - 1
        wave = self._waves.setdefault(kind, _Wave())
        wave.add(self._ms(int(waveform.time_stamp)), sample_ms, data[0], data[channel] if channel > 0 else None)

    def attributes(self, first: int, duration_ms: float, middle: int) -> dict[str, object]:
        """What images tell of a time.

        Parameters
        ----------
        first
            Time stamp at which it begins, ticks.
        duration_ms
            How long it is.
        middle
            Time stamp of the moment for which cardiac phase and trigger time are, ticks.

        Returns
        -------
        ``inr_trigger_ms`` since the last trigger of the ECG (without one, of the pulse), ``inr_rr_ms`` from beat to
        beat, ``inr_cardiac_phase`` from 0 to 1; ``inr_respiration``, the mean level; ``inr_ecg``, ``inr_pulse``,
        ``inr_external_1`` and ``_2``, the samples of the first channel. Without what is not known.
        """
        found: dict[str, object] = {}
        if self._reference is None:
            return found
        begin, at = self._ms(first), self._ms(middle)
        for kind, wave in self._waves.items():
            if kind == _RESPIRATION:
                level = wave.level(begin, begin + duration_ms, at)
                if level is not None:
                    found["inr_respiration"] = f"{level:.1f}"
            else:
                samples = wave.samples(begin, begin + duration_ms)
                thinned = samples[:: max(1, math.ceil(len(samples) / _MOST_SHOWN))]
                if len(thinned):
                    found[f"inr_{WAVEFORMS[kind]}"] = [str(int(value)) for value in thinned]
        sources = [self._waves[kind] for kind in _BEAT_SOURCES if kind in self._waves and self._waves[kind].triggers]
        return found | (sources[0].beat(at) if sources else {})

    def _ms(self, stamp: int) -> float:
        """Milliseconds since the first waveform; midnight may lie between."""
        return elapsed(self._reference or 0, stamp) * TICK_MS


class _Wave:
    """One waveform: its first channel in blocks in the order of time, and when its triggers were."""

    def __init__(self) -> None:
        self.triggers: list[float] = []
        self._starts: list[float] = []
        self._blocks: list[tuple[float, NDArray[np.float32]]] = []  # sample time, samples
        self._n_samples = 0
        self._longest = 0.0
        self._high = False

    def add(self, start: float, sample_ms: float, samples: NDArray[Any], trigger: NDArray[Any] | None) -> None:
        place = bisect.bisect(self._starts, start)
        self._starts.insert(place, start)
        self._blocks.insert(place, (sample_ms, samples.astype(np.float32)))
        self._n_samples += len(samples)
        self._longest = max(self._longest, sample_ms * len(samples))
        while self._n_samples > _MOST_SAMPLES and len(self._blocks) > 1:
            self._n_samples -= len(self._blocks.pop(0)[1])
            del self._starts[0]
        if trigger is not None:
            high = np.concatenate([[self._high], trigger != 0])
            for i in np.flatnonzero(high[1:] & ~high[:-1]):
                bisect.insort(self.triggers, start + float(i) * sample_ms)
            del self.triggers[:-_MOST_TRIGGERS]
            self._high = bool(high[-1])

    def samples(self, begin: float, end: float) -> NDArray[np.float32]:
        """Those in [begin, end), ms."""
        return self._timed(begin, end)[1]

    def level(self, begin: float, end: float, at: float) -> float | None:
        """Mean of the samples in [begin, end); between two samples the line from one to the other; None without any."""
        inside = self.samples(begin, end)
        if len(inside):
            return float(inside.mean())
        reach = 1.5 * max((sample_ms for sample_ms, _ in self._blocks), default=0.0)
        times, samples = self._timed(at - reach, at + reach)
        around = len(times) > 0 and times[0] <= at <= times[-1]
        return float(np.interp(at, times, samples)) if around else None

    def beat(self, at: float) -> dict[str, object]:
        """The heart beat at a moment: time since its trigger, its length (or that of the one before), the phase."""
        number = bisect.bisect(self.triggers, at) - 1
        if number < 0 or at - self.triggers[number] > _LONGEST_BEAT_MS:
            return {}
        since = at - self.triggers[number]
        found: dict[str, object] = {"inr_trigger_ms": f"{since:.1f}"}
        # Until its end is known, a beat is taken to be as long as the one before.
        neighbours = self.triggers[number : number + 2] if number + 1 < len(self.triggers) else self.triggers[-2:]
        length = neighbours[-1] - neighbours[0]
        if since < length <= _LONGEST_BEAT_MS:
            found |= {"inr_rr_ms": f"{length:.1f}", "inr_cardiac_phase": f"{since / length:.4f}"}
        return found

    def _timed(self, begin: float, end: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        times: list[NDArray[np.float64]] = [np.empty(0)]
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        first = bisect.bisect(self._starts, begin - self._longest)
        for i in range(first, bisect.bisect_left(self._starts, end)):
            sample_ms, samples = self._blocks[i]
            moments = np.asarray(self._starts[i] + np.arange(len(samples)) * sample_ms, np.float64)
            inside = (begin <= moments) & (moments < end)
            times.append(moments[inside])
            found.append(samples[inside])
        return np.concatenate(times), np.concatenate(found)
