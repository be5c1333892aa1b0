"""OpenRecon packages: the image's archive is read and checked, the archive and the manual are written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
import zipfile
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import images
from inr_core.errors import DataError, MissingDependencyError, ParameterError
from inr_gadgets.cli import app
from inr_gadgets.packaging import openrecon
from inr_gadgets.packaging.build import BuildError, Engine, build_image, find_engine
from inr_gadgets.packaging.checks import check_image
from inr_gadgets.packaging.image_tar import read_image_tar
from inr_gadgets.packaging.label import CONFIGS, LABEL_NAME, encode_label, make_label
from inr_gadgets.packaging.manual import write_manual
from inr_gadgets.packaging.spec import COMMAND, PackageSpec

XA60 = PackageSpec("MyLab", version="1.2.3")
VA70 = PackageSpec("MyLab", version="1.2.3", system="va70")
LABEL = make_label(XA60, date(2026, 11, 20))
GOOD: dict[str, Any] = {
    "Cmd": list(COMMAND),
    "ExposedPorts": {"9002/tcp": {}},
    "Labels": {LABEL_NAME: encode_label(LABEL)},
}
OTHER_LABEL = encode_label(make_label(PackageSpec("MyLab", version="1.2.3", gpu=True), date(2026, 11, 20)))


def problems(path: Path, spec: PackageSpec = XA60, **changes: Any) -> list[str]:
    """What is wrong with a good image after these changes."""
    images.write_image(path, **(GOOD | changes))
    return check_image(read_image_tar(path), spec, LABEL)


@pytest.mark.parametrize("user", ["", "root", "0:0"])
def test_a_good_image(tmp_path: Path, user: str) -> None:
    assert problems(tmp_path / "image.tar", User=user, Env=["PATH=/opt/bin", "CUDA_VERSION=11.8.0"]) == []
    assert problems(tmp_path / "image.tar", Env=["CUDA_VERSION="]) == []
    assert problems(tmp_path / "image.tar", Entrypoint=["/opt/inr-recon/bin/inr-recon"], Cmd=list(COMMAND[1:])) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"User": "inr"}, "the image runs as user inr; expected root; USER root in its Dockerfile"),
        ({"ExposedPorts": None}, "the image exposes no port; expected 9002/tcp alone; EXPOSE 9002"),
        (
            {"ExposedPorts": {"9002/tcp": {}, "22/tcp": {}}},
            "the image exposes 22/tcp, 9002/tcp; expected 9002/tcp alone",
        ),
        (
            {"Cmd": ["inr-recon", "serve"]},
            "the image runs inr-recon serve; expected inr-recon serve --host 0.0.0.0 --port",
        ),
        ({"Cmd": None}, "the image runs nothing; expected inr-recon serve"),
        ({"Entrypoint": ["/bin/sh", "-c"]}, "the image runs /bin/sh -c inr-recon serve"),
        ({"architecture": "arm64"}, "the image is for linux/arm64; expected linux/amd64"),
        ({"tags": ["Recon:V1"]}, "the image's name Recon:V1; expected lower case"),
        ({"tags": []}, "the image's names: none; expected one; save it by its tag"),
        ({"tags": ["a:1", "localhost/a:1"]}, "the image's names: a:1, localhost/a:1; expected one"),
        ({"oci": True}, "the image's archive has the layout of OCI; expected Docker's own, which XA60 reads"),
        ({"Labels": None}, f"the image has no label {LABEL_NAME}; expected the one in label.json"),
        ({"Labels": {LABEL_NAME: "!"}}, "the image's label cannot be decoded ("),
        ({"Labels": {LABEL_NAME: "AAAA"}}, "the image's label cannot be decoded ("),
        ({"Labels": {LABEL_NAME: "W10="}}, "the image's label has at its top: [] is not of type 'object'"),
        (
            {"Labels": {LABEL_NAME: OTHER_LABEL}},
            "the image's label differs from label.json in reconstruction; expected",
        ),
        ({"Env": ["CUDA_VERSION=12.1.0"]}, "the image has CUDA 12.1.0 (the environment); expected at most 11.8"),
        (
            {"layers": [{"home/": b"", "home/inr/": b"", "home/inr/.bashrc": b""}]},
            "the image has files under /home (/home/inr/.bashrc); expected none",
        ),
        (
            {"layers": [{f"./home/u/{letter}": b"" for letter in "abcde"}]},
            "the image has files under /home (/home/u/a, /home/u/b, /home/u/c and 2 more)",
        ),
        (
            {"layers": [{"opt/venv/torch/version.py": b"__version__ = '2.13'\ncuda: Optional[str] = '12.6'\n"}]},
            "the image has CUDA 12.6 (opt/venv/torch/version.py); expected at most 11.8; choose an older torch",
        ),
    ],
)
def test_every_failure_is_one_line(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    (found,) = problems(tmp_path / "image.tar", **changes)
    assert found.startswith(line)
    assert "\n" not in found


def test_all_failures_are_told(tmp_path: Path) -> None:
    assert len(problems(tmp_path / "image.tar", User="inr", ExposedPorts=None, Cmd=None, tags=["A"], Labels=None)) == 5


@pytest.mark.parametrize(
    "layers",
    [
        [{"home/u/a": b""}, {"home/u/.wh.a": b""}],
        [{"home/u/a": b""}, {"home/.wh.u": b""}],
        [{"home/u/a": b""}, {".wh.home": b""}],
        [{"home/u/a": b""}, {"home/.wh..wh..opq": b""}],
        [{"a/torch/version.py": b"cuda = '12.6'\n"}, {"a/torch/version.py": b"cuda = None\n"}],
        [{"a/torch/version.py": b"cuda = '12.6'\n"}, {".wh.a": b""}],
        [{"a/torch/version.py": b"cuda = '11.8'\n"}],
        [{"home/": b"", "homework/a": b"", "opt/home/a": b""}],
    ],
)
def test_what_a_later_layer_removes_is_not_there(tmp_path: Path, layers: list[dict[str, bytes]]) -> None:
    assert problems(tmp_path / "image.tar", layers=layers) == []


def test_for_va70_there_is_no_label_and_any_cuda(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.tar", VA70, Labels=None, oci=True, Env=["CUDA_VERSION=12.1.0"]) == []
    (found,) = problems(tmp_path / "b.tar", VA70)
    assert found.startswith("the image carries the label of XA60; expected none, as VA70 reads ApplSpec.json")


def test_files_that_are_no_image(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    with pytest.raises(
        DataError, match=r"image\.tar cannot be read \(No such file or directory\); expected the archive"
    ):
        read_image_tar(path)
    path.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"image\.tar is not the archive of an image \(.*\); expected what docker save"):
        read_image_tar(path)
    path.write_bytes(images.layer_bytes({"a": b""}))
    with pytest.raises(
        DataError, match=r"image\.tar has no manifest\.json; expected the archive of an image; docker save"
    ):
        read_image_tar(path)
    path.write_bytes(images.layer_bytes({"manifest.json": b'[{"Config": "c"}]'}))
    with pytest.raises(DataError, match="is not the archive of an image"):
        read_image_tar(path)
    images.write_image(path, count=2)
    with pytest.raises(DataError, match="holds several images; expected one; save one image by its tag"):
        read_image_tar(path)


def described(folder: Path, spec: PackageSpec) -> dict[str, Any]:
    return openrecon.describe_package(spec, folder, "inr-recon:1.2.3", date(2026, 11, 20))


def test_an_archive_for_xa60(tmp_path: Path) -> None:
    images.write_image(tmp_path / "image.tar", **GOOD)
    path = openrecon.package_image(XA60, tmp_path, described(tmp_path, XA60), tmp_path / "image.tar", pytest.fail)
    assert path == tmp_path / "OpenRecon_MyLab_INRrecon_V1.2.3.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["OpenRecon_MyLab_INRrecon_V1.2.3.tar", "OpenRecon_MyLab_INRrecon_V1.2.3.pdf"]
        assert archive.read("OpenRecon_MyLab_INRrecon_V1.2.3.tar") == (tmp_path / "image.tar").read_bytes()
        assert archive.read("OpenRecon_MyLab_INRrecon_V1.2.3.pdf").startswith(b"%PDF-")
    assert not list(tmp_path.glob("*.part"))


def test_an_archive_for_va70(tmp_path: Path) -> None:
    digest = images.write_image(tmp_path / "image.tar", **(GOOD | {"Labels": None}))
    label = described(tmp_path, VA70)
    path = openrecon.package_image(VA70, tmp_path, label, tmp_path / "image.tar", pytest.fail)
    assert path == tmp_path / "OpenRecon_MyLab_INRrecon_V1.2.3.OpenReconPackage.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["ApplSpec.json", "Container.tar", "Manual.pdf", "Properties.json"]
        assert json.loads(archive.read("ApplSpec.json")) == label
        properties = json.loads(archive.read("Properties.json"))
        assert archive.read("Container.tar") == (tmp_path / "image.tar").read_bytes()
    assert str(uuid.UUID(properties.pop("application_guid"))).count("-") == 4
    assert properties == {
        "package_format": "Alpaca",
        "image_name": "local/inrrecon:latest",
        "execution_location": "local",
        "persistence": "permanent",
        "image_digest": digest,
    }


def test_a_bad_image_is_not_packaged(tmp_path: Path) -> None:
    images.write_image(tmp_path / "image.tar", **(GOOD | {"User": "inr", "Cmd": None}))
    said: list[str] = []
    with pytest.raises(
        openrecon.PackageError, match=r"image\.tar breaks 2 of the host's rules; expected an image that"
    ):
        openrecon.package_image(XA60, tmp_path, described(tmp_path, XA60), tmp_path / "image.tar", said.append)
    assert [line.split(";")[0] for line in said] == ["the image runs as user inr", "the image runs nothing"]
    assert not list(tmp_path.glob("*.zip*"))


def test_the_date_of_a_label_that_is_there_stays(tmp_path: Path) -> None:
    """An image that was built from it yesterday still has the same label today."""
    first = described(tmp_path, XA60)
    assert openrecon.describe_package(XA60, tmp_path, "inr-recon:1.2.3", date(2027, 1, 1)) == first
    for text in ("{", "[]", '{"general": {"regulatory_information": {"manufacture_date": "soon"}}}'):
        (tmp_path / "label.json").write_text(text)
        again = openrecon.describe_package(XA60, tmp_path, "inr-recon:1.2.3", date(2027, 1, 1))
        assert again["general"]["regulatory_information"]["manufacture_date"] == "2027/01/01"


def words_of(pdf: bytes) -> str:
    """The text of a PDF that is written in one of its own fonts."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    shown = []
    for stream in streams:
        try:
            text = zlib.decompress(stream)
        except zlib.error:
            continue
        shown += [re.sub(rb"\\([()\\])", rb"\1", piece) for piece in re.findall(rb"\(((?:\\.|[^()\\])*)\)", text)]
    return " ".join(b" ".join(shown).decode("latin-1").split())


