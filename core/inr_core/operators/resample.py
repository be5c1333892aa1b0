"""Images on a finer matrix of the same field of view, without detail that the coarser one did not have."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.errors import DataError


def zero_fill(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Band-limited interpolation: the spectrum with zeros around it. Pixel n // 2 is the centre of either matrix.

    Parameters
    ----------
    images : (n, ny, nx) complex
    shape
        (ny, nx) of the result, nowhere less than that of the images.

    Raises
    ------
    DataError
        For a coarser shape.
    """
    old = (int(images.shape[1]), int(images.shape[2]))
    if shape == old:
        return images
    if shape[0] < old[0] or shape[1] < old[1]:
        raise DataError(f"images of {old} pixels for {shape}", "at least as many")
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(images, dim=(1, 2))), dim=(1, 2))
    filled = spectrum.new_zeros(len(images), *shape)
    # Frequency zero is entry n // 2.
    y, x = (new // 2 - n // 2 for new, n in zip(shape, old, strict=True))
    filled[:, y : y + old[0], x : x + old[1]] = spectrum
    finer: Tensor = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(filled, dim=(1, 2))), dim=(1, 2))
    return finer * (shape[0] * shape[1] / (old[0] * old[1]))
