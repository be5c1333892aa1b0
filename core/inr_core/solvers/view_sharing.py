"""View sharing: the outer k-space of a frame from the spokes of its predecessors, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.slice_data import FrameSamples


def shared_parts(counts: Sequence[int], radius: Tensor, matrix: int) -> Tensor:
    """The k-space-weighted image contrast (KWIC) filter, looking back (Song and Dougherty, Magn Reson Med 2004;52:815).

    S evenly spread spokes are pi |k| / S apart, so they resolve the field of view, 1 / ``matrix`` cycles per pixel, up
    to |k| = S / (pi matrix). Inside that circle a frame has its own spokes alone; in each ring outside it as many of
    its predecessors are taken as are needed there, each with its share of the spokes, up to all there are.

    Parameters
    ----------
    counts
        Spokes of each frame, the newest first.
    radius
        |k| in cycles per pixel, of any shape.
    matrix
        Pixels along the longer side.

    Returns
    -------
    (frames, ..): factors of the frames' own density weights; their sum over the frames is 1.
    """
    together = torch.tensor(counts, device=radius.device).cumsum(0)
    needed = torch.searchsorted(together / (math.pi * matrix), radius.contiguous())
    needed = needed.clamp_max(len(counts) - 1)  # predecessors
    return torch.stack([torch.where(i <= needed, n / together[needed], 0.0) for i, n in enumerate(counts)])


def with_shared_views(
    frame: MeasuredFrame, recent: Sequence[FrameSamples], shape: tuple[int, int], ramp_exponent: float
) -> MeasuredFrame:
    """The frame with the outer k-space of its predecessors.

    Parameters
    ----------
    frame
        The newest.
    recent
        Samples of it and its predecessors, the newest last.
    shape
        (ny, nx) of the image.
    ramp_exponent
        As of the frame.
    """
    newest_first = list(reversed(recent))
    counts = [len(samples.traj) for samples in newest_first]
    parts = [
        MeasuredFrame.from_samples(
            frame.index,
            samples.kspace,
            samples.traj,
            shape,
            ramp_exponent,
            part=shared_parts(counts, samples.traj.norm(dim=-1), max(shape))[i],
        )
        for i, samples in enumerate(newest_first)
    ]
    return replace(
        frame,
        coil_images=torch.stack([part.coil_images for part in parts]).sum(0),
        kernel=torch.stack([part.kernel for part in parts]).sum(0),
        strength=sum(part.strength for part in parts),
    )
