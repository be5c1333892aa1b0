"""What the README says works: its Python runs, its commands and those of the other pages parse, its files are there."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from inr_gadgets.cli import app
from inr_gadgets.configs import find_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_SHELL = ("|", "||", "&", "&&", ";", ">", ">>", "2>", "<")


def blocks(language: str, text: str = README) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found or text is not README, f"the README has no {language} block any more"
    return found


def commands(program: str, text: str = README) -> list[list[str]]:
    """The words after each call of a program, in blocks for the shell and in indented ones, up to the shell's own."""
    shown = [line for block in blocks("sh", text) for line in block.splitlines()]
    shown += re.findall(rf"^    ({program} .*)$", text, re.MULTILINE)
    lines = [shlex.split(line, comments=True) for line in shown]
    calls = [words[1:] for words in lines if words and words[0] == program]
    assert calls or text is not README, f"the README does not call {program} any more"
    return [list(itertools.takewhile(lambda word: word not in _SHELL, words)) for words in calls]


def commands_of_pages() -> list[list[str]]:
    found = [words for page in PAGES for words in commands("inr-recon", page.read_text())]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[number], f"README.md, block {number}", "exec"), names)
    if "refined" in names:
        assert names["live"].shape == names["refined"].shape == (6, 1, 1, 48, 48)
    else:
        assert names["series"].images.shape == (6, 48, 48)


@pytest.mark.parametrize("words", commands_of_pages(), ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    program = typer.main.get_command(app)
    context = program.make_context("inr-recon", list(words))
    name, command, rest = program.resolve_command(context, [*context._protected_args, *context.args])
    assert name == words[0]
    command.make_context(name, rest, parent=context)


def test_a_wrong_command_does_not_parse() -> None:
    """Lest the test above says yes to everything."""
    with pytest.raises(Exception, match="No such option"):
        test_commands_parse(["replay", "scan.h5", "-o", "out.h5", "--colour", "red"])


def test_the_configuration_of_gadgetrons_client() -> None:
    for words in commands("gadgetron_ismrmrd_client"):
        assert find_config(words[words.index("-c") + 1]).is_file()


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in commands("make"):
        assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_pictures_load_quickly() -> None:
    assert (ROOT / "docs/images/demo.gif").stat().st_size < 2_000_000
    assert (ROOT / "docs/images/demo.png").stat().st_size < 1_000_000
