"""The commands that say what is there: methods, configs, doctor, ping."""

from __future__ import annotations

from typing import Annotated

import typer

from inr_gadgets.commands.common import FAILED, command, print_table


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app)(methods)
    command(app)(configs)
    command(app)(doctor)
    command(app)(ping)


def methods(
    name: Annotated[str | None, typer.Argument(help="A method or gadget; without it, all.", show_default=False)] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/parameters.md.")] = False,
) -> None:
    """List the reconstruction methods, then every parameter of gadgets and methods, with defaults, units and limits.

    Example: inr-recon methods inr
    """
    from inr_core.errors import ParameterError
    from inr_gadgets import reference

    if as_markdown:
        print(reference.markdown(), end="")
        return
    sections = [*reference.gadget_sections(), reference.server_section(), *reference.method_sections()]
    if name is not None:
        names = [section.title.removeprefix("method ") for section in sections]
        if name not in names:
            raise ParameterError(f"there is no method or gadget '{name}'", f"one of {', '.join(names)}")
        sections = [section for section in sections if section.title.removeprefix("method ") == name]
    else:
        print_table(reference.METHOD_COLUMNS, reference.method_rows())
        print("inr-recon methods NAME has the parameters of one alone: a method, buffer, recon, image or server.\n")
    for section in sections:
        print(f"{section.title}: {section.about}")
        if section.rows:
            print_table(reference.COLUMNS, section.rows)
        print()


def configs() -> None:
    """List the configurations and where they are.

    Example: inr-recon configs
    """
    from inr_gadgets.configs import list_configs

    found = list_configs()
    if not found:
        from inr_core.errors import ConfigError

        raise ConfigError("no configuration was found", "inr_dynamic.xml at least", "reinstall inr-recon")
    print_table(("configuration", "where"), [(path.stem, str(path)) for path in found])


def doctor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that a server would listen at.")] = 9002,
) -> None:
    """Look at this machine: Python, packages, devices, NUFFT backends, ports, configurations, Gadgetron, extras.

    Exit code 0 when all that is needed works, and, where Gadgetron is installed, it can start our gadgets.

    Example: inr-recon doctor
    """
    from inr_gadgets.checkup.doctor import examine, usable
    from inr_gadgets.serving.worker import PORT

    findings = examine((port, PORT))
    print_table(("", "what", "found"), [(finding.state, finding.subject, finding.text) for finding in findings])
    if not usable(findings):
        raise typer.Exit(FAILED)


def ping(
    address: Annotated[str, typer.Option(metavar="HOST", help="Where the server is.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The server's port.")] = 9002,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that the answer may take.")] = 5.0,
    version: Annotated[
        bool, typer.Option("--version", help="Ask for the version instead, as a Gadgetron has to be asked.")
    ] = False,
) -> None:
    """Ask a server whether it answers (a configuration, then CLOSE); what the images' health check runs.

    Exit code 0 when it does. It is no scan, and a server that is reconstructing answers as well.

    Example: inr-recon ping --port 9002
    """
    from inr_gadgets.serving.ping import ping as ask

    seconds = ask(address, port, timeout, version=version)
    print(f"{address} port {port} answers after {1000 * seconds:.0f} ms")
