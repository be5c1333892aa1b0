"""Whether a host would take an image: every rule that can be checked without the host, each failure one line."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from inr_gadgets.packaging.image_tar import ImageTar
from inr_gadgets.packaging.label import LABEL_NAME, label_problems
from inr_gadgets.packaging.spec import COMMAND, PORT, PackageSpec

NEWEST_CUDA = (11, 8)  # that the driver of XA60's computers runs
_ROOT = ("", "0", "root", "0:0", "root:root", "0:root", "root:0")
_SHOWN = 3  # of many files


def check_image(image: ImageTar, spec: PackageSpec, label: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an image, one line each; empty when it can be packaged.

    Parameters
    ----------
    image
        From :func:`inr_gadgets.packaging.image_tar.read_image_tar`.
    spec
        Of the package.
    label
        The one that was written for it.
    """
    checks: list[Callable[[], Iterator[str]]] = [
        lambda: _platform(image),
        lambda: _tag(image),
        lambda: _user(image),
        lambda: _ports(image),
        lambda: _command(image),
        lambda: _home(image),
        lambda: _label(image, spec, label),
    ]
    if spec.system == "xa60":
        checks += [lambda: _layout(image), lambda: _cuda(image)]
    return [line for check in checks for line in check()]


def _platform(image: ImageTar) -> Iterator[str]:
    found = f"{image.config.get('os')}/{image.config.get('architecture')}"
    if found != "linux/amd64":
        yield f"the image is for {found}; expected linux/amd64; build it with --platform linux/amd64"


def _tag(image: ImageTar) -> Iterator[str]:
    if len(image.tags) != 1:
        yield f"the image's names: {', '.join(image.tags) or 'none'}; expected one; save it by its tag"
    for tag in image.tags:
        if tag != tag.lower():
            yield f"the image's name {tag}; expected lower case; tag it again"


def _user(image: ImageTar) -> Iterator[str]:
    user = str(image.run.get("User") or "")
    if user not in _ROOT:
        yield f"the image runs as user {user}; expected root; USER root in its Dockerfile"


def _ports(image: ImageTar) -> Iterator[str]:
    ports = sorted(image.run.get("ExposedPorts") or {})
    if ports != [f"{PORT}/tcp"]:
        yield f"the image exposes {', '.join(ports) or 'no port'}; expected {PORT}/tcp alone; EXPOSE {PORT}"


def _command(image: ImageTar) -> Iterator[str]:
    words = [*(image.run.get("Entrypoint") or []), *(image.run.get("Cmd") or [])]
    given = tuple(word.rpartition("/")[2] if number == 0 else word for number, word in enumerate(words))
    if given[: len(COMMAND)] != COMMAND:
        yield f"the image runs {' '.join(words) or 'nothing'}; expected {' '.join(COMMAND)}; correct its CMD"


def _home(image: ImageTar) -> Iterator[str]:
    if image.home_files:
        shown = ", ".join(f"/{name}" for name in image.home_files[:_SHOWN])
        more = f" and {len(image.home_files) - _SHOWN} more" if len(image.home_files) > _SHOWN else ""
        yield f"the image has files under /home ({shown}{more}); expected none, as the host hides them; move them"


def _label(image: ImageTar, spec: PackageSpec, label: Mapping[str, Any]) -> Iterator[str]:
    encoded = (image.run.get("Labels") or {}).get(LABEL_NAME)
    if spec.system == "va70":
        if encoded is not None:
            yield "the image carries the label of XA60; expected none, as VA70 reads ApplSpec.json; build it again"
        return
    if encoded is None:
        yield f"the image has no label {LABEL_NAME}; expected the one in label.json; build it with the Dockerfile"
        return
    try:
        found = json.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        yield f"the image's label cannot be decoded ({error}); expected JSON in base64; build it with the Dockerfile"
        return
    problems = label_problems(found)
    yield from (f"the image's label {problem}; expected one that the schema accepts" for problem in problems)
    if not problems and found != label:
        changed = [part for part in label if found.get(part) != label[part]]
        yield f"the image's label differs from label.json in {', '.join(changed)}; expected the same; build it again"


def _layout(image: ImageTar) -> Iterator[str]:
    if image.oci_layout:
        yield (
            "the image's archive has the layout of OCI; expected Docker's own, which XA60 reads; "
            "save it with a Docker engine older than 25, or with buildah push docker-archive:"
        )


def _cuda(image: ImageTar) -> Iterator[str]:
    newest = ".".join(map(str, NEWEST_CUDA))
    for place, version in image.cuda.items():
        if tuple(int(part) for part in version.split(".")[:2]) > NEWEST_CUDA:
            yield f"the image has CUDA {version} ({place}); expected at most {newest}; choose an older torch, or --cpu"
