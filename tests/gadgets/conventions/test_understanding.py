"""How scans of every convention are understood: samples, angles, frames, and the sentence about them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ismrmrd
import numpy as np
import pytest

from inr_core.errors import DataError, ParameterError
from inr_core.trajectory import GOLDEN_ANGLE_DEG, golden_angle, raga_angle
from inr_gadgets.conventions.angles import angle_rule
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.sampling import embedded_spoke, find_sampling, straight_spoke
from inr_gadgets.conventions.understanding import understand
from inr_gadgets.header import encoding
from scans import COILS, SPOKES, N, embedded, golden_scan, header, noise_readout, readout


def sampling_of(acquisition: Any, parameters: BufferParameters | None = None, **changes: Any) -> Any:
    return find_sampling(acquisition, encoding(header(**changes)), parameters or BufferParameters())


# Headers met in the wild for the same readout of 64 samples and a 32 x 32 image: (encoded matrix, encoded FOV).
HEADERS = {
    "oversampling in the header": ((64, 32, 1), (600.0, 300.0, 8.0)),
    "Siemens converter: none in it": ((32, 32, 1), (300.0, 300.0, 8.0)),
    "FOV with it, matrix without": ((32, 32, 1), (600.0, 300.0, 8.0)),
    "MRpro: twice in x and y": ((64, 64, 1), (600.0, 600.0, 8.0)),
    "twice in x and y, one FOV": ((64, 64, 1), (300.0, 300.0, 8.0)),
    "nothing": ((0, 0, 0), (0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("case", HEADERS)
def test_oversampling_comes_out_of_any_header(case: str) -> None:
    encoded, fov = HEADERS[case]
    sampling = sampling_of(readout(), encoded=encoded, encoded_fov=fov)
    assert sampling.oversampling == pytest.approx(2)
    assert sampling.spacing == pytest.approx(1 / 64)
    assert sampling.center == 32


def test_an_interpolated_matrix_reaches_less_than_half() -> None:
    """A matrix of 64 reconstructed from 32 acquired pixels: the readout ends at a quarter of a cycle per pixel."""
    sampling = sampling_of(readout(), matrix=(64, 64, 1), encoded=(64, 32, 1))
    assert sampling.spacing * 32 == pytest.approx(0.25)
    assert sampling.remark == "matrix interpolated 2-fold"
    spoke = embedded_spoke(
        *_with_kept(readout(trajectory=embedded(0))),
        sampling=sampling_of(readout(trajectory=embedded(0)), matrix=(64, 64, 1), encoded=(64, 32, 1)),
    )
    assert spoke[0, 0] == pytest.approx(-0.25)


def _with_kept(acquisition: Any) -> tuple[Any, slice]:
    return acquisition, slice(0, acquisition.data.shape[1])


def test_oversampling_as_set() -> None:
    assert sampling_of(readout(), BufferParameters(oversampling=1.6)).spacing == pytest.approx(1 / (1.6 * N))


@pytest.mark.parametrize(("reach", "unit"), [(0.5, "pixel"), (np.pi, "radian"), (N / 2, "fov"), (N, "sampled_fov")])
def test_the_scale_of_an_embedded_trajectory_is_recognised(reach: float, unit: str) -> None:
    acquisition = readout(1, trajectory=embedded(1, scale=2 * reach))
    sampling = sampling_of(acquisition, trajectory="other")
    assert sampling.unit == unit
    spoke = embedded_spoke(*_with_kept(acquisition), sampling=sampling)
    assert spoke.dtype == np.float32
    assert spoke == pytest.approx(embedded(1), abs=1e-6)


def test_mrpros_simulator_is_in_samples_of_its_oversampled_matrix() -> None:
    acquisition = readout(1, trajectory=embedded(1, scale=2 * N))
    sampling = sampling_of(acquisition, trajectory="other", encoded=(2 * N, 2 * N, 1), encoded_fov=(600.0, 600.0, 8.0))
    assert embedded_spoke(*_with_kept(acquisition), sampling=sampling) == pytest.approx(embedded(1), abs=1e-6)


def test_a_trajectory_of_unknown_scale_is_refused() -> None:
    acquisition = readout(trajectory=embedded(0, scale=400.0))
    with pytest.raises(DataError, match=r"reaches \|k\| = 200; expected one of \+-0.5 .* = 0.5, .*trajectory_unit"):
        sampling_of(acquisition)
    told = sampling_of(acquisition, BufferParameters(trajectory_unit="fov"))
    assert told.scale == pytest.approx(1 / N)


def test_an_asymmetric_trajectory_has_its_centre_at_the_smallest_k() -> None:
    acquisition = readout(2, trajectory=embedded(2)[24:], samples=40, center_sample=20)
    sampling = sampling_of(acquisition)
    assert (sampling.center, sampling.oversampling) == (8, pytest.approx(2))
    assert embedded_spoke(*_with_kept(acquisition), sampling=sampling) == pytest.approx(embedded(2)[24:], abs=1e-6)


K = (np.arange(2 * N) - N) / (2 * N)


@pytest.mark.parametrize("third", [np.zeros(2 * N), np.full(2 * N, 0.3), np.abs(K)], ids=["zero", "kz", "density"])
def test_a_third_dimension_is_kz_or_density(third: np.ndarray) -> None:
    acquisition = readout(3, trajectory=embedded(3, third=third))
    sampling = sampling_of(acquisition)
    assert embedded_spoke(*_with_kept(acquisition), sampling=sampling) == pytest.approx(embedded(3), abs=1e-6)


def test_spokes_in_three_dimensions_are_refused() -> None:
    with pytest.raises(DataError, match=r"kz runs along the readout \(3-D spokes\); expected spokes in a plane"):
        sampling_of(readout(trajectory=embedded(0, third=0.5 * K)))


def test_a_trajectory_of_zeros_is_none() -> None:
    assert not sampling_of(readout(trajectory=np.zeros((2 * N, 2)))).embedded
    with pytest.raises(DataError, match=r"readouts without a trajectory; expected one, for buffer\.angles=trajectory"):
        sampling_of(readout(), BufferParameters(angles="trajectory"))


def test_a_trajectory_of_one_dimension_too_many_is_refused() -> None:
    with pytest.raises(DataError, match=r"64 samples with a trajectory of 64 x 4; expected \(kx, ky\)"):
        sampling_of(readout(trajectory=np.ones((2 * N, 4))))


def test_an_embedded_trajectory_may_be_ignored() -> None:
    acquisition = readout(trajectory=embedded(0, scale=400.0))
    assert not sampling_of(acquisition, BufferParameters(angles="golden")).embedded


def test_discarded_samples_shift_the_centre() -> None:
    acquisition = readout(samples=70, center_sample=36, discard_pre=4, discard_post=2)
    sampling = sampling_of(acquisition)
    assert (sampling.n_kept, sampling.center, sampling.oversampling) == (64, 32, pytest.approx(2))
    spoke = straight_spoke(acquisition, 0.0, sampling.check(acquisition), sampling, reverse=False)
    assert spoke[:, 0] == pytest.approx(K)


def test_an_off_centre_readout_keeps_its_spacing() -> None:
    """A quarter of the echo is not acquired: 48 samples with the centre at 16."""
    acquisition = readout(samples=48, center_sample=16)
    sampling = sampling_of(acquisition)
    assert sampling.spacing == pytest.approx(1 / 64)
    spoke = straight_spoke(acquisition, np.pi / 2, slice(0, 48), sampling, reverse=False)
    assert spoke[:, 1] == pytest.approx((np.arange(48) - 16) / 64)


def test_a_reversed_readout_runs_backwards() -> None:
    sampling = sampling_of(readout())
    spoke = straight_spoke(readout(), 0.0, slice(0, 2 * N), sampling, reverse=True)
    assert spoke[:, 0] == pytest.approx(-K)


def test_oblong_pixels_stretch_ky() -> None:
    sampling = sampling_of(readout(), matrix=(32, 16, 1))
    assert sampling.aspect == pytest.approx(2)
    spoke = straight_spoke(readout(), np.pi / 2, slice(0, 2 * N), sampling, reverse=False)
    assert spoke[:, 1] == pytest.approx(2 * K)


@pytest.mark.parametrize(("echo", "center"), [(30, 32), (0, 0)])
def test_a_centre_of_zero_is_believed_only_with_the_echo_there(echo: int, center: int) -> None:
    data = np.full((COILS, 2 * N), 0.1, np.complex64)
    data[:, echo] = 5
    sampling = sampling_of(readout(data=data, center_sample=0))
    assert sampling.center == center
    assert sampling.remark
    if center == 0:
        assert sampling.oversampling == pytest.approx(4), "a half-spoke of 64 samples belongs to a full one of 128"


def test_nothing_left_of_a_readout_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"3 coils x 64 samples, of which 60 \+ 4 are to be discarded; expected at least"
    ):
        sampling_of(readout(discard_pre=60, discard_post=4))


def angles_of(parameters: BufferParameters, readouts: list[Any], **rule: Any) -> np.ndarray:
    found = angle_rule(parameters, embedded=False, spokes_per_frame=rule.get("spokes", SPOKES))
    return np.rad2deg([found.angle(a, i) for i, a in enumerate(readouts)])


ROW = [readout(i, kspace_encode_step_1=(2 * i) % 7, scan_counter=100 + i) for i in range(6)]
COUNT = np.arange(6.0)
STEP_1 = np.array([0.0, 2, 4, 6, 1, 3])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, COUNT * GOLDEN_ANGLE_DEG),
        ({"tiny_golden": 7}, COUNT * golden_angle(7)),
        ({"angles": "golden", "angle_base": "2pi"}, COUNT * 2 * GOLDEN_ANGLE_DEG),
        ({"angles": "gadgetron2"}, COUNT * 111.246117975 + 180),
        ({"angles": "gadgetron3"}, COUNT * 68.753882025 + 180),
        ({"angles": "mrpro"}, STEP_1 * 0.618034 * 180),
        ({"angles": "uniform"}, STEP_1 * 180 / 5),
        ({"angles": "raga", "raga_spokes": 233}, COUNT * raga_angle(233)),
        ({"angles": "step", "angle_step": 20.0, "angle_offset": 5.0}, COUNT * 20 + 5),
        ({"angles": "step", "angle_step": 20.0, "angle_direction": "backward"}, -COUNT * 20),
        ({"angle_index": "step_1"}, STEP_1 * GOLDEN_ANGLE_DEG),
        ({"angle_index": "scan_counter"}, (100 + COUNT) * GOLDEN_ANGLE_DEG),
    ],
    ids=str,
)
def test_angles_by_formula(parameters: dict[str, Any], expected: np.ndarray) -> None:
    found = angles_of(BufferParameters(**parameters), ROW)
    assert (found - expected + 180) % 360 == pytest.approx(np.full(6, 180.0), abs=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("deg", 1.0), ("rad", 180 / np.pi)])
def test_angles_of_user_float(unit: str, factor: float) -> None:
    row = [readout(i, user_float=[0.0, 0.0, 0.5 * i]) for i in range(4)]
    found = angles_of(BufferParameters(angle_user_float=2, angle_unit=unit, angle_offset=10.0), row)
    assert found == pytest.approx(0.5 * np.arange(4) * factor + 10, abs=1e-5)


def test_wrong_angle_parameters_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"buffer\.angles = 'user'; expected buffer\.angle_user_float from 0 to 7"):
        angle_rule(BufferParameters(angles="user"), embedded=False, spokes_per_frame=5)
    with pytest.raises(ParameterError, match="RAGA set of 300 spokes"):
        angle_rule(BufferParameters(angles="raga", raga_spokes=300), embedded=False, spokes_per_frame=5)


def test_frames_from_the_repetition_counter_and_the_sentence() -> None:
    scan = [readout(i, repetition=i // 5, kspace_encode_step_1=i % 5, trajectory=embedded(i)) for i in range(30)]
    found = understand(header(trajectory="other"), scan)
    assert (found.framing.spokes, found.framing.marker) == (5, "repetition")
    assert found.sentence == (
        "radial scan, matrix 32 x 32, FOV 300 x 300 mm, 3 coils, 64 samples (2x oversampled); 5 spokes a frame "
        "(repetition counter), 15 ms a frame; angles: embedded trajectory in +-0.5 (cycles per pixel); no noise scan, "
        "coils not whitened"
    )


def test_the_phase_counter_of_a_gated_cine() -> None:
    scan = [readout(i, phase=(i // 4) % 3, repetition=i // 12) for i in range(40)]
    found = understand(header(), scan)
    assert (found.framing.spokes, found.framing.marker) == (4, "phase")


def test_step_1_marks_frames_where_nothing_else_does() -> None:
    found = understand(header(), [readout(i, kspace_encode_step_1=i % 8) for i in range(40)])
    assert (found.framing.spokes, found.framing.marker) == (8, "step_1")


def test_flags_in_mid_frame_mark_nothing() -> None:
    flags = [ismrmrd.ACQ_LAST_IN_REPETITION, ismrmrd.ACQ_LAST_IN_SLICE, ismrmrd.ACQ_LAST_IN_ENCODE_STEP1]
    scan = [readout(i, repetition=i // 10, flags=flags if i % 4 == 3 else ()) for i in range(40)]
    assert understand(header(), scan).framing.spokes == 10


def test_a_counter_that_changes_with_every_spoke_marks_nothing() -> None:
    found = understand(header(), [readout(i, repetition=i, kspace_encode_step_1=0) for i in range(70)])
    assert (found.framing.spokes, found.how) == (21, "default, no counter marks frames")


def test_a_lost_readout_in_the_first_frame_does_not_shorten_the_others() -> None:
    scan = golden_scan(4, 7)
    del scan[3]
    assert understand(header(), scan).framing.spokes == 7


def test_slices_one_after_the_other() -> None:
    scan = [readout(i, slice=i // 6) for i in range(18)]
    found = understand(header(), scan)
    assert (found.framing.spokes, found.how) == (6, "spokes of one slice in a row")


def test_frames_by_milliseconds_of_tr_of_stamps_and_of_interleaved_slices() -> None:
    scan = [readout(i) for i in range(60)]
    assert understand(header(), scan, BufferParameters(frame_ms=39.0)).framing.spokes == 13
    assert understand(header(tr=None), scan, BufferParameters(frame_ms=90.0)).framing.spokes == 30
    interleaved = [readout(i, slice=i % 2) for i in range(60)]
    found = understand(header(), interleaved, BufferParameters(frame_ms=60.0))
    assert (found.framing.spokes, found.interval_ms) == (10, pytest.approx(6.0))


def test_milliseconds_without_any_clock_are_refused() -> None:
    scan = [readout(i, acquisition_time_stamp=0) for i in range(60)]
    with pytest.raises(
        DataError, match="frame_ms = 39 for a scan with neither TR nor time stamps; expected one of them"
    ):
        understand(header(tr=None), scan, BufferParameters(frame_ms=39.0))


def test_understanding_takes_no_more_readouts_than_it_needs() -> None:
    rest = iter([readout(i) for i in range(100)])
    understand(header(), rest, BufferParameters(spokes_per_frame=9))
    assert len(list(rest)) == 91


def test_a_stride_longer_than_the_frame_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"buffer\.stride = 9; expected at most the 5 spokes of a frame"):
        understand(header(), golden_scan(), BufferParameters(stride=9))


def test_the_sentence_names_everything_unusual() -> None:
    rng = np.random.default_rng(0)
    navigator = readout(flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA])
    scan = [
        noise_readout(rng, np.diag([1.0, 2.0, 3.0])),
        navigator,
        *(readout(i, samples=50, center_sample=18, discard_post=2, slice=i % 2) for i in range(60)),
    ]
    line = understand(
        header(encoded=(2 * N, N, 4)),
        scan,
        BufferParameters(spokes_per_frame=8, stride=4, angles="gadgetron3", partitions="single"),
    ).sentence
    for part in (
        "48 samples (2x oversampled, 2 discarded, centre at 18, 60 of 64 samples acquired)",
        "8 spokes a frame (as set), 24 ms a frame",
        "angles: Gadgetron's golden_radial_mode3, spoke counter x 68.754 deg",
        "coils whitened from 1 noise readout",
        "2 groups",
        "4 partitions imaged one by one (buffer.partitions)",
        "dropped so far: 1 navigator",
        "sliding window, 4 new spokes a frame",
    ):
        assert part in line
    assert "\n" not in line


def test_a_scan_without_imaging_is_refused() -> None:
    with pytest.raises(DataError, match="a scan without a single readout; expected radial readouts"):
        understand(header(), [])
    with pytest.raises(DataError, match=r"without usable imaging readouts \(2 navigator\)"):
        understand(header(), [readout(i, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA]) for i in range(2)])


def test_nothing_here_imports_torch() -> None:
    code = (
        "import sys, inr_gadgets.conventions.understanding, inr_gadgets.buffering.buffer, inr_gadgets.imaging.image;"
        "print([m for m in ('torch', 'finufft', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
