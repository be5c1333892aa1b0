"""An OpenRecon package from beginning to end: what describes it, its image, the checks, the archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from inr_core.errors import InrError
from inr_gadgets.packaging.archive import write_archive
from inr_gadgets.packaging.build import Engine, build_image
from inr_gadgets.packaging.checks import check_image
from inr_gadgets.packaging.dockerfile import make_dockerfile
from inr_gadgets.packaging.image_tar import read_image_tar
from inr_gadgets.packaging.label import label_text, make_label
from inr_gadgets.packaging.manual import write_manual
from inr_gadgets.packaging.spec import PackageSpec

_LABEL_FILE = "label.json"


class PackageError(InrError):
    """An image cannot be packaged as it is; every reason has been said."""


def describe_package(spec: PackageSpec, folder: Path, base: str, today: date) -> dict[str, Any]:
    """Write Dockerfile, label.json and the manual into a folder, and return the label.

    A label.json that is there already gives the date of manufacture: an image that was built from it stays the same.

    Raises
    ------
    ConfigError, MissingDependencyError
        As :func:`inr_gadgets.packaging.label.make_label` and :func:`inr_gadgets.packaging.manual.write_manual`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    label = make_label(spec, _made_on(folder / _LABEL_FILE) or today)
    (folder / _LABEL_FILE).write_text(label_text(label), encoding="utf-8")
    (folder / "Dockerfile").write_text(make_dockerfile(spec, label, base), encoding="utf-8")
    write_manual(manual_path(spec, folder), spec, label)
    return label


def package_image(
    spec: PackageSpec, folder: Path, label: Mapping[str, Any], image_path: Path, say: Callable[[str], None]
) -> Path:
    """Check an image and write the archive.

    Parameters
    ----------
    say
        Takes every failure as a line.

    Raises
    ------
    DataError
        When the file is not an image's archive.
    PackageError
        When the image breaks one of the host's rules.
    """
    image = read_image_tar(image_path)
    problems = check_image(image, spec, label)
    for problem in problems:
        say(problem)
    if problems:
        raise PackageError(f"{image_path} breaks {len(problems)} of the host's rules", "an image that keeps them all")
    return write_archive(folder, spec, label, image_path, image, manual_path(spec, folder))


def build_package_image(engine: Engine, spec: PackageSpec, folder: Path) -> Path:
    """Build the image of the folder's Dockerfile and return the path of its archive."""
    path = folder / f"{spec.name}.tar"
    build_image(engine, folder, spec.tag, path)
    return path


def manual_path(spec: PackageSpec, folder: Path) -> Path:
    """Where the manual is written."""
    return folder / f"{spec.name}.pdf"


def next_steps(spec: PackageSpec, folder: Path, base: str) -> list[str]:
    """What to do where no container engine works: the commands, for another computer."""
    tar = folder / f"{spec.name}.tar"
    return [
        f"no container engine works here; where one does, with the image {base} (docs/docker.md):",
        f"  docker build -t {spec.tag} -f {folder / 'Dockerfile'} {folder}",
        f"  docker save -o {tar} {spec.tag}",
        "then, here or there, the same command again with",
        f"  --image {tar}",
    ]


def _made_on(path: Path) -> date | None:
    """The date of manufacture of a label that was written before; None without a readable one."""
    try:
        text = json.loads(path.read_text(encoding="utf-8"))["general"]["regulatory_information"]["manufacture_date"]
        return datetime.strptime(text, "%Y/%m/%d").date()
    except (OSError, ValueError, KeyError, TypeError):
        return None
