"""What may have happened since the last frame: small motion, and changes where changes are expected."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.fields.coordinates import interpolation_matrix, lattice_cells
from inr_core.operators.linear_operator import LinearOperator
from inr_core.solvers.compiled_lattices import Lattices
from inr_core.solvers.optical_flow import difference

SPACINGS = (16, 8, 4)
"""Pixels between the nodes of a displacement field, a level each: a whole wall of the heart, and a few pixels of it."""


class SmoothDisplacement(LinearOperator):
    """Displacements (u, v) on every pixel from those at the nodes of coarse lattices, summed over the levels.

    A node's weight falls with the root of its level's spacing: with equal weights the coarsest level, each node of
    which moves hundreds of pixels, would have eigenvalues so large that a few conjugate gradients find nothing else.

    Parameters
    ----------
    shape
        (ny, nx) of the image.
    device
        Where tensors live.
    spacings
        Pixels between nodes, a level each.

    Attributes
    ----------
    lattices
        The same, as compiled solvers take it.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device, spacings: tuple[int, ...] = SPACINGS) -> None:
        self.shape = shape
        along_y, along_x = [], []
        for spacing in spacings:
            to_y, to_x = (interpolation_matrix(n, n, lattice_cells(n, spacing)) for n in shape)
            along_y.append((SPACINGS[1] / spacing) ** 0.5 * to_y)
            along_x.append(to_x)
        self.lattices = Lattices.of(along_y, along_x)
        # All levels side by side: one product along y, the longer one, does for all of them.
        self._along_y = torch.cat(along_y, 1).to(device)
        self._along_x = [x.to(device) for x in along_x]
        self._rows = [y.shape[1] for y in along_y]
        self._sizes = [2 * rows * x.shape[1] for rows, x in zip(self._rows, self._along_x, strict=True)]

    @property
    def n_nodes(self) -> int:
        """Numbers that it takes: two for each node."""
        return sum(self._sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(nodes,) real -> (2, ny, nx)."""
        parts: tuple[Tensor, ...] = x.split(self._sizes)  # type: ignore[no-untyped-call]
        levels = zip(parts, self._rows, self._along_x, strict=True)
        return self._along_y @ torch.cat([nodes.view(2, rows, -1) @ along_x.T for nodes, rows, along_x in levels], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        """(2, ny, nx) real -> (nodes,)."""
        parts: tuple[Tensor, ...] = (self._along_y.T @ y).split(self._rows, 1)  # type: ignore[no-untyped-call]
        return torch.cat([(rows @ along_x).flatten() for rows, along_x in zip(parts, self._along_x, strict=True)])


class ChangeModel(LinearOperator):
    """A frame's change since its prediction p, linear in few or likely numbers:

        x - p = D e^(i arg m) (a + i q b) + s (u d_x m + v d_y m)

    a + i b is a number for each pixel, free where the deviation D is large: a makes it brighter or darker and b turns
    its phase, which seldom happens (q < 1 says so). (u, v) is a smooth displacement, d_x m and d_y m the slopes of the
    image. Without the second part a wall that moves by a pixel is two thousand independent changes,
    of which a dozen spokes find a part; with it, it is a handful. It is Horn and Schunck's brightness constancy (doi
    10.1016/0004-3702(81)90024-2) turned round: given the image, it says what moving does to it.

    It acts on one real vector that holds a and b, pixel by pixel, and then the displacement's nodes, so that any
    solver for vectors can be used.

    Parameters
    ----------
    deviation : (ny, nx)
        D, real and positive.
    image : (ny, nx) complex
        m, whose slopes and phase are taken.
    displacement
        From nodes to (u, v); None for a change of pixels alone.
    strength
        s: pixels that a node of unit weight may move, in units of the deviation: the weight of |nodes|^2 is that of
        a^2 + b^2.
    quadrature
        q: how far the phase may change where the brightness may by one.
    """

    def __init__(
        self,
        deviation: Tensor,
        image: Tensor,
        displacement: SmoothDisplacement | None,
        strength: float,
        quadrature: float = 1.0,
    ) -> None:
        shape = tuple(image.shape) if displacement is None else displacement.shape
        if not (tuple(image.shape) == tuple(deviation.shape) == shape):
            raise DataError(
                f"an image {tuple(image.shape)} and a deviation {tuple(deviation.shape)}",
                f"(ny, nx) = {shape} of the displacement",
            )
        self._displacement = displacement
        phase = torch.where(image == 0, 1, image.sgn())  # a pixel without a phase changes like any other
        self._turned = deviation * phase
        self._sizes = torch.tensor([1.0, quadrature], dtype=deviation.dtype, device=deviation.device)
        self._slopes = strength * torch.stack([difference(image, -1), difference(image, -2)])
        self._n_free = 2 * image.numel()

    @property
    def n_numbers(self) -> int:
        """Length of the vector."""
        return self._n_free + (0 if self._displacement is None else self._displacement.n_nodes)

    def forward(self, x: Tensor) -> Tensor:
        """(numbers,) real -> (ny, nx) complex."""
        each = self._turned * torch.view_as_complex(x[: self._n_free].view(*self._turned.shape, 2) * self._sizes)
        return each if self._displacement is None else each.add_(self._moved(self._displacement, self.nodes_of(x)))

    def adjoint(self, y: Tensor) -> Tensor:
        """(ny, nx) complex -> (numbers,) real: the adjoint in the real inner product."""
        each = (torch.view_as_real(self._turned.conj() * y) * self._sizes).flatten()
        if self._displacement is None:
            return each
        return torch.cat([each, self._displacement.adjoint((y.conj() * self._slopes).real)])

    def nodes_of(self, x: Tensor) -> Tensor:
        """(numbers,) -> (nodes,): those of the displacement."""
        return x[self._n_free :]

    def numbers_with(self, nodes: Tensor | None, change: Tensor) -> Tensor:
        """(numbers,): the vector with these nodes, if there are any, whose change is ``change``, (ny, nx)."""
        if self._displacement is not None and nodes is not None:
            change = change - self._moved(self._displacement, nodes)
        free = (torch.view_as_real(change / self._turned) / self._sizes).flatten()
        return free if nodes is None else torch.cat([free, nodes])

    def _moved(self, displacement: SmoothDisplacement, nodes: Tensor) -> Tensor:
        return (displacement.forward(nodes) * self._slopes).sum(0)
