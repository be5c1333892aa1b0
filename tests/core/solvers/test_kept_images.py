"""Images that follow the receive maps when they are asked for."""

from __future__ import annotations

import itertools

import torch

from inr_core.coils import recombine
from inr_core.solvers.kept_images import KeptImages
from oracles import rand


def test_images_are_as_if_each_had_been_combined_anew_at_once() -> None:
    kept, expected = KeptImages(4), list[torch.Tensor]()
    maps = [rand(3, 7, 10, seed=number) for number in range(4)]
    for number, (before, after) in enumerate(itertools.pairwise(maps)):
        for image in rand(2, 7, 10, seed=10 + number):
            kept.append(image)
            expected.append(image)
        kept.maps_changed(before, after)
        expected = [recombine(image, before, after) for image in expected]
    newest = rand(7, 10, seed=20)
    kept.append(newest)
    expected = [*expected, newest][-4:]
    assert len(kept) == 4
    torch.testing.assert_close(kept.stack(), torch.stack(expected))
    assert kept[-1] is newest
    torch.testing.assert_close(kept[-2], expected[-2])
    torch.testing.assert_close(kept[0], expected[0])
