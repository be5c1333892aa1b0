"""The commands that package the reconstruction for a vendor's platform."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from inr_gadgets.commands.common import command, say

Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything that is written.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module, as ``package NAME``."""
    group = typer.Typer(
        name="package",
        help="Package the reconstruction for a vendor's platform.\n\n"
        "Example: inr-recon package openrecon --vendor MyLab -o openrecon",
        no_args_is_help=True,
    )
    command(group)(openrecon)
    command(group)(fire)
    app.add_typer(group)


def openrecon(
    vendor: Annotated[str, typer.Option(metavar="NAME", help="Who makes the package; letters and digits.")],
    output: Folder = Path("openrecon"),
    identifier: Annotated[
        str, typer.Option("--id", metavar="NAME", help="Name of the algorithm; letters and digits.")
    ] = "INRrecon",
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="Version of the package.", show_default="inr-recon's")
    ] = None,
    xa60: Annotated[bool, typer.Option("--xa60/--va70", help="For XA60 and XA61, or for VA70 and later.")] = True,
    gpu: Annotated[bool, typer.Option("--gpu/--cpu", help="Whether the image can use a GPU.")] = False,
    memory: Annotated[int, typer.Option(metavar="MB", help="Memory that the host must have free.")] = 4096,
    base: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Image with inr-recon to begin with.", show_default="inr-recon:X.Y.Z"),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE.tar", help="An image built and saved already, to check and package.")
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="auto|none|NAME", help="What builds the image: buildah, podman or docker.")
    ] = "auto",
) -> None:
    """Package the reconstruction as an OpenRecon container: label, Dockerfile, manual, checked image, archive.

    Without a container engine it ends after Dockerfile, label and manual, and says what to run elsewhere.

    Example: inr-recon package openrecon --vendor MyLab --va70 --image image.tar -o openrecon
    """
    from datetime import datetime

    from inr_gadgets.packaging import openrecon as package
    from inr_gadgets.packaging.build import find_engine
    from inr_gadgets.packaging.spec import PackageSpec, package_version

    spec = PackageSpec(
        vendor=vendor,
        identifier=identifier,
        version=version or package_version(),
        system="xa60" if xa60 else "va70",
        gpu=gpu,
        memory_mb=memory,
    )
    base = base or f"inr-recon{'-cuda' if gpu else ''}:{package_version()}"
    builder = find_engine(engine) if image is None else None
    label = package.describe_package(spec, output, base, datetime.now(UTC).date())
    print(f"{output}: Dockerfile, label.json ({len(label['parameters'])} parameters), {spec.name}.pdf")
    if image is None:
        if builder is None:
            print("\n".join(package.next_steps(spec, output, base)))
            return
        say(f"building {spec.tag} with {builder.name}")
        image = package.build_package_image(builder, spec, output)
    say(f"checking and packing {image}")
    archive = package.package_image(spec, output, label, image, say)
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB, to be installed as it is")


def fire(
    output: Folder = Path("fire"),
    hostname: Annotated[
        str, typer.Option(metavar="HOST", help="The computer that runs the chroot, as FIRE reaches it.")
    ] = "localhost",
    config: Annotated[
        str, typer.Option("--config", "-c", metavar="NAME", help="The configuration that FIRE asks for.")
    ] = "inr_dynamic",
) -> None:
    """Write what FIRE needs beside its own files: ini file, JSON of parameters, README.

    Example: inr-recon package fire --hostname 192.168.2.2 -o fire
    """
    from inr_gadgets.packaging.fire import write_fire

    written = write_fire(output, hostname, config)
    print(f"{output}: {', '.join(str(path.relative_to(output)) for path in written)}")
