"""The label of an OpenRecon container, and the way of its parameters back to the gadgets."""

from __future__ import annotations

import base64
import copy
import json
from datetime import date
from typing import Any

import pytest

import scans
from inr_core.errors import ConfigError, MissingDependencyError, ParameterError
from inr_core.methods import get_method
from inr_gadgets.chain import GADGETS
from inr_gadgets.configs import list_configs, parse_config, read_config
from inr_gadgets.packaging import label as label_module
from inr_gadgets.packaging.dockerfile import make_dockerfile
from inr_gadgets.packaging.label import CONFIGS, LABEL_NAME, encode_label, label_problems, label_text, make_label
from inr_gadgets.packaging.spec import PackageSpec, package_version
from inr_gadgets.serving.request import Request
from inr_gadgets.wire.messages import ConfigFile, ConfigText, Header, Text

SPEC = PackageSpec("MyLab", version="1.2.3")
LABEL = make_label(SPEC, date(2026, 11, 20))
PARAMETERS = {parameter["id"]: parameter for parameter in LABEL["parameters"]}


def test_it_keeps_the_rules_of_the_host() -> None:
    assert label_problems(LABEL) == []
    assert len(PARAMETERS) == len(LABEL["parameters"]) <= 14
    assert all(name.isascii() and name.isalnum() for name in PARAMETERS)
    assert [p["type"] for p in LABEL["parameters"] if p["id"] == "config"] == ["choice"]
    assert LABEL["general"]["regulatory_information"]["manufacture_date"] == "2026/11/20"
    assert len(LABEL["general"]["regulatory_information"]) == 11
    assert LABEL["reconstruction"]["content_qualification_type"] == "RESEARCH"
    assert (LABEL["reconstruction"]["emitter"], LABEL["reconstruction"]["injector"]) == ("raw", "image")
    assert LABEL["reconstruction"]["port"] == 9002
    # The host takes steps of 0.1 for numbers, and units of at most three characters.
    numbers = [
        p[key] for p in LABEL["parameters"] if p["type"] == "double" for key in ("minimum", "default", "maximum")
    ]
    assert all(number * 10 == round(number * 10) for number in numbers)
    assert all(len(p["unit"]["en"]) <= 3 for p in LABEL["parameters"] if "unit" in p)


def test_the_configurations_are_those_that_stream() -> None:
    texts = {path.stem: read_config(path) for path in list_configs()}
    # A chain that Gadgetron dials is one of the others in another place.
    found = [parse_config(text, name=name) for name, text in texts.items() if "<connect" not in text]
    methods = {config.name: dict(config.gadgets[1].properties).get("method", "inr") for config in found}
    assert set(CONFIGS) == {name for name, method in methods.items() if get_method(method).streams}
    assert [value["id"] for value in PARAMETERS["config"]["values"]] == list(CONFIGS)
    assert PARAMETERS["config"]["default"] == "inr_dynamic"


def test_no_configuration_sets_what_the_card_sets() -> None:
    """The host sends every default, which would win over the configuration's own value."""
    for path in list_configs():
        for gadget in parse_config(read_config(path), name=path.stem).gadgets:
            assert not {name.replace("_", "") for name in gadget.properties} & set(PARAMETERS)


def chain_of(values: dict[str, object], kind: type[Text] | type[ConfigText] = Text) -> dict[str, Any]:
    """What the gadgets' parameters become when the host sends these values."""
    request = Request()
    sent = json.dumps({"version": "1.1.0", "parameters": values})
    for message in (ConfigFile("openrecon"), Header(scans.header_xml()), kind(sent)):
        assert request.take(message)
    chain = request.chain_config(GADGETS).build(request.header, None, request.settings())
    return {gadget.name: gadget.parameters for gadget in chain.gadgets}


@pytest.mark.parametrize("config", CONFIGS)
def test_what_nobody_touched_is_understood_by_every_configuration(config: str) -> None:
    made = chain_of({name: parameter["default"] for name, parameter in PARAMETERS.items()} | {"config": config})
    path = next(path for path in list_configs() if path.stem == config)
    plain = {gadget.target: gadget.properties for gadget in parse_config(read_config(path)).gadgets}
    for target, kind in (("buffer", label_module.BufferParameters), ("recon", label_module.ReconParameters)):
        for field in kind.__dataclass_fields__.values():
            expected = plain[target].get(field.name, field.default)
            assert str(getattr(made[target], field.name)).lower() == str(expected).lower()
    assert made["image"].dtype == "uint16"  # the one default that differs from the gadget's


@pytest.mark.parametrize("kind", [Text, ConfigText])
@pytest.mark.parametrize("as_text", [False, True])
def test_every_parameter_comes_back_to_its_gadget(kind, as_text: bool) -> None:
    values: dict[str, object] = {
        "spokesperframe": 13,
        "stride": 5,
        "framems": 40.5,
        "angles": "uniform",
        "tinygolden": 7,
        "angledirection": "backward",
        "delays": "off",
        "whiten": "off",
        "virtualcoils": 6,
        "latencyms": 30.0,
        "refineseconds": 20.5,
        "matrixscale": 2.0,
        "dtype": "float32",
    }
    assert set(values) == set(PARAMETERS) - {"config"}
    for name, value in values.items():
        assert value != PARAMETERS[name]["default"]
    sent = {name: str(value) if as_text else value for name, value in values.items()}
    made = chain_of({"config": "inr_dynamic", **sent}, kind)
    arrived = {
        name.replace("_", ""): getattr(parameters, name)
        for parameters in made.values()
        for name in parameters.__dataclass_fields__
    }
    assert {name: arrived[name] for name in values} == values


