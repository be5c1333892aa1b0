"""The least squares of a frame's change: what pulls on its numbers, and iterations of conjugate gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.compiling import is_single_on_host
from inr_core.errors import DataError
from inr_core.inner_products import squares
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers.change_model import ChangeModel, SmoothDisplacement
from inr_core.solvers.compiled_change import CompiledChange
from inr_core.solvers.conjugate_gradient import CgPoint, continue_from
from inr_core.solvers.variation import SpatialVariation

_PLANE = SpatialVariation()


class Edges:
    """The variation in the plane, by parabolas that touch its modulus at an image (ny, nx).

    Parameters
    ----------
    image
        Where they touch it.
    weight
        Of the variation.
    corner
        Differences below it are smoothed, larger ones may be edges.
    """

    def __init__(self, image: Tensor, weight: float, corner: float) -> None:
        self._stiffness = weight * (squares(_steps(image)).sum(0) + corner**2).rsqrt()

    def pull(self, image: Tensor) -> Tensor:
        """The gradient at an image; linear in it."""
        return _PLANE.adjoint(self._stiffness * _steps(image))[0]


def _steps(image: Tensor) -> Tensor:
    """(2, 1, ny, nx): differences of an image to the next pixel along x and y."""
    return _PLANE.forward(image[None])


class ChangeProblem:
    """The numbers z of a change c = M z that minimise, with the edges' parabolas Q,

        1/2 |W^1/2 A c|^2 - Re <missing, c>  +  1/2 <base + c, Q (base + c)>  +  weight/2 |z|^2

    where ``missing`` is what the data say that c does not, S^H F^H W (y - A base). They are zero to begin with.

    Parameters
    ----------
    model
        M
    edges
        Q
    base, missing : (ny, nx)
        Images.
    """

    def __init__(self, model: ChangeModel, edges: Edges, base: Tensor, missing: Tensor) -> None:
        self._model, self._edges = model, edges
        left = model.adjoint(missing - edges.pull(base))
        self._point = CgPoint(torch.zeros_like(left), left)

    def start_from(self, change: Tensor, nodes: Tensor | None, weight: float) -> None:
        """Begin with a change, (ny, nx), that ``base`` holds already, and with the nodes of its displacement."""
        numbers = self._model.numbers_with(nodes, change)
        self._point = CgPoint(numbers, self._point.residual - weight * numbers)

    def iterate(self, gram: ToeplitzGram, weight: float, iterations: int) -> None:
        """So many iterations; ``gram`` is A^H W A."""
        model, edges = self._model, self._edges

        def apply(numbers: Tensor) -> Tensor:
            change = model.forward(numbers)
            return model.adjoint(gram.forward(change[None])[0] + edges.pull(change)).add_(numbers, alpha=weight)

        self._point = continue_from(apply, self._point, iterations)

    def change(self) -> Tensor:
        """(ny, nx): of the numbers so far."""
        return self._model.forward(self._point.solution)

    @property
    def nodes(self) -> Tensor:
        """Of the displacement, (nodes,)."""
        return self._model.nodes_of(self._point.solution)


def change_problem(
    deviation: Tensor,
    image: Tensor,
    base: Tensor,
    missing: Tensor,
    displacement: SmoothDisplacement | None = None,
    strength: float = 0.0,
    quadrature: float = 1.0,
    edges: tuple[float, float] = (0.0, 1.0),
) -> ChangeProblem | CompiledChange:
    """The problem of a change, compiled where it can be.

    Parameters
    ----------
    deviation, image, displacement, strength, quadrature
        Of the :class:`~inr_core.solvers.change_model.ChangeModel`.
    base, missing
        Of the :class:`ChangeProblem`.
    edges
        Weight and corner of :class:`Edges` at ``base``.

    Raises
    ------
    DataError
        If shapes differ.
    """
    shapes = [tuple(one.shape) for one in (deviation, image, base, missing)]
    shape = displacement.shape if displacement is not None else shapes[1]
    if any(one != shape for one in shapes):
        raise DataError(f"a deviation and images of shapes {', '.join(map(str, shapes))}", f"(ny, nx) = {shape} of all")
    if deviation.dtype == torch.float32 and all(is_single_on_host(one) for one in (image, base, missing)):
        lattices = None if displacement is None else displacement.lattices
        return CompiledChange(deviation, image, base, missing, lattices, strength, quadrature, edges)
    model = ChangeModel(deviation, image, displacement, strength, quadrature)
    return ChangeProblem(model, Edges(base, *edges), base, missing)
