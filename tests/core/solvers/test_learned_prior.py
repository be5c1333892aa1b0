"""The network's prior: what contradicts the prediction may change, and it knows neither units, phase nor sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.methods import make_live
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.change_network import N_MAPS, ChangeNetwork, change_network, read_network, write_network
from inr_core.solvers.learned_prior import LearnedPrior
from oracles import rand
from outlooks import seen_of
from radial import cine_scan, error

SHAPE = (45, 38)
CPU = torch.device("cpu")


def disc(y: float, x: float, radius: float) -> Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")
    return ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).to(torch.complex64)


BODY = disc(22, 19, 18) + disc(16, 14, 6)
MOVED = disc(16, 15.5, 6) - disc(16, 14, 6)  # two crescents
PLACE = (slice(8, 25), slice(6, 24))
ELSEWHERE = (slice(28, 45), slice(20, 38))


def expected(prediction: Tensor, missing: Tensor, last: Tensor | None = None) -> Tensor:
    prior = LearnedPrior()
    if last is not None:
        prior.update(last)
    return prior.expected(seen_of(prediction, missing))


def test_what_the_data_contradict_may_change_and_the_rest_is_not_forbidden() -> None:
    deviation = expected(BODY, 0.5 * MOVED)
    assert deviation.shape == SHAPE
    assert deviation[PLACE].mean() > 1.5 * deviation[ELSEWHERE].mean()
    assert deviation.min() > 0.1 * deviation.mean()


def test_what_moved_may_go_on() -> None:
    faint = 0.02 * rand(*SHAPE, seed=3).to(torch.complex64)
    deviation = expected(BODY, faint, 0.5 * MOVED)
    assert deviation[PLACE].mean() > 1.2 * deviation[ELSEWHERE].mean()


@pytest.mark.parametrize("factor", [1e-4, 1e4, 1j, -0.6 + 0.8j])
def test_phase_and_scale_of_the_images_do_not_matter(factor: complex) -> None:
    images = BODY + 0.1, 0.5 * MOVED, 0.3 * MOVED
    one, other = (expected(*(by * image for image in images)) for by in (1.0, factor))
    torch.testing.assert_close(other, one, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(45, 38), (32, 32), (7, 5)])
def test_every_size_of_image_will_do(shape: tuple[int, int]) -> None:
    prediction = rand(*shape, seed=1).to(torch.complex64)
    deviation = LearnedPrior().expected(seen_of(prediction, 0.1 * prediction.flip(0)))
    assert deviation.shape == shape
    assert bool(torch.isfinite(deviation).all())
    assert deviation.min() > 0


def test_an_image_of_zeros_divides_by_nothing() -> None:
    nothing = torch.zeros(SHAPE, dtype=torch.complex64)
    deviation = expected(nothing, nothing, nothing)
    assert bool(torch.isfinite(deviation).all())
    assert deviation.min() > 0


def test_the_last_change_is_all_that_is_kept_of_it() -> None:
    """A prior that has met other changes before, and a rule that has forgotten them, ask the network the same."""
    prior, fresh = LearnedPrior(), LearnedPrior()
    for known in (prior, fresh):
        for seed in range(100 if known is prior else 60):
            known.update(rand(*SHAPE, seed=1000 - seed if seed < 40 and known is prior else 7).to(torch.complex64))
    seen = seen_of(BODY, MOVED)
    torch.testing.assert_close(prior.maps(seen), fresh.maps(seen))


def test_live_images_are_better_than_by_the_rule() -> None:
    """The analytic phantom, which the network has never seen: few spokes, few iterations, as in a real stream."""
    scan = cine_scan(matrix=(96, 90))
    errors = []
    for by_network in (True, False):
        parameters = GraspParameters(iterations=3, live_coils=4, change_network=by_network)
        method = make_live("grasp", scan.shape, parameters, CPU)
        images = torch.stack([method.add_frame(*frame) for frame in zip(scan.kspace, scan.traj, strict=True)])
        errors.append(error(images[9:].abs(), scan.truth[9:].abs()))
    assert errors[0] < 0.93 * errors[1]


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, maps = ChangeNetwork(), torch.randn(2, N_MAPS, 9, 14)
    write_network(tmp_path / "weights.npz", network)
    again = read_network(tmp_path / "weights.npz")
    torch.testing.assert_close(again(maps), network(maps).detach(), rtol=1e-2, atol=1e-2)  # float16 between them
    assert not any(weight.requires_grad for weight in again.parameters())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **{"begin.weight": np.zeros((3, 3))})
    with pytest.raises(DataError, match=r"weights\.npz with other weights than the network's.*training/train\.py"):
        read_network(path)


def test_the_shipped_network_is_read_once_a_device_and_cannot_be_trained_by_accident() -> None:
    network = change_network(CPU)
    assert change_network(CPU) is network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
