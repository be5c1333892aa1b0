"""What the programs make of what they measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inr_core.errors import DataError
from inr_gadgets.simulate import simulate
from programs import program

options, results, summary = program("options"), program("results"), program("summary")
lag, refine, scaling, floor = program("lag"), program("refine"), program("scaling"), program("floor")


def by_name(figures: list[object]) -> dict[str, object]:
    return {figure.what: figure for figure in figures}


# --- options


def test_options() -> None:
    parser = options.Options("Measures.\n\n    python one.py")
    parser.add_quick("10 frames")
    parser.add_settings()
    chosen = parser.parse_args(["--set", "recon.a=1", "--quick", "--set", "recon.b=2"])
    assert (chosen.quick, chosen.set) == (True, ["recon.a=1", "recon.b=2"])
    assert "Measures.\n\n    python one.py\n" in parser.format_help()
    assert parser.parse_args([]).set == []


# --- figures and their summary


@pytest.mark.parametrize(("value", "reached"), [(0.96, True), (1.09, True), (1.11, False), (0.89, False)])
def test_within(value: float, reached: bool) -> None:
    figure = results.within("slope", value, 1.0, 0.1)
    assert (figure.target, figure.reached) == ("1 +- 0.1", reached)


def test_the_summary_has_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    figures = [results.at_most("a | b, s", 3, 2), results.Figure("c", 12345.678)]
    described = results.machine()
    results.save("two", described, "phantom", figures, points=[1])
    results.save("one", described, "cine", [results.Figure("gone", None, ">= 1", False)])
    (tmp_path / "results" / "table.json").write_text('{"rows": []}')
    monkeypatch.setattr(summary, "plot_path", lambda name: tmp_path / f"bench_{name}.png")
    (tmp_path / "bench_one.png").touch()
    found = summary.load_results(tmp_path / "results")
    assert [result.name for result in found] == ["one", "two"]
    text = summary.page(found)
    assert "0 of 2 targets are reached." in text
    assert text.count("| two | a \\| b, s | 3 | <= 2 | NOT reached |") == 1
    assert text.count("| one | gone | not measured | >= 1 | NOT reached |") == 1
    assert "| c | 1.235e+04 |  |  |" in text
    assert text.count("![") == text.count("![one](../../docs/images/bench_one.png)") == 1
    assert f"phantom. {described['date']}, {described['processor']}" in text


def test_a_quick_run_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "TRIED", tmp_path / "tried")
    path = results.save("one", results.machine(), "cine", [], quick=True)
    assert path == tmp_path / "tried" / "one.json"
    with pytest.raises(DataError, match=r"no results in .*results; expected files of the benchmarks; run make bench"):
        summary.load_results(tmp_path / "results")


@pytest.mark.parametrize("text", ["{", '{"figures": [{"what": "a"}]}'])
def test_a_damaged_result(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad.json cannot be read \(.*\); expected a benchmark's result; run it again"):
        summary.load_results(tmp_path)


# --- lag


def a_lag(latency: np.ndarray, late_s: float = 0.0) -> object:
    """A scan of 39 ms a frame; a NaN in the latency is a frame that was dropped."""
    made = lag.Lag(39.0, len(latency))
    for number, value in enumerate(latency):
        made.sent.append(7.0 + 0.039 * number + (late_s if number > 200 else 0))
        if np.isfinite(value):
            made.report.add_meta(1, {"inr_frame": number, "inr_latency_ms": value})
            made.arrived[number] = made.sent[-1] + (value + 2) / 1e3
            made.memory[number] = 500.0 + min(number, 300)
    return made


def test_a_lag_that_drifts() -> None:
    frames = np.arange(600.0)
    figures = by_name(a_lag(40 + 0.05 * frames).figures())
    assert figures["drift of the latency, ms per 1000 frames"].value == pytest.approx(50)
    assert figures["latency of frames 90 to 110, median, ms"].value == pytest.approx(45)
    assert figures["latency of the last 100 frames, median, ms"].value == pytest.approx(67.475)
    ratio = figures["last frames' latency / that around the hundredth (margin 1.5)"]
    assert (ratio.value, ratio.reached) == (pytest.approx(67.475 / 45), True)
    assert figures["the same seen by the client, ms"].value == pytest.approx(56.975)
    assert figures["growth of memory after frame 300, %"].value == 0
    assert figures["resident memory of the server at frame 100, MiB"].value == 600
    assert figures["readouts sent late, as they were not taken in time, largest, s"].reached


def test_a_lag_that_is_hidden_by_a_late_client() -> None:
    figure = by_name(a_lag(np.full(450, 40.0), late_s=0.6).figures())[
        "readouts sent late, as they were not taken in time, largest, s"
    ]
    assert (figure.value, figure.reached) == (pytest.approx(0.6), False)


def test_a_dropped_frame() -> None:
    latency = np.full(450, 40.0)
    latency[[101, 333]] = np.nan
    figure = by_name(a_lag(latency).figures())["frames dropped"]
    assert (figure.value, figure.reached) == (2, False)


# --- refinement


def points(*pairs: tuple[float, float]) -> list[object]:
    return [refine.Point(f"{seconds:g} s", seconds, psnr, 0.9) for seconds, psnr in pairs]


def test_only_what_was_ready_in_time_counts() -> None:
    grasp = points((2, 35.0), (4, 37.0), (9, 36.9))
    figures = by_name(refine.against("GRASP", grasp, points((3, 37.5), (19, 38.4), (21, 39.0))))
    assert figures["GRASP, best: 4 s, s"].value == 4
    gain = figures["refined - GRASP's best, within 5 x its time, dB"]
    assert (gain.value, gain.reached) == (pytest.approx(1.4), False)
    ratio = figures["seconds until refined is 1.5 dB over GRASP's best / its seconds"]
    assert (ratio.value, ratio.reached) == (pytest.approx(5.25), False)


def test_a_refinement_that_is_never_there() -> None:
    figures = refine.against("GRASP", points((1, 37.0)), points((6, 38.0)))
    assert (figures[-1].value, figures[-1].target, figures[-1].reached) == (None, ">= 1.5", False)


# --- scaling


def test_exponents_and_their_targets() -> None:
    point = scaling.Point
    measured = {
        "frames": {n: point(30.0, 0.1 * n, 50 + 2.0 * n, 90.0, 500.0) for n in (16, 32, 64)},
        "matrix": {n: point(n**2 / 500, n**2.1, n**2 / 8, n**2 / 4, 500.0) for n in (64, 96)},
        "slices": {n: point(30.0 * n, 1.0 * n**1.2, 40.0 * n, 10.0, 500.0) for n in (1, 2, 4)},
    }
    figures = by_name(scaling.fitted_figures(measured))
    live = figures["exponent of ms a live frame over frames (+- 0.00)"]
    assert (live.target, live.reached) == ("0 +- 0.05", True)
    memory = next(f for what, f in figures.items() if what.startswith("memory of the scan, MiB for each frame"))
    assert memory.value == pytest.approx(2)
    assert figures["exponent of the scan's memory over matrix (+- nan)"].value == pytest.approx(2)
    slices = figures["exponent of s of the refinement over slices (+- 0.00)"]
    assert (slices.value, slices.target, slices.reached) == (pytest.approx(1.2), "1 +- 0.1", False)


def test_the_quickest_of_repeated_scans() -> None:
    point = scaling.Point
    three = [point(10, 5, 1, 3, 100), point(8, 6, 2, 9, 300), point(9, 7, 4, 6, 200)]
    assert scaling.quickest(three) == point(8, 5, 2, 6, 300)


def test_a_point_is_a_whole_scan(tmp_path: Path) -> None:
    cycle = simulate(tmp_path / "cycle.h5", matrix=32, coils=2, spokes=5, frames=2).scan
    scan = program("repeated_scan").RepeatedScan.read(cycle, frames=6, slices=2)
    settings = {"recon.deterministic": "true", "recon.tune_steps": "0", "recon.refine_passes": "1"}
    point = program("scaling_point").measure(scan, {**settings, "recon.polish_rounds": "1"})
    assert point.live_ms > 0
    assert point.refine_s > 0
    assert point.peak_mib > 100


# --- floor


def test_the_floor_is_the_longer_of_work_and_traffic() -> None:
    ceilings = floor.Ceilings(bytes=100.0, product=10.0, fft=5.0)
    cost = program("costs").Cost
    assert ceilings.floor_s(cost(fft=10, product=30, bytes=400)) == pytest.approx(5)
    assert ceilings.floor_s(cost(fft=10, product=30, bytes=600)) == pytest.approx(6)


def test_means_of_the_quicker_runs_part_by_part() -> None:
    cost, spent = program("costs").Cost, program("parts").Spent
    one, times = cost(fft=2e9, bytes=1e6), ((3, 1), (50, 60), (5, 2), (4, 3), (4, 2))
    runs = [{"gridding": spent(s, 1, one), "rest": spent(r)} for s, r in times]
    runs[2]["Adam"] = spent(1.0, 2)
    rows = floor.summary(runs, floor.Ceilings(1e9, 1e9, 1e9))
    assert list(rows) == ["gridding", "Adam", "rest", "all"]
    assert rows["gridding"] == floor.Row(4000, 2000, 1, 2, 1)
    assert (rows["Adam"].measured_ms, rows["Adam"].calls) == (250, 0.5)
    assert (rows["rest"].measured_ms, rows["rest"].floor_ms) == (2000, None)
    assert (rows["all"].measured_ms, rows["all"].floor_ms) == (6250, 2000)
    figures = floor.figures_of("live frame", rows)
    assert figures[0].value == 2
    assert figures[0].what == "live frame, gridding, 2 GFLOP, 1 MB: 4e+03 ms / floor 2e+03 ms"


def test_every_watched_method_is_there_and_called() -> None:
    runs = floor.measure(24, 1, floor.InrParameters(live_coils=2))
    assert set(runs["live frame"][0]) >= {"gridding", "Toeplitz products", "rest"}
    assert set(runs["training step"][0]) >= {"Toeplitz products", "field", "Adam", "rest"}
    for parts in (runs["live frame"][0], runs["training step"][0]):
        assert all(part.seconds > 0 for part in parts.values())
