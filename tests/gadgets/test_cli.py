"""The program: fast help with examples, one-line errors, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import ismrmrd
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from inr_core.errors import DataError, ParameterError
from inr_core.methods import list_methods
from inr_gadgets.cli import app
from inr_gadgets.commands.common import Progress, command, parse_settings
from inr_gadgets.image_file import ImageWriter
from inr_gadgets.wire.limits import ServerLimits
from stored import slab

COMMANDS = (
    "serve",
    "replay",
    "stream",
    "reconstruct",
    "prepare",
    "simulate",
    "check",
    "curves",
    "export",
    "bench",
    "methods",
    "configs",
    "doctor",
    "ping",
)
HEAVY = ("torch", "ismrmrd", "numpy", "h5py", "gadgetron", "matplotlib")

run = CliRunner().invoke


def program(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inr_gadgets.cli", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_methods_tell_what_they_can_do_and_their_presets() -> None:
    said = " ".join(run(app, ["methods", "td_dip"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output.split())
    assert "(offline only); preset paper: channels=128, data_term=ramp_backward" in said
    said = " ".join(run(app, ["methods", "inr"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output.split())
    assert "(in the stream, between pixels and frames); preset best: companion_passes=150" in said


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_has_an_example(words: list[str]) -> None:
    result = run(app, words, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert "Example: inr-recon" in result.output


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from inr_gadgets.cli import app\n"
        "sys.argv = ['inr-recon', '--help']\n"
        "try:\n    app()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "HEAVY []" in result.stdout
    for name in COMMANDS:
        assert name in result.stdout


def test_an_error_is_one_line_and_code_1(tmp_path: Path) -> None:
    result = program("replay", str(tmp_path / "none.h5"), "-o", str(tmp_path / "out.h5"))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"inr-recon: {tmp_path}/none.h5 is not there; expected the .h5 file of an ISMRMRD scan; correct the path\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_code_2() -> None:
    assert run(app, ["replay"]).exit_code == 2
    assert run(app, ["nonsense"]).exit_code == 2
    assert run(app, ["serve", "--port", "70000"]).exit_code == 2


def failing(error: BaseException) -> typer.Typer:
    """A program whose only command fails."""
    made = typer.Typer(pretty_exceptions_enable=False)

    @made.callback(invoke_without_command=True)
    def _program() -> None:
        pass

    def fail() -> None:
        raise error

    command(made)(fail)
    return made


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("this", "that", "do so"), 1, "inr-recon: this; expected that; do so\n"),
        (KeyboardInterrupt(), 130, "inr-recon: interrupted; what was made so far is kept\n"),
        (FileNotFoundError(2, "no such folder", "/none"), 1, "inr-recon: no such folder: /none\n"),
        (OSError("HDF5 says no"), 1, "inr-recon: HDF5 says no\n"),
    ],
)
def test_what_each_failure_becomes(error: BaseException, code: int, line: str) -> None:
    result = run(failing(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr == line


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    result = run(failing(ZeroDivisionError("division by zero")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_settings() -> None:
    assert parse_settings(["recon.method = inr", "a.b=c=d", "recon.method=nufft"]) == {
        "recon.method": "nufft",
        "a.b": "c=d",
    }


@pytest.mark.parametrize("setting", ["recon.method", "=3", " =3"])
def test_a_setting_without_name_or_value(setting: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_settings([setting])
    assert str(caught.value) == " ".join(
        f"--set {setting}; expected gadget.name=value; for example --set recon.virtual_coils=6".split()
    )


def test_progress_shows_nothing_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("readouts", 10, after_s=0) as progress:
        progress.update(5)
    assert capfd.readouterr() == ("", "")


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("readouts", 10, after_s=0) as progress:
        progress.update(5, "2 images")
        progress.update(10, "4 images")
    assert "readouts" in capfd.readouterr().err


def test_version() -> None:
    result = run(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("inr-recon")


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    made = subprocess.run(
        f"{sys.executable} -m inr_gadgets.cli configs | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert "Traceback" not in made.stderr
    assert "Exception ignored" not in made.stderr


def test_configs_names_the_shipped_ones() -> None:
    result = run(app, ["configs"])
    assert result.exit_code == 0, result.output
    assert "inr_dynamic" in result.stdout


def test_configs_when_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from inr_gadgets import configs

    monkeypatch.setattr(configs, "config_folders", list)
    result = run(app, ["configs"])
    assert result.exit_code == 1
    assert result.stderr == (
        "inr-recon: no configuration was found; expected inr_dynamic.xml at least; reinstall inr-recon\n"
    )


def test_methods_lists_methods_and_parameters() -> None:
    result = run(app, ["methods"])
    assert result.exit_code == 0, result.output
    for word in ("nufft", "cg_sense", "inr", "recon.virtual_coils", "buffer.spokes_per_frame"):
        assert word in result.stdout
    overview, _, _ = result.stdout.partition("inr-recon methods NAME has the parameters of one alone")
    rows = {words[0]: line for line in overview.splitlines() if (words := line.split())}
    assert {method.name for method in list_methods()} <= set(rows)
    assert rows["stinr"].split()[-7:] == ["offline", "only,", "between", "pixels", "and", "frames", "paper"]


def test_methods_of_one_gadget() -> None:
    result = run(app, ["methods", "image"])
    assert result.exit_code == 0, result.output
    assert "recon." not in result.stdout


def test_serve_takes_the_server_s_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, object] = {}
    monkeypatch.setattr("inr_gadgets.serving.server.serve", lambda **given: called.update(given))
    settings = ["--set", "server.pause_s=5", "--set", "Server.SCANS=2", "--set", "recon.virtual_coils=6"]
    assert run(app, ["serve", *settings]).exit_code == 0
    assert called["limits"] == ServerLimits(pause_s=5, scans=2)
    assert called["overrides"] == {"recon.virtual_coils": "6"}
    result = run(app, ["serve", "--set", "server.scan=2"])
    assert result.exit_code == 1
    assert "server has no parameter 'scan'; expected one of connections, scans" in result.stderr
    assert "resident memory of the server" in run(app, ["methods", "server"]).stdout


def test_an_unknown_method_lists_the_known_ones() -> None:
    result = run(app, ["methods", "grappa"])
    assert result.exit_code == 1
    assert "there is no method or gadget 'grappa'; expected one of buffer, recon, image, " in result.stderr


def test_the_reference_in_docs_is_the_programs_own() -> None:
    """Written by ``inr-recon methods --markdown > docs/parameters.md``."""
    file = Path(__file__).parents[2] / "docs" / "parameters.md"
    assert run(app, ["methods", "--markdown"]).stdout == file.read_text()


def test_doctor_as_a_program() -> None:
    result = run(app, ["doctor", "--port", "9"])
    assert "python" in result.stdout
    assert "nufft finufft" in result.stdout


def test_json_of_the_report_is_refused_before_the_work(tmp_path: Path) -> None:
    result = run(app, ["replay", "scan.h5", "-o", "out.h5", "--report", str(tmp_path / "none" / "r.json")])
    assert result.exit_code == 1
    assert result.stderr == f"inr-recon: no such folder: {tmp_path / 'none'}\n"


def test_every_parameter_of_a_simulation_that_is_an_option_has_its_default_in_the_help() -> None:
    from dataclasses import fields

    from inr_gadgets.commands import files
    from inr_gadgets.simulate import SimulationParameters

    defaults = {field.name: field.default for field in fields(SimulationParameters)}
    options = {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(files.simulate, include_extras=True).items()
        if hasattr(hint, "__metadata__") and name not in ("output", "settings")
    }
    assert options
    for name, option in options.items():
        shown = option.show_default
        assert name in defaults
        assert str(shown) == str(defaults[name]).removesuffix(".0") or (shown is True and defaults[name] is False)


def test_simulate(tmp_path: Path) -> None:
    scan = tmp_path / "scan.h5"
    words = ["--matrix", "24", "--frames", "3", "--spokes", "8", "--coils", "2", "--noise-scan", "--set", "fov_mm=320"]
    result = run(app, ["simulate", str(scan), *words])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{scan} (0.1 s of scan), truth in {tmp_path / 'scan.truth.npz'}\n"
    assert run(app, ["simulate", str(scan), *words, "--frames", "2"]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--phantom", "brick"], "simulate.phantom = 'brick'; expected one of cine, dce"),
        (["--set", "colour=red"], "simulate has no parameter 'colour'"),
        (["--matrix", "32", "--set", "matrix=64"], "matrix given as an option and by --set; expected one of the two"),
    ],
)
def test_simulate_refuses(tmp_path: Path, words: list[str], message: str) -> None:
    result = run(app, ["simulate", str(tmp_path / "scan.h5"), *words])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"inr-recon: {message}")
    assert list(tmp_path.iterdir()) == []


def images(path: Path) -> Path:
    with ImageWriter(path, "images") as writer:
        for frame in range(4):
            image = ismrmrd.Image.from_array(np.full((8, 8), frame + 1, np.float32), transpose=False)
            image.image_series_index, image.acquisition_time_stamp = 1, 40 * frame
            image.meta = ismrmrd.Meta({"inr_frame": str(frame)})
            writer.append(image)
    return path


def test_export_writes_what_is_asked_for(tmp_path: Path) -> None:
    gif, png = tmp_path / "heart.gif", tmp_path / "heart.png"
    result = run(app, ["export", str(images(tmp_path / "out.h5")), "--gif", str(gif), "--png", str(png), "--zoom", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{gif}\n{png}\n"
    assert gif.read_bytes().startswith(b"GIF8")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_contact_sheet_is_large_enough_to_be_read(tmp_path: Path) -> None:
    """Without --zoom its tiles are near 192 pixels wide, not the image's own few."""
    result = run(app, ["export", str(images(tmp_path / "out.h5")), "--png", str(tmp_path / "a.png")])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size[1] > 150


