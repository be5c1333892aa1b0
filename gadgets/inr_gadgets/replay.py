"""A recorded scan through the chain again: in this process, or over TCP through any MRD server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd

from inr_core.errors import DataError
from inr_gadgets.chain import GADGETS, ChainConfig, GadgetTable
from inr_gadgets.configs import load_config, parse_config, read_config
from inr_gadgets.header import parse_header
from inr_gadgets.image_file import ImageOutput
from inr_gadgets.report import Report
from inr_gadgets.stream_file import Scan
from inr_gadgets.wire.client import is_path, send_scan
from inr_gadgets.wire.pace import Pace, is_readout


@dataclass(frozen=True)
class Replay:
    """How a scan is replayed.

    Attributes
    ----------
    config
        Name of a configuration, or the path of a file (:func:`inr_gadgets.wire.client.is_path` tells which).
    settings
        Parameters set over those of the configuration, ``{"recon.virtual_coils": "6"}``.
    pace, speed
        See :class:`inr_gadgets.wire.pace.Pace`.
    address, port
        Of an MRD server; without an address the chain runs in this process.
    timeout_s, connect_timeout_s
        See :func:`inr_gadgets.wire.client.send_scan`.
    table
        The gadgets that a configuration may name, when the chain runs in this process.
    """

    config: str | Path = "inr_dynamic"
    settings: Mapping[str, str] = field(default_factory=dict)
    pace: str = "max"
    speed: float = 1.0
    address: str | None = None
    port: int = 9002
    timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    table: GadgetTable = field(default_factory=lambda: GADGETS)

    def images(
        self,
        scan: Scan,
        on_image: Callable[[Any], None],
        on_text: Callable[[str], None],
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        """Replay the scan and hand every image to ``on_image`` as it comes."""
        if self.address is None:
            with contextlib.closing(self._in_process(scan, on_text, on_sent)) as images:
                for item in images:
                    # Waveforms pass through the chain, and end here.
                    if isinstance(item, ismrmrd.Image):
                        on_image(item)
            return
        send_scan(
            self.address,
            self.port,
            self.config,
            scan,
            settings=self.settings,
            pace=self.pace,
            speed=self.speed,
            on_image=on_image,
            on_text=on_text,
            on_sent=on_sent,
            timeout_s=self.timeout_s,
            connect_timeout_s=self.connect_timeout_s,
        )

    def _in_process(
        self, scan: Scan, on_text: Callable[[str], None], on_sent: Callable[[int], None] | None
    ) -> Generator[Any, None, None]:
        header = parse_header(scan.header_xml)
        stopped = threading.Event()
        clock = Pace(self.pace, self.speed, header)
        chain = read_chain(self.config, self.table).build(header, self.settings)
        chain.announce = on_text
        if self.pace == "scan" and self.table is GADGETS:
            # As a server does before the first scan comes: else its latencies are those of importing torch.
            from inr_gadgets.reconstruction.warming import compiled_for, warm_up

            warm_up(others=compiled_for(header))
        # Left early, a reader that waits for the next readout's time ends at once.
        yield from chain.run(_counted(clock.paced(scan, stopped), on_sent), interrupt=stopped.set)
        if clock.warning:
            on_text(clock.warning)


def read_chain(config: str | Path, table: GadgetTable = GADGETS) -> ChainConfig:
    """Read a configuration, given by name or by path.

    Raises
    ------
    ConfigError
        When there is no such configuration, or it asks for what this package does not have.
    """
    if is_path(config):
        return parse_config(read_config(Path(config)), table, name=Path(config).name)
    return load_config(str(config), table)


def replay_to_file(
    replay: Replay,
    scan: Scan,
    output: Path,
    *,
    group: str | None = None,
    on_text: Callable[[str], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Replay a scan and write its images as they come; those that were made are kept if something fails later.

    Parameters
    ----------
    replay
        How.
    scan
        The recorded scan.
    output
        The .h5 of the images; an existing one gets one more group.
    group
        The group's name; by default date and time, as Gadgetron's client does.
    on_text
        Called with every line for the operator.
    on_progress
        Called with the numbers of readouts sent and of images received; from more than one thread.

    Raises
    ------
    DataError
        When no image came back at all.
    InrError
        Whatever stopped the replay.
    """
    if output.exists() and output.samefile(scan.path):
        raise DataError(f"{output} is the scan itself", "another file for the images", "choose another name")
    report = Report()
    counts = {"readouts": 0, "images": 0}
    began = time.monotonic()

    def progressed(what: str, n: int) -> None:
        nonlocal began
        if what == "readouts" and counts["readouts"] == 0:
            began = time.monotonic()
        counts[what] = n
        if on_progress is not None:
            on_progress(counts["readouts"], counts["images"])

    with contextlib.closing(ImageOutput(output, group, scan.header_xml)) as out:

        def keep(image: Any) -> None:
            out.append(image)
            report.add(image)
            progressed("images", counts["images"] + 1)

        replay.images(scan, keep, on_text, lambda n: progressed("readouts", n))
    report.seconds = round(time.monotonic() - began, 3)
    if counts["images"] == 0:
        raise DataError("no image came back", "at least one", "look at the lines above; inr-recon check tells more")
    return report


def offline_settings(method: str, preset: str | None, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of an offline reconstruction: one method, fixed steps and seed instead of the clock.

    Raises
    ------
    ParameterError
        For a method that does not exist, or a preset that the method does not have.
    """
    from inr_core.methods import get_method, get_preset

    found = get_method(method)
    get_preset(found, preset or "")
    chosen = {"recon.method": found.name, "recon.offline": "true", "recon.deterministic": "true"}
    return chosen | ({"recon.preset": preset} if preset else {}) | dict(settings)


def _counted(items: Iterator[Any], on_sent: Callable[[int], None] | None) -> Iterator[Any]:
    n = 0
    for item in items:
        yield item
        if is_readout(item):
            n += 1
            if on_sent is not None:
                on_sent(n)
