"""What the pages of FIRE and OpenRecon say is so: commands parse, tables agree with what is written."""

from __future__ import annotations

import configparser
import re
import shlex
from datetime import date
from pathlib import Path

import pytest
import typer

from inr_gadgets.cli import app
from inr_gadgets.packaging.fire import INI_FILE, fire_ini
from inr_gadgets.packaging.label import CONFIGS, make_label
from inr_gadgets.packaging.spec import COMMAND, PackageSpec

DOCS = Path(__file__).parents[2] / "docs"
FIRE, OPENRECON = ((DOCS / name).read_text() for name in ("fire.md", "openrecon.md"))


def commands(page: str) -> list[str]:
    lines = [line.strip() for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    return [line.rstrip("& ") for line in lines if line.startswith("inr-recon ")]


@pytest.mark.parametrize("line", [*commands(FIRE), *commands(OPENRECON)])
def test_commands_parse(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("inr-recon", words)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without the marks of code."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert lines, f"there is no table below '{heading}'"
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_card_is_the_label_s() -> None:
    parameters = make_label(PackageSpec("MyLab"), date(2026, 11, 20))["parameters"]
    expected = []
    for parameter in parameters:
        default, unit = parameter["default"], parameter.get("unit", {}).get("en", "")
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        expected.append([parameter["label"]["en"], parameter["id"], f"{shown} {unit}".strip()])
    found = rows(OPENRECON, "Parameters")
    assert [row[:3] for row in found] == expected
    assert found[0][3] == ", ".join(CONFIGS)


def test_the_image_s_command() -> None:
    assert ["command", " ".join(COMMAND)] in rows(OPENRECON, "The checks")


def test_the_ini_file() -> None:
    written = configparser.ConfigParser()
    written.read_string(fire_ini("localhost"))
    found: dict[str, dict[str, str]] = {}
    for key, value, _ in rows(FIRE, "The ini file"):
        if key.startswith("["):
            section, key = key[1:].split("] ")
        found.setdefault(section, {})[key] = value
    assert found == {section: dict(written[section]) for section in written.sections()}
    assert INI_FILE in FIRE
