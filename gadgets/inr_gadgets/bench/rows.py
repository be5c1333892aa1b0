"""What a bench asks for and what it finds: methods with their settings, and one row for each of them on each scan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from inr_core.errors import DataError, ParameterError


@dataclass(frozen=True)
class MethodSpec:
    """A method, and what is set over its defaults.

    Attributes
    ----------
    method
        Its name in the table of methods.
    preset
        One of its presets; None for its defaults.
    settings
        Parameter to value, ``{"refine_passes": "20"}``; without a gadget's name they are the recon gadget's.
    """

    method: str
    preset: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read ``name[:preset][@name=value;name=value..]``.

        Raises
        ------
        ParameterError
            When it is written otherwise, or there is no such method or preset.
        """
        from inr_gadgets.replay import offline_settings

        head, at, tail = text.strip().partition("@")
        method, colon, preset = (part.strip() for part in head.partition(":"))
        settings: dict[str, str] = {}
        for setting in tail.split(";") if at else ():
            name, equals, value = (part.strip() for part in setting.partition("="))
            if not equals or not name:
                raise ParameterError(f"method '{text}'", "name:preset@parameter=value;parameter=value", "correct it")
            settings[name.removeprefix("recon.")] = value
        if colon and not preset:
            raise ParameterError(f"method '{text}' with an empty preset", "its name after the colon", "correct it")
        spec = cls(method, preset or None, settings)
        offline_settings(method, spec.preset, {})
        return spec

    @classmethod
    def parse_list(cls, text: str) -> list[MethodSpec]:
        """Read methods with commas between them.

        Raises
        ------
        ParameterError
            For a method as above, for none at all, and for one that is named twice.
        """
        specs = [cls.parse(part) for part in text.split(",") if part.strip()]
        labels = [str(spec) for spec in specs]
        if not specs or len(set(labels)) < len(labels):
            raise ParameterError(f"methods '{text}'", "one or more, each of them once", "for example nufft,grasp,inr")
        return specs

    def __str__(self) -> str:
        preset = f":{self.preset}" if self.preset else ""
        settings = ";".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        return f"{self.method}{preset}{'@' if settings else ''}{settings}"

    def words(self) -> list[str]:
        """The options of ``inr-recon reconstruct``."""
        words = ["--method", self.method, *(["--preset", self.preset] if self.preset else [])]
        for name, value in self.settings.items():
            words += ["--set", f"{name if '.' in name else f'recon.{name}'}={value}"]
        return words


@dataclass(frozen=True)
class Row:
    """What a method reached on a scan, and what it cost.

    Attributes
    ----------
    scan, method
        Names, as the tables show them.
    settings
        All that was set over defaults.
    digest
        Of the scan's file and its truth's.
    version
        Of the program that reconstructed.
    images
        File of the images, relative to the bench's folder; the series is that which was scored.
    scores
        As :meth:`inr_core.metrics.Score.summary` gives them; empty for a method that failed.
    seconds
        Of the reconstruction, without the program's start.
    wall_s
        From the start of the program to its end; of all runs, where a weight was chosen among several.
    host_mib, device_mib
        Peak resident set of the process; peak memory on a CUDA device, None without one.
    device
        Where it was computed, in words.
    remark
        What else one must know.
    error
        Why there are no images, in one line; empty for a method that worked.
    """

    scan: str
    method: str
    settings: str
    digest: str
    version: str
    images: str = ""
    series: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    wall_s: float | None = None
    host_mib: float | None = None
    device_mib: float | None = None
    device: str = ""
    remark: str = ""
    error: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a row the same measurement as another."""
        return self.scan, self.method, self.settings, self.digest, self.version


def file_stem(name: str) -> str:
    """The name of a scan or method as a file's, one to one."""
    return quote(name, safe=" :@;=,+")


def load_rows(path: Path) -> list[Row]:
    """Rows of an earlier bench; none where there was none.

    Raises
    ------
    DataError
        When the file is damaged or another program's.
    """
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text())["rows"]
        return [Row(**row) for row in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(f.name for f in fields(Row))
        raise DataError(f"{path} cannot be read ({error!r})", f"rows of {known}", "remove it to begin anew") from error


def save_rows(path: Path, rows: Iterable[Row], **described: Any) -> None:
    """Write the rows after what else is to be known of them; the file is whole at any time."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps({**described, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    partial.replace(path)
