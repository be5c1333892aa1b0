"""Rendering in parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.fields.rendering import render_in_parts


@pytest.mark.parametrize(("pixels", "parts"), [(1, [1] * 7), (12, [1] * 7), (40, [3, 3, 1]), (1000, [7])])
def test_the_parts_are_no_larger_than_allowed_and_together_the_whole(pixels: int, parts: list[int]) -> None:
    sizes: list[int] = []
    weight = torch.ones((), requires_grad=True)

    def images(times: Tensor) -> Tensor:
        sizes.append(len(times))
        return weight * times[:, None, None].expand(-1, 3, 4)

    times = torch.arange(7.0)
    series = render_in_parts(images, times, (3, 4), pixels)
    assert sizes == parts
    assert not series.requires_grad
    torch.testing.assert_close(series, times[:, None, None].expand(7, 3, 4))
