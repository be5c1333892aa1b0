"""What a package is called and what it asks of its host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from inr_core.errors import ParameterError

System = Literal["xa60", "va70"]
PORT = 9002
COMMAND = ("inr-recon", "serve", "--host", "0.0.0.0", "--port", str(PORT), "--once")

# The version that both the scanner's registry and Python would order the same way: three numbers.
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True)
class PackageSpec:
    """One OpenRecon package.

    Attributes
    ----------
    vendor, identifier
        Who makes it and what it is: letters and digits, as they become parts of file names and of an image's tag.
    version
        Three numbers.
    system
        ``"xa60"`` for XA60 and XA61, which read the label of the image; ``"va70"`` for VA70 and later, which read
        ApplSpec.json beside it.
    gpu
        Whether the image can use a GPU; it works without.
    memory_mb
        Memory that the host must have free, MB.
    """

    vendor: str
    identifier: str = "INRrecon"
    version: str = "0.0.0"
    system: System = "xa60"
    gpu: bool = False
    memory_mb: int = 4096

    def __post_init__(self) -> None:
        for option, value in (("--vendor", self.vendor), ("--id", self.identifier)):
            if not (value.isascii() and value.isalnum()):
                raise ParameterError(f"{option} {value!r}", "letters and digits", "it becomes part of file names")
        if not _VERSION.fullmatch(self.version):
            raise ParameterError(f"--version {self.version!r}", "three numbers", "for example --version 1.0.0")
        if self.memory_mb < 1:
            raise ParameterError(f"--memory {self.memory_mb}", "at least 1 MB")

    @property
    def name(self) -> str:
        """The name that the host expects of the files: ``OpenRecon_<vendor>_<id>_V<version>``."""
        return f"OpenRecon_{self.vendor}_{self.identifier}_V{self.version}"

    @property
    def tag(self) -> str:
        """The image's tag; the host's registry takes lower case only."""
        return f"openrecon_{self.vendor}_{self.identifier}:v{self.version}".lower()

    @property
    def archive_name(self) -> str:
        """The name of the archive that is installed."""
        return f"{self.name}.zip" if self.system == "xa60" else f"{self.name}.OpenReconPackage.zip"


def package_version() -> str:
    """The version of inr-recon as three numbers, or 0.0.0 where it runs from its source alone."""
    try:
        found = _VERSION.match(version("inr-recon"))
    except PackageNotFoundError:
        return "0.0.0"
    return found.group() if found else "0.0.0"
