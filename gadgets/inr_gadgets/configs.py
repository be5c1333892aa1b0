"""Stream configurations: Gadgetron's own XML, looked up by name and read for the gadgets of this package."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import MappingProxyType

from inr_core.errors import ConfigError
from inr_gadgets.chain import GADGETS, ChainConfig, GadgetConfig, GadgetTable
from inr_gadgets.plain_xml import check_xml

MODULE = "inr_gadgets.external"
_LARGEST = 1 << 20  # bytes; Gadgetron's largest has 30 kB
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]*")


def config_folders() -> list[Path]:
    """Return the folders that hold configurations, the first that has a name wins.

    The checkout's own, when the package runs from one; this Python's prefix, into which the wheel installs them; and
    Gadgetron's, which a wheel reaches when it is installed into Gadgetron's prefix.
    """
    folders = []
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        folders.append(checkout / "xml_configs")
    folders.append(Path(sys.prefix) / "share" / "gadgetron" / "config")
    if home := os.environ.get("GADGETRON_HOME"):
        folders.append(Path(home) / "share" / "gadgetron" / "config")
    return folders


def list_configs() -> list[Path]:
    """Return the configurations that name gadgets of this package, in the order of their names."""
    found: dict[str, Path] = {}
    for folder in config_folders():
        for path in folder.glob("*.xml"):
            if path.name not in found and _names_us(path):
                found[path.name] = path
    return [found[name] for name in sorted(found)]


def find_config(name: str) -> Path:
    """Return the file of a configuration.

    Parameters
    ----------
    name
        With or without ``.xml``. A name only, as it may have come over the wire: never a path.

    Raises
    ------
    ConfigError
        When there is none of that name; the message lists those that there are.
    """
    if _NAME.fullmatch(name):
        stem = name.removesuffix(".xml")
        for folder in config_folders():
            path = folder / f"{stem}.xml"
            if path.is_file():
                return path
    what = f"configuration '{name}'" if name else "no name of a configuration"
    if "/" in name or "\\" in name:
        what += ", which is a path"
    known = ", ".join(path.stem for path in list_configs())
    known = known or f"(none; looked in {', '.join(map(str, config_folders()))})"
    raise ConfigError(what, f"one of {known}", "inr-recon configs says where they are")


def read_config(path: Path) -> str:
    """Return the text of a configuration file that the user of this machine named.

    Raises
    ------
    ConfigError
        When it cannot be read, is not UTF-8, or is too large to be one.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes", f"a configuration of at most {_LARGEST}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})", "a configuration file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text", "a configuration in UTF-8") from None


def load_config(name: str, table: GadgetTable = GADGETS) -> ChainConfig:
    """Find, read and parse the configuration of that name; see :func:`find_config` and :func:`parse_config`."""
    path = find_config(name)
    return parse_config(read_config(path), table, name=path.stem)


def parse_config(xml_text: str, table: GadgetTable = GADGETS, *, name: str = "the configuration") -> ChainConfig:
    """Read the chain from Gadgetron's XML, version 2.

    Only gadgets of this package are ever made: a ``<gadget>`` of C++, a process to connect to or another Python module
    is refused, not skipped, as the chain without it would be another reconstruction.

    Parameters
    ----------
    xml_text
        ``<configuration>`` with ``<version>2</version>`` and a ``<stream>`` of ``<external>``. Its readers and writers
        are Gadgetron's own affair.
    table
        The gadgets that may be named.
    name
        What messages call it.

    Raises
    ------
    ConfigError
        When it is not such a file, or asks for what this package does not have.
    """
    root = _parse_xml(xml_text, name)
    if root.tag != "configuration":
        advice = "the format before version 2 is not read" if root.tag == "gadgetronStreamConfiguration" else ""
        raise ConfigError(f"{name} begins with <{root.tag}>", "<configuration>", advice)
    version = (root.findtext("version") or "").strip()
    if version != "2":
        raise ConfigError(f"{name} has version '{version}'", "<version>2</version>")
    streams = root.findall("stream")
    if len(streams) != 1:
        raise ConfigError(f"{name} has {len(streams)} elements <stream>", "one")
    gadgets = tuple(_parse_node(node, table, name) for node in streams[0])
    if not gadgets:
        raise ConfigError(f"{name} has no gadget in its <stream>", f"<external> with one of {', '.join(table)}")
    targets = [gadget.target for gadget in gadgets]
    if len(set(targets)) < len(targets):
        raise ConfigError(f"{name} names a gadget twice ({', '.join(targets)})", "each once")
    return ChainConfig(gadgets, table, name)


def read_properties(configuration: ET.Element | None, owner: str) -> dict[str, str]:
    """Return the properties of a gadget's ``<configuration>``; an absent one has none.

    Raises
    ------
    ConfigError
        For a property without name or value, a name that is given twice, or another element.
    """
    properties: dict[str, str] = {}
    for node in configuration if configuration is not None else ():
        name, value = node.get("name"), node.get("value")
        if node.tag != "property" or name is None or value is None:
            arrived = ET.tostring(node, encoding="unicode").strip()[:200]
            raise ConfigError(f"{arrived} in the configuration of {owner}", '<property name=".." value=".."/>')
        if name in properties:
            raise ConfigError(f"property '{name}' of {owner} is given twice", "once")
        properties[name] = value
    return properties


def _parse_node(node: ET.Element, table: GadgetTable, name: str) -> GadgetConfig:
    good = f'<external> with <execute name="{MODULE}" target="{"|".join(table)}" type="python"/>'
    if node.tag != "external":
        label = node.findtext("classname") or node.findtext("name") or node.get("name")
        raise ConfigError(
            f"{name} asks for <{node.tag}> {label or ''}".rstrip(), good, "only Gadgetron itself can run other gadgets"
        )
    connect = node.find("connect")
    if connect is not None:
        raise ConfigError(
            f"{name} asks to <connect> to port {connect.get('port')}",
            good,
            "this server runs its gadgets itself and connects to nothing that a configuration names",
        )
    execute = node.findall("execute")
    if len(execute) != 1:
        raise ConfigError(f"{name} has <external> with {len(execute)} elements <execute>", good)
    module, target, kind = (execute[0].get(key, "") for key in ("name", "target", "type"))
    if module != MODULE or kind != "python" or target not in table:
        raise ConfigError(
            f"{name} asks for '{target}' of module '{module}', type '{kind}'",
            good,
            "only gadgets of this package are run",
        )
    if len(node.findall("configuration")) > 1:
        raise ConfigError(f"{name} has two elements <configuration> for {target}", "one")
    return GadgetConfig(target, MappingProxyType(read_properties(node.find("configuration"), target)))


def _parse_xml(text: str, name: str) -> ET.Element:
    if len(text) > _LARGEST:
        raise ConfigError(f"{name} has {len(text)} characters", f"at most {_LARGEST}")
    check_xml(text, name, ConfigError)
    try:
        return ET.fromstring(text)  # safe: without a DOCTYPE there are no entities
    except ET.ParseError as error:
        raise ConfigError(f"{name} is not XML ({error})", "a configuration as Gadgetron reads it") from None
    except ValueError as error:
        raise ConfigError(f"{name} cannot be read ({error})", "XML in UTF-8") from None


def _names_us(path: Path) -> bool:
    try:
        return f'name="{MODULE}"' in read_config(path)
    except ConfigError:
        return False
