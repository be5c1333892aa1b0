"""Whether a long scan is kept up with: 2,000 frames at the scan's own pace, latency and memory frame by frame.

    python benchmarks/lag.py [--frames 2000] [--quick] [--set recon.iterations=6]

A short scan is played over and over (see repeated_scan.py), through ``inr-recon serve`` as a process of its own over
TCP. Nothing is refined at the end; what the refinement would need, the history of the last frames, is kept all the
same.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fits import Line, fit_line
from options import Options
from plots import LIMIT, OTHER, OURS, PEER, new_figure, write_plot
from repeated_scan import RepeatedScan, seam_deg
from results import Figure, at_most, machine, save, show

from inr_gadgets.bench.process import resident_mib
from inr_gadgets.commands.common import parse_settings
from inr_gadgets.imaging.geometry import LIVE_SERIES
from inr_gadgets.report import Report
from inr_gadgets.server_process import serving
from inr_gadgets.wire.client import send_scan
from inr_gadgets.wire.pace import LATE_S
from scans import make_cycle

_EARLY = slice(90, 111)  # the frames around the hundredth
_LATE = 100  # the last ones
_SETTLED = 300  # by then the history is full
_MARGIN, _GROWTH_PERCENT = 1.5, 5


def main() -> None:
    """Measure, print, draw, save."""
    parser = Options(__doc__)
    parser.add_argument("--frames", type=int, default=2000, help="at least 401")
    parser.add_quick("410 frames")
    parser.add_settings()
    arguments = parser.parse_args()
    frames = 410 if arguments.quick else arguments.frames
    if frames <= _SETTLED + _LATE:
        parser.error(f"--frames {frames}: expected more than {_SETTLED + _LATE}")
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        made = make_cycle(Path(folder))
        scan = RepeatedScan.read(made.scan, frames)
        lag = measure(scan, Path(folder), parse_settings(arguments.set))
    seam = f"a cycle of {len(scan.cycle) // scan.spokes} frames, {seam_deg(len(scan.cycle)):.2f} degrees at its seam"
    name = f"{made.name}, {frames} frames of {lag.frame_ms:g} ms, {seam}"
    figures = lag.figures()
    show(f"lag: {name}", figures)
    plot = draw(lag, arguments.quick)
    rows = {"latency_ms": lag.latency_ms.round(2).tolist(), "memory_mib": lag.memory_mib.round(1).tolist()}
    print(f"written to {save('lag', described, name, figures, quick=arguments.quick, **rows)} and {plot}")


@dataclass
class Lag:
    """What came back, frame by frame.

    Attributes
    ----------
    frame_ms
        Duration of a frame.
    frames
        That were sent.
    sent : list of float
        When the last readout of each had been handed over, on the client's clock.
    arrived : dict of int to float
        When its image came, by number.
    report
        Of the images.
    memory : dict of int to float
        Resident set of the server when its image came, MiB.
    """

    frame_ms: float
    frames: int
    sent: list[float] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    memory: dict[int, float] = field(default_factory=dict)

    def _by_frame(self, values: dict[int, float]) -> np.ndarray:
        return np.array([values.get(number, np.nan) for number in range(self.frames)])

    @property
    def latency_ms(self) -> np.ndarray:
        """(frames,): as the server measured it; NaN of a frame that was dropped."""
        rows = self.report.as_dict()["frames"]
        return self._by_frame({row["frame"]: row["latency_ms"] for row in rows})

    @property
    def client_ms(self) -> np.ndarray:
        """(frames,): from handing the last readout to the socket to having the image."""
        return 1e3 * (self._by_frame(self.arrived) - np.array(self.sent))

    @property
    def late_s(self) -> float:
        """By how much a frame left the client later than it should have: what is held up there is no latency."""
        sent = np.array(self.sent)
        return float((sent - sent[0] - 1e-3 * self.frame_ms * np.arange(len(sent))).max())

    @property
    def memory_mib(self) -> np.ndarray:
        """(frames,): resident set of the server."""
        return self._by_frame(self.memory)

    @property
    def drift(self) -> Line:
        """Latency over the frame number, from the hundredth on."""
        late = self.latency_ms[100:]
        known = np.isfinite(late)
        return fit_line(np.arange(100, self.frames)[known], late[known])

    def figures(self) -> list[Figure]:
        """Everything beside its target."""
        latency, memory, drift = self.latency_ms, self.memory_mib, self.drift
        early, late = (float(np.nanmedian(part)) for part in (latency[_EARLY], latency[-_LATE:]))
        growth = memory[-1] / memory[_SETTLED] - 1
        return [
            Figure("latency of frames 90 to 110, median, ms", early),
            Figure(f"latency of the last {_LATE} frames, median, ms", late),
            at_most("last frames' latency / that around the hundredth (margin 1.5)", late / early, _MARGIN),
            Figure("latency of all frames, median, ms", float(np.nanmedian(latency))),
            Figure("the same seen by the client, ms", float(np.nanmedian(self.client_ms))),
            Figure("latency of all frames, p95, ms", float(np.nanpercentile(latency, 95))),
            Figure("largest latency, ms", float(np.nanmax(latency))),
            Figure("drift of the latency, ms per 1000 frames", 1e3 * drift.slope),
            Figure("its standard error", 1e3 * drift.slope_error),
            at_most("readouts sent late, as they were not taken in time, largest, s", self.late_s, LATE_S),
            at_most("frames dropped", self.frames - int(np.isfinite(latency).sum()), 0),
            Figure("resident memory of the server at frame 100, MiB", float(memory[100])),
            Figure(f"resident memory of the server at frame {self.frames}, MiB", float(memory[-1])),
            at_most(f"growth of memory after frame {_SETTLED}, %", 100 * float(growth), _GROWTH_PERCENT),
        ]


def measure(scan: RepeatedScan, folder: Path, settings: dict[str, str]) -> Lag:
    """Send the scan to a warm server of its own at the scan's pace."""
    lag = Lag(scan.spokes * scan.tr_ms, scan.frames)

    def keep(image: Any) -> None:
        if image.image_series_index != LIVE_SERIES:
            return
        number = int(image.meta["inr_frame"])
        lag.arrived[number], lag.memory[number] = time.monotonic(), resident_mib(server.pid)
        lag.report.add(image)

    def sent(readouts: int) -> None:
        if readouts % scan.spokes == 0:
            lag.sent.append(time.monotonic())

    with serving(folder / "serve.log") as server:
        send_scan(
            "127.0.0.1",
            server.port,
            "inr_dynamic",
            scan,
            settings={"recon.refine": "false", **settings},
            pace="scan",
            on_image=keep,
            on_text=print,
            on_sent=sent,
        )
    return lag