@pytest.mark.parametrize(("spec", "how"), [(XA60, "FileTransfer"), (VA70, "syngo.MR.Digi.Utils.Console.exe")])
def test_the_manual(tmp_path: Path, spec: PackageSpec, how: str) -> None:
    write_manual(tmp_path / "manual.pdf", spec, LABEL)
    raw = (tmp_path / "manual.pdf").read_bytes()
    assert raw.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type /Page\b", raw)) <= 5
    text = words_of(raw)
    for heading in ("What it does", "What the scan has to be", "How to install it", "Parameters", "Limits"):
        assert heading in text
    assert "not a medical device" in text
    assert how in text
    for parameter in LABEL["parameters"]:
        assert f"({parameter['id']})" in text
    for shown in CONFIGS.values():
        assert shown in text


def test_the_manual_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fpdf", None)
    with pytest.raises(MissingDependencyError, match=r"the manual needs fpdf2 .*'inr-recon\[package\]'"):
        write_manual(tmp_path / "manual.pdf", XA60, LABEL)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not here")
def test_another_program_reads_the_manual(tmp_path: Path) -> None:
    write_manual(tmp_path / "manual.pdf", XA60, LABEL)
    words = ["pdftotext", "-layout", str(tmp_path / "manual.pdf"), "-"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "Research only. This is not a medical device" in done.stdout
    assert "page 1 of" in done.stdout
    assert done.stderr == ""


def engine(folder: Path, name: str, *, works: bool = True, builds: bool = True) -> Path:
    """A container engine that notes what it is asked and writes an image where it is to save one."""
    program = folder / name
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {folder}/asked\n'
        f'[ "$1" = info ] && exit {0 if works else 1}\n'
        'if [ "$1" = build ]; then while [ "$1" != --iidfile ]; do shift; done; echo sha256:5eed > "$2"\n'
        f"  echo all went well; {'exit 0' if builds else 'echo no such base >&2; exit 3'}; fi\n"
        f'for word in "$@"; do case "$word" in\n'
        f"  docker-archive:*) word=${{word#docker-archive:}}; cp {folder}/made.tar ${{word%%:*}};;\n"
        f"  *.tar) cp {folder}/made.tar $word;;\n"
        "esac; done\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def path_of_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the PATH's first, and in front of engines that may be here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("buildah", "podman", "docker"):
        engine(folder, name, works=False)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["package", "openrecon", "--vendor", "MyLab", "--version", "1.2.3", *words])
    return result.exit_code, result.stdout, result.stderr


