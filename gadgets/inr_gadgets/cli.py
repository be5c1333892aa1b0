"""The program ``inr-recon``: registers the commands; nothing heavy is imported before one of them runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from inr_gadgets.commands import about, bench, curves, export, files, package, prepare, run

app = typer.Typer(
    name="inr-recon",
    help="Streaming implicit-neural-representation reconstruction of dynamic radial MRI.\n\n"
    "Example: inr-recon serve; in another shell inr-recon replay scan.h5 -o out.h5 --address localhost --pace scan",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"inr-recon {version('inr-recon')}")
        except PackageNotFoundError:
            print("inr-recon, not installed: run from its source")
        raise typer.Exit


@app.callback()
def _program(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


run.register(app)
prepare.register(app)
files.register(app)
export.register(app)
bench.register(app)
curves.register(app)
package.register(app)
about.register(app)


def main() -> None:
    """Run the program; the entry point of ``inr-recon`` and ``python -m inr_gadgets.cli``."""
    app(prog_name="inr-recon")


if __name__ == "__main__":
    main()
