"""A whole scan at once, from Python: frames in, a series out, by any method of the table.

>>> import numpy as np
>>> import torch
>>> from inr_core.phantoms import CinePhantom, CoilArray, Grid, kspace
>>> from inr_core.reconstruct import reconstruct
>>> from inr_core.trajectory import radial_trajectory, spoke_angles
>>> grid, coils = Grid((32, 28), (300.0, 262.5)), CoilArray.loops(4, (300.0, 262.5))
>>> samples, traj = [], []
>>> for frame in range(4):
...     spokes = 9 * frame + np.arange(9)
...     points = radial_trajectory(spoke_angles(spokes), 64)  # (spokes, samples, 2), cycles per pixel
...     measured = kspace(CinePhantom(), coils, grid, points, times_ms=3.0 * spokes)  # (coils, spokes, samples)
...     samples.append(torch.from_numpy(measured).to(torch.complex64))
...     traj.append(torch.from_numpy(points))
>>> reconstruct("grasp", samples, traj, (28, 32), grasp_iterations=5).shape
torch.Size([4, 28, 32])
>>> reconstruct("subspace_inr", samples, traj, (28, 32), frame_scale=3, rank=2, passes=2).shape
torch.Size([10, 28, 32])
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.methods import check_continuous, get_method, get_preset, make_live
from inr_core.methods.live import SeriesQuery
from inr_core.parameters import parse
from inr_core.parameters.live import MeasurementParameters


def reconstruct(
    method: str,
    kspace: Sequence[Tensor],
    traj: Sequence[Tensor],
    shape: tuple[int, int],
    *,
    preset: str = "",
    device: str | torch.device = "cpu",
    matrix_scale: float = 1.0,
    frame_scale: int = 1,
    **parameters: object,
) -> Tensor:
    """Reconstruct the frames of a slice.

    Parameters
    ----------
    method
        A name of :func:`inr_core.methods.list_methods`.
    kspace : (coils, spokes, samples) complex64, one a frame
        Whitened samples.
    traj : (spokes, samples, 2) float32, one a frame
        (kx, ky) in cycles per pixel.
    shape
        (ny, nx) of the images.
    preset
        Of the method; its defaults if empty.
    device
        Where to compute.
    matrix_scale, frame_scale
        Finer in the plane and in time than measured, of continuous methods; see
        :class:`inr_core.methods.live.SeriesQuery`.
    **parameters
        Of the method, over those of the preset.

    Returns
    -------
    (frames, ny, nx) complex64, in the units of the unitary transform (see :class:`inr_core.operators.nufft.Nufft`)

    Raises
    ------
    ParameterError
        For an unknown method, preset or parameter, or finer images of a method that has none.
    DataError
        For frames that do not fit together, or a computation that failed.
    """
    found, query = get_method(method), SeriesQuery(matrix_scale, frame_scale)
    if query != SeriesQuery():
        check_continuous(found)
    if not kspace or len(kspace) != len(traj):
        raise DataError(f"{len(kspace)} frames of samples, {len(traj)} trajectories", "as many, and at least one")
    settings = parse(found.parameter_type, {**get_preset(found, preset), **parameters}, f"method {method}")
    if not isinstance(settings, MeasurementParameters):
        raise TypeError(f"{type(settings).__name__} are no parameters of a method")
    made = make_live(method, shape, settings, torch.device(device))
    made.query = query
    images = [made.add_frame(samples, points) for samples, points in zip(kspace, traj, strict=True)]
    series = made.refine()
    if series is None:
        return torch.stack(images)
    if series.failure is not None:
        raise series.failure
    return series.images