def test_without_an_engine_it_says_what_to_do(path_of_engines: Path, tmp_path: Path) -> None:
    code, out, _ = run("-o", str(tmp_path / "out"), "--gpu")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("Dockerfile", "OpenRecon_MyLab_INRrecon_V1.2.3.pdf", "label.json")
    ]
    assert "no container engine works here" in out
    assert f"docker build -t {images.TAG} -f " in out
    assert "ARG BASE=inr-recon-cuda:" in (tmp_path / "out" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["buildah", "podman", "docker"])
def test_with_an_engine_it_builds_checks_and_packages(path_of_engines: Path, tmp_path: Path, name: str) -> None:
    engine(path_of_engines, name)
    folder = tmp_path / "out"
    assert run("-o", str(folder), "--engine", "none")[0] == 0
    label = json.loads((folder / "label.json").read_text())
    images.write_image(path_of_engines / "made.tar", **(GOOD | {"Labels": {LABEL_NAME: encode_label(label)}}))
    code, out, err = run("-o", str(folder))
    tar = f"{folder}/OpenRecon_MyLab_INRrecon_V1.2.3.tar"
    assert (code, err) == (0, f"inr-recon: building {images.TAG} with {name}\ninr-recon: checking and packing {tar}\n")
    assert out.splitlines()[-1].startswith(f"{folder}/OpenRecon_MyLab_INRrecon_V1.2.3.zip: 0 MB")
    asked = (path_of_engines / "asked").read_text().splitlines()
    build, save = (line for line in asked if line != "info")
    assert build.endswith(f"-t {images.TAG} -f {folder}/Dockerfile {folder}")
    assert ("--format docker --pull=never" in build) == (name != "docker")
    pushed = f"push 5eed docker-archive:{tar}:{images.TAG}"
    assert save == (f"save -o {tar} {images.TAG}" if name == "docker" else pushed)


