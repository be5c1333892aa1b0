"""What a scan has taught about a slice, for the next scan of the same slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inr_core.errors import DataError


@dataclass(frozen=True)
class Learnt:
    """The state of a slice at the end of a scan, as far as another scan can begin with it.

    Attributes
    ----------
    compression : (virtual coils, coils) complex64
        Rows of the coil compression; the maps are those of its virtual coils.
    csm : (virtual coils, ny, nx) complex64
        Receive maps.
    average : (virtual coils, ny, nx) complex64
        Mean of the frames' gridded coil images.
    n_averaged
        Frames that the mean counts for.
    image : (ny, nx) complex64
        The last image; None of methods that do not look back.
    level
        Usual residual of a prediction (:class:`inr_core.solvers.expectation.Expectation`); None if unknown.
    field
        Weights of the field at the last frame, in its own order and units of ``field_scale``; empty without a field.
    field_scale
        What the field's images are multiplied by.
    """

    compression: Tensor
    csm: Tensor
    average: Tensor
    n_averaged: int
    image: Tensor | None = None
    level: float | None = None
    field: tuple[Tensor, ...] = ()
    field_scale: float = 1.0

    @property
    def n_coils(self) -> int:
        """Coils that the compression takes."""
        return int(self.compression.shape[1])

    def check(self, shape: tuple[int, int], n_virtual: int) -> None:
        """Refuse what does not fit a slice.

        Parameters
        ----------
        shape
            (ny, nx) of the images.
        n_virtual
            Virtual coils that are wanted, if there are as many coils.

        Raises
        ------
        DataError
            For another matrix or other virtual coils, tensors that do not fit together, or values that are not finite.
        """
        found = tuple(self.csm.shape[1:])
        if found != shape:
            raise DataError(f"a state of {found[::-1]} pixels", f"{shape[::-1]}")
        wanted = min(n_virtual, self.n_coils)
        if len(self.compression) != wanted:
            raise DataError(f"a state of {len(self.compression)} virtual coils", f"{wanted} (recon.virtual_coils)")
        images = () if self.image is None else (self.image,)
        expected = (wanted, *shape)
        fits = self.csm.shape == self.average.shape == expected and all(image.shape == shape for image in images)
        tensors = (self.compression, self.csm, self.average, *images, *self.field)
        if not fits or self.n_averaged < 1 or not all(bool(torch.isfinite(part).all()) for part in tensors):
            raise DataError("a state whose parts do not fit together, or are not finite", "one that this program wrote")

    def to(self, device: torch.device) -> Learnt:
        """The same on a device."""
        return replace(
            self,
            compression=self.compression.to(device),
            csm=self.csm.to(device),
            average=self.average.to(device),
            image=None if self.image is None else self.image.to(device),
            field=tuple(part.to(device) for part in self.field),
        )
