"""A capped multi-resolution grid in space and time, decoded by a small network: the field of the live method."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.errors import ParameterError
from inr_core.fields.coordinates import interpolation_matrix, lattice_cells
from inr_core.fields.weights import Rows, Weights

GradientOf = Callable[[Tensor], Tensor]

_BLOCK = 64  # frames by which the time axis grows and is cut; a multiple of every level's step


@dataclass(frozen=True)
class Level:
    """One resolution: nodes ``pixels`` apart in space and ``frames`` apart in time, linear in between."""

    pixels: int
    frames: int


LEVELS = (Level(16, 8), Level(8, 4), Level(4, 2), Level(2, 1), Level(1, 1))
"""From coarse to the pixel itself, and no finer: a level beyond the resolution gives every pixel weights of its own
that no neighbour shares, and the prior is gone."""


class GridField:
    """Image x(y, x, t) = MLP(features), the features interpolated linearly from dense grids of several resolutions.

    Because the pixels are on a lattice, linear interpolation is a product of one small matrix along each axis: no
    gathering and scattering of corners, forward or backward. Time is counted in frames from the scan's first and never
    renormalised, so frames that have been learnt stay where they are when the scan goes on: new nodes begin as copies
    of the last.

    Parameters
    ----------
    shape
        (ny, nx) of the frames that it is trained on.
    features
        Features of each level.
    hidden, layers
        Width and number of the hidden ReLU layers.
    levels
        Resolutions; every ``frames`` must divide 64.
    seed
        Of the initial weights.

    References
    ----------
    The encoding of Instant-NGP (Mueller et al., doi 10.1145/3528223.3530127) as used for dynamic MRI by
    Feng et al. (doi 10.1109/TMI.2025.3526452), but dense, anisotropic in time and capped at the pixel.

    Raises
    ------
    ParameterError
        For a size below one, or a level whose step in time does not divide 64.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        features: int = 4,
        hidden: int = 32,
        layers: int = 2,
        levels: tuple[Level, ...] = LEVELS,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        if min(*shape, features, hidden, layers) < 1:
            raise ParameterError(
                f"a field of {shape} pixels, {features} features, {layers} x {hidden}", "sizes of at least 1"
            )
        if any(_BLOCK % level.frames for level in levels):
            raise ParameterError(f"levels {levels}", f"steps in time that divide {_BLOCK}")
        self.shape, self.levels, self.features, self.device = shape, levels, features, torch.device(device)
        self.first_frame, self.n_frames = 0, 1
        generator = torch.Generator().manual_seed(seed)
        self.grids = [self._new_grid(level, generator) for level in levels]
        widths = [features * len(levels), *[hidden] * layers, 2]
        self.layers = [
            (self._new_matrix(n_out, n_in, generator), Weights(torch.zeros(n_out, 1, device=self.device)))
            for n_in, n_out in itertools.pairwise(widths)
        ]
        self._interpolations: dict[tuple[int, int], list[Tensor | None]] = {}

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Frames there is room for without growing."""
        return int(self.grids[-1].value.shape[0] - 1) * self.levels[-1].frames

    def extend(self, n_frames: int, keep: int) -> None:
        """Make the field reach to ``n_frames`` frames since the scan's first; nodes for new frames copy the last.

        At least the last ``keep`` frames are kept; older ones are forgotten, whole blocks of 64 at a time, when the
        room is needed: memory does not grow with the scan beyond ``keep`` + 128 frames.
        """
        while n_frames - self.first_frame > self.capacity:
            if n_frames - self.first_frame - _BLOCK >= max(keep, 1):
                self._forget_block()
            else:
                for weights, level in zip(self.grids, self.levels, strict=True):
                    weights.grow(_BLOCK // level.frames)
        for weights, level in zip(self.grids, self.levels, strict=True):
            old, new = (self._last_node(n, level) for n in (self.n_frames, n_frames))
            weights.value[old + 1 : new + 1] = weights.value[old]
        self.n_frames = max(self.n_frames, n_frames)

    def _forget_block(self) -> None:
        for weights, level in zip(self.grids, self.levels, strict=True):
            weights.drop(_BLOCK // level.frames)
        self.first_frame += _BLOCK
        self.n_frames = max(self.n_frames, self.first_frame + 1)

    def _last_node(self, n_frames: int, level: Level) -> int:
        """The last node that a field of ``n_frames`` frames uses."""
        last = n_frames - 1 - self.first_frame
        return -(-last // level.frames)

    # -- values -------------------------------------------------------------------------------------------------------

    def __call__(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Images at ``times``, without a gradient.

        Parameters
        ----------
        times : (n,) float or integer
            Frames since the scan's first; fractions lie between frames.
        shape
            (ny, nx) of the images; the training shape if None. Another samples the same field of view more finely.

        Returns
        -------
        (n, ny, nx) complex64
        """
        touched = self.touched(times)
        with torch.no_grad():
            return self._render(
                [w.value[rows] for w, rows in touched], self._between_there(times, touched), shape or self.shape
            )

    def weights_at(self, time: int) -> tuple[Tensor, ...]:
        """What a field that knows one frame alone would need of this one: a node for each level, then the layers."""
        touched = self.touched(torch.tensor([time]))
        levels = zip(self._between_there(torch.tensor([time]), touched), touched, strict=False)
        nodes = [torch.tensordot(weight, grid.value[rows], 1) for weight, (grid, rows) in levels]
        return *nodes, *(part.value.clone() for layer in self.layers for part in layer)

    def begin_with(self, weights: tuple[Tensor, ...]) -> None:
        """Make frame 0 that of another field, given its :meth:`weights_at`; the shapes must be the same."""
        parts = [part for layer in self.layers for part in layer]
        for grid, value in zip(self.grids, weights, strict=False):
            grid.value[:1] = value
        for part, value in zip(parts, weights[len(self.grids) :], strict=True):
            part.value.copy_(value)

    def touched(self, times: Tensor) -> list[Rows]:
        """The weights that the images at ``times`` depend on: nodes of each level, then the layers."""
        low, high = float(times.min()) - self.first_frame, float(times.max()) - self.first_frame
        nodes = [slice(int(low // level.frames), int(-(-high // level.frames)) + 1) for level in self.levels]
        return self._with_layers(nodes)

    def touched_by_window(self, first: int, length: int) -> list[Rows]:
        """The same for consecutive frames, in sizes that do not depend on where they begin.

        Of levels coarser than a frame there may be nodes too many: no frame looks at those, their gradient is zero.
        """
        nodes = []
        for grid, level in zip(self.grids, self.levels, strict=True):
            n_nodes = len(grid.value)
            most = min(-(-(length + level.frames - 2) // level.frames) + 1, n_nodes)
            low = min((first - self.first_frame) // level.frames, n_nodes - most)
            nodes.append(slice(low, low + most))
        return self._with_layers(nodes)

    def between(self, times: Tensor, touched: list[Rows]) -> list[Tensor]:
        """(times, nodes touched) for each level, on the host: linear interpolation in time."""
        elapsed = (times.to(torch.float32) - self.first_frame)[:, None]
        return [
            (1 - (elapsed / level.frames - torch.arange(rows.start, rows.stop)).abs()).clamp_min(0)
            for level, (_, rows) in zip(self.levels, touched, strict=False)
        ]

    def _between_there(self, times: Tensor, touched: list[Rows]) -> list[Tensor]:
        """The same on the field's device, in one copy: a GPU is waited for at each."""
        between = self.between(times, touched)
        flat = torch.cat([weight.flatten() for weight in between]).to(self.device)
        parts = torch.split(flat, [weight.numel() for weight in between])
        return [part.reshape(weight.shape) for part, weight in zip(parts, between, strict=True)]

    def gradients(self, values: list[Tensor], between: list[Tensor], gradient_of: GradientOf) -> list[Tensor]:
        """Gradients of an objective of the images.

        Parameters
        ----------
        values
            The weights that were touched.
        between
            Interpolation in time, on the field's device.
        gradient_of
            Images (n, ny, nx) -> gradient of the objective with respect to them. It is called without a graph: the
            objective's own derivatives are closed forms, and only the field is differentiated automatically.

        Returns
        -------
        One tensor for each of ``values``.
        """
        leaves = [value.detach().requires_grad_() for value in values]
        with torch.enable_grad():
            images = self._render(leaves, between, self.shape)
        with torch.no_grad():
            upstream = gradient_of(images.detach())
        return list(torch.autograd.grad(images, leaves, upstream))

    def _render(self, values: list[Tensor], between: list[Tensor], shape: tuple[int, int]) -> Tensor:
        grids, parts = values[: len(self.levels)], values[len(self.levels) :]
        layers = list(zip(parts[::2], parts[1::2], strict=True))
        n_times, features = len(between[0]), []
        across = zip(grids, between, self._along(0, shape[0]), self._along(1, shape[1]), strict=True)
        for grid, weight, along_y, along_x in across:
            # grid: (nodes, features, cells y, cells x)
            fine = grid if along_x is None else grid @ along_x.T
            fine = fine if along_y is None else along_y @ fine
            flat = weight @ fine.reshape(fine.shape[0], -1)
            features.append(flat.reshape(n_times, self.features, -1))
        h = torch.cat(features, 1).transpose(0, 1).reshape(self.features * len(self.levels), -1)
        for i, (matrix, bias) in enumerate(layers):
            h = torch.addmm(bias, matrix, h)
            if i < len(layers) - 1:
                h = h.relu_()
        return torch.complex(h[0], h[1]).reshape(n_times, *shape)

    def _with_layers(self, nodes: list[slice]) -> list[Rows]:
        layers = [(part, slice(None)) for layer in self.layers for part in layer]
        return [*zip(self.grids, nodes, strict=True), *layers]

    # -- construction -------------------------------------------------------------------------------------------------

    def _new_grid(self, level: Level, generator: torch.Generator) -> Weights:
        cells = [lattice_cells(n, level.pixels) for n in self.shape]
        first = (torch.rand(1, self.features, *cells, generator=generator) - 0.5) * 2e-2
        grid = torch.zeros(_BLOCK // level.frames + 1, *first.shape[1:])
        grid[0] = first[0]
        return Weights(grid.to(self.device))

    def _new_matrix(self, n_out: int, n_in: int, generator: torch.Generator) -> Weights:
        bound = n_in**-0.5
        return Weights(((torch.rand(n_out, n_in, generator=generator) - 0.5) * 2 * bound).to(self.device))

    def _along(self, axis: int, n: int) -> list[Tensor | None]:
        """Interpolation to ``n`` positions along an axis of the image, a level each; None where it is the identity."""
        if (axis, n) not in self._interpolations:
            trained = self.shape[axis]
            cells = [lattice_cells(trained, level.pixels) for level in self.levels]
            self._interpolations[axis, n] = [
                None if n == trained == c else interpolation_matrix(n, trained, c).to(self.device) for c in cells
            ]
        return self._interpolations[axis, n]
