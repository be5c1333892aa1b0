"""Frames that are solved together: for want of time for each, or of data for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inr_core.operators.toeplitz import Product, ToeplitzGram, sum_of_kernels, weighted_sum
from inr_core.solvers.frames import MeasuredFrame

_AHEAD_WEIGHT = 0.4  # of the data of the frame after those whose images are made
_GOES_ON = 0.35  # part of a change that the frame after it is expected to add
_EASING = 0.75  # power of the time by which images between change: what few spokes say of a change lags behind it


@dataclass
class JointFrames(MeasuredFrame):
    """Frames whose images change from a prediction p as x_i = p + a_i c, as one frame of change c.

    What the data of all say of c, with weights w_i of the frames, is

        sum w_i a_i (b_i - G_i p) - (sum w_i a_i^2 G_i) c

    so that the work on them is that on a single frame. There are two kinds: :meth:`of` frames for whose images there is
    no time one by one, and :meth:`ahead`, a frame and what the one after it says of it.

    Attributes
    ----------
    coil_images
        sum w_i a_i of the frames'.
    kernel
        sum w_i a_i^2 of theirs, what c meets; strength, noise and spokes likewise.
    prediction_kernel : (1, 4, ny, nx)
        sum w_i a_i of theirs, what p meets; the same tensor as the kernel where all a_i are 1.
    parts
        The frames whose images it gives, in order.
    shares
        a_i of these.
    """

    prediction_kernel: Tensor | None = None
    parts: tuple[MeasuredFrame, ...] = ()
    shares: tuple[float, ...] = ()

    @classmethod
    def of(cls, frames: Sequence[MeasuredFrame]) -> JointFrames:
        """Frames that change evenly one after the other, a_i = i / m for i = 1 .. m; the last one's image is p + c."""
        shares = tuple(i / len(frames) for i in range(1, len(frames) + 1))
        return cls._joined(frames, shares)

    @classmethod
    def ahead(cls, frames: Sequence[MeasuredFrame], following: MeasuredFrame) -> JointFrames:
        """A frame, whose image is p + c, and the one after it, by which its change is expected to go on a little.

        Few spokes say less of a change than it takes to tell it from their streaks: a live image of 5 spokes shows six
        tenths of it. Twice the spokes of twice the time, of which those of the frame itself count more, have no such
        lag. Measured on a real cine: 5 spokes + 1.1 dB, 8 + 0.6, 10 + 0.4, 13 none.

        Of several frames the last one's image is p + c, and those before it have a part of the change: twice the frames
        for the same work, for 0.7 dB.
        """
        shares = tuple((i / len(frames)) ** _EASING for i in range(1, len(frames) + 1))
        return cls._joined(frames, shares, (1 + _GOES_ON, _AHEAD_WEIGHT, following))

    @classmethod
    def _joined(
        cls, parts: Sequence[MeasuredFrame], shares: tuple[float, ...], *more: tuple[float, float, MeasuredFrame]
    ) -> JointFrames:
        """Of parts, which have a weight of 1, and others as (a_i, w_i, frame)."""
        frames = [*((a, 1.0, part) for a, part in zip(shares, parts, strict=True)), *more]
        kernels = [frame.kernel for *_, frame in frames]
        once, twice = [w * a for a, w, _ in frames], [w * a * a for a, w, _ in frames]
        kernel = sum_of_kernels(twice, kernels)
        return cls(
            index=parts[-1].index,
            coil_images=weighted_sum(once, [frame.coil_images for *_, frame in frames]),
            kernel=kernel,
            n_spokes=max(1, round(sum(w * a * a * frame.n_spokes for a, w, frame in frames))),
            strength=sum(w * a * a * frame.strength for a, w, frame in frames),
            noise=sum((w * a) ** 2 * frame.noise for a, w, frame in frames),
            prediction_kernel=kernel if once == twice else sum_of_kernels(once, kernels),
            parts=tuple(parts),
            shares=shares,
        )

    def with_past(self, past: MeasuredFrame, weight: float) -> JointFrames:
        """These frames, and an earlier one whose image is taken to be p + c, too: its a is 1, its w ``weight``.

        The acceleration stays that of the frames themselves.
        """
        weights, same = (1.0, weight), self.prediction_kernel is self.kernel
        kernel = sum_of_kernels(weights, (self.kernel, past.kernel))
        return replace(
            self,
            coil_images=torch.add(self.coil_images, past.coil_images, alpha=weight),
            kernel=kernel,
            strength=self.strength + weight * past.strength,
            noise=self.noise + weight**2 * past.noise,
            prediction_kernel=kernel if same else sum_of_kernels(weights, (self._met_by_prediction, past.kernel)),
        )

    @property
    def _met_by_prediction(self) -> Tensor:
        if self.prediction_kernel is None:
            raise RuntimeError("joint frames are made by JointFrames.of or ahead")
        return self.prediction_kernel

    def gram(self, csm: Tensor) -> ToeplitzGram:
        """What a prediction meets."""
        return ToeplitzGram(self._met_by_prediction, csm)

    def products(self, csm: Tensor, prediction: Tensor, change: Tensor | None = None) -> list[Product]:
        """As of a frame; a prediction and a change do not meet the same kernel, unless all images are p + c."""
        if self.prediction_kernel is self.kernel:
            return super().products(csm, prediction, change)
        gram = self.gram(csm)
        return [(gram, prediction), *([] if change is None else [(gram.with_kernel(self.kernel), change)])]

    def images(self, prediction: Tensor, last: Tensor) -> list[Tensor]:
        """Those of its parts, (ny, nx), given the prediction of them and the image of the last."""
        change = last - prediction
        return [torch.add(prediction, change, alpha=a) for a in self.shares]
