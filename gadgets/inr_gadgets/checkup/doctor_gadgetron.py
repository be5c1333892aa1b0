"""Whether the real Gadgetron on this machine can start our gadgets: what it is that a first scan would stumble over."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from inr_core.errors import InrError
from inr_gadgets.checkup.findings import Finding
from inr_gadgets.checkup.requirements import oldest_python

_CONFIGS = Path("share") / "gadgetron" / "config"
_OURS = "inr_dynamic.xml"
_QUESTION_S = 60.0  # that a program may take to say what it is; a cold disk is slow
# What the python that Gadgetron starts has to have, and where it has it from.
_ASK = "import gadgetron, inr_gadgets.external as ours; print(ours.__file__)"


def examine_gadgetron() -> list[Finding]:
    """Look at Gadgetron's own side; one line where there is none, as only ``<execute>`` and ``<connect>`` need it."""
    home, program = os.environ.get("GADGETRON_HOME", ""), _which("gadgetron")
    if not home and program is None:
        text = "not here (GADGETRON_HOME is not set, no gadgetron on the PATH); inr-recon serve does without it"
        return [Finding("gadgetron", "missing", text)]
    prefix = Path(home) if home else Path(str(program)).resolve().parent.parent
    return [
        _home(home, prefix),
        _server(program, prefix),
        _client(),
        _storage(),
        _config(prefix),
        _python(),
    ]


def _home(home: str, prefix: Path) -> Finding:
    if not home and "GADGETRON_HOME" in os.environ:
        return Finding("GADGETRON_HOME", "bad", "set and empty, so Gadgetron finds no configuration: unset it")
    if not prefix.is_dir():
        return Finding("GADGETRON_HOME", "bad", f"{home} is no folder; set it to Gadgetron's prefix, or not at all")
    if not home:
        return Finding("GADGETRON_HOME", "ok", f"not set; Gadgetron takes its own prefix, {prefix}")
    if not (prefix / "share" / "gadgetron").is_dir():
        text = f"{home} has no share/gadgetron; set it to the prefix that Gadgetron is installed in"
        return Finding("GADGETRON_HOME", "bad", text)
    return Finding("GADGETRON_HOME", "ok", home)


def _server(program: str | None, prefix: Path) -> Finding:
    if program is None:
        text = f"no program gadgetron in {prefix}/bin or on the PATH; is {prefix} the right prefix?"
        return Finding("gadgetron", "bad", text)
    code, said = _ask([program, "--info"])
    found = re.search(r"Version\s*:\s*([\d.]+)", said)
    if code or found is None:
        return Finding("gadgetron", "bad", f"{program} does not run: {_last_line(said)}")
    return Finding("gadgetron", "ok", f"{found[1]}, {program}")


def _client() -> Finding:
    client = _which("gadgetron_ismrmrd_client")
    if client is None:
        text = "not on the PATH; any other MRD client does: inr-recon replay --address"
        return Finding("gadgetron client", "missing", text)
    code, said = _ask([client, "--help"])
    if code or "--filename" not in said:
        return Finding("gadgetron client", "missing", f"{client} does not run: {_last_line(said)}")
    return Finding("gadgetron client", "ok", client)


def _storage() -> Finding:
    storage = _which("mrd-storage-server")
    if storage is None:
        text = "not on the PATH: start Gadgetron with --disable_storage 1, or --storage_address; NoiseAdjust needs one"
        return Finding("mrd-storage-server", "missing", text)
    return Finding("mrd-storage-server", "ok", storage)


def _config(prefix: Path) -> Finding:
    """The only folder that Gadgetron looks ``-c NAME`` up in."""
    from inr_gadgets.configs import config_folders, find_config

    folder = prefix / _CONFIGS
    installed = folder / _OURS
    # Whatever Python that prefix has: the wheel's configurations go there, and the wheel runs where it is.
    cure = f"{sys.executable} -m pip install --prefix {prefix} --no-deps --ignore-installed inr-recon"
    if not installed.is_file():
        return Finding("configuration in Gadgetron", "bad", f"{folder} has no {_OURS}: {cure}")
    try:
        # Not the one in Gadgetron's prefix itself, which may come first in the search.
        ours = next(one for one in (path / _OURS for path in config_folders()) if one.is_file())
        ours = ours if ours != installed else find_config(_OURS)
        same = installed.read_bytes() == ours.read_bytes()
    except (OSError, InrError, StopIteration) as error:
        return Finding("configuration in Gadgetron", "bad", f"{installed} cannot be compared: {error}")
    if not same:
        text = f"{installed} is not the same as {ours}: another version, or changed by hand; if it is old: {cure}"
        return Finding("configuration in Gadgetron", "missing", text)
    return Finding("configuration in Gadgetron", "ok", f"{installed}")


def _python() -> Finding:
    """Gadgetron starts the first of ``python`` and ``python3`` that is a Python 3, whatever its own prefix has."""
    subject = "python for Gadgetron"
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found is not None and (version := re.search(r"Python (\d+)\.(\d+)", _ask([found, "--version"])[1])):
            break
    else:
        return Finding(subject, "bad", "neither python nor python3 on the PATH: Gadgetron can start no gadget")
    code, said = _ask([found, "-c", _ASK])
    if code:
        cure = f"start Gadgetron with {Path(sys.executable).parent} first on the PATH"
        if (int(version[1]), int(version[2])) >= oldest_python():  # Gadgetron's own conda environment has 3.10
            cure += f", or: {found} -m pip install inr-recon"
        text = f"{found} is the first on the PATH and has not our gadgets ({_last_line(said)}); {cure}"
        return Finding(subject, "bad", text)
    return Finding(subject, "ok", f"{found}, with {_last_line(said)}")


def _which(name: str) -> str | None:
    home = os.environ.get("GADGETRON_HOME")
    folders = [str(Path(home) / "bin")] if home else []
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))


def _ask(words: list[str]) -> tuple[int, str]:
    """Exit code, and what was said on stdout and stderr."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_QUESTION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout + done.stderr


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].strip() if lines else "it says nothing"
