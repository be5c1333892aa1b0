"""The files for FIRE: an ini file that it can read, parameters that the server understands."""

from __future__ import annotations

import configparser
import json
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import scans
from inr_core.errors import ParameterError
from inr_gadgets.chain import GADGETS
from inr_gadgets.cli import app
from inr_gadgets.packaging.fire import START_SCRIPT, fire_ini, write_fire
from inr_gadgets.packaging.label import CONFIGS
from inr_gadgets.serving.request import Request
from inr_gadgets.wire.messages import ConfigFile, Header, Text

ROOT = Path(__file__).parents[3]


def test_the_ini_file_has_every_key() -> None:
    found = configparser.ConfigParser()
    found.read_string(fire_ini("192.168.2.2"))
    assert dict(found["OpenRecon"]) == {"hostname": "192.168.2.2", "port": "9002"}
    assert set(found["chroot"]) == {
        *("start_chroot", "chroot_image_path", "chroot_image_name", "chroot_command", "chroot_search_string"),
        "chroot_stop_after_finish",
    }
    assert found["chroot"]["chroot_search_string"] in "/opt/inr-recon/bin/inr-recon serve"


def test_its_command_is_one_that_the_server_understands() -> None:
    """The start script hands what follows the log on to ``inr-recon serve``."""
    found = configparser.ConfigParser()
    found.read_string(fire_ini("localhost"))
    script, log, *options = shlex.split(found["chroot"]["chroot_command"])
    assert script == START_SCRIPT
    assert log.startswith("/tmp/share/")  # what the host sees
    program = typer.main.get_command(app)
    serve = program.commands["serve"].make_context("serve", options)
    assert serve.params["host"] == "0.0.0.0"
    assert serve.params["settings"] == ["image.dtype=uint16"]


def test_the_start_script_is_made_where_the_ini_file_looks_for_it() -> None:
    script = ROOT / "docker" / "fire" / Path(START_SCRIPT).name
    if not script.parent.is_dir():
        pytest.skip("docker/fire is not in this source")
    assert script.is_file()
    recipe = (script.parent / "make_chroot.sh").read_text()
    assert START_SCRIPT.removeprefix("/") in recipe


@pytest.mark.parametrize("config", CONFIGS)
def test_the_parameters_are_understood(tmp_path: Path, config: str) -> None:
    write_fire(tmp_path, "localhost", config)
    request = Request()
    for message in (
        ConfigFile(config),
        Header(scans.header_xml()),
        Text((tmp_path / "config" / f"{config}.json").read_text()),
    ):
        assert request.take(message)
    chain = request.chain_config(GADGETS)
    assert chain.name == config
    made = chain.build(request.header, {"image.dtype": "uint16"}, request.settings())
    assert made.gadgets[-1].parameters.dtype == "uint16"


def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["package", "fire", "-o", str(tmp_path / "fire"), "-c", "inr_live"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'fire'}: fire_inr.ini, config/inr_live.json, README.txt\n"
    assert json.loads((tmp_path / "fire/config/inr_live.json").read_text())["parameters"]["config"] == "inr_live"
    assert (
        "JsonConfig     %CustomerIceProgs%\\fire\\config\\inr_live.json" in (tmp_path / "fire/README.txt").read_text()
    )


@pytest.mark.parametrize(
    ("hostname", "config", "message"),
    [
        ("a host", "inr_live", "--hostname 'a host'; expected a name or an address"),
        ("", "inr_live", "--hostname ''; expected a name or an address"),
        ("a\nport=1", "inr_live", "--hostname"),
        ("localhost", "nik", "--config nik; expected one of inr_dynamic, inr_live, grasp"),
    ],
)
def test_what_is_refused(tmp_path: Path, hostname: str, config: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        write_fire(tmp_path / "fire", hostname, config)
    assert not (tmp_path / "fire").exists()
