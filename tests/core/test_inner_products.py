"""Inner products of complex images against sums of their parts in float64."""

from __future__ import annotations

import pytest
import torch

from inr_core.inner_products import energy, inner, squares


def images(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(*shape, dtype=torch.complex64, generator=generator) for _ in range(2))
    return a, b


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 5, 7), (1, 1)])
def test_against_sums_of_parts(shape: tuple[int, ...]) -> None:
    a, b = images(shape)
    re, im = a.real.double(), a.imag.double()
    product = re * b.real.double() + im * b.imag.double()
    torch.testing.assert_close(squares(a).double(), re**2 + im**2)
    torch.testing.assert_close(inner(a, b).double(), product.sum(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(energy(a).double(), (re**2 + im**2).sum())


def test_of_parts_of_larger_arrays() -> None:
    """Neither contiguous nor in order."""
    a, b = (image[1::2, :, ::3].transpose(0, 1) for image in images((5, 4, 7)))
    assert inner(a, b) == inner(a.contiguous(), b.contiguous())


def test_a_gradient_of_the_energy_is_twice_the_image() -> None:
    image, _ = images((3, 5))
    image.requires_grad_()
    for length in (energy(image), squares(image).sum()):
        (gradient,) = torch.autograd.grad(length, image)
        torch.testing.assert_close(gradient, 2 * image.detach())