def test_export_needs_a_file_to_write(tmp_path: Path) -> None:
    result = run(app, ["export", str(images(tmp_path / "out.h5"))])
    assert result.exit_code == 1
    assert result.stderr == (
        "inr-recon: no file to write; expected --gif, --mp4, --png, --dicom or --nifti with a name; for example "
        "--gif heart.gif\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--enhanced"], "--enhanced without --dicom; expected --dicom with a name; pictures do not heed it"),
        (["--scan", "scan.h5"], "--scan without --dicom; expected"),
        (["--anonymous"], "--anonymous without --dicom or --nifti; expected"),
        (["--phase"], "--phase without --dicom or --nifti; expected"),
    ],
)
def test_export_refuses_what_pictures_do_not_heed(tmp_path: Path, words: list[str], message: str) -> None:
    result = run(app, ["export", "out.h5", "--gif", str(tmp_path / "a.gif"), *words])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"inr-recon: {message}")


def test_export_to_dicom_and_nifti(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("nibabel")
    slab(tmp_path / "out.h5", frames=2, slices=1)
    dicom, nifti = tmp_path / "d", tmp_path / "heart.nii.gz"
    result = run(app, ["export", str(tmp_path / "out.h5"), "--dicom", str(dicom), "--nifti", str(nifti)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{dicom / 'series_1'}\n{nifti}\n"
    assert "does not say whose images they are: no name, dates of the file" in result.stderr
    assert [path.name for path in sorted((dicom / "series_1").iterdir())] == ["image_00001.dcm", "image_00002.dcm"]
    result = run(app, ["export", str(tmp_path / "out.h5"), "--dicom", str(dicom), "--enhanced", "--anonymous"])
    assert result.stdout == f"{dicom / 'series_1.dcm'}\n"
    result = run(app, ["export", str(tmp_path / "out.h5"), "--dicom", str(dicom)])
    assert result.exit_code == 1
    assert "series_1 exists already; expected a new one" in result.stderr


def test_export_of_a_series_that_is_not_there(tmp_path: Path) -> None:
    result = run(app, ["export", str(images(tmp_path / "out.h5")), "--gif", "x.gif", "--series", "2"])
    assert result.exit_code == 1
    assert "has no series 2; expected one of: 1" in result.stderr
