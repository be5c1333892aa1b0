"""Building an image with the container engine of this machine, whichever it is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from inr_core.errors import InrError, ParameterError

ENGINES = ("buildah", "podman", "docker")
_WORKS_S = 20.0


class BuildError(InrError):
    """The container engine could not build or save the image."""


@dataclass(frozen=True)
class Engine:
    """A container engine."""

    name: str
    program: str

    def build_words(self, folder: Path, tag: str, number: Path) -> list[str]:
        """The command that builds the image of a folder's Dockerfile and writes its number into a file.

        The base image is one that is here; it is asked for nowhere else.
        """
        here = ["--iidfile", str(number), "-t", tag, "-f", str(folder / "Dockerfile"), str(folder)]
        if self.name == "docker":
            return [self.program, "build", *here]
        return [self.program, "build", "--format", "docker", "--pull=never", *here]

    def save_words(self, tag: str, number: str, path: Path) -> list[str]:
        """The command that writes the image's archive, under that tag and no other name."""
        if self.name == "docker":
            return [self.program, "save", "-o", str(path), tag]
        return [self.program, "push", number, f"docker-archive:{path}:{tag}"]


def find_engine(wanted: str = "auto") -> Engine | None:
    """Return an engine that works here, or None.

    Parameters
    ----------
    wanted
        One of :data:`ENGINES`, ``"auto"`` for the first of them that works, ``"none"`` for none.

    Raises
    ------
    ParameterError
        When the one that is wanted is not here or does not work.
    """
    if wanted == "none":
        return None
    if wanted != "auto" and wanted not in ENGINES:
        raise ParameterError(f"--engine {wanted}", f"one of auto, none, {', '.join(ENGINES)}")
    for name in ENGINES if wanted == "auto" else (wanted,):
        program = shutil.which(name)
        if program is not None and _works(program):
            return Engine(name, program)
    if wanted != "auto":
        raise ParameterError(f"--engine {wanted}, which does not work here", "an engine that answers to 'info'")
    return None


def build_image(engine: Engine, folder: Path, tag: str, path: Path) -> None:
    """Build the image of a folder's Dockerfile and write its archive.

    Raises
    ------
    BuildError
        With the last line that the engine said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        number = Path(scratch) / "number"
        _run(engine.build_words(folder, tag, number), "is the base image here? see docs/docker.md")
        path.unlink(missing_ok=True)  # an engine adds to an archive that exists, or refuses to
        made = number.read_text().strip().removeprefix("sha256:")
        _run(engine.save_words(tag, made, path), "is there room on the disk?")


def _works(program: str) -> bool:
    """Tell whether an engine can be used: docker's client, say, is often there without its daemon."""
    try:
        done = subprocess.run([program, "info"], capture_output=True, timeout=_WORKS_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(words: list[str], advice: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        last = said[-1] if said else "it said nothing"
        raise BuildError(f"{' '.join(words[:2])} failed ({last})", "the image", advice)