def draw(lag: Lag, quick: bool) -> Path:
    """Latency and memory over the frame number."""
    figure, ((latency,), (memory,)) = new_figure(2, 1, width=8.0, height=3.0)
    frames, drift = np.arange(lag.frames), lag.drift
    early = float(np.nanmedian(lag.latency_ms[_EARLY]))
    latency.plot(frames, lag.latency_ms, ".", markersize=2, color=OURS, alpha=0.5, label="each frame")
    slope = f"{1e3 * drift.slope:+.2f} +- {1e3 * drift.slope_error:.2f} ms per 1000 frames"
    latency.plot(frames[100:], drift(frames[100:]), color="black", linewidth=1.5, label=slope)
    limit = f"{_MARGIN:g} x median of frames 90 to 110, {_MARGIN * early:.0f} ms"
    latency.axhline(_MARGIN * early, color=LIMIT, linestyle="--", linewidth=1, label=limit)
    latency.axhline(lag.frame_ms, color=PEER, linewidth=1, label=f"duration of a frame, {lag.frame_ms:g} ms")
    latency.set_ylim(0, 1.35 * max(1.5 * early, float(np.nanmax(lag.latency_ms))))
    latency.set_ylabel("latency / ms")
    latency.legend(fontsize=8, loc="upper right", ncols=2)
    memory.plot(frames, lag.memory_mib, color=OTHER, linewidth=1.5, label="resident set of the server")
    bound = lag.memory_mib[_SETTLED] * (1 + _GROWTH_PERCENT / 100)
    memory.plot(
        [_SETTLED, lag.frames],
        [bound, bound],
        color=LIMIT,
        linestyle="--",
        linewidth=1,
        label=f"{_GROWTH_PERCENT} % over frame {_SETTLED}",
    )
    memory.set_ylim(0, 1.35 * bound)
    memory.set_ylabel("memory / MiB")
    memory.legend(fontsize=8, loc="lower right")
    for axes in (latency, memory):
        axes.set_xlim(0, lag.frames)
    memory.set_xlabel("frame")
    return write_plot(figure, "lag", quick=quick)


if __name__ == "__main__":
    main()
