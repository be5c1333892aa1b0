"""What all methods have in common that train a network on all frames at once: small networks, trained for a moment."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inr_core.devices import cuda_problem
from inr_core.errors import DataError
from inr_core.methods import get_method, get_preset
from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_core.parameters import parse
from inr_core.solvers.control import Control
from radial import RadialScan, cine_scan, refined_series, use_the_sums

SMALL: dict[str, dict[str, Any]] = {
    "stinr": {"table_log2": 10, "passes": 4, "low_rank": 1e-3},
    "da_inr": {"table_log2": 10, "steps": 4, "features": "none"},
    "fmlp": {
        "hidden": 32,
        "layers": 2,
        "space_features": 64,
        "time_features": 16,
        "window": 1,
        "passes": 2,
        "held_out": 0,
    },
    "nik": {"features": 64, "hidden": 32, "layers": 2, "epsilon": 0.1, "batch": 128, "passes": 2, "held_out": 0},
    "td_dip": {"channels": 6, "upsamplings": 2, "training_steps": 4},
}
CONTINUOUS = ("stinr", "da_inr", "fmlp")
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("stinr", "", {}),
    ("stinr", "paper", {}),
    ("da_inr", "", {}),
    ("da_inr", "paper", {}),
    ("da_inr", "released", {}),
    ("fmlp", "", {}),
    ("nik", "", {"held_out": 0.1}),
    ("nik", "", {"held_out": 0.1, "coils": "coordinate"}),
    ("td_dip", "", {}),
    ("td_dip", "paper", {}),
]
variants = pytest.mark.parametrize(("name", "preset", "values"), VARIANTS, ids=str)
every = pytest.mark.parametrize("name", SMALL)


def refined(
    name: str,
    scan: RadialScan,
    preset: str = "",
    *,
    query: SeriesQuery | None = None,
    device: str = "cpu",
    control: Control | None = None,
    **values: Any,
) -> RefinedSeries:
    method = get_method(name)
    parameters = parse(method.parameter_type, {**get_preset(method, preset), **SMALL[name], **values}, name)
    return refined_series(name, scan, parameters, query=query, device=device, control=control)


@every
def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not(name: str) -> None:
    scan = cine_scan(frames=4, matrix=(12, 10))
    first, again, other = (refined(name, scan, seed=seed).images for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["fmlp", "nik", "td_dip"])
def test_so_are_runs_without_the_spokes_that_are_held_out(name: str) -> None:
    scan = cine_scan(frames=4, matrix=(12, 10))
    first, again, all_spokes = (refined(name, scan, held_out=part).images for part in (0.2, 0.2, 0.0))
    assert torch.equal(first, again)
    assert not torch.equal(first, all_spokes)


@variants
@pytest.mark.parametrize(
    ("frames", "coils", "matrix", "spokes"),
    [(1, 6, (12, 10), 5), (3, 1, (12, 10), 5), (5, 3, (9, 13), 5), (2, 2, (15, 7), 2)],
)
def test_one_frame_one_coil_few_spokes_and_odd_oblong_images(
    name: str, preset: str, values: dict[str, Any], frames: int, coils: int, matrix: tuple[int, int], spokes: int
) -> None:
    scan = cine_scan(frames=frames, coils=coils, matrix=matrix, spokes=spokes)
    series = refined(name, scan, preset, **values)
    assert series.failure is None
    assert series.images.shape == (frames, *scan.shape)
    assert series.images.dtype == torch.complex64
    assert bool(torch.isfinite(series.images.abs()).all())


@pytest.mark.parametrize("name", ["fmlp", "td_dip"])
def test_frames_of_one_spoke_have_none_to_hold_out(name: str) -> None:
    scan = cine_scan(frames=2, spokes=1)
    assert refined(name, scan).failure is None
    with pytest.raises(DataError, match=r"^1 of 2 spokes in 2 frames to hold out; expected a spoke left in every"):
        refined(name, scan, held_out=0.1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_finer_images_are_those_between_the_measured_ones(name: str) -> None:
    scan = cine_scan(frames=4, matrix=(12, 9))
    coarse, fine = (refined(name, scan, query=query) for query in (SeriesQuery(), SeriesQuery(2.0, 3)))
    assert fine.query == SeriesQuery(2.0, 3)
    assert fine.images.shape == (10, 18, 24)
    largest = float(coarse.images.abs().max())
    assert largest > 0
    # Every third image and second pixel is a measured one: 12 pixels about 6 are every second of 24 about 12; of 9
    # about 4 and 18 about 9, those from the second on.
    torch.testing.assert_close(fine.images[::3, 1::2, ::2], coarse.images, rtol=1e-3, atol=1e-3 * largest)


@every
def test_units_are_those_of_the_data(name: str) -> None:
    scan = cine_scan(frames=3, matrix=(12, 10))
    loud = RadialScan([1000 * y for y in scan.kspace], scan.traj, scan.truth, scan.maps)
    quiet, loudly = refined(name, scan).images, refined(name, loud).images
    torch.testing.assert_close(loudly / 1000, quiet, rtol=0.05, atol=0.02 * float(quiet.abs().max()))


@every
def test_a_stop_leaves_the_images_of_that_moment(name: str) -> None:
    scan, parts = cine_scan(frames=4, matrix=(12, 10)), list[float]()
    whole = refined(name, scan).steps
    control = Control(stopped=lambda: len(parts) >= 3, progress=parts.append)
    series = refined(name, scan, control=control)
    assert whole > 3
    assert (series.steps, series.failure) == (3, None)
    assert parts == pytest.approx([1 / whole, 2 / whole, 3 / whole])
    assert series.images.shape == (4, *scan.shape)


@pytest.mark.cuda
@pytest.mark.skipif(cuda_problem() is not None, reason=f"no CUDA: {cuda_problem()}")
@variants
def test_cuda_gives_the_same_images(
    name: str, preset: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_the_sums(monkeypatch)
    scan = cine_scan(frames=4, matrix=(12, 10))
    here, there = (refined(name, scan, preset, device=device, **values).images for device in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    assert (there.cpu() - here).norm() < 2e-2 * here.norm()
