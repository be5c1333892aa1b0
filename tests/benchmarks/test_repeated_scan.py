"""A short scan as one of any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError
from inr_core.trajectory import GOLDEN_ANGLE_DEG
from inr_gadgets.replay import Replay
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.simulate import simulate
from programs import program

module = program("repeated_scan")

SPOKES, CYCLE = 5, 2


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def made(**options: object) -> Path:
        path = tmp_path_factory.mktemp("cycle") / "cycle.h5"
        return simulate(path, **{"matrix": 32, "coils": 2, "spokes": SPOKES, "frames": CYCLE, **options}).scan

    return made


@pytest.fixture(scope="module")
def cycle(make: Callable[..., Path]) -> Path:
    return make()


def test_it_goes_on_where_the_cycle_ends(cycle: Path) -> None:
    scan = module.RepeatedScan.read(cycle, frames=5)
    readouts = list(scan)
    with ScanFile(cycle) as file:
        measured = list(file.acquisitions())
        assert scan.header_xml == file.header_xml
    assert len(readouts) == scan.n_acquisitions == 5 * SPOKES
    assert [r.scan_counter for r in readouts] == list(range(25))
    assert [r.idx.repetition for r in readouts] == [i // SPOKES for i in range(25)]
    assert [r.idx.kspace_encode_step_1 for r in readouts] == [i % SPOKES for i in range(25)]
    assert [r.acquisition_time_stamp for r in readouts] == [round(i * 3.0 / 2.5) for i in range(25)]
    for number, readout in enumerate(readouts):
        np.testing.assert_array_equal(readout.data, measured[number % 10].data)
        np.testing.assert_array_equal(readout.traj, measured[number % 10].traj)
    ends = [r.is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT) for r in readouts]
    assert ends == [False] * 24 + [True]


def test_the_cycle_itself_is_left_as_it_is(cycle: Path) -> None:
    scan = module.RepeatedScan.read(cycle, frames=3)
    before = [bytes(readout.getHead()) for readout in scan.cycle]
    list(scan)
    assert [bytes(readout.getHead()) for readout in scan.cycle] == before


def test_slices_are_interleaved_and_apart(cycle: Path) -> None:
    readouts = list(module.RepeatedScan.read(cycle, frames=3, slices=2))
    assert [r.idx.slice for r in readouts] == [0, 1] * 15
    assert [r.idx.repetition for r in readouts] == [i // (2 * SPOKES) for i in range(30)]
    assert [r.scan_counter for r in readouts] == list(range(30))
    assert np.array(readouts[1].position) - np.array(readouts[0].position) == pytest.approx([0, 0, 10])
    np.testing.assert_array_equal(readouts[21].data, readouts[1].data)


def test_the_chain_takes_it_for_a_scan(cycle: Path) -> None:
    images, said = [], list[str]()
    scan = module.RepeatedScan.read(cycle, frames=5, slices=2)
    Replay(config="nufft").images(scan, images.append, said.append)
    assert sorted((i.slice, i.repetition) for i in images) == [(s, r) for s in (0, 1) for r in range(5)]
    first, again = (image.data for image in images if image.slice == 0 and image.repetition in (1, 3))
    # The receive maps have become better in between.
    assert np.corrcoef(first.ravel(), again.ravel())[0, 1] > 0.98
    assert not any("WARNING" in line for line in said)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"trajectory": "none"},
            r"cycle.h5 with a TR of 3.0 ms and frames of \[5\] readouts; expected .* trajectory",
        ),
        ({"noise_scan": True}, r"frames of \[5, 6\] readouts; .*; simulate a scan without noise readouts"),
    ],
)
def test_scans_that_cannot_be_repeated(make: Callable[..., Path], options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        module.RepeatedScan.read(make(**options), frames=2)


def test_there_and_back() -> None:
    assert module.there_and_back(np.array([3, 1, 2])).tolist() == [3, 1, 2, 2, 1, 3]


@pytest.mark.parametrize("n_spokes", [1, 13, 376, 377, 754])
def test_the_seam(n_spokes: int) -> None:
    direction = np.exp(2j * np.deg2rad(n_spokes * GOLDEN_ANGLE_DEG))
    assert module.seam_deg(n_spokes) == pytest.approx(abs(np.rad2deg(np.angle(direction))) / 2, abs=1e-6)


def test_fibonacci_closes_the_circle() -> None:
    assert module.seam_deg(29 * 13) < 0.25
    assert module.seam_deg(28 * 13) > 6
