"""The Dockerfile of an OpenRecon image: the serving image of this project, told how its host talks to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inr_gadgets.packaging.label import LABEL_NAME, encode_label
from inr_gadgets.packaging.spec import COMMAND, PORT, PackageSpec


def make_dockerfile(spec: PackageSpec, label: Mapping[str, Any], base: str) -> str:
    """Return the text of the Dockerfile.

    Parameters
    ----------
    spec
        Of the package.
    label
        From :func:`inr_gadgets.packaging.label.make_label`; part of the image only where the host reads it there.
    base
        The image to begin with: one that has inr-recon on its PATH and nothing under /home.
    """
    lines = [
        f"# {spec.name}, written by inr-recon package openrecon. To build it:",
        f"#   docker build -t {spec.tag} -f Dockerfile .",
        f"ARG BASE={base}",
        "FROM ${BASE}",
        "# The host runs its containers as root.",
        "USER root",
        "# A container serves one scan; a health check would take processor time from it.",
        "HEALTHCHECK NONE",
        f"EXPOSE {PORT}",
        "ENTRYPOINT []",
        f"CMD {json.dumps(list(COMMAND))}",
    ]
    if spec.system == "xa60":
        lines.append(f'LABEL "{LABEL_NAME}"="{encode_label(label)}"')
    return "\n".join(lines) + "\n"
