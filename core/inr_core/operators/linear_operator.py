"""The one notion of a linear operator: forward, adjoint, and gradients that follow from the two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor


class _Apply(torch.autograd.Function):
    """Gradient of a linear map: the vector-Jacobian product of A is A^H, in PyTorch's convention for complex."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: LinearOperator) -> Tensor:
        ctx.operator = operator
        return operator.forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Through apply again, so that second derivatives exist as well.
        return _Apply.apply(gradients[0], ctx.operator.H), None  # type: ignore[no-untyped-call]


class LinearOperator(ABC):
    """A linear map A between tensors; ``A(x)`` can be differentiated, ``A.forward(x)`` is the bare computation.

    Subclasses give :meth:`forward` and :meth:`adjoint`; both return new tensors and change nothing.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y."""

    def __call__(self, x: Tensor) -> Tensor:
        """A x, with a gradient."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.forward(x)
        result = _Apply.apply(x, self)  # type: ignore[no-untyped-call]
        if not isinstance(result, Tensor):
            raise TypeError(f"{type(self).__name__}.forward returned {type(result).__name__}, expected a tensor")
        return result

    @property
    def H(self) -> LinearOperator:  # noqa: N802 - the mathematical name
        """The adjoint as an operator."""
        return _Adjoint(self)

    @property
    def gram(self) -> LinearOperator:
        """A^H A; subclasses that have a faster way than applying both override this."""
        return self.H @ self

    def __matmul__(self, right: LinearOperator) -> LinearOperator:
        """The operator that applies ``right`` first."""
        return _Composition(self, right)


class _Adjoint(LinearOperator):
    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self._operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._operator.forward(y)

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        return self._operator


class _Composition(LinearOperator):
    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        self._left, self._right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self._left.forward(self._right.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._right.adjoint(self._left.adjoint(y))
