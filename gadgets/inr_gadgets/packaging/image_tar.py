"""What is in the archive of a container image, as ``docker save`` and ``buildah push docker-archive:`` write it."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from inr_core.errors import DataError

_LARGEST_JSON = 16 << 20  # bytes
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_VERSION_OF_BASE = re.compile(r"CUDA_VERSION=(\d+\.\d+[\d.]*)")
_TORCH_CUDA = re.compile(rb"^cuda(?:\s*:[^=]*)?\s*=\s*'([\d.]+)'", re.MULTILINE)


@dataclass(frozen=True)
class ImageTar:
    """An image's archive.

    Attributes
    ----------
    config
        The image's configuration: user, ports, command, labels, environment, platform.
    digest
        SHA-256 of the configuration, hexadecimal: what VA70 knows an image by.
    tags
        The image's names.
    oci_layout
        Whether it is laid out as OCI has it, which the installer of XA60 cannot read.
    home_files
        Files below /home.
    cuda
        Version of CUDA by the place that says so.
    """

    config: dict[str, Any]
    digest: str
    tags: tuple[str, ...]
    oci_layout: bool
    home_files: tuple[str, ...]
    cuda: dict[str, str]

    @property
    def run(self) -> dict[str, Any]:
        """How a container is run: the part ``config`` of the configuration."""
        found = self.config.get("config")
        return found if isinstance(found, dict) else {}


def read_image_tar(path: Path) -> ImageTar:
    """Read an image's archive, layer by layer, without unpacking it.

    Raises
    ------
    DataError
        When it is not the archive of one image.
    """
    with _reading(path) as archive:
        names = set(archive.getnames())
        if "manifest.json" not in names:
            raise DataError(
                f"{path} has no manifest.json", "the archive of an image", "docker save -o FILE.tar IMAGE writes one"
            )
        manifest = _json(archive, "manifest.json")
        if not isinstance(manifest, list) or len(manifest) != 1:
            raise DataError(f"{path} holds several images", "one", "save one image by its tag")
        (image,) = manifest
        config = _json(archive, image["Config"])
        home, versions = _walk(archive, image["Layers"])
        digest = hashlib.sha256(_member(archive, image["Config"]).read()).hexdigest()
    found = ImageTar(config, digest, tuple(image.get("RepoTags") or ()), "oci-layout" in names, home, versions)
    for variable in found.run.get("Env") or []:
        if version := _VERSION_OF_BASE.fullmatch(variable):
            found.cuda["the environment"] = version.group(1)
    return found


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as archive:
            yield archive
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})", "the archive of an image") from None
    except (tarfile.TarError, KeyError, TypeError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not the archive of an image ({error})", "what docker save writes") from None


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(f"{name} is not a file")
    return member


def _json(archive: tarfile.TarFile, name: str) -> Any:
    return json.loads(_member(archive, name).read(_LARGEST_JSON))


def _walk(archive: tarfile.TarFile, layers: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the files below /home and the CUDA versions of torch, as the layers leave them, one over the other."""
    home: set[str] = set()
    versions: dict[str, str] = {}
    for name in layers:
        with tarfile.open(fileobj=_member(archive, name)) as layer:
            for entry in layer:
                path = entry.name.removeprefix("./").strip("/")
                _remove(path, home, versions)
                if entry.isdir():
                    continue
                if path.startswith("home/") and _WHITEOUT not in path:
                    home.add(path)
                if path.endswith("/torch/version.py"):
                    text = layer.extractfile(entry)
                    found = _TORCH_CUDA.search(text.read(_LARGEST_JSON)) if text is not None else None
                    if found:
                        versions[path] = found.group(1).decode()
    return tuple(sorted(home)), versions


def _remove(path: str, home: set[str], versions: dict[str, str]) -> None:
    """Forget what a layer deletes or replaces."""
    folder, _, name = path.rpartition("/")
    if name == _OPAQUE:
        gone = folder
    elif name.startswith(_WHITEOUT):
        gone = f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
    else:
        versions.pop(path, None)
        return
    for known in [one for one in (*home, *versions) if one == gone or one.startswith(f"{gone}/")]:
        home.discard(known)
        versions.pop(known, None)
