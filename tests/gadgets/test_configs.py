from __future__ import annotations

import sys
from pathlib import Path

import pytest

import wire
from inr_core.errors import ConfigError
from inr_gadgets.configs import config_folders, find_config, list_configs, load_config, parse_config, read_config

SHIPPED = ["cg_sense", "flow", "grasp", "inr_dynamic", "inr_live", "nufft"]


@pytest.fixture
def gadgetron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gadgetron's folder of configurations."""
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    folder = tmp_path / "share" / "gadgetron" / "config"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_configurations_are_found_with_and_without_suffix(name: str) -> None:
    path = find_config(name)
    assert path == find_config(f"{name}.xml")
    assert path.parent.name == "xml_configs"
    config = load_config(name)
    assert [gadget.target for gadget in config.gadgets] == ["buffer", "recon", "image"]
    assert config.name == name
    text = read_config(path)  # what the real Gadgetron needs on top
    assert "AcquisitionReader" in text
    assert "WaveformReader" in text
    assert "ImageWriter" in text


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("inr_dynamic", {"method": "inr"}),
        ("inr_live", {"method": "inr", "refine": "false"}),
        ("cg_sense", {"method": "cg_sense"}),
        ("flow", {"method": "flow_inr"}),
        ("grasp", {"method": "grasp"}),
        ("nufft", {"method": "nufft"}),
    ],
)
def test_what_the_shipped_configurations_ask_for(name: str, properties: dict[str, str]) -> None:
    assert load_config(name).gadgets[1].properties == properties


def test_the_order_of_the_folders(gadgetron: Path) -> None:
    assert [folder.parent.name for folder in config_folders()[1:]] == ["gadgetron", "gadgetron"]
    assert config_folders()[1].is_relative_to(sys.prefix)
    (gadgetron / "mine.xml").write_text(wire.CONFIG_XML)
    (gadgetron / "inr_dynamic.xml").write_text(wire.CONFIG_XML)
    (gadgetron / "theirs.xml").write_text("<configuration/>")
    names = [path.stem for path in list_configs()]
    assert "mine" in names
    assert "theirs" not in names  # there, but nothing that we can run
    assert find_config("mine") == gadgetron / "mine.xml"
    assert find_config("theirs") == gadgetron / "theirs.xml"
    assert find_config("inr_dynamic").parent.name == "xml_configs"


@pytest.mark.parametrize("name", ["nothing", "inr_dynamic.xm", "inr dynamic", "", ".", "..", ".xml", "a\0b"])
def test_a_name_that_does_not_exist_lists_those_that_do(name: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"cg_sense, flow, grasp, inr_dynamic, (.*, )?inr_live, (.*, )?nufft.*; inr-recon configs says where",
    ):
        find_config(name)


@pytest.mark.parametrize("name", ["../xml_configs/inr_dynamic", "/etc/passwd", "..\\inr_dynamic", "./inr_dynamic.xml"])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="which is a path; expected one of cg_sense"):
        find_config(name)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be read \(No such file or directory\); expected a configuration file"
    ):
        read_config(tmp_path / "none.xml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not text; expected a configuration in UTF-8"):
        read_config(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="has 1048577 bytes; expected a configuration of at most 1048576"):
        read_config(tmp_path / "huge")


def test_properties_and_comments() -> None:
    text = wire.config_xml("buffer", "recon", buffer_spokes="13", recon_virtual_coils="6")
    text = '<?xml version="1.0" encoding="UTF-8"?>' + text.replace("<configuration><p", "<configuration><!-- a --><p")
    config = parse_config(text, wire.TABLE)
    assert [dict(gadget.properties) for gadget in config.gadgets] == [{"spokes": "13"}, {"virtual_coils": "6"}]


def test_a_gadget_without_configuration() -> None:
    text = wire.CONFIG_XML.replace("<configuration></configuration>", "")
    assert [dict(gadget.properties) for gadget in parse_config(text).gadgets] == [{}, {}]


EXECUTE = '<execute name="inr_gadgets.external" target="buffer" type="python"/>'


def stream(inner: str) -> str:
    return f"<configuration><version>2</version><stream>{inner}</stream></configuration>"


BAD = {
    "not XML": ("<configuration>", r"it is not XML \(no element found.*\); expected a configuration as Gadgetron"),
    "empty": ("", "it is not XML"),
    "DOCTYPE": (
        '<!DOCTYPE a [<!ENTITY b "c">]>' + stream(""),
        "it with a DOCTYPE; expected XML without document type and entities; remove",
    ),
    "huge": (" " * ((1 << 20) + 1), "it has 1048577 characters; expected at most 1048576"),
    "legacy": (
        "<gadgetronStreamConfiguration/>",
        "begins with <gadgetronStreamConfiguration>.*before version 2 is not read",
    ),
    "root": ("<a/>", "it begins with <a>; expected <configuration>"),
    "no version": ("<configuration><stream/></configuration>", "it has version ''; expected <version>2</version>"),
    "version": ("<configuration><version>3</version></configuration>", "it has version '3'; expected <version>2"),
    "no stream": ("<configuration><version>2</version></configuration>", "it has 0 elements <stream>; expected one"),
    "empty stream": (
        stream(""),
        "it has no gadget in its <stream>; expected <external> with one of buffer, recon, image",
    ),
    "twice": (wire.config_xml("buffer", "buffer"), r"it names a gadget twice \(buffer, buffer\); expected each once"),
    "C++": (
        stream("<gadget><name>Extract</name><dll>gadgetron_mricore</dll><classname>ExtractGadget</classname></gadget>"),
        "it asks for <gadget> ExtractGadget; expected <external> .*; only Gadgetron itself can run other gadgets",
    ),
    "parallel": (stream("<parallel/>"), "it asks for <parallel>; expected <external>"),
    "connect": (
        stream('<external><connect port="18000"/><configuration/></external>'),
        "it asks to <connect> to port 18000; .*; this server runs its gadgets itself and connects to nothing",
    ),
    "no execute": (stream("<external/>"), "it has <external> with 0 elements <execute>"),
    "two executes": (stream(f"<external>{EXECUTE}{EXECUTE}</external>"), "it has <external> with 2 elements <execute>"),
    "module": (
        stream(f"<external>{EXECUTE.replace('inr_gadgets.external', 'os')}</external>"),
        "it asks for 'buffer' of module 'os', type 'python'; .*; only gadgets of this package are run",
    ),
    "target": (stream(f"<external>{EXECUTE.replace('buffer', 'system')}</external>"), "it asks for 'system' of module"),
    "type": (stream(f"<external>{EXECUTE.replace('python', 'matlab')}</external>"), "type 'matlab'"),
    "two configurations": (
        stream(f"<external>{EXECUTE}<configuration/><configuration/></external>"),
        "it has two elements <configuration> for buffer; expected one",
    ),
    "property": (
        stream(f"<external>{EXECUTE}<configuration><property name='a'/></configuration></external>"),
        '<property name="a" /> in the configuration of buffer; expected <property name="..',
    ),
    "element": (
        stream(f"<external>{EXECUTE}<configuration><a name='b' value='c'/></configuration></external>"),
        '<a name="b" value="c" /> in the configuration of buffer',
    ),
    "property twice": (
        stream(
            f"<external>{EXECUTE}<configuration><property name='a' value='1'/><property name='a' value='2'/>"
            "</configuration></external>"
        ),
        "property 'a' of buffer is given twice; expected once",
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_bad_configurations(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_config(text, name="it")
