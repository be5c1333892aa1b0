"""The bench: specifications, runs and their failures, what is taken up again, tables, figures."""

from __future__ import annotations

import csv
import json
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inr_core.errors import DataError, InrError, MissingDependencyError, ParameterError
from inr_gadgets.bench import jobs, peers, runs
from inr_gadgets.bench.cases import Case, load_case
from inr_gadgets.bench.figure import Panels, find_pool, panels, write_figure
from inr_gadgets.bench.process import ProgramError, resident_mib, run_measured
from inr_gadgets.bench.publish import publish
from inr_gadgets.bench.rows import MethodSpec, Row, file_stem, load_rows, save_rows
from inr_gadgets.bench.runs import Bench
from inr_gadgets.bench.table import markdown, page, pivot, write_csv
from inr_gadgets.cli import app
from inr_gadgets.simulate import simulate
from inr_gadgets.simulation.truth import Truth, read_truth

run = CliRunner().invoke


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("scans") / "heart.h5", matrix=32, frames=4, spokes=13, coils=4).scan


def silent(_: str) -> None:
    pass


# --- what is asked for


def test_a_method_with_preset_and_settings() -> None:
    plain, full = MethodSpec.parse_list(" nufft , cg_sense@virtual_coils = 6; recon.start_iterations=2;buffer.stride=7")
    assert (plain.method, plain.preset, dict(plain.settings)) == ("nufft", None, {})
    assert plain.words() == ["--method", "nufft"]
    assert str(full) == "cg_sense@buffer.stride=7;start_iterations=2;virtual_coils=6"
    assert MethodSpec.parse(str(full)) == full
    assert full.words() == [
        *("--method", "cg_sense", "--set", "recon.virtual_coils=6"),
        *("--set", "recon.start_iterations=2", "--set", "buffer.stride=7"),
    ]
    assert MethodSpec("inr", "fast", {"seed": "3"}).words()[:4] == ["--method", "inr", "--preset", "fast"]
    assert str(MethodSpec("inr", "fast", {"seed": "3"})) == "inr:fast@seed=3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "nope"),
        ("nufft:nope", "preset 'nope'"),
        ("nufft:", "with an empty preset; expected its name after the colon"),
        ("nufft@coils", "method 'nufft@coils'; expected name:preset@parameter=value;parameter=value"),
        ("nufft@=3", "expected name:preset@parameter=value"),
        (" , ", "methods ' , '; expected one or more, each of them once; for example nufft,grasp,inr"),
        ("nufft,nufft", "each of them once"),
    ],
)
def test_methods_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        MethodSpec.parse_list(text)
    assert message in str(caught.value)


def test_two_names_never_make_one_file() -> None:
    names = ["inr", "inr:a", "inr@a=/x", "inr@a=%2Fx", "a b"]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    assert not any("/" in stem for stem in stems)


# --- truth


def test_truth_is_read_with_y_before_x(tmp_path: Path) -> None:
    stored = np.arange(2 * 3 * 5).reshape(2, 3, 5) * 1j
    np.savez(tmp_path / "a.truth.npz", truth=stored, spokes=7)
    truth = read_truth(tmp_path / "a.truth.npz")
    assert truth.images.shape == (2, 5, 3)
    assert truth.images[1, 4, 2] == abs(stored[1, 2, 4])
    assert (truth.times_ms, truth.spokes) == (None, 7)


def test_a_truth_of_several_slices_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.truth.npz", truth=np.ones((2, 3, 4, 5)))
    with pytest.raises(DataError, match=r"a truth \(2, 3, 4, 5\); expected \(frames, x, y\)"):
        read_truth(tmp_path / "a.truth.npz")


def test_a_case_knows_its_frame_rate_and_its_content(scan: Path, tmp_path: Path) -> None:
    case = load_case(scan)
    assert (case.name, load_case(scan, "mine").name) == ("heart", "mine")
    assert case.frame_ms == pytest.approx(13 * 3.0)
    copy = tmp_path / "other.h5"
    copy.write_bytes(scan.read_bytes())
    with np.load(scan.with_suffix(".truth.npz")) as file:
        np.savez(tmp_path / "other.truth.npz", truth=file["truth"], spokes=file["spokes"])
    without_times = load_case(copy)
    assert without_times.frame_ms == pytest.approx(13 * 3.0)
    assert without_times.digest.split("-")[0] == case.digest.split("-")[0]
    assert without_times.digest != case.digest


