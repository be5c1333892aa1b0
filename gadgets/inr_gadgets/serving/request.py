"""What a client asks for before its data: a configuration, the scan's header and, from some, parameters as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from inr_core.errors import ConfigError, ParameterError, ProtocolError
from inr_core.methods import list_methods
from inr_core.parameters import DataclassInstance, plain_name
from inr_gadgets.chain import ChainConfig, GadgetTable
from inr_gadgets.configs import load_config, parse_config
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.header import parse_header
from inr_gadgets.reconstruction.recon_parameters import ReconParameters
from inr_gadgets.wire.messages import ConfigFile, ConfigText, Header, Text

logger = logging.getLogger(__name__)

_MOST_PARAMETERS, _LONGEST_NAME = 1000, 200


@dataclass
class Request:
    """Gathers the messages that come before the data.

    Attributes
    ----------
    config
        The first message; None when that was JSON, which may name a configuration.
    default
        The configuration of a client that names none; None if it has to name one.
    header
        ismrmrd.xsd.ismrmrdHeader, and its text; None until it has come.
    parameters
        Of the JSON, ``config`` and ``customconfig`` included.
    """

    config: ConfigFile | ConfigText | None = None
    default: ConfigFile | None = None
    header: Any = None
    header_xml: str = ""
    parameters: dict[str, object] = field(default_factory=dict)

    def take(self, message: Any) -> bool:
        """Take a message in; False when it is not one that comes before the data.

        Raises
        ------
        ProtocolError
            When it is out of order.
        DataError
            When the header cannot be read.
        ParameterError
            When JSON cannot be read.
        """
        if is_json(message):
            self.parameters.update(_parameters(message.text))
            if len(self.parameters) > _MOST_PARAMETERS:
                raise ParameterError(f"more than {_MOST_PARAMETERS} parameters", "fewer; inr-recon methods lists all")
        elif isinstance(message, ConfigFile | ConfigText):
            if self.config is not None:
                raise ProtocolError("a second configuration", "the header after the first")
            if self.header is not None:
                raise ProtocolError("a configuration after the header", "the configuration first")
            self.config = message
        elif isinstance(message, Header):
            if self._nothing_named():
                raise ProtocolError("the header before the configuration", "the configuration first")
            if self.header is not None:
                raise ProtocolError("a second header", "one, before the data")
            self.header, self.header_xml = parse_header(message.xml), message.xml
        else:
            return False
        return True

    def check_complete(self, arrived: str) -> None:
        """Raise ProtocolError when the data begin too early."""
        if self.header is None:
            missing = "configuration" if self._nothing_named() else "header"
            raise ProtocolError(f"{arrived} before the {missing}", "configuration, header, data, CLOSE")

    def chain_config(self, table: GadgetTable) -> ChainConfig:
        """Find the configuration: the one that the JSON names, or else the first message's."""
        name = self.parameters.get("customconfig") or self.parameters.get("config")
        if name:
            if not isinstance(name, str):
                raise ParameterError(f"config = {name!r}", "the name of a configuration")
            return load_config(name, table)
        if isinstance(self.config, ConfigText):
            config = parse_config(self.config.text, table)
            for gadget in config.gadgets:
                _refuse_paths(gadget.properties)
            return config
        named = self.config or self.default
        if named is None:
            raise ConfigError("no configuration", "its name or its text before the header, or config in the JSON")
        return load_config(named.name, table)

    def _nothing_named(self) -> bool:
        return self.config is None and self.default is None and not self.parameters

    def settings(self) -> dict[str, object]:
        """Return the JSON's parameters without the names of configurations.

        Raises
        ------
        ParameterError
            For a parameter that names a file of this machine.
        """
        _refuse_paths(self.parameters)
        return {name: value for name, value in self.parameters.items() if name not in ("config", "customconfig")}


def is_json(message: Any) -> bool:
    """Tell parameters from a configuration's XML and from text that somebody only wants to have said."""
    return isinstance(message, Text | ConfigText) and message.text.lstrip().startswith("{")


def _refuse_paths(names: Iterable[str]) -> None:
    """Nothing that a client sends is used as a path."""
    kinds: list[tuple[str, type[DataclassInstance]]] = [("buffer", BufferParameters), ("recon", ReconParameters)]
    kinds += [("recon", method.parameter_type) for method in list_methods()]
    paths = {(owner, f.name) for owner, kind in kinds for f in fields(kind) if f.metadata["path"]}
    for name in names:
        for owner, path in sorted(paths):
            if plain_name(name).rpartition(".")[2].removeprefix(owner) == plain_name(path):
                raise ParameterError(
                    f"parameter {name} from a client",
                    "files to be named where the server runs",
                    f"inr-recon serve --set {owner}.{path}=FILE",
                )


def _parameters(text: str) -> dict[str, object]:
    good = '{"parameters": {"name": value}}'
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ParameterError(f"parameters that are not JSON ({error})", good) from None
    except RecursionError:
        raise ParameterError("parameters that are nested too deeply", good) from None
    found = document.get("parameters")
    if not isinstance(found, dict):
        raise ParameterError("JSON without parameters", good)
    if any(len(name) > _LONGEST_NAME for name in found):
        raise ParameterError(f"a parameter's name of more than {_LONGEST_NAME} characters", good)
    return found