def broken(*path: str | int, value: object = None) -> dict[str, Any]:
    """The label with one thing changed; None takes it away."""
    made = copy.deepcopy(LABEL)
    part: Any = made
    for step in path[:-1]:
        part = part[step]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (broken("general"), "has at its top: 'general' is a required property"),
        (broken("general", "version", value="1.2"), "has at general.version: '1.2' does not match "),
        (broken("general", "regulatory_information", "udi"), "has at general.regulatory_information: 'udi' is a req"),
        (broken("reconstruction", "emitter", value="spokes"), "has at reconstruction.emitter: 'spokes' is not one of"),
        (
            broken("reconstruction", "colour", value="red"),
            "has at reconstruction: Additional properties are not allowed",
        ),
        (
            broken("parameters", 1, "id", value="spokes_per_frame"),
            "has at parameters.1.id: 'spokes_per_frame' does not",
        ),
        (broken("parameters", 1, "maximum"), "has at parameters.1: 'maximum' is a required property"),
        (broken("parameters", 3, "unit", value={"en": "frames"}), "has at parameters.3.unit.en: 'frames' is too long"),
        (broken("parameters", 0), "has at parameters: "),
        (broken("parameters", value=LABEL["parameters"] * 2), "has at parameters: "),
        (broken("parameters", value=[LABEL["parameters"][0]] * 2), "has at parameters: Too many items match"),
        (broken("parameters", 2, "id", value="whiten"), "has parameter whiten twice"),
        (broken("parameters", 0, "default", value="inr"), "has parameter config with a default that is none of its"),
        (
            broken("parameters", 1, "default", value=-1),
            "has parameter spokesperframe with the default -1, outside of 0",
        ),
        ([], "has at its top: [] is not of type 'object'"),
    ],
)
def test_what_a_host_would_refuse(label: Any, problem: str) -> None:
    assert label_problems(label)[0].startswith(problem)


def test_a_configuration_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_module, "CONFIGS", {**CONFIGS, "nonsense": "?"})
    with pytest.raises(ConfigError, match="configuration 'nonsense'; expected one of cg_sense"):
        make_label(SPEC, date(2026, 11, 20))


def test_a_label_that_the_schema_refuses_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_module, "PORT", 70000)
    with pytest.raises(ConfigError, match=r"the label has at reconstruction\.port: 70000 is greater than the maximum"):
        make_label(SPEC, date(2026, 11, 20))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(MissingDependencyError, match=r"labels need jsonschema .*'inr-recon\[package\]'"):
        label_problems(LABEL)


def test_gpu_and_memory() -> None:
    made = make_label(PackageSpec("MyLab", gpu=True, memory_mb=9000), date(2026, 11, 20))["reconstruction"]
    assert (made["can_use_gpu"], made["min_count_required_gpus"], made["min_required_memory"]) == (True, 0, 9000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vendor": "My Lab"}, "--vendor 'My Lab'; expected letters and digits"),
        ({"vendor": "MyLab", "identifier": "inr_recon"}, "--id 'inr_recon'; expected letters and digits"),
        ({"vendor": "MyLab", "version": "1.0"}, "--version '1.0'; expected three numbers; for example"),
        ({"vendor": "MyLab", "version": "1.0.0rc1"}, "--version '1.0.0rc1'; expected three numbers"),
        ({"vendor": "MyLab", "memory_mb": 0}, "--memory 0; expected at least 1 MB"),
    ],
)
def test_names_that_a_host_would_not_take(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(")):
        PackageSpec(**values)


def test_names_of_the_files() -> None:
    assert (SPEC.archive_name, SPEC.tag) == ("OpenRecon_MyLab_INRrecon_V1.2.3.zip", "openrecon_mylab_inrrecon:v1.2.3")
    later = PackageSpec("MyLab", version="1.2.3", system="va70")
    assert later.archive_name == "OpenRecon_MyLab_INRrecon_V1.2.3.OpenReconPackage.zip"
    PackageSpec("MyLab", version=package_version())


def test_the_dockerfile_carries_the_label_where_it_is_read_there() -> None:
    lines = make_dockerfile(SPEC, LABEL, "inr-recon:9").splitlines()
    assert [line for line in lines if line.startswith(("ARG", "FROM"))] == ["ARG BASE=inr-recon:9", "FROM ${BASE}"]
    assert {"USER root", "EXPOSE 9002", "ENTRYPOINT []", "HEALTHCHECK NONE"} <= set(lines)
    assert 'CMD ["inr-recon", "serve", "--host", "0.0.0.0", "--port", "9002", "--once"]' in lines
    name, value = lines[-1].removeprefix("LABEL ").split("=", 1)
    assert name == f'"{LABEL_NAME}"'
    assert json.loads(base64.b64decode(value.strip('"'))) == LABEL == json.loads(label_text(LABEL))
    later = make_dockerfile(PackageSpec("MyLab", system="va70"), LABEL, "inr-recon:9")
    assert LABEL_NAME not in later
    assert encode_label(LABEL) not in later
