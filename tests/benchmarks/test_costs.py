"""The formulae against what torch is asked to do, and against the sizes of the arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from inr_core.fields.grid_field import GridField
from inr_core.fields.weights import Adam, Parts
from inr_core.operators.toeplitz import ToeplitzGram, toeplitz_kernel
from inr_core.solvers.change_network import N_MAPS, ChangeNetwork
from programs import program

costs = program("costs")

SHAPE = (13, 10)


@pytest.fixture(autouse=True)
def counted_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other threads do is not counted."""
    monkeypatch.setattr("inr_core.lanes.n_lanes", lambda: 1)


def test_a_toeplitz_product() -> None:
    csm, kernel = torch.randn(3, *SHAPE, dtype=torch.complex64), torch.rand(2, 4, *SHAPE)
    images = torch.randn(2, *SHAPE, dtype=torch.complex64)
    with costs.OperationCounter() as counted:
        made = ToeplitzGram(kernel, csm).forward(images)
    cost = costs.toeplitz_cost(2, 3, SHAPE)
    assert counted.fft == pytest.approx(cost.fft)
    assert counted.product == cost.product == 0
    assert cost.bytes == csm.nbytes + kernel.nbytes + images.nbytes + made.nbytes


def test_the_kernels_transform_is_part_of_the_gridding() -> None:
    traj, weights = torch.rand(1, 4, 9, 2) - 0.5, torch.rand(1, 4, 9)
    with costs.OperationCounter() as counted:
        kernel = toeplitz_kernel(traj, weights, SHAPE)
    assert counted.fft == costs.fft_operations(26, 20)
    fine = [costs.fine_size(n) for n in SHAPE], [costs.fine_size(2 * n) for n in SHAPE]
    cost = costs.gridding_cost(3, 36, SHAPE)
    assert cost.fft == pytest.approx(3 * costs.fft_operations(*fine[0]) + costs.fft_operations(*fine[1]) + counted.fft)
    assert cost.product == 4 * costs.kernel_width() ** 2 * 36 * 4
    samples, coil_images = np.empty((3, 4, 9), np.complex64), np.empty((3, *SHAPE), np.complex64)
    assert cost.bytes == samples.nbytes + weights.nbytes + traj.nbytes + coil_images.nbytes + kernel.nbytes


@pytest.mark.parametrize(("n", "fine"), [(64, 80), (128, 160), (129, 162), (13, 18), (4, 16)])
def test_the_fine_grid_is_finuffts(n: int, fine: int) -> None:
    assert costs.fine_size(n) == fine


def test_the_kernels_width_is_finuffts() -> None:
    # FINUFFT prints from C, whose lines come when its buffer is full or the process ends.
    program = (
        "import finufft, numpy as np; points = np.linspace(-1, 1, 20, dtype=np.float32); "
        "finufft.nufft2d1(points, points, np.ones(20, np.complex64), (13, 10), eps=1e-4, upsampfac=1.25, debug=1)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert f"ns={costs.kernel_width()}" in printed


@pytest.mark.parametrize("times", [[3, 4, 5], [0]])
def test_the_field(times: list[int]) -> None:
    field = GridField((19, 14), features=3, hidden=7, layers=2)
    field.extend(9, 64)
    moments = torch.tensor(times)
    with costs.OperationCounter() as forward:
        images = field(moments)
    touched = field.touched(moments)
    values = [w.value[rows] for w, rows in touched]
    with costs.OperationCounter() as both:
        gradients = field.gradients(values, field.between(moments, touched), lambda x: x)
    cost = costs.field_cost(field, values, len(times), backward=False)
    assert forward.product == pytest.approx(cost.product)
    assert both.product == pytest.approx(costs.field_cost(field, values, len(times), backward=True).product)
    read = sum(gradient.nbytes for gradient in gradients[:5])
    assert cost.bytes == read + images.nbytes
    decoder_inputs = 4 * len(times) * 19 * 14 * (15 + 7 + 7)
    more = costs.field_cost(field, values, len(times), backward=True).bytes
    assert more == 2 * (read + images.nbytes + decoder_inputs)


@pytest.mark.parametrize("shape", [(32, 24), (13, 10)])
def test_the_network(shape: tuple[int, int]) -> None:
    network, maps = ChangeNetwork(), torch.randn(1, N_MAPS, *shape)
    with costs.OperationCounter() as counted:
        made = network(maps)
    cost = costs.network_cost(network, shape)
    assert counted.product == cost.product
    assert cost.bytes == maps.nbytes + made.nbytes + sum(weight.nbytes for weight in network.parameters())


def test_adam() -> None:
    field, adam = GridField((9, 8), features=2, hidden=4, layers=1), Adam()
    field.extend(4, 64)
    now, later = (field.touched(torch.tensor([t])) for t in (1, 3))
    missed, _ = adam.begin(now, 0.1)
    assert costs.catch_up_cost(Parts.of(now), missed).bytes == 0
    late = sum(w.value[rows][w.last_step[rows] < 1].numel() for w, rows in later)
    assert late > 0
    missed, _ = adam.begin(later, 0.1)
    assert costs.catch_up_cost(Parts.of(later), missed).bytes == 6 * 4 * late
    assert costs.adam_cost(10).bytes == 280


def test_costs_add_up() -> None:
    assert (costs.Cost(1, 2, 3) + costs.Cost(10, 20, 30)) * 0.5 == costs.Cost(5.5, 11, 16.5)
    assert costs.fft_operations(4, 8) == 5 * 32 * 5