def test_a_scan_without_truth(tmp_path: Path, scan: Path) -> None:
    bare = tmp_path / "bare.h5"
    bare.write_bytes(scan.read_bytes())
    result = run(app, ["bench", str(bare), "--methods", "nufft", "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stderr == (
        f"inr-recon: {bare} has no truth; expected bare.truth.npz beside it; simulate a scan, or leave this one out\n"
    )
    assert not (tmp_path / "out").exists()


# --- a program by itself


def test_a_program_s_own_memory_is_told_though_it_inherits_our_peak() -> None:
    """Linux hands a program the peak of the process that started it; ours is far above that of a shell."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 > 60
    measured = run_measured(["sleep", "0.5"])
    assert 0.1 < measured.host_mib < 40
    assert measured.wall_s >= 0.5


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo made; echo 'inr-recon: no coil; expected one' >&2; exit 3", "no coil; expected one"),
        (r"printf '\033[31mERROR: no disk\033[0m\n\n'; exit 1", "ERROR: no disk"),
        ("exit 1", "it said nothing"),
        ("echo so far; kill -9 $$", "sh was ended by SIGKILL (so far)"),
    ],
)
def test_why_a_program_failed(script: str, message: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run_measured(["sh", "-c", script])
    assert str(caught.value) == message


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ProgramError, match="it was ended at the time limit; allow more time"):
        run_measured(["sleep", "60"], limit_s=0.1)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(MissingDependencyError, match=r"no-such-program cannot be started .*; install it"):
        run_measured(["no-such-program"])


def test_the_resident_set_of_a_process() -> None:
    now, peak = resident_mib(os.getpid()), resident_mib(os.getpid(), peak=True)
    assert 50 < now <= peak
    assert peak == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, rel=0.02)


def test_no_such_process() -> None:
    with pytest.raises(ProgramError, match=r"process 4194305 without a resident set; expected a running process"):
        resident_mib(1 << 22 | 1)


# --- the runs


@pytest.fixture(scope="module")
def finished(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """One real bench: a method that works and one that fails."""
    output = tmp_path_factory.mktemp("bench")
    words = ["bench", str(scan), "-o", str(output), "--no-bart"]
    return output, run(app, [*words, "--methods", "nufft,cg_sense@nope=1"])


def test_what_a_bench_leaves(finished: tuple[Path, Any]) -> None:
    output, result = finished
    assert result.exit_code == 1  # one method failed
    rows = load_rows(output / "bench.json")
    assert [row.method for row in rows] == ["nufft", "cg_sense@nope=1"]
    row, failed = rows
    assert not row.error
    assert row.seconds is not None
    assert row.wall_s is not None
    assert 0 < row.seconds < row.wall_s  # the start of Python is in the second alone
    assert row.host_mib is not None
    assert row.host_mib > 100  # torch
    assert row.device.startswith("CPU") == (row.device_mib is None)
    assert (output / row.images).is_file()
    assert failed.error.startswith("parameter 'recon.nope'")
    assert failed.scores == {}
    for name in ("bench.md", "bench.csv", "heart.png"):
        assert str(output / name) in result.stdout
        assert (output / name).stat().st_size > 0
    assert markdown(rows) in result.stdout
    assert "heart: cg_sense@nope=1 failed: parameter 'recon.nope'" in result.stderr


def test_the_score_is_that_of_the_images(finished: tuple[Path, Any], scan: Path) -> None:
    output, _ = finished
    with np.load(scan.with_suffix(".truth.npz")) as file:
        truth = np.abs(file["truth"]).astype(np.float64).swapaxes(1, 2)
    row = load_rows(output / "bench.json")[0]
    images = jobs.images_of(output, row)
    images = images * (images * truth).sum() / (images**2).sum()
    psnr = 10 * np.log10(truth.max() ** 2 / ((images - truth) ** 2).mean(axis=(1, 2)))
    assert row.scores["psnr"] == pytest.approx(psnr.mean(), rel=1e-6)
    assert row.scores["psnr_std"] == pytest.approx(psnr.std(), rel=1e-5)


def test_nothing_is_run_twice(finished: tuple[Path, Any], scan: Path) -> None:
    output, _ = finished
    before = (output / "bench.json").read_text()
    result = run(app, ["bench", str(scan), "-o", str(output), "--no-bart", "--methods", "nufft"])
    assert result.exit_code == 0
    assert result.stderr == "inr-recon: heart: nufft is there already\n"
    assert (output / "bench.json").read_text() == before
    assert "cg_sense" not in (output / "bench.md").read_text()  # the page shows what was asked for


def fake_case(name: str = "a", digest: str = "1") -> Case:
    return Case(name, Path(f"{name}.h5"), Truth(disc_series()), 40.0, digest)


def fake_jobs(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], dict[str, Any]], version: str = "1") -> list[str]:
    """Let every method be one that does ``outcome``; the list grows with each run."""
    ran: list[str] = []

    def job(spec: MethodSpec, limit_s: float | None) -> jobs.Job:
        def work(case: Case, output: Path) -> dict[str, Any]:
            ran.append(f"{case.name} {spec}")
            return outcome()

        return jobs.Job(str(spec), "", version, work)

    monkeypatch.setattr(runs, "our_job", job)
    return ran


def test_what_is_taken_up_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    methods = MethodSpec.parse_list("nufft,cg_sense")
    first = Bench([fake_case()], methods, tmp_path, (), say=silent)
    ran = fake_jobs(monkeypatch, lambda: {"scores": SCORES})
    first.run()
    assert ran == ["a nufft", "a cg_sense"]
    first.run()
    replace(first, cases=[fake_case(), fake_case("b")]).run()
    assert ran[2:] == ["b nufft", "b cg_sense"]
    replace(first, cases=[fake_case(digest="2")]).run()
    replace(first, resume=False).run()
    assert ran[4:] == ["a nufft", "a cg_sense"] * 2
    newer = fake_jobs(monkeypatch, lambda: {"scores": SCORES}, version="2")
    first.run()
    assert newer == ["a nufft", "a cg_sense"]
    assert len(load_rows(tmp_path / "bench.json")) == 8  # nothing that was measured is forgotten


def test_a_failure_is_a_row_and_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise InrError("no coil", "one", "send it")

    said: list[str] = []
    bench = Bench([fake_case()], MethodSpec.parse_list("nufft,cg_sense"), tmp_path, (), say=said.append)
    fake_jobs(monkeypatch, fail)
    assert [row.error for row in bench.run()] == ["no coil; expected one; send it"] * 2
    assert "a: cg_sense failed: no coil; expected one; send it" in said
    ran = fake_jobs(monkeypatch, lambda: {"scores": SCORES})
    assert [row.error for row in bench.run()] == ["", ""]
    assert len(ran) == 2


def test_rows_are_there_as_they_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcomes = iter([{"scores": SCORES}])
    fake_jobs(monkeypatch, lambda: next(outcomes))  # the second raises what is no InrError: a fault
    with pytest.raises(StopIteration):
        Bench([fake_case()], MethodSpec.parse_list("nufft,cg_sense"), tmp_path, (), say=silent).run()
    assert [row.method for row in load_rows(tmp_path / "bench.json")] == ["nufft"]


def test_memory_of_a_cuda_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = fake_case()

    def reconstruct(words: list[str], limit_s: float | None) -> Any:
        output = Path(words[words.index("-o") + 1])
        jobs._write(output, case.truth.images)
        report = {"device": "NVIDIA H200", "peak_memory_mib": 321.5, "seconds": 2.5}
        Path(words[words.index("--report") + 1]).write_text(json.dumps({"scan": report}))
        return run_measured(["true"])

    monkeypatch.setattr(jobs, "run_measured", reconstruct)
    (row,) = Bench([case], [MethodSpec("nufft")], tmp_path, (), say=silent).run()
    assert (row.device_mib, row.device, row.seconds, row.series) == (321.5, "NVIDIA H200", 2.5, 2)
    assert row.scores["psnr"] > 100  # the truth itself


def test_series_that_are_no_images_are_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REFINED_SERIES", 3)
    jobs._write(tmp_path / "motion.h5", disc_series())
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"has the series \[3\]; expected 1 \(live\) or 2 \(refined\)"):
        jobs._last_series(tmp_path / "motion.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": []}, "scans named nothing; expected one or more, of different names"),
        ({"cases": ["a", "a"]}, "scans named a, a; expected"),
        ({"grasp_weights": (0.1, 0.0)}, r"weights \[0.1, 0.0\] of BART's GRASP; expected more than 0 each"),
    ],
)
def test_a_bench_of_nothing(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    if "cases" in changes:
        changes = {"cases": [fake_case(name) for name in changes["cases"]]}
    with pytest.raises(ParameterError, match=message):
        Bench(**{"cases": [fake_case()], "methods": [], "output": tmp_path} | changes)


def test_weights_that_are_no_numbers(scan: Path, tmp_path: Path) -> None:
    result = run(app, ["bench", str(scan), "-o", str(tmp_path), "--bart-weights", "0.1,x"])
    assert result.exit_code == 1
    assert result.stderr == "inr-recon: --bart-weights 0.1,x; expected numbers with commas between them\n"


def test_rows_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"rows": [{"colour": 1}]}')
    with pytest.raises(DataError, match=r"bench.json cannot be read .*; remove it to begin anew"):
        load_rows(tmp_path / "bench.json")
    assert load_rows(tmp_path / "none.json") == []


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, method="x", error="no", scores={})]
    save_rows(tmp_path / "rows.json", rows, date="today")
    assert load_rows(tmp_path / "rows.json") == rows
    assert json.loads((tmp_path / "rows.json").read_text())["date"] == "today"


# --- BART


def test_without_bart_a_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    fake_jobs(monkeypatch, lambda: {"scores": SCORES})
    said: list[str] = []
    rows = Bench([fake_case()], MethodSpec.parse_list("nufft"), tmp_path, say=said.append).run()
    assert [row.method for row in rows] == ["nufft"]
    assert said[0] == "BART is not installed (Debian: apt-get install bart): its GRASP is left out"


@pytest.mark.peer
@pytest.mark.skipif(not peers.available(), reason="bart is not installed")
def test_bart_s_grasp_at_the_best_of_its_weights(scan: Path, tmp_path: Path) -> None:
    case = load_case(scan)
    (row,) = Bench([case], [], tmp_path, (0.01, 10.0), say=silent).run()
    assert row.error == ""
    assert (row.method, row.remark) == ("BART GRASP", "best of 2 weights: 0.01")
    assert row.scores["psnr"] > 20
    assert row.seconds is not None
    assert row.wall_s is not None
    assert 0 < row.seconds < row.wall_s  # of the best; of both
    assert jobs.images_of(tmp_path, row).shape == case.truth.images.shape


@pytest.mark.peer
@pytest.mark.skipif(not peers.available(), reason="bart is not installed")
def test_a_scan_that_bart_cannot_take(tmp_path: Path) -> None:
    made = simulate(tmp_path / "scan.h5", matrix=16, frames=2, spokes=5, coils=2, trajectory="none")
    (row,) = Bench([load_case(made.scan)], [], tmp_path / "out", (0.01,), say=silent).run()
    assert "has 16 x 16 pixels, [5] spokes a frame, 0 coordinates a sample; expected for BART" in row.error


# --- tables

SCORES = {"psnr": 38.123, "psnr_std": 0.5, "ssim": 0.9501, "ssim_std": 0.01, "psnr_minmax": 37.0}
SCORES |= {"psnr_moving": 30.0, "psnr_moving_std": 1.0, "ssim_moving": 0.9, "ssim_moving_std": 0.02}
ROW = Row("a", "nufft", "", "d", "v", "a/nufft.h5", 1, SCORES, 3.21, 5.0, 350.4, None, "CPU", "a|b")


def test_every_column() -> None:
    failed = replace(ROW, method="inr", scores={}, error="no coil; expected one")
    lines = markdown([ROW, failed]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split(" | ")[2:9] == [
        *("38.12 ± 0.50", "0.950 ± 0.010", "    30.00 ± 1.00", "0.900 ± 0.020", "3.2", "       350"),
        "           -",
    ]
    assert "a\\|b" in lines[2]
    assert [cell.strip() for cell in lines[3].split(" | ")[2:9]] == ["-"] * 7
    assert "| failed: no coil |" in lines[3]
    text = page([ROW, failed], "A title", "About it.")
    assert text.startswith("# A title\n\nAbout it.\n\n| scan")
    assert "\n- a, inr: no coil; expected one\n" in text


def test_scans_side_by_side() -> None:
    better = replace(ROW, method="inr", scores=SCORES | {"psnr": 40.0, "ssim": 0.94}, seconds=123.4)
    failed = replace(ROW, scan="b", method="inr", scores={}, error="no coil")
    lines = pivot([ROW, better, failed]).splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    assert cells[0] == ["method", *(f"{s}: {what}" for s in "ab" for what in ("PSNR / dB", "SSIM", "s"))]
    assert cells[2] == ["nufft", "38.12", "**0.950**", "3.2", "-", "-", "-"]
    assert cells[3] == ["inr", "**40.00**", "0.940", "123", "failed", "-", "-"]
    assert pivot([ROW]) not in page([ROW])
    assert pivot([ROW, failed]) in page([ROW, failed])


def test_numbers_for_programs(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [ROW, replace(ROW, method="inr", scores={}, seconds=None, error="no, none")])
    with (tmp_path / "t.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["psnr"], first["seconds"], first["device_mib"], first["error"]) == ("38.123", "3.21", "", "")
    assert (second["psnr"], second["seconds"], second["error"]) == ("", "", "no, none")


# --- figures


def disc_series(n_frames: int = 5) -> np.ndarray:
    """A bright disc that shrinks until frame 3, beside a smaller one that grows; (frames, y, x)."""
    y, x = np.mgrid[0:41, 0:57]
    radii = np.array([10, 9, 8, 6, 7])[:n_frames]
    grown = np.array([2, 2, 3, 4, 4])[:n_frames]
    images = [
        0.1 + ((x - 20) ** 2 + (y - 22) ** 2 <= a**2) + 0.9 * ((x - 42) ** 2 + (y - 18) ** 2 <= b**2)
        for a, b in zip(radii, grown, strict=True)
    ]
    return np.stack(images).astype(np.float64)


def test_the_pool_is_the_largest_bright_region() -> None:
    pool = find_pool(disc_series())
    y, x = np.mgrid[-20:21, -20:21]
    assert pool.areas.tolist() == [int((x**2 + y**2 <= r**2).sum()) for r in (10, 9, 8, 6, 7)]
    assert (pool.diastole, pool.systole, pool.column) == (0, 3, 20)


def test_a_truth_that_stands_still_has_a_figure(tmp_path: Path) -> None:
    still = np.ones((2, 8, 8))
    write_figure(tmp_path / "still.png", Panels(still, {"same": still}, None))
    assert (tmp_path / "still.png").stat().st_size > 1000


@pytest.mark.parametrize(("n_methods", "n_blocks", "n_columns"), [(1, 1, 2), (6, 1, 7), (7, 2, 5)])
def test_size_and_content_of_a_figure(n_methods: int, n_blocks: int, n_columns: int, tmp_path: Path) -> None:
    truth = disc_series()
    shown = Panels(truth, {f"method {i}\n30 dB": truth * (1.0 if i == 0 else 0.9) for i in range(n_methods)}, 40.0)
    write_figure(tmp_path / "figure.png", shown)
    with Image.open(tmp_path / "figure.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    cell = 1.5 * 150
    assert pixels.shape[1] == pytest.approx(n_columns * cell, rel=0.1)
    assert pixels.shape[0] == pytest.approx(n_blocks * cell * (4 * 41 / 57 + 0.75), rel=0.2)
    if n_methods == 6:
        # The middle of the error maps at diastole: of the truth itself black, of a scaled disc not.
        row = round(0.05 * 150 + 2 * 0.14 * 150 + 1.5 * cell * 41 / 57)
        columns = [round(0.24 * 150 + (column + 20 / 57) * cell) for column in (1, 2)]
        assert pixels[row, columns[0]].sum() < 10
        assert pixels[row, columns[1]].sum() > 200


def test_a_figure_on_the_score_s_scale(tmp_path: Path) -> None:
    case = fake_case()
    rows = [replace(ROW, method="m@a=1;b=2"), replace(ROW, method="gone", error="x")]
    shown = panels(case, rows, {"m@a=1;b=2": 7 * case.truth.images})
    assert list(shown.images) == ["m@a=1; b=2\n38.12 dB, 0.950"]
    np.testing.assert_allclose(next(iter(shown.images.values())), case.truth.images, rtol=1e-12)


def test_a_figure_that_cannot_be_written(tmp_path: Path) -> None:
    truth = disc_series()
    with pytest.raises(DataError, match=r"cannot be written .*; choose another folder or free space"):
        write_figure(tmp_path / "none" / "f.png", Panels(truth, {"a": truth}, 40.0))


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    bench = Bench([fake_case()], [], tmp_path, (), say=silent)
    with pytest.raises(DataError, match=r"none/t cannot be written"):
        publish(bench, [ROW], table=tmp_path / "none" / "t")
