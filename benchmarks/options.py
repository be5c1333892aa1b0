"""The options of the benchmarks' command lines, alike in all of them."""

from __future__ import annotations

import argparse


class Options(argparse.ArgumentParser):
    """A benchmark's command line.

    Parameters
    ----------
    description
        The program's docstring, which ``--help`` shows as it is.
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_quick(self, what: str) -> None:
        """``--quick``, which tries the benchmark out; what it measures is no result."""
        self.add_argument("--quick", action="store_true", help=f"{what}; nothing is saved among the results")

    def add_settings(self, whose: str = "any gadget") -> None:
        """``--set``, as inr-recon has it; see :func:`inr_gadgets.commands.common.parse_settings`."""
        text = f"a parameter of {whose}; may be repeated"
        self.add_argument("--set", action="append", default=[], metavar="GADGET.NAME=VALUE", help=text)
