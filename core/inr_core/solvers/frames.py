"""The measured frames that a live reconstruction keeps, and no more of them than it was allowed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inr_core.density import ramp_density, tempered
from inr_core.errors import DataError
from inr_core.operators.nufft import Nufft
from inr_core.operators.toeplitz import Product, ToeplitzGram, toeplitz_kernel
from inr_core.solvers.noise_level import noise_variance


def density_weights(traj: Tensor, shape: tuple[int, int], ramp_exponent: float = 1.0) -> Tensor:
    """W of a frame's samples, (spokes, samples) on the host; arguments as of :meth:`MeasuredFrame.from_samples`."""
    return torch.from_numpy(tempered(ramp_density(traj.cpu().numpy(), shape[::-1]), ramp_exponent))


@dataclass
class MeasuredFrame:
    """One frame after coil compression: what its data say, in the form that the solvers use.

    Attributes
    ----------
    index
        Number of the frame since the scan's first.
    coil_images : (coils, ny, nx) complex64
        F^H W y of each virtual coil. With the kernel it holds all that data consistency needs of the samples,
        whatever receive maps are used later, and is smaller than they are once a frame has more than nx ny samples.
    kernel : (1, 4, ny, nx) float32
        Of F^H W F.
    n_spokes
        That were measured.
    strength
        Mean over the image of the gram's diagonal, which is that of the kernel: what a regularisation weight is
        relative to. On the host, where asking for it does not wait for the device.
    noise
        Variance of the noise in a pixel of a coil image, E|n|^2.
    """

    index: int
    coil_images: Tensor
    kernel: Tensor
    n_spokes: int
    strength: float
    noise: float = 0.0

    @classmethod
    def from_samples(
        cls,
        index: int,
        kspace: Tensor,
        traj: Tensor,
        shape: tuple[int, int],
        ramp_exponent: float = 1.0,
        *,
        part: Tensor | None = None,
    ) -> MeasuredFrame:
        """Grid a frame.

        Parameters
        ----------
        index
            Number of the frame.
        kspace : (coils, spokes, samples) complex64
        traj : (spokes, samples, 2) float32
            (kx, ky) in cycles per pixel; on the host, unless it is to wait for the device.
        shape
            (ny, nx) of the image.
        ramp_exponent
            Power of the ramp in the weights W of the data: 1 converges fastest, 0 weights all samples as least squares
            does; in between the noise of the periphery is held back.
        part : (spokes, samples)
            Factor on the weights, for a frame that others share in; 1 if None.
        """
        if kspace.ndim != 3 or tuple(traj.shape) != (*kspace.shape[1:], 2):
            raise DataError(
                f"k-space {tuple(kspace.shape)} with a trajectory {tuple(traj.shape)}",
                "(coils, spokes, samples) and (spokes, samples, 2)",
            )
        on_host = density_weights(traj, shape, ramp_exponent)
        if part is not None:
            on_host = on_host * part.to(on_host.device)
        # The mean of a transform is its input at zero: the sum of the weights.
        numbers, n_pixels = on_host.numpy(), shape[0] * shape[1]
        strength = float(numbers.sum(dtype=np.float64)) / n_pixels
        noise = noise_variance(kspace, traj, shape) * float(np.square(numbers).sum(dtype=np.float64)) / n_pixels
        weights, points = on_host[None].to(kspace.device), traj[None].to(kspace.device)
        kernel = toeplitz_kernel(points, weights, shape)
        images = Nufft(points, shape).adjoint((weights * kspace)[None])[0]
        return cls(index, images, kernel, len(traj), strength, noise)

    def right_side(self, csm: Tensor, first: int = 0) -> Tensor:
        """(ny, nx): b = S^H F^H W y, what data consistency pulls towards; of as many coils as maps.

        Parameters
        ----------
        csm : (coils, ny, nx)
            Their receive maps.
        first
            The first of them.
        """
        right: Tensor = torch.linalg.vecdot(csm, self.coil_images[first : first + len(csm)], dim=0)
        return right

    def gram(self, csm: Tensor) -> ToeplitzGram:
        """S^H F^H W F S of this frame."""
        return ToeplitzGram(self.kernel, csm)

    def products(self, csm: Tensor, prediction: Tensor, change: Tensor | None = None) -> list[Product]:
        """Grams and images, one or two, whose products explain :meth:`right_side` by a prediction and a change of it.

        All are (ny, nx); where there are two, the first is the prediction's.
        """
        return [(self.gram(csm), prediction if change is None else prediction + change)]

    @property
    def parts(self) -> tuple[MeasuredFrame, ...]:
        """The frames whose images it gives, in order: itself."""
        return (self,)

    @property
    def acceleration(self) -> float:
        """Matrix over spokes, as the field counts it: 128 x 128 from 13 spokes is 9.8."""
        ny, nx = self.coil_images.shape[-2:]
        return float((ny * nx) ** 0.5 / self.n_spokes)


class FrameHistory:
    """The last frames of the scan, at most ``limit``.

    Parameters
    ----------
    limit
        Frames that are kept; older ones are forgotten one by one as new ones come.
    """

    def __init__(self, limit: int) -> None:
        self._frames: deque[MeasuredFrame] = deque(maxlen=limit)

    def append(self, frame: MeasuredFrame) -> None:
        """Add the newest frame; its index must follow the last one's."""
        if self._frames and frame.index != self._frames[-1].index + 1:
            raise DataError(f"frame {frame.index} after frame {self._frames[-1].index}", "frames in order")
        self._frames.append(frame)

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[MeasuredFrame]:
        return iter(self._frames)

    def __getitem__(self, position: int) -> MeasuredFrame:
        """The frame at a position among those that are kept; -1 is the newest."""
        return self._frames[position]

    @property
    def first(self) -> int:
        """Index of the oldest frame that is kept."""
        return self._frames[0].index

    @property
    def limit(self) -> int:
        """Frames that are kept at most."""
        return int(self._frames.maxlen or 0)

    @property
    def strength(self) -> float:
        """Mean of the diagonal of the frames' grams: :meth:`right_sides` over it are the gridded images."""
        return sum(frame.strength for frame in self._frames) / len(self._frames)

    @property
    def noise(self) -> float:
        """Variance of the noise in a pixel of a frame's coil image, on average."""
        return sum(frame.noise for frame in self._frames) / len(self._frames)

    def right_sides(self, csm: Tensor) -> Tensor:
        """(frames, ny, nx): S^H F^H W y of every frame, in the data's units."""
        return torch.stack([frame.right_side(csm) for frame in self._frames])

    def window(self, start: int, length: int) -> list[MeasuredFrame]:
        """Frames ``start`` .. ``start + length - 1`` (indices)."""
        return [self._frames[i - self.first] for i in range(start, start + length)]


def check_signal(largest: float, strength: float) -> None:
    """Refuse images of that maximum magnitude, from data whose gram is of that strength, if there is nothing in them.

    Raises
    ------
    DataError
        If the data hold no signal, or samples that are not finite.
    """
    if not (math.isfinite(largest) and largest > 0 and math.isfinite(strength) and strength > 0):
        raise DataError(
            f"images of maximum {largest:g} from data of weight {strength:g}", "a signal", "check the receivers"
        )
