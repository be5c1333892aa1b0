"""MDSR's body: the published names and shapes, files that are not it, and features by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inr_core.errors import DataError, ParameterError
from inr_core.fields.mdsr import FrameFeatures, MdsrBody, load_body, random_body

BLOCKS = 2


def published(n_blocks: int = BLOCKS) -> dict[str, Tensor]:
    """Random weights by the names and shapes of EDSR-PyTorch's files, those that are not used included."""
    convs = {
        "sub_mean": (3, 3, 1),
        "head.0": (64, 3, 3),
        **{f"pre_process.{s}.{i}.body.{j}": (64, 64, 5) for s in range(3) for i in range(2) for j in (0, 2)},
        **{f"body.{i}.body.{j}": (64, 64, 3) for i in range(n_blocks) for j in (0, 2)},
        f"body.{n_blocks}": (64, 64, 3),
        "upsample.0.0": (256, 64, 3),
        "upsample.1.0": (576, 64, 3),
        "upsample.2.0": (256, 64, 3),
        "upsample.2.2": (256, 64, 3),
        "tail.0": (3, 64, 3),
        "add_mean": (3, 3, 1),
    }
    generator = torch.Generator().manual_seed(4)
    state = {}
    for name, (n_out, n_in, width) in convs.items():
        bound = (n_in * width * width) ** -0.5
        shape = (n_out, n_in, width, width)
        state[f"{name}.weight"] = bound * (2 * torch.rand(*shape, generator=generator) - 1)
        state[f"{name}.bias"] = bound * (2 * torch.rand(n_out, generator=generator) - 1)
    return state


@cache
def saved(tmp: Path) -> Path:
    path = tmp / "mdsr.pt"
    torch.save(published(), path)
    return path


def features_by_hand(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """The authors' forward pass up to the magnification, in float64."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"].double()
        return F.conv2d(x, weight, state[f"{name}.bias"].double(), padding=weight.shape[-1] // 2)

    def block(name: str, x: Tensor) -> Tensor:
        return x + conv(f"{name}.body.2", conv(f"{name}.body.0", x).relu())

    colours = 255 * image.double().expand(1, 3, -1, -1)
    x = colours - 255 * torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float64)[:, None, None]
    x = conv("head.0", x)
    for i in range(2):
        x = block(f"pre_process.0.{i}", x)
    start = x
    for i in range(BLOCKS):
        x = block(f"body.{i}", x)
    return start + conv(f"body.{BLOCKS}", x)


def test_a_file_of_the_published_names_is_loaded_and_computes_what_the_authors_do(tmp_path: Path) -> None:
    body = load_body(saved(tmp_path))
    image = torch.rand(7, 10, generator=torch.Generator().manual_seed(1))
    found, wanted = body(image[None]), features_by_hand(published(), image)
    assert found.shape == (1, 64, 7, 10)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-3)
    assert not any(weight.requires_grad for weight in body.parameters())


@pytest.mark.parametrize(("n_blocks", "millions"), [(16, 3.2), (80, 8.0)])
def test_the_bodies_have_the_published_sizes(n_blocks: int, millions: float) -> None:
    # A convolution of 64 to 64 features of width w has 64 (64 w^2 + 1) weights.
    with torch.device("meta"):
        count = sum(w.numel() for w in MdsrBody(n_blocks).parameters())
    assert count == 64 * 28 + 12 * 64 * (64 * 25 + 1) + (2 * n_blocks + 1) * 64 * (64 * 9 + 1)
    # With what magnifies (by 2, by 3, by 2 and 2) and the last convolution it is the size that the paper gives.
    rest = (3 * 256 + 576) * (64 * 9 + 1) + 3 * (64 * 9 + 1)
    assert (count + rest) / 1e6 == pytest.approx(millions, abs=0.05)


def test_without_a_file_the_message_says_which() -> None:
    expected = r"; expected a file of MDSR's weights, mdsr_baseline-a00cab12.pt or mdsr-4a78bedf.pt; EDSR-PyTorch's"
    with pytest.raises(ParameterError, match=rf"^no features_file{expected}"):
        load_body(Path())
    with pytest.raises(ParameterError, match=rf"^features_file /nowhere/mdsr.pt, which is not there{expected}"):
        load_body(Path("/nowhere/mdsr.pt"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("pre_process.2.1.body.2.bias"), r"mdsr.pt without pre_process.2.1.body.2.bias; expected"),
        (
            lambda s: s.update({"body.1.extra": torch.zeros(1)}),
            r"with body.1.extra, which MDSR does not have; expected",
        ),
        (
            lambda s: s.update({"body.0.body.2.weight": torch.zeros(64, 32, 3, 3)}),
            r"body.0.body.2.weight of shape \(64, 32, 3, 3\); expected \(64, 64, 3, 3\), as in a file of MDSR's",
        ),
        (lambda s: s.pop("body.2.weight"), r"whose weights end no body of blocks; expected"),
        (lambda s: s.update({"note": "mine"}), r"which holds no weights by name; expected"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: object, message: str) -> None:
    state = published()
    change(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "mdsr.pt")
    with pytest.raises(DataError, match=message):
        load_body(tmp_path / "mdsr.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_a_file_that_torch_cannot_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"a.pt, which torch cannot read \(\w+\); expected a file of MDSR's weights"):
        load_body(tmp_path / "a.pt")


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1 / 0",))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"body.1.weight": _Harmful()}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"which torch cannot read \(UnpicklingError\)"):
        load_body(tmp_path / "a.pt")


def test_a_random_body_is_its_seed_s() -> None:
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first, again, other = (random_body(1, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.0.weight"], other["head.0.weight"])
    assert float(first["head.0.weight"].abs().max()) == pytest.approx(27**-0.5, rel=1e-2)
    with pytest.raises(ParameterError, match=r"^an MDSR body of 0 blocks; expected at least 1$"):
        random_body(0, 1)


def test_features_are_sampled_at_pixels_and_between_them() -> None:
    images = torch.rand(3, 5, 8, generator=torch.Generator().manual_seed(2)) * torch.tensor(2 + 1j)
    body = random_body(1, 0)
    features = FrameFeatures(body, images)
    ys, xs = (torch.arange(5) + 0.5) / 5, (torch.arange(8) + 0.5) / 8
    at_pixels = features.sample(torch.tensor([2.0, 0.0]), ys, xs)
    wanted = body(images.abs() / images.abs().max())
    wanted = wanted / wanted.square().mean().sqrt()
    torch.testing.assert_close(at_pixels, wanted[[2, 0]].permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
    # Half way between two frames and two columns; before the first frame it is the first.
    between = features.sample(torch.tensor([0.5, -1.0]), ys, (xs[:-1] + xs[1:]) / 2)
    pair = 0.5 * (wanted[:2, ..., :-1] + wanted[:2, ..., 1:]).permute(0, 2, 3, 1)
    torch.testing.assert_close(between, torch.stack([pair.mean(0), pair[0]]), rtol=1e-4, atol=1e-5)
    assert bool(torch.isfinite(FrameFeatures(body, torch.zeros(1, 3, 4)).maps).all())
