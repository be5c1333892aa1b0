"""What a scan's first frames settle: coil compression and receive maps, refreshed while data arrive."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial

import torch
from torch import Tensor

from inr_core.coils import SmoothMaps, compression_matrix
from inr_core.errors import DataError
from inr_core.lanes import beside
from inr_core.solvers.learnt import Learnt

_GROWTH = 1.6  # maps are refreshed at frames 1, 2, 3, 5, 8, 13 ..: when there is so much more data than last time

_COUNTED = 8  # frames of an earlier scan, whose coils may have been a little elsewhere


class Calibration:
    """Compression matrix of the first frame, and receive maps of the running time average.

    State: one image per virtual coil, the maps, the matrix; nothing that grows with the scan.

    Parameters
    ----------
    n_virtual
        Virtual coils.
    degree
        Of the maps' polynomials.
    last
        Frames after which the maps no longer change: by then the average is fully sampled, and a long scan should
        not pay for what does not get better.
    """

    def __init__(self, n_virtual: int, degree: int, last: int = 64) -> None:
        self.n_virtual, self.degree, self.last = n_virtual, degree, last
        self.matrix: Tensor | None = None
        self.csm: Tensor | None = None
        self._sum: Tensor | None = None
        self._maps: SmoothMaps | None = None
        self._fitted: Tensor | None = None
        self._fit: Future[Tensor] | None = None  # that is under way beside the frames
        self._frames, self._next = 0, 1

    @property
    def average(self) -> tuple[Tensor, int] | None:
        """Mean of the frames' coil images and the number of frames that it may count for; None before the first."""
        return None if self._sum is None else (self._sum / self._frames, min(self._frames, _COUNTED))

    def resume(self, learnt: Learnt) -> None:
        """Begin with the compression and the maps of an earlier scan; its frames count as the first of this one."""
        self.matrix, self.csm, self._fitted = learnt.compression, learnt.csm, learnt.csm
        self._frames = min(learnt.n_averaged, _COUNTED)
        self._sum = learnt.average * self._frames
        self._next = max(self._frames + 1, round(self._frames * _GROWTH))

    def rescale(self, factor: complex) -> None:
        """Take over another scan's units: its data are ``factor`` times those so far; the phase is the maps' own."""
        if self._sum is None or self.csm is None:
            raise RuntimeError("there is nothing to rescale before a frame")
        self._sum = self._sum * factor
        self.csm = self._fitted = self.csm * (factor / abs(factor))

    def compress(self, kspace: Tensor) -> Tensor:
        """(coils, spokes, samples) -> (virtual coils, spokes, samples); the first call fixes the matrix.

        Raises
        ------
        DataError
            If samples are not finite (one would spread to all later frames), or the number of coils has changed.
        """
        if not bool(torch.isfinite(kspace).all()):
            raise DataError("samples that are not finite", "finite samples", "leave those readouts out")
        if self.matrix is None:
            self.matrix = compression_matrix(kspace, self.n_virtual)
        if kspace.shape[0] != self.matrix.shape[1]:
            raise DataError(f"a frame of {kspace.shape[0]} coils", f"{self.matrix.shape[1]}, as in the first frame")
        self.matrix = self.matrix.to(kspace.device)  # that of an earlier scan is where the images are
        return torch.einsum("vc,csm->vsm", self.matrix, kspace)

    def update(self, coil_images: Tensor, *, at_once: bool = True) -> bool:
        """Take in a frame's coil images; True when the maps changed.

        Parameters
        ----------
        coil_images : (coils, ny, nx)
            Gridded.
        at_once
            Whether to wait for new maps where it is time for them; else they are fitted beside what follows, until
            :meth:`adopt` finds them ready.
        """
        if self._frames >= self.last:
            return False
        self._sum = coil_images.clone() if self._sum is None else self._sum.add_(coil_images)
        self._frames += 1
        if self._frames < self._next or self._fit is not None:
            return False
        self._next = max(self._frames + 1, round(self._frames * _GROWTH))
        if self._maps is None:
            shape = (int(coil_images.shape[1]), int(coil_images.shape[2]))
            self._maps = SmoothMaps(shape, self.degree, device=coil_images.device)
        if not at_once:
            self._fit = beside(partial(self._maps.fit, self._sum.clone(), self._fitted))  # frames go on being added
            return False
        self.csm = self._fitted = self._maps.fit(self._sum, self._fitted)
        return True

    def adopt(self, *, wait: bool) -> bool:
        """Take over maps that were fitted beside the frames, where they are ready or are waited for; True if so."""
        if self._fit is None or not (wait or self._fit.done()):
            return False
        fit, self._fit = self._fit, None
        self.csm = self._fitted = fit.result()
        return True
