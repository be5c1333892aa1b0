"""The command that compiles before a scan: prepare."""

from __future__ import annotations

import os
import re
import time
from typing import Annotated

import typer

from inr_gadgets.commands.common import command, say

_LOWEST = 19  # priority
_CLOSED = (
    "what is compiled cannot be kept",
    "a folder that can be written to and locked",
    "set NUMBA_CACHE_DIR to one, here and where scans are reconstructed",
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app)(prepare)


def prepare(
    sizes: Annotated[
        list[str], typer.Argument(metavar="N|NXxNY ...", help="Matrices of scans: 192, or 192x160.", show_default=False)
    ],
    gently: Annotated[bool, typer.Option("--gently", help="At the lowest priority, beside scans.")] = False,
) -> None:
    """Compile for images of other sizes than 128 x 128, once for this machine: live frames are faster then.

    It takes a minute or two for a size. Without it a server compiles, after the first scan of a size, for the next one.

    Example: inr-recon prepare 192 256x208
    """
    shapes = [_shape(size) for size in sizes]
    if gently:
        os.nice(_LOWEST)

    import torch

    from inr_core.devices import prepare_process
    from inr_core.errors import ConfigError, ParameterError
    from inr_core.function_cache import all_is_kept
    from inr_core.operators.prepared import can_be_prepared, is_kept, place
    from inr_gadgets.reconstruction.warming import compile_common, make_ready

    for ny, nx in shapes:
        if not can_be_prepared((ny, nx)):
            raise ParameterError(
                f"a size of {nx} x {ny}",
                "8 to 1024 pixels each way and no prime factor above 13",
                "such images are computed by libraries",
            )
    if place() is None or not all_is_kept():
        raise ConfigError(*_CLOSED)
    prepare_process()
    compile_common()
    for ny, nx in shapes:
        if is_kept((ny, nx)):
            say(f"{nx} x {ny}: compiled before, in {place()}")
            continue
        began = time.monotonic()
        make_ready((ny, nx), torch.device("cpu"))
        if not all_is_kept():
            raise ConfigError(*_CLOSED)
        say(f"{nx} x {ny}: compiled in {time.monotonic() - began:.0f} s, kept in {place()}")


def _shape(size: str) -> tuple[int, int]:
    """(ny, nx) of a size as users write it."""
    from inr_core.errors import ParameterError

    found = re.fullmatch(r"(\d+)(?:x(\d+))?", size.strip().lower())
    numbers = [int(number) for number in found.groups(default=found[1])] if found else []
    if not numbers:
        raise ParameterError(f"a size of '{size}'", "N or NXxNY", "give the matrix: 192, or 192x160")
    return numbers[1], numbers[0]