def test_an_image_that_was_made_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    images.write_image(tmp_path / "image.tar", **(GOOD | {"Labels": None, "User": "inr"}))
    code, _, err = run("-o", str(folder), "--va70", "--image", str(tmp_path / "image.tar"))
    assert code == 1
    assert err.splitlines()[1] == "inr-recon: the image runs as user inr; expected root; USER root in its Dockerfile"
    assert "breaks 1 of the host's rules" in err.splitlines()[2]
    images.write_image(tmp_path / "image.tar", **(GOOD | {"Labels": None}))
    code, _, err = run("-o", str(folder), "--va70", "--image", str(tmp_path / "image.tar"))
    assert (code, err) == (0, f"inr-recon: checking and packing {tmp_path / 'image.tar'}\n")
    assert (folder / "OpenRecon_MyLab_INRrecon_V1.2.3.OpenReconPackage.zip").is_file()


def test_engines_that_cannot_be_had(path_of_engines: Path) -> None:
    assert find_engine() is None
    assert find_engine("none") is None
    with pytest.raises(
        ParameterError, match="--engine docker, which does not work here; expected an engine that answers"
    ):
        find_engine("docker")
    with pytest.raises(ParameterError, match="--engine lxc; expected one of auto, none, buildah, podman, docker"):
        find_engine("lxc")


def test_a_build_that_fails_says_the_engine_s_last_line(path_of_engines: Path, tmp_path: Path) -> None:
    program = engine(path_of_engines, "podman", builds=False)
    with pytest.raises(
        BuildError, match=r"podman build failed \(no such base\); expected the image; is the base image"
    ):
        build_image(Engine("podman", str(program)), tmp_path, "a:1", tmp_path / "a.tar")
