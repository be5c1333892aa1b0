"""What a frame's data say of a prediction: compiled against torch in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inr_core.operators import prepared
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.solvers import compiled_outlook
from inr_core.solvers.change_solver import outlook
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from oracles import rand


def frame(shape: tuple[int, int], kind: torch.dtype, coils: int = 4) -> MeasuredFrame:
    kernel = rand(1, 4, *shape, seed=1).real
    images = rand(coils, *shape, seed=2).to(kind)
    return MeasuredFrame(0, images, kernel.to(images.real.dtype), 5, 0.3, noise=0.2)


@pytest.mark.parametrize("shape", [(15, 22), (1, 9), (9, 1)])
@pytest.mark.parametrize("coils", [1, 3])  # of four that were measured
@pytest.mark.parametrize("changed", [False, True])
def test_it_is_what_it_is_in_double_precision(shape: tuple[int, int], coils: int, *, changed: bool) -> None:
    csm, prediction = rand(coils, *shape, seed=3), rand(*shape, seed=4)
    change = rand(*shape, seed=5) if changed else None

    def single(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(torch.complex64)

    expected = outlook(frame(shape, torch.complex128), csm, prediction, change=change)
    made = outlook(
        frame(shape, torch.complex64), csm.to(torch.complex64), prediction.to(torch.complex64), change=single(change)
    )
    for name in ("prediction", "right", "missing"):
        one = getattr(expected, name).to(torch.complex64)
        torch.testing.assert_close(getattr(made, name), one, rtol=1e-4, atol=1e-4)
    assert made.scale == pytest.approx(expected.scale, rel=1e-5)
    assert made.noise == pytest.approx(expected.noise, rel=1e-5)


@pytest.mark.parametrize("changed", [False, True])
def test_with_the_products_compiled_it_is_the_same(monkeypatch: pytest.MonkeyPatch, *, changed: bool) -> None:
    """Of a frame, whose change meets the same kernel, and of joint frames, where it does not."""
    shape = (15, 22)
    monkeypatch.setattr(prepared, "_PREPARED", set())
    one, other = frame(shape, torch.complex64), frame(shape, torch.complex64)
    other.kernel = rand(1, 4, *shape, seed=6).real.float()
    csm, prediction = rand(2, *shape, seed=3).to(torch.complex64), rand(*shape, seed=4).to(torch.complex64)
    change = rand(*shape, seed=5).to(torch.complex64) if changed else None
    frames = one, JointFrames.ahead([one], other)
    expected = [outlook(each, csm, prediction, change=change) for each in frames]
    prepared.prepare(shape)
    for each, known in zip(frames, expected, strict=True):
        assert each.gram(csm).runs_alone
        made = outlook(each, csm, prediction, change=change)
        torch.testing.assert_close(made.right, known.right)
        torch.testing.assert_close(made.missing, known.missing, rtol=1e-4, atol=1e-4)
        assert (made.scale, made.noise) == pytest.approx((known.scale, known.noise))


@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("coils", [1, 2, 3, 4])
def test_what_some_coils_say_of_the_prediction_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, coils: int, kind: torch.dtype
) -> None:
    """Of joint frames, whose prediction has a product of its own; of others it is of no use, and changes nothing."""
    shape = (15, 22)
    monkeypatch.setattr(prepared, "_PREPARED", {shape})
    one, other = frame(shape, kind), frame(shape, kind)
    other.kernel = rand(1, 4, *shape, seed=6).real.to(one.kernel.dtype)
    csm = rand(4, *shape, seed=3).to(kind)
    prediction, change = rand(*shape, seed=4).to(kind), rand(*shape, seed=5).to(kind)
    for each in (one, JointFrames.ahead([one], other)):
        known, maps = outlook(each, csm[:2], prediction), csm[:coils]
        asked = list[int]()
        with monkeypatch.context() as patch:
            patch.setattr(ToeplitzGram, "__init__", _noting(ToeplitzGram.__init__, asked))
            made = outlook(each, maps, prediction, known.scale, change, known)
        assert asked[2:] == ([coils - 2] if each is not one and coils > 2 else [])
        expected = outlook(each, maps, prediction, known.scale, change)
        for name in ("prediction", "right", "missing"):
            torch.testing.assert_close(getattr(made, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
        assert (made.scale, made.noise) == pytest.approx((expected.scale, expected.noise))


def _noting(begin: Callable[..., None], coils: list[int]) -> Callable[..., None]:
    def noting(gram: ToeplitzGram, kernel: Tensor, csm: Tensor) -> None:
        coils.append(len(csm))
        begin(gram, kernel, csm)

    return noting


def test_images_that_lie_otherwise_in_memory_are_seen_as_they_are() -> None:
    csm, coils = rand(2, 6, 5, seed=1).to(torch.complex64), rand(2, 6, 5, seed=2).to(torch.complex64)
    image, kernel = rand(6, 5, seed=3).to(torch.complex64), rand(1, 4, 6, 5, seed=4).real.float()
    expected = compiled_outlook.look(csm, coils, [(ToeplitzGram(kernel, csm), image)], image)
    csm, coils, image = (x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (csm, coils, image))
    made = compiled_outlook.look(csm, coils, [(ToeplitzGram(kernel, csm), image)], image)
    for one, other in zip(made[:2], expected[:2], strict=True):
        torch.testing.assert_close(one, other)
    assert made[2:] == pytest.approx(expected[2:])


def test_images_of_other_shapes_or_types_are_refused() -> None:
    csm, image = torch.ones(2, 4, 5, dtype=torch.complex64), torch.ones(4, 5, dtype=torch.complex64)
    gram = ToeplitzGram(torch.ones(1, 4, 4, 5), csm)
    for other in (image[:3], image.real):
        with pytest.raises(ValueError, match=r"^a product of \(., 5\) torch\.\w+: \(4, 5\) torch\.complex64 expected$"):
            compiled_outlook.look(csm, csm, [(gram, other)], image)


def test_more_maps_than_coil_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^maps \(3, 4, 5\) of coil images \(2, 4, 5\)$"):
        csm, coils, image = (torch.ones(*shape, dtype=torch.complex64) for shape in ((3, 4, 5), (2, 4, 5), (4, 5)))
        compiled_outlook.look(csm, coils, [], image)
