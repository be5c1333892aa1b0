"""What the live solver's network is trained on is what it claims to be, and training makes it better."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.change_network import write_network
from oracles import explicit_dft
from programs import program

scenes = program("random_scenes", "training")
examples = program("examples", "training")
train = program("train", "training")


def test_samples_are_the_scenes_fourier_transform() -> None:
    """By the explicit sum over the fine scene, noise aside."""
    spokes, frames, coils = 3, 2, 2
    stream = scenes.sample(5, spokes, frames, coils)
    dice = scenes.Dice(5)
    images, coils_at = scenes.scene(dice, frames), dice.between(0, 1e6)
    maps = scenes.loops(scenes.Dice(int(coils_at)), images.shape[-1], coils)
    fine, matrix = images.shape[-1], stream.truth.shape[-1]
    seen = explicit_dft(maps * images[:, None], stream.traj * matrix / fine) * (matrix / fine)
    largest = float(seen.abs().max())
    assert float((stream.kspace - seen).abs().max()) < 0.05 * largest  # the noise: at most 0.5 % of it, times 5 or 6
    middle = stream.traj.norm(dim=-1) < 0.05
    difference = (stream.kspace - seen).permute(0, 2, 3, 1)[middle]
    assert float(difference.abs().square().mean().sqrt()) < 0.01 * largest


def test_the_truth_is_the_scene_within_the_band() -> None:
    """The centre of k-space is the sum over the image, in the units of the unitary transform."""
    stream = scenes.sample(8, 4, 2, 3)
    matrix = stream.truth.shape[-1]
    centre = stream.kspace[..., stream.kspace.shape[-1] // 2]
    expected = torch.einsum("cyx,tyx->tc", stream.maps, stream.truth) / matrix
    # Maps and truth are multiplied after the band was limited here, before it there: close, not equal.
    assert float((centre.mean(2) - expected).norm() / expected.norm()) < 0.03


def test_a_seed_is_a_scene_and_maps_have_a_unit_root_sum_of_squares() -> None:
    one, same, other = (scenes.sample(seed, 5, 2, 4) for seed in (3, 3, 4))
    for left, right in zip(one, same, strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(one.truth, other.truth)
    torch.testing.assert_close(one.maps.abs().square().sum(0), torch.ones(one.maps.shape[1:]))
    assert 0.3 < float(one.truth.abs().max()) < 1.5


def test_scenes_move() -> None:
    moved = []
    for seed in range(4):
        truth = scenes.sample(seed, 4, 6, 2).truth.abs()
        moved.append(float((truth[1:] - truth[:-1]).norm() / truth[1:].norm()))
    assert all(0.002 < size < 0.7 for size in moved)


def test_examples_are_the_solvers_own_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(examples.__file__).parent))  # the processes import it
    weights = tmp_path / "weights.npz"
    write_network(weights, train.new_network())
    for path in (None, weights):
        found = examples.examples(range(2), path, cores=1)
        n = len(found.maps)
        assert 2 < n <= 18
        assert found.maps.shape[1:] == (9, 128, 128)
        assert found.changes.shape == (n, 128, 128)
        assert found.maps.dtype == found.changes.dtype == np.float16
        assert set(found.seeds) <= {0, 1}
        # A change is smaller than the image, and larger than nothing.
        assert 1e-3 < float(found.changes.astype(np.float32).mean()) < 0.5


def test_frames_of_few_spokes_are_met_as_they_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prediction of a frame that waited for the next one is compared with that frame, not with the next."""
    stream = scenes.sample(4, 5, 8, 4)
    solved = list[int]()
    change = examples._change

    def watched(method: Any, stream: Any, index: int, seen: Any) -> torch.Tensor:
        assert method.solved().frame.index == index
        solved.append(index)
        return change(method, stream, index, seen)

    monkeypatch.setattr(examples, "_change", watched)
    for ahead, expected in ((True, [3, 4, 5, 6]), (False, [3, 4, 5, 6, 7])):
        solved.clear()
        parameters = GraspParameters(look_ahead=ahead, quick_iterations=4, iterations=1, live_coils=4)
        examples._watch(stream, examples.Watched(None), parameters)
        assert solved == expected


def test_training_can_go_on_from_weights(tmp_path: Path) -> None:
    first = train.new_network()
    write_network(tmp_path / "weights.npz", first)
    again = train.new_network(tmp_path / "weights.npz")
    assert all(weight.requires_grad for weight in again.parameters())
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("variance", [0.01, 0.5])
def test_the_loss_is_least_at_the_mean_square(variance: float) -> None:
    change = torch.full((1, 4, 4), math.sqrt(variance))
    at = {
        guess: float(train.loss(torch.full((1, 4, 4), math.log(guess * variance)), change)) for guess in (0.8, 1, 1.25)
    }
    assert at[1] < min(at[0.8], at[1.25])


def test_training_finds_where_changes_are() -> None:
    """Changes that one of the maps shows."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((40, 9, 16, 16)).astype(np.float16)
    changes = np.exp(maps[:, 3].astype(np.float32) - 2).astype(np.float16)
    known = examples.Examples(maps, changes, np.arange(40))
    torch.manual_seed(0)
    network = train.new_network()
    before = train.train(network, known, 0.0, rng)
    after = train.train(network, known, 4.0, rng)
    assert after < before - 0.5
