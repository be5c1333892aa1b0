"""The files that FIRE needs beside its own, to start the server in a chroot on the scanner and to talk to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from inr_core.errors import ParameterError
from inr_gadgets.packaging.label import CONFIGS, make_label
from inr_gadgets.packaging.spec import PORT, PackageSpec

# Where docker/fire puts it into the image, and where FIRE mounts image and shared folder.
START_SCRIPT = "/opt/inr-recon/bin/start_inr.sh"
_CHROOT_FOLDER = "/opt/medcom/MriCustomer/ice/fire/chroot"
_LOG = "/tmp/share/log/inr-recon.log"

INI_FILE, IMAGE_FILE = "fire_inr.ini", "inr-recon.img"


def write_fire(folder: Path, hostname: str, config: str) -> list[Path]:
    """Write fire_inr.ini, a JSON of parameters and a README into a folder, as they lie in FIRE's own.

    Parameters
    ----------
    folder
        It is made if it does not exist.
    hostname
        The computer that runs the chroot, as FIRE reaches it.
    config
        The configuration that the JSON asks for.

    Raises
    ------
    ParameterError
        For a host name that is none, or a configuration that does not stream.
    """
    if not hostname or not all(c.isascii() and (c.isalnum() or c in ".:-_") for c in hostname):
        raise ParameterError(f"--hostname {hostname!r}", "a name or an address")
    if config not in CONFIGS:
        raise ParameterError(f"--config {config}", f"one of {', '.join(CONFIGS)}")
    files = {
        INI_FILE: fire_ini(hostname),
        f"config/{config}.json": json.dumps(json_parameters(config), indent=2) + "\n",
        "README.txt": _readme(config),
    }
    written = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def fire_ini(hostname: str) -> str:
    """Return the text of FIRE's ini file for this server."""
    # Listens beyond the loopback, as the address is that of the computer; FIRE's network is the scanner's own.
    command = f"{START_SCRIPT} {_LOG} --host 0.0.0.0 --set image.dtype=uint16"
    sections: dict[str, dict[str, object]] = {
        "OpenRecon": {"hostname": hostname, "port": PORT},
        "chroot": {
            "start_chroot": "true",
            "chroot_image_path": _CHROOT_FOLDER,
            "chroot_image_name": IMAGE_FILE,
            "chroot_command": command,
            "chroot_search_string": "inr-recon",
            # A server that stays is warm for the next scan.
            "chroot_stop_after_finish": "false",
        },
    }
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
        for section, values in sections.items()
    )


def json_parameters(config: str) -> dict[str, Any]:
    """Return the JSON that FIRE sends after the header: every parameter of the card of OpenRecon, with its default."""
    card: list[Mapping[str, Any]] = make_label(PackageSpec("any"), date.min)["parameters"]
    values = {parameter["id"]: parameter["default"] for parameter in card}
    return {"version": "1.1.0", "parameters": values | {"config": config}}


def _readme(config: str) -> str:
    return f"""inr-recon for FIRE: research only, not a medical device.

1. Make the image of the chroot, {IMAGE_FILE} (docker/fire in inr-recon's source), and copy it to
   %CustomerIceProgs%\\fire\\chroot\\
2. Copy {INI_FILE} to %CustomerIceProgs%\\fire\\ and config\\{config}.json to %CustomerIceProgs%\\fire\\config\\
   If FIRE works there already, keep the hostname of its own ini file.
3. In a copy of FIRE's workflow for raw data to images set
     IniFile        %CustomerIceProgs%\\fire\\{INI_FILE}
     Config         {config}
     JsonConfig     %CustomerIceProgs%\\fire\\config\\{config}.json
   and leave SendDependentData false and CompressionPrecision 0.
4. Scan a phantom with a radial protocol; compare position, orientation and scale with the scanner's own images.

The server's log is %CustomerIceProgs%\\fire\\share\\log\\inr-recon.log
docs/fire.md explains each step, and what could not be tried without a scanner.
"""
