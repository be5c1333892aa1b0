"""What data may say of a prediction, made by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.solvers.change_solver import Outlook
from inr_core.solvers.frames import MeasuredFrame


def seen_of(prediction: Tensor, missing: Tensor | None = None, n_spokes: int = 5) -> Outlook:
    """A frame of one uniform coil whose prediction (ny, nx) leaves ``missing`` of the data; nothing if None."""
    ny, nx = prediction.shape
    missing = torch.zeros_like(prediction) if missing is None else missing
    frame = MeasuredFrame(0, (prediction + missing)[None], torch.ones(1, 4, ny, nx), n_spokes, strength=1.0)
    scale = max(float(prediction.abs().max()), 1e-30)
    return Outlook(frame, torch.ones(1, ny, nx), prediction, prediction + missing, missing, scale, 0.0)
