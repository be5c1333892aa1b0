"""The archive that the host installs."""

from __future__ import annotations

import json
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inr_gadgets.packaging.image_tar import ImageTar
from inr_gadgets.packaging.label import label_text
from inr_gadgets.packaging.spec import PackageSpec


def write_archive(
    folder: Path, spec: PackageSpec, label: Mapping[str, Any], image_path: Path, image: ImageTar, manual: Path
) -> Path:
    """Write the archive and return its path.

    For XA60 it holds image and manual under the package's name; for VA70 Container.tar, Manual.pdf, and, since there
    the image has no label, ApplSpec.json and Properties.json. An existing archive is replaced only once the new one is
    whole.

    Parameters
    ----------
    folder
        Where it goes.
    spec, label
        Of the package.
    image_path, image
        The image's archive, and what is in it.
    manual
        PDF.
    """
    path = folder / spec.archive_name
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            if spec.system == "xa60":
                archive.write(image_path, f"{spec.name}.tar")
                archive.write(manual, f"{spec.name}.pdf")
            else:
                archive.writestr("ApplSpec.json", label_text(label))
                archive.write(image_path, "Container.tar")
                archive.write(manual, "Manual.pdf")
                archive.writestr("Properties.json", json.dumps(properties(spec, image), indent=2) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def properties(spec: PackageSpec, image: ImageTar) -> dict[str, str]:
    """Return Properties.json of VA70: by what the host knows the application and its image.

    The number of the application follows from its name and version, so that the same package has the same.
    """
    return {
        "package_format": "Alpaca",
        "application_guid": str(uuid.uuid5(uuid.NAMESPACE_OID, spec.name)),
        "image_name": f"local/{spec.identifier.lower()}:latest",
        "execution_location": "local",
        "persistence": "permanent",
        "image_digest": image.digest,
    }
