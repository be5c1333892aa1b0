"""Coil compression and receive maps, against maps that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inr_core.coils import SmoothMaps, compression_matrix, walsh_maps
from inr_core.errors import DataError
from oracles import rand
from radial import cine_scan

# -- compression --------------------------------------------------------------------------------------------------


def mixed(rank: int, coils: int, noise: float = 0.0) -> Tensor:
    """Samples (coils, 6, 50) of ``rank`` sources."""
    sources, mixing = rand(rank, 300, seed=1), rand(coils, rank, seed=2)
    return (mixing @ sources + noise * rand(coils, 300, seed=3)).reshape(coils, 6, 50)


def test_rows_are_orthonormal_the_strongest_first() -> None:
    kspace = mixed(8, 8)
    matrix = compression_matrix(kspace, 5)
    torch.testing.assert_close(matrix @ matrix.H, torch.eye(5, dtype=matrix.dtype))
    energy = (matrix @ kspace.flatten(1)).abs().square().sum(1)
    assert bool((energy[:-1] >= energy[1:]).all())


def test_data_of_rank_k_keep_their_energy_in_k_coils() -> None:
    kspace = mixed(3, 12, noise=0.01)
    kept = (compression_matrix(kspace, 3) @ kspace.flatten(1)).norm() ** 2 / kspace.norm() ** 2
    assert kept > 0.999
    assert (compression_matrix(kspace, 2) @ kspace.flatten(1)).norm() ** 2 / kspace.norm() ** 2 < 0.999


def test_there_are_never_more_virtual_coils_than_coils() -> None:
    matrix = compression_matrix(mixed(3, 3), 8)
    assert matrix.shape == (3, 3)
    assert compression_matrix(mixed(1, 1), 8).shape == (1, 1)


def test_the_phase_of_a_row_is_no_accident() -> None:
    kspace = mixed(4, 6)
    matrix = compression_matrix(kspace, 4)
    # A common phase of the data has no part in the principal components.
    torch.testing.assert_close(compression_matrix(1j * kspace, 4), matrix)
    largest = matrix.gather(1, matrix.abs().argmax(1, keepdim=True))
    torch.testing.assert_close(largest.imag, torch.zeros_like(largest.imag), atol=1e-12, rtol=0)
    assert bool((largest.real > 0).all())


# -- maps ---------------------------------------------------------------------------------------------------------


def agreement(maps: Tensor, true: Tensor) -> Tensor:
    """|<s, s'>| of each pixel, 1 where the maps agree up to a phase: (ny, nx)."""
    return (maps.conj() * true).sum(0).abs() / true.abs().square().sum(0).sqrt()


def rss(maps: Tensor) -> Tensor:
    return maps.abs().square().sum(0).sqrt()


@pytest.mark.parametrize("matrix", [(48, 48), (45, 38)])
def test_smooth_maps_are_recovered_where_there_is_signal(matrix: tuple[int, int]) -> None:
    scan = cine_scan(frames=1, matrix=matrix)
    images = scan.maps * scan.truth[0]
    maps = SmoothMaps(scan.shape).fit(images)
    signal = scan.truth[0].abs() > 0.1 * scan.truth[0].abs().max()
    assert maps.dtype == torch.complex64
    assert float(agreement(maps, scan.maps)[signal].min()) > 0.999


@pytest.mark.parametrize("matrix", [(48, 48), (45, 38), (9, 12)])
def test_the_sum_of_squares_is_one_everywhere(matrix: tuple[int, int]) -> None:
    scan = cine_scan(frames=1, matrix=matrix)
    dark = scan.truth[0].clone()
    dark[: scan.shape[0] // 3] = 0
    maps = SmoothMaps(scan.shape).fit(scan.maps * dark)
    torch.testing.assert_close(rss(maps), torch.ones(scan.shape))


def test_the_scale_of_the_data_has_no_part_in_the_maps() -> None:
    scan = cine_scan(frames=1)
    images, fit = scan.maps * scan.truth[0], SmoothMaps(scan.shape).fit
    torch.testing.assert_close(fit(2.0**-27 * images), fit(images))  # a power of two, which rounds nothing


def test_noise_in_a_dark_region_does_not_become_a_map() -> None:
    """The fit goes on smoothly through a hole in the object, where maps made pixel by pixel are noise."""
    scan = cine_scan(frames=1, matrix=(48, 48))
    hole = torch.zeros(scan.shape, dtype=torch.bool)
    hole[20:28, 18:28] = True
    images = torch.where(hole, 0, scan.truth[0]) * scan.maps + 0.01 * rand(*scan.maps.shape).to(torch.complex64)
    smooth, pixelwise = SmoothMaps(scan.shape).fit(images), walsh_maps(images, window=1)
    assert float(agreement(smooth, scan.maps)[hole].min()) > 0.99
    assert float(agreement(pixelwise, scan.maps)[hole].mean()) < 0.8


def test_a_single_coil_is_uniform() -> None:
    maps = SmoothMaps((12, 9)).fit(rand(1, 12, 9).to(torch.complex64))
    torch.testing.assert_close(maps, torch.ones(1, 12, 9, dtype=torch.complex64))


def test_walsh_finds_the_coils_of_one_neighbourhood() -> None:
    true = rand(5, 1, 1).expand(5, 11, 14) / rand(5).norm()
    maps = walsh_maps(true * rand(1, 11, 14, seed=1))
    torch.testing.assert_close(rss(maps), torch.ones(11, 14, dtype=torch.float64))
    assert float(agreement(maps, true).min()) > 1 - 1e-9
    torch.testing.assert_close(maps[0].imag, torch.zeros(11, 14, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (torch.ones(3, 8, 8), "coil images of shape (3, 8, 8); expected (coils, 8, 9)"),
        (
            torch.zeros(3, 8, 9),
            "coil images without any signal; expected data to make receive maps from; check the receivers",
        ),
        (
            torch.full((3, 8, 9), torch.nan),
            "coil images without any signal; expected data to make receive maps from; check the receivers",
        ),
    ],
)
def test_maps_need_data(images: Tensor, line: str) -> None:
    with pytest.raises(DataError) as caught:
        SmoothMaps((8, 9)).fit(images.to(torch.complex64))
    assert str(caught.value) == line


@pytest.mark.parametrize("largest", [3e38, float("inf"), float("nan")])
def test_samples_without_a_finite_energy_are_refused(largest: float) -> None:
    kspace = torch.ones(3, 7, dtype=torch.complex64)
    kspace[1, 2] = largest
    with pytest.raises(DataError, match=r"k-space whose largest sample is .*; expected finite energy; look at the"):
        compression_matrix(kspace, 2)
