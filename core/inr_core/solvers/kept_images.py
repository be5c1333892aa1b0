"""The images of the last frames while receive maps get better."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from inr_core.coils import recombine


class KeptImages:
    """Live images, each combined by the maps of its time, and given as the newest maps combine them.

    What new maps do to an image is a factor on each pixel (:func:`~inr_core.coils.recombine`), the same for all images
    of the same maps. It is kept for each change of the maps, and applied when images are asked for: a running scan does
    not wait for hundreds of images at a time.

    Parameters
    ----------
    limit
        Images that are kept at most; older ones are forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._images: deque[tuple[int, Tensor]] = deque(maxlen=limit)  # with the number of changes before it
        self._changes: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def append(self, image: Tensor) -> None:
        """Keep the newest image, (ny, nx)."""
        self._images.append((len(self._changes), image))

    def maps_changed(self, before: Tensor, after: Tensor) -> None:
        """Receive maps (coils, ny, nx) were replaced."""
        ones = torch.ones(before.shape[1:], dtype=before.dtype, device=before.device)
        self._changes.append(recombine(ones, before, after))

    def __getitem__(self, position: int) -> Tensor:
        """(ny, nx): the image at a position among those that are kept; -1 is the newest."""
        made, image = self._images[position]
        for change in self._changes[made:]:
            image = change * image
        return image

    def stack(self) -> Tensor:
        """(images, ny, nx), the oldest first."""
        return torch.stack([self[position] for position in range(len(self))])
