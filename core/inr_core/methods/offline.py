"""Methods that see all frames at once: the scan is collected, and its series computed when it has ended."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import ClassVar

import torch
from torch import Tensor

from inr_core.methods.live import RefinedSeries
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.parameters.offline import OfflineParameters
from inr_core.solvers.control import Control
from inr_core.solvers.slice_data import FrameSamples, SliceData


class OfflineMethod(PredictedCg):
    """Collects the frames; live images are those of :class:`PredictedCg`.

    A method is a subclass with :meth:`solve`, which names its ingredients.

    Class attributes
    ----------------
    keeps_samples
        Whether the method needs the samples beside the gridded frames.
    """

    keeps_samples: ClassVar[bool] = False

    def __init__(self, shape: tuple[int, int], parameters: OfflineParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self._samples: deque[FrameSamples] = deque(maxlen=parameters.history_frames)

    def _keep_samples(self, kspace: Tensor, traj: Tensor) -> None:
        if self.keeps_samples:
            self._samples.append(FrameSamples(kspace, traj))

    def refine(self, control: Control | None = None) -> RefinedSeries | None:
        """The series of all frames that are kept; None without a frame."""
        self._finish()
        if self.calibration.csm is None:
            return None
        data = SliceData(
            self.shape, self.calibration.csm, self.history, tuple(self._samples), self._measurement.ramp_exponent
        )
        series = self.solve(data, control or Control())
        self.steps += series.steps
        return series

    @abstractmethod
    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """The series from the data, at the times and in the shape of ``self.query``, in the data's units."""
