"""The images: what their recipes say is true, and, where it is asked for, one is built and serves a scan.

``INR_TEST_IMAGE=NAME`` asks: the image of that name is tested, built first where buildah has none. That takes minutes,
root, buildah, a local debian:bookworm-slim and torch's wheel in docker/wheels (docs/docker.md).
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import containers
from inr_gadgets.cli import app
from inr_gadgets.image_file import read_series
from inr_gadgets.simulate import simulate

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
NAMES = ("serve", "cuda", "gadgetron")
BUILT = ("serve", "gadgetron")  # those that install the package; the others begin with one of them
SCRIPTS = sorted(DOCKER.rglob("*.sh"))
PORT = 9002


def instructions(name: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions and what follows each on its line or continued lines."""
    text = (DOCKER / f"{name}.Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()]


def last_stage(name: str) -> list[tuple[str, str]]:
    found = instructions(name)
    begin = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[begin:]


def only(found: list[tuple[str, str]], word: str) -> str:
    (rest,) = [rest for instruction, rest in found if instruction == word]
    return rest


def exec_form(text: str) -> list[str]:
    words = json.loads(text[text.index("[") :])
    assert all(isinstance(word, str) for word in words)
    return list(words)


def copied(name: str) -> list[str]:
    """Return what a Dockerfile copies out of the source."""
    found: list[str] = []
    for word, rest in instructions(name):
        if word in ("COPY", "ADD") and "--from=" not in rest:
            found += [part for part in rest.split() if not part.startswith("--")][:-1]
    return found


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that git has, or would take."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("name", BUILT)
def test_what_is_copied_is_in_git_and_travels(name: str, tracked: list[str]) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    ignored = [line for line in lines if line and not line.startswith("#")]
    assert ignored[0] == "*", "nothing travels that is not named"
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for path in copied(name):
        assert any(file == path or file.startswith(f"{path}/") or fnmatch.fnmatch(file, path) for file in tracked), path
        assert path.split("/")[0] in allowed, path
    assert not {".git", ".", "tests", "build"} & allowed


@pytest.mark.parametrize("name", BUILT)
def test_everything_that_the_package_is_made_of_is_copied(name: str, tracked: list[str]) -> None:
    parts = {"core", "gadgets", "xml_configs", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    assert parts <= set(copied(name))
    assert "docker/make_venv.sh" in copied(name)
    run = " ".join(rest for word, rest in instructions(name) if word == "RUN")
    assert 'sh docker/make_venv.sh /opt/inr-recon "${TORCH}" "${EXTRAS}"' in run
    assert "pip install" not in run, "the one recipe is docker/make_venv.sh"


@pytest.mark.parametrize("name", BUILT)
def test_torch_is_that_of_the_constraints_without_cuda(name: str) -> None:
    pinned = re.search(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"TORCH={pinned[1]}+cpu" in [rest for word, rest in instructions(name) if word == "ARG"]


def test_the_cuda_image_is_told_the_same_torch() -> None:
    pinned = re.search(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    text = (DOCKER / "cuda.Dockerfile").read_text()
    assert set(re.findall(r"TORCH=([\d.]+)", text)) == {pinned[1]}
    assert only(last_stage("cuda"), "ENV").split() == [
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ]


def test_the_images_are_named_by_the_version() -> None:
    """``inr-recon package openrecon`` looks for its base by it."""
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    for path in (ROOT / "docs" / "docker.md", *(DOCKER / f"{name}.Dockerfile" for name in NAMES)):
        named = re.findall(r"\b(inr-recon(?:-[a-z]+)*):([\w.]+)", path.read_text())
        assert {tag for _, tag in named} == {version[1]}, path.name
        assert {name for name, _ in named} <= {
            "inr-recon",
            "inr-recon-torch-cuda",
            "inr-recon-cuda",
            "inr-recon-gadgetron",
        }


@pytest.mark.parametrize("path", [*(DOCKER / f"{name}.Dockerfile" for name in NAMES), *SCRIPTS], ids=lambda p: p.name)
def test_no_registry_or_index_is_named(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"\b[\w-]+\.(io|com|org|net|dev)/", text)
    assert not re.search(r"(?i)\b(ghcr|quay|nvcr|pypi)\b", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_image_brings_no_compiler_and_no_secret(name: str) -> None:
    for word, rest in instructions(name):
        assert not re.search(r"\b(gcc|g\+\+|build-essential|cmake|python3-dev|curl|wget|sudo)\b", rest), rest
        if word in ("ENV", "LABEL"):
            assert not re.search(r"(?i)(token|password|secret|index_url)", rest), rest
    for word, rest in last_stage(name):
        if word == "RUN":
            assert "make_venv.sh" not in rest
            assert "pip" not in rest


def command_parses(words: list[str]) -> str:
    """Check that inr-recon takes these words, and return the command's name."""
    assert words[0].rpartition("/")[2] == "inr-recon"
    program = typer.main.get_command(app)
    context = program.make_context("inr-recon", words[1:])
    name, command, rest = program.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)
    return str(name)


def test_the_server_s_image_runs_as_nobody_and_ends_on_sigterm() -> None:
    stage = last_stage("serve")
    assert only(stage, "USER") == "10001"
    assert "--uid 10001" in " ".join(rest for word, rest in stage if word == "RUN")
    assert only(stage, "STOPSIGNAL") == "SIGTERM"
    assert only(stage, "EXPOSE") == str(PORT)
    words = [*exec_form(only(stage, "ENTRYPOINT")), *exec_form(only(stage, "CMD"))]
    assert command_parses(words) == "serve"
    assert words[2:] == ["--host", "0.0.0.0", "--port", str(PORT)]


@pytest.mark.parametrize("name", BUILT)
def test_the_health_check_is_a_question_to_the_server(name: str) -> None:
    text = only(last_stage(name), "HEALTHCHECK")
    assert {"--interval", "--timeout", "--start-period", "--retries"} == set(re.findall(r"(--[\w-]+)=", text))
    words = exec_form(text)
    assert command_parses(words) == "ping"
    gadgetron = ["--version"] if name == "gadgetron" else []
    assert words[1:] == ["ping", "--address", "127.0.0.1", "--port", str(PORT), *gadgetron]


def test_gadgetron_finds_the_configurations_and_our_python() -> None:
    stage = last_stage("gadgetron")
    assert ("COPY", "xml_configs/*.xml ${GADGETRON_HOME}/share/gadgetron/config/") in stage
    assert exec_form(only(stage, "ENTRYPOINT")) == ["/opt/start_gadgetron.sh"]
    assert "docker/start_gadgetron.sh" in copied("gadgetron")


def test_gadgetron_s_start_puts_our_python_first(tmp_path: Path) -> None:
    (tmp_path / "gadgetron").write_text('#!/bin/sh\necho "$PATH" "$@"\n')
    (tmp_path / "gadgetron").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["bash", str(DOCKER / "start_gadgetron.sh"), "-p", "9002"]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert said == f"/opt/inr-recon/bin:{tmp_path}:/usr/bin:/bin -p 9002\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_can_be_run(script: Path) -> None:
    shell = "bash" if script.read_text().startswith("#!/bin/bash\n") else "sh"
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o111


def test_a_torch_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """And no other comes in its place."""
    (tmp_path / "docker" / "wheels").mkdir(parents=True)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    # Of a venv only its pip is asked here.
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\ncat >"$3/bin/python" <<"END"\n#!/bin/sh\n'
        f'echo "$*" >>{tmp_path}/asked\nwhile [ "$1" != --constraint ]; do shift; done; cp "$2" {tmp_path}/limits\n'
        'exit 1\nEND\nchmod +x "$3/bin/python"\n'
    )
    python.chmod(0o755)
    words = ["sh", str(DOCKER / "make_venv.sh"), str(tmp_path / "venv"), "2.7.1+cu118", "cuda"]
    environment = {**os.environ, "PYTHON": str(python)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "make_venv.sh: no torch 2.7.1+cu118; put its wheel into docker/wheels, or name an index that has it "
        "(PIP_EXTRA_INDEX_URL): see docs/docker.md\n"
    )
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert re.fullmatch(
        r"-m pip install --no-cache-dir .*--find-links docker/wheels --constraint \S+ torch==2\.7\.1\+cu118", asked
    )
    pinned = (ROOT / "constraints.txt").read_text()
    assert (tmp_path / "limits").read_text() == re.sub(r"torch==[\d.]+\n", "torch==2.7.1+cu118\n", pinned)


def test_a_base_is_not_made_over_a_folder(tmp_path: Path) -> None:
    words = ["sh", str(DOCKER / "base.sh"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"base.sh: {tmp_path} exists; name a new folder\n")


@dataclass
class Image:
    """An image that was built: its files, and how a container of it is run."""

    root: Path
    config: dict[str, Any]

    @property
    def words(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def user(self) -> int:
        return int(self.config["User"])


def buildah(*words: str) -> str:
    done = subprocess.run(["buildah", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"buildah {words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


def have(image: str) -> bool:
    return subprocess.run(["buildah", "inspect", "--type=image", image], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    name = os.environ.get("INR_TEST_IMAGE")
    if not name:
        pytest.skip("INR_TEST_IMAGE does not name the image to test or to build, which takes minutes")
    if reason := containers.missing("buildah"):
        pytest.skip(reason)
    if not have(name):
        if not have("debian:bookworm-slim"):
            pytest.skip("buildah has no debian:bookworm-slim; docs/docker.md says how to make one")
        if not list((DOCKER / "wheels").glob("torch-*.whl")):
            pytest.skip("docker/wheels has no wheel of torch")
        options = ["--isolation=chroot", "--pull=never", "--format=docker", "--build-arg=PIP_NO_INDEX=1"]
        buildah("build", *options, "-f", "docker/serve.Dockerfile", "-t", name, ".")
    working = buildah("from", "--pull=never", name)
    try:
        config = json.loads(buildah("inspect", "--type=image", name))["Docker"]["config"]
        yield Image(Path(buildah("mount", working)), config)
    finally:
        buildah("rm", working)


@pytest.mark.peer
def test_what_is_in_the_image(image: Image) -> None:
    assert image.user == 10001
    assert image.config["Healthcheck"]["Test"] == ["CMD", *f"inr-recon ping --address 127.0.0.1 --port {PORT}".split()]
    assert image.config["StopSignal"] == "SIGTERM"
    assert list(image.config["ExposedPorts"]) == [f"{PORT}/tcp"]
    for name in ("gcc", "cc", "g++", "c++", "make", "pip", "pip3", "curl", "wget"):
        for folder in ("usr/bin", "usr/local/bin", "opt/inr-recon/bin"):
            assert not (image.root / folder / name).exists(), f"{folder}/{name}"
    for path in ("src", "root/.cache", "var/lib/apt/lists/lock", "opt/inr-recon/lib/python3.11/site-packages/pip"):
        assert not (image.root / path).exists(), path
    assert not list((image.root / "tmp").iterdir())
    assert not list((image.root / "home").iterdir())
    assert not [entry for entry in image.config["Env"] if re.search(r"(?i)pip|proxy|token|password|secret", entry)]
    assert (image.root / "opt/inr-recon/share/gadgetron/config/inr_dynamic.xml").is_file()


@pytest.mark.peer
def test_what_is_compiled_in_the_image_is_found_and_can_be_added_to(image: Image, tmp_path: Path) -> None:
    kept = list((image.root / "var/cache/inr-recon").rglob("*"))
    assert len(kept) > 20 and {path.stat().st_uid for path in kept} == {image.user}
    log = tmp_path / "log"
    with containers.running(image.root, ["inr-recon", "doctor"], image.config["Env"], image.user, log) as container:
        container.process.wait(120)
    said = " ".join(log.read_text().split())
    assert "compiled for 128 x 128, used from a copy" in said and "compiled anew" not in said  # its root is read-only


SETTINGS = {"recon.deterministic": "true", "recon.refine_passes": "5"}
GIVEN = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.peer
def test_the_server_in_the_image(image: Image, tmp_path: Path) -> None:
    """Read-only root, its own user, no network: a scan from outside the root is reconstructed as it is in here."""
    scan = simulate(tmp_path / "scan.h5", matrix=32, frames=5, spokes=13, coils=4).scan
    environment = [*image.config["Env"], "OMP_NUM_THREADS=1"]
    log = tmp_path / "log"
    with containers.running(image.root, [*image.words, *GIVEN], environment, image.user, log) as container:
        assert healthy(container, within_s=60), log.read_text()
        assert container.user() == image.user
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", PORT), timeout=1).close()  # its network is not ours
        sent = container.inr_recon(
            *("replay", str(scan), "-o", str(tmp_path / "sent.h5"), "--group", "g", "--address", "127.0.0.1")
        )
        assert sent.returncode == 0, sent.stderr + log.read_text()
        assert 100 < container.peak_mib() < 2000
        container.signal(signal.SIGSTOP)
        assert not healthy(container, within_s=0)
        container.signal(signal.SIGCONT)
        assert healthy(container, within_s=60)
        container.signal(signal.SIGTERM)
        assert container.process.wait(60) == 0, log.read_text()
    assert "SIGTERM: no more clients" in log.read_text()
    assert_the_same(scan, tmp_path)


@pytest.mark.peer
def test_fire_s_start_script_in_the_image(image: Image, tmp_path: Path) -> None:
    """It returns when the server listens, leaves one that runs as it is, and says when there is none."""
    script = (DOCKER / "fire" / "start_inr.sh").read_text()
    said = "/tmp/share/log/inr.log"
    start = f'sh -c "$1" start_inr.sh {said} --set recon.refine_passes=5; echo "rc $?"'
    wrong = f'sh -c "$1" start_inr.sh {said} --set recon.no_such=5; echo "rc $?"; tail -n 1 {said}'
    words = ["sh", "-c", f"{wrong}; {start}; {start}; grep -c 'listening on' {said}; sleep 600", "sh", script]
    log = tmp_path / "log"
    with containers.running(image.root, words, image.config["Env"], 0, log) as container:
        deadline = time.monotonic() + 120
        while log.read_text().count("\n") < 6 and time.monotonic() < deadline:
            time.sleep(0.2)
        refused, code, why, *rest = log.read_text().splitlines()
        assert (refused, code) == (
            f"start_inr.sh: the server does not answer; its log is {said}",
            "rc 1",
        )
        assert "recon.no_such" in why
        assert rest == ["rc 0", "rc 0", "1"]
        assert healthy(container, within_s=30)


def healthy(container: containers.Container, within_s: float) -> bool:
    """Ask as the health check does, again and again for a while."""
    deadline = time.monotonic() + within_s
    while container.inr_recon("ping", "--port", str(PORT), "--timeout", "2").returncode:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def assert_the_same(scan: Path, folder: Path) -> None:
    """Compare with a replay in one process with the same settings."""
    words = ["replay", str(scan), "-o", str(folder / "here.h5"), "--group", "g", *GIVEN]
    subprocess.run(
        [sys.executable, "-m", "inr_gadgets.cli", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    for series in (1, 2):
        sent, _, _ = read_series(folder / "sent.h5", series, "g")
        here, _, _ = read_series(folder / "here.h5", series, "g")
        assert sent.shape == here.shape == (5, 1, 1, 32, 32)
        np.testing.assert_array_equal(sent, here)
