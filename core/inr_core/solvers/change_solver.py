"""A frame's change from a prediction of it, found by conjugate gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.compiling import is_single_on_host
from inr_core.inner_products import norm
from inr_core.operators.toeplitz import ToeplitzGram, sum_of
from inr_core.parameters.live import LiveParameters
from inr_core.solvers import compiled_outlook
from inr_core.solvers.change_model import SmoothDisplacement
from inr_core.solvers.change_problem import ChangeProblem, change_problem
from inr_core.solvers.compiled_change import CompiledChange
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.noise_level import combined_variance

_CORNER = 3e-3  # of the image's maximum: differences in the plane below it are smoothed, larger ones may be edges
_TINY = 1e-30
_LEAST_SIGNAL = 0.01

Iterations = Callable[[], None]
"""The iterations of a part, to be done when it is called."""


@dataclass(frozen=True)
class Outlook:
    """A frame and what some of its coils say of a prediction.

    Attributes
    ----------
    frame
        The data.
    csm : (coils, ny, nx)
        Receive maps of as many of its coils as are used.
    prediction : (ny, nx)
        The image that is expected.
    right, missing : (ny, nx)
        What the data pull towards, S^H F^H W y, and what the prediction does not explain of it.
    scale
        Maximum of the prediction's magnitude.
    noise
        Variance of the noise in ``right``: what noise of a few coils leaves in an image that is combined from them.
    """

    frame: MeasuredFrame
    csm: Tensor
    prediction: Tensor
    right: Tensor
    missing: Tensor
    scale: float
    noise: float


class Found(NamedTuple):
    """A change, (ny, nx), the nodes of the displacement that is a part of it, and g lambda."""

    change: Tensor
    nodes: Tensor
    weight: float


def _done(iterations: Iterations) -> None:
    iterations()


class ChangeSolver:
    """Finds the change c of a frame from its prediction p:

        argmin  1/2 |W^1/2 (A (p + c) - y)|^2  +  sigma |grad (p + c)|_1  +  g lambda/2 |numbers of c|^2

    over the numbers of a :class:`ChangeModel`: changes are free where they are expected, those of brightness more than
    those of phase, and whatever is smooth motion costs next to nothing. The modulus of the gradient is replaced by the
    parabola that touches it at the last image. lambda is no constant of the scan,

        lambda = lambda_0 + n v / (|S^H F^H W (y - F S p)|^2 - v)

    with v the noise's part of the mean square that the prediction leaves of the gridded data: the noisier a frame, and
    the less it differs, the more the prediction counts; sigma grows with the noise, too.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    parameters
        Weights.
    device
        Where tensors live.
    noise_weight
        n; the parameters' if None.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        parameters: LiveParameters,
        device: torch.device,
        noise_weight: float | None = None,
    ) -> None:
        self.parameters = parameters
        self._noise_weight = parameters.noise_weight if noise_weight is None else noise_weight
        self._displacement = SmoothDisplacement(shape, device)

    def first(
        self,
        data: Outlook,
        kernel: Tensor,
        deviation: Tensor,
        iterations: int,
        timed: Callable[[Iterations], None] = _done,
    ) -> Found:
        """The change by so many iterations.

        Parameters
        ----------
        data
            What the data say of the prediction.
        kernel : (1, 4, ny, nx)
            The frame's, see :func:`~inr_core.operators.toeplitz.toeplitz_kernel`; with more added to it, change is held
            back where that measured k-space.
        deviation : (ny, nx)
            Where changes are expected, real and positive.
        iterations
            At least one.
        timed
            Does the iterations.
        """
        weight, gram = self._weight(data), ToeplitzGram(kernel, data.csm)
        problem = self._problem(deviation, data.prediction, data)
        timed(lambda: problem.iterate(gram, weight, iterations))
        return Found(problem.change(), problem.nodes, weight)

    def second(
        self,
        few: Outlook,
        csm: Tensor,
        kernel: Tensor,
        deviation: Tensor,
        found: Found,
        iterations: int,
        timed: Callable[[Iterations], None] = _done,
    ) -> Tensor:
        """The change, (ny, nx), on more coils, ``csm``, from what :meth:`first` has found on a few.

        Slopes are those of the mean of both images, so that the motion is of second order. Other arguments as there.
        """
        prediction, change = few.prediction, found.change
        # Past k-space is trusted to hold what has been found, which spares a product with its kernel.
        data = outlook(few.frame, csm, prediction, few.scale, change, few)
        problem, gram = self._problem(deviation, prediction + 0.5 * change, data), ToeplitzGram(kernel, csm)
        problem.start_from(change, found.nodes, found.weight)
        timed(lambda: problem.iterate(gram, found.weight, iterations))
        return problem.change()

    def _problem(self, deviation: Tensor, image: Tensor, data: Outlook) -> ChangeProblem | CompiledChange:
        """That of the data, with the slopes of an image."""
        p = self.parameters
        weight = max(p.live_spatial * data.frame.strength * data.scale, p.live_spatial_noise * math.sqrt(data.noise))
        edges, strength = (weight, _CORNER * data.scale), p.motion_weight / data.scale
        images = deviation, image, data.prediction, data.missing
        return change_problem(*images, self._displacement, strength, p.phase_changes, edges)

    def _weight(self, data: Outlook) -> float:
        """G lambda, see the class."""
        noise, g, energy = data.noise, data.frame.strength, float(norm(data.missing)) ** 2 / data.missing.numel()
        share = noise / max(energy - noise, _LEAST_SIGNAL * energy)
        return g * (self.parameters.prior_weight + self._noise_weight * share)


def outlook(
    frame: MeasuredFrame,
    csm: Tensor,
    prediction: Tensor,
    scale: float | None = None,
    change: Tensor | None = None,
    known: Outlook | None = None,
) -> Outlook:
    """What a frame and some of its coils, those of ``csm``, say of a prediction, (ny, nx), or of that and a change.

    Parameters
    ----------
    frame, csm, prediction, change
        See :class:`Outlook`; the change is (ny, nx).
    scale
        The outlook's; that of the image if None.
    known
        What the first of these coils say of the same frame's prediction: where that has products of its own, they are
        not done again.
    """
    image = prediction if change is None else prediction + change
    products, first = frame.products(csm, prediction, change), 0
    if len(products) == 1 or (known is not None and len(known.csm) > len(csm)):
        known = None  # of one product the prediction's part cannot be told, nor of more coils that of fewer
    if known is not None:
        first, (gram, of_prediction) = len(known.csm), products.pop(0)
        if first < len(csm):
            products.append((ToeplitzGram(gram.kernel, csm[first:]), of_prediction))
    maps = csm[first:]
    if is_single_on_host(image):
        right, missing, largest, power = compiled_outlook.look(maps, frame.coil_images[first:], products, image)
        noise = frame.noise * power
    else:
        right = frame.right_side(maps, first)
        missing, largest = right - sum_of(products), float(image.abs().max()) if scale is None else scale
        noise = combined_variance(frame.noise, maps)
    if known is not None:
        right, missing, noise = right + known.right, missing + known.missing, noise + known.noise
    return Outlook(frame, csm, image, right, missing, max(largest, _TINY) if scale is None else scale, noise)
