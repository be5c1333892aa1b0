"""What is done before a scan so that its first frames do not pay for it: imports, compiling, a toy scan."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from inr_core.devices import choose_device, prepare_process
from inr_core.errors import DataError
from inr_core.methods import make_live
from inr_core.parameters.inr import InrParameters
from inr_core.solvers.control import Control
from inr_gadgets.header import encoding
from inr_gadgets.reconstruction.compile_apart import CompilingError, compile_apart

if TYPE_CHECKING:
    import torch

    from inr_core.methods.live import LiveMethod

logger = logging.getLogger(__name__)

Shape = tuple[int, int]
Stopped = Callable[[], bool]

USUAL = 128, 128  # (ny, nx) that a server is warm for
_COILS = 12
_MOST_OTHERS = 8  # sizes that a server is warm for, besides the usual one: the newest
_FRAMES = 4  # of a toy scan: the first ones' times say nothing of those of a scan
_SPOKES = 13, 5  # frames that wait for the next one are few spokes


def warm_up(stopped: Stopped = lambda: False, others: Iterable[Shape] | None = None) -> None:
    """Import everything and reconstruct a toy scan, so that the first frame of the first scan does not pay for it.

    Parameters
    ----------
    stopped
        Asked before each step; True ends the warm-up: a process that exits in the middle of torch's work is aborted.
    others
        Sizes (ny, nx) to be warm for, besides the usual one; the eight that were compiled for last, unless given.
    """
    prepare_process()
    import finufft  # noqa: F401 - of images that nothing is compiled for
    import torch

    import inr_gadgets.reconstruction.recon  # noqa: F401
    from inr_core.operators.prepared import kept

    cpu, device = torch.device("cpu"), choose_device("auto")
    # Of a usual size: what is to be warm are the FFTs, the threads and the allocator that a real frame will find.
    if device != cpu and not make_ready(USUAL, device, stopped):
        return
    if not _compiled(stopped) or not make_ready(USUAL, cpu, stopped):
        return
    compile_common()
    for shape in kept()[:_MOST_OTHERS] if others is None else others:
        if shape != USUAL and not stopped():
            make_ready(shape, cpu, stopped)


def _compiled(stopped: Stopped) -> bool:
    """Have the usual size compiled for, before anything of this process asks for it; False where that was stopped.

    Not in this process: a scan that comes meanwhile would wait for it, and is computed by libraries instead.
    """
    from inr_core.operators.prepared import is_kept, place

    if is_kept(USUAL) or place() is None:
        return True
    logger.info("compiling for %d x %d, once for this machine", *reversed(USUAL))
    try:
        return compile_apart(USUAL, stopped)
    except (OSError, CompilingError) as error:
        logger.warning("compiling for %d x %d failed, and is done in this process: %s", *reversed(USUAL), error)
        return True


def compile_common() -> None:
    """Compile what frames of all sizes have in common that nothing else is compiled for."""
    import torch

    _toy_frames((24, 24), torch.device("cpu"), 5, 2, lambda: False)


def compiled_for(header: Any) -> list[Shape]:
    """Sizes (ny, nx) of a scan's images, by its header, for which what is compiled is kept."""
    from inr_core.operators.prepared import is_kept

    found = set[Shape]()
    for index in range(len(header.encoding or [])):
        with contextlib.suppress(DataError):  # whoever reads its readouts says what is wrong with it
            nx, ny, _ = encoding(header, index, told_radial=True).recon_matrix
            found.add((ny, nx))
    return [shape for shape in sorted(found) if is_kept(shape)]


def make_ready(shape: Shape, device: torch.device, stopped: Stopped = lambda: False) -> bool:
    """Reconstruct a toy scan of (ny, nx), with what is compiled for that size if the device is the CPU.

    What is not kept on disk from a time before is compiled, in a minute.

    Returns
    -------
    Whether it was done to the end.
    """
    from inr_core.operators.prepared import keep, prepare

    on_cpu = device.type == "cpu"
    if on_cpu:
        prepare(shape)
        _grid_any_coils(shape)
    for n_spokes in _SPOKES:
        method = _toy_frames(shape, device, n_spokes, _FRAMES, stopped)
        if stopped():
            return False
        method.tune()
    method.refine(Control(stopped=stopped))
    if stopped():
        return False
    if on_cpu:
        keep(shape)
    return True


def _grid_any_coils(shape: Shape) -> None:
    """Compile gridding for any number of coils: there is one function for one coil, one for a few, one for many."""
    import numpy as np

    from inr_core.operators.compiled_gridding import COLUMNS, gridded

    for n_coils in COLUMNS:
        gridded(np.zeros((4, 2), np.float32), np.zeros((n_coils, 4), np.complex64), shape)


def _toy_frames(shape: Shape, device: torch.device, n_spokes: int, n_frames: int, stopped: Stopped) -> LiveMethod:
    """The method after some frames of noise, fewer where it was stopped."""
    import numpy as np
    import torch

    from inr_core.trajectory import radial_trajectory, spoke_angles

    n_samples = 2 * max(shape)
    traj = torch.from_numpy(radial_trajectory(spoke_angles(np.arange(n_spokes)), n_samples))
    method = make_live("inr", shape, InrParameters(refine_passes=0.5), device)
    for seed in range(n_frames):
        if stopped():
            break
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(_COILS, n_spokes, n_samples, dtype=torch.complex64, generator=generator)
        (method.follow if method.looks_ahead(n_spokes) else method.add_frame)(noise, traj)
        method.settle()
    return method
