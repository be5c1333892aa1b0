"""Container images as archives, made without a container engine, for the tests of packages."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TAG = "openrecon_mylab_inrrecon:v1.2.3"


def write_image(
    path: Path,
    *,
    layers: Sequence[Mapping[str, bytes]] = ({"usr/bin/python3": b""},),
    tags: Sequence[str] = (TAG,),
    architecture: str = "amd64",
    oci: bool = False,
    count: int = 1,
    **run: Any,
) -> str:
    """Write an archive as ``docker save`` does; ``run`` is the configuration's own part. Return the digest."""
    config = json.dumps({"os": "linux", "architecture": architecture, "config": run}).encode()
    digest = hashlib.sha256(config).hexdigest()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": f"{digest}.json", "RepoTags": list(tags), "Layers": names}] * count
    with tarfile.open(path, "w") as archive:
        add(archive, "manifest.json", json.dumps(manifest).encode())
        add(archive, f"{digest}.json", config)
        for name, layer in zip(names, layers, strict=True):
            add(archive, name, layer_bytes(layer))
        if oci:
            add(archive, "oci-layout", b"{}")
    return digest


def layer_bytes(files: Mapping[str, bytes]) -> bytes:
    """A layer; a name that ends with / is a folder."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as layer:
        for name, content in files.items():
            add(layer, name, content)
    return memory.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file, or a folder if its name ends with /."""
    entry = tarfile.TarInfo(name.rstrip("/"))
    entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
