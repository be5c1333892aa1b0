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
from inr_gadgets.wire.plain_xml import check_xml

MODULE = "inr_gadgets.external"
_LARGEST = 1 << 20  # bytes; Gadgetron's largest has 30 kB
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,199}")  # a longer one is none of a file


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


def parse_configuration(text: str, owner: str) -> ET.Element | None:
    """Read a gadget's ``<configuration>`` as Gadgetron hands it on: of an absent one only the XML declaration is left.

    Raises
    ------
    ConfigError
        When it is not XML, or another element.
    """
    bare = re.sub(r"^\s*<\?xml[^>]*\?>\s*", "", text.strip("\0 \t\r\n"))
    if not bare:
        return None
    root = _parse_xml(bare, f"the configuration of {owner}")
    if root.tag != "configuration":
        raise ConfigError(f"<{root.tag}> in place of the configuration of {owner}", "<configuration> with properties")
    return root


def named_gadget(configuration: ET.Element | None, target: str | None, table: GadgetTable) -> str:
    """Return the gadget that a link is for, by its target or by the attribute ``gadget`` of its ``<configuration>``.

    Raises
    ------
    ConfigError
        When neither says, or both and not the same, or it is of no gadget of the table.
    """
    named = None if configuration is None else configuration.get("gadget")
    good = f"one of {', '.join(table)}"
    if target is not None and named is not None and named != target:
        raise ConfigError(f"a configuration of gadget '{named}' for target '{target}'", "the same in both")
    found = target or named
    if found is None:
        example = f'<configuration gadget="{next(iter(table))}">'
        raise ConfigError("a <connect> node that does not say which gadget it is for", example, good)
    if found not in table:
        raise ConfigError(f"gadget '{found}'", good)
    return found


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
    configurations = node.findall("configuration")
    configuration = configurations[0] if configurations else None
    connect = node.find("connect")
    target = _executed(node, table, name, good) if connect is None else _dialled(node, connect, table, name, good)
    if len(configurations) > 1:
        raise ConfigError(f"{name} has two elements <configuration> for {target}", "one")
    properties = read_properties(configuration, target)
    return GadgetConfig(named_gadget(configuration, target, table), MappingProxyType(properties))


def _executed(node: ET.Element, table: GadgetTable, name: str, good: str) -> str:
    """The gadget of an ``<external>`` with ``<execute>``."""
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
    return target


def _dialled(node: ET.Element, connect: ET.Element, table: GadgetTable, name: str, good: str) -> str:
    """The gadget of an ``<external>`` with ``<connect>``: for Gadgetron a process to dial, here one like the others."""
    configuration = node.find("configuration")
    target = "" if configuration is None else configuration.get("gadget", "")
    if target not in table:
        raise ConfigError(
            f"{name} asks to <connect> to port {connect.get('port')}",
            f'{good}, or <configuration gadget="{"|".join(table)}"> beside <connect>',
            "this server runs its gadgets itself and connects to nothing that a configuration names",
        )
    return target


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
        text = read_config(path)
        return f'name="{MODULE}"' in text or any(f'<configuration gadget="{gadget}"' in text for gadget in GADGETS)
    except ConfigError:
        return False
