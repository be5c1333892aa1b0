"""The label that describes an OpenRecon container to its host: who made it, what it needs, what the operator can set.

The host shows the parameters on the protocol's card and sends all of their values back as JSON with every scan, whether
the operator touched them or not (see :mod:`inr_gadgets.serving.request`). So no parameter is here that one of the
configurations sets to a value of its own: the default would win over it.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any

from inr_core.errors import ConfigError, MissingDependencyError
from inr_core.parameters import describe, plain_name
from inr_gadgets.configs import find_config
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.imaging.image import ImageParameters
from inr_gadgets.packaging.spec import PORT, PackageSpec
from inr_gadgets.reconstruction.recon_parameters import ReconParameters

LABEL_NAME = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"

# What the operator may choose as ``config``, the first being the default, and how it is called on the card.
CONFIGS: Mapping[str, str] = {
    "inr_dynamic": "INR: live, refined at the end",
    "inr_live": "INR: live only",
    "grasp": "GRASP",
    "flow": "INR with motion",
    "cg_sense": "CG-SENSE",
    "nufft": "Gridding",
}


@dataclass(frozen=True)
class _Row:
    """One parameter of the card.

    Attributes
    ----------
    owner, name
        The dataclass and its field.
    label
        What the card calls it.
    default
        In place of the field's own; None keeps that.
    choices
        In place of the field's own; None keeps those.
    help
        In place of the field's own; None keeps that.
    """

    owner: type
    name: str
    label: str
    default: object = None
    choices: tuple[str, ...] | None = None
    help: str | None = None


_CARD = (
    _Row(BufferParameters, "spokes_per_frame", "Spokes of a frame"),
    _Row(BufferParameters, "stride", "New spokes a frame"),
    _Row(BufferParameters, "frame_ms", "Duration of a frame"),
    _Row(BufferParameters, "angles", "Angles of the spokes"),
    _Row(BufferParameters, "tiny_golden", "Tiny golden angle"),
    _Row(BufferParameters, "angle_direction", "Sense of rotation"),
    _Row(BufferParameters, "delays", "Gradient delays"),
    _Row(BufferParameters, "whiten", "Noise whitening"),
    _Row(ReconParameters, "virtual_coils", "Virtual coils"),
    _Row(ReconParameters, "latency_ms", "Time for a live image"),
    _Row(ReconParameters, "refine_seconds", "Time for the refinement"),
    _Row(ReconParameters, "matrix_scale", "Finer pixels (refined)"),
    # Databases of images hold 12 bits a pixel; complex images have no place there.
    _Row(
        ImageParameters,
        "dtype",
        "Data type of the images",
        default="uint16",
        choices=("uint16", "float32"),
        help="uint16: 12 bits a pixel; float32: without rounding or clipping",
    ),
)


def make_label(spec: PackageSpec, made_on: date) -> dict[str, Any]:
    """Return the label of a package.

    Parameters
    ----------
    spec
        Of the package.
    made_on
        The date that it shows.

    Raises
    ------
    ConfigError
        When a configuration that it offers is not installed, or the host's schema refuses the label.
    """
    label = {
        "general": _general(spec, made_on),
        "reconstruction": _reconstruction(spec),
        "parameters": [_config_choice(), *(_parameter(row) for row in _CARD)],
    }
    if problems := label_problems(label):
        raise ConfigError(f"the label {problems[0]}", "one that the schema accepts")
    return label


def label_text(label: Mapping[str, Any]) -> str:
    """Return the label as the JSON that is encoded and shipped: the same text for the same label."""
    return json.dumps(label, indent=2, ensure_ascii=True) + "\n"


def encode_label(label: Mapping[str, Any]) -> str:
    """Return the value of the image's label :data:`LABEL_NAME`."""
    return base64.b64encode(label_text(label).encode()).decode()


def label_problems(label: object) -> list[str]:
    """Return what a host would refuse in a label, one line each; empty for a good one.

    Raises
    ------
    MissingDependencyError
        Without the extra ``package``.
    """
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise MissingDependencyError.of_extra("labels need jsonschema", "package", error) from None
    errors = sorted(Draft202012Validator(_schema()).iter_errors(label), key=lambda error: list(map(str, error.path)))
    problems = [f"has at {_where(error.path)}: {error.message}" for error in errors]
    if not problems and isinstance(label, dict):
        problems = list(_beyond_the_schema(label["parameters"]))
    return problems


def _beyond_the_schema(parameters: list[dict[str, Any]]) -> list[str]:
    """What no schema says of a label's parameters: names once, defaults that are possible."""
    problems = []
    names = [parameter["id"] for parameter in parameters]
    problems += [f"has parameter {name} twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for parameter in parameters:
        name = parameter["id"]
        if parameter["type"] == "choice" and parameter["default"] not in [value["id"] for value in parameter["values"]]:
            problems.append(f"has parameter {name} with a default that is none of its values")
        if parameter["type"] in ("int", "double"):
            low, default, high = (parameter[key] for key in ("minimum", "default", "maximum"))
            if not low <= default <= high:
                problems.append(f"has parameter {name} with the default {default}, outside of {low} to {high}")
    return problems


def _general(spec: PackageSpec, made_on: date) -> dict[str, Any]:
    return {
        "name": {"en": spec.identifier},
        "version": spec.version,
        "vendor": spec.vendor,
        "information": {
            "en": "Dynamic radial images by implicit neural representations: live, and refined at the end."
        },
        "id": spec.identifier,
        "regulatory_information": {
            "device_trade_name": spec.identifier,
            "production_identifier": spec.version,
            "manufacturer_address": "not a product",
            "made_in": "not a product",
            "manufacture_date": made_on.strftime("%Y/%m/%d"),
            "material_number": f"{spec.identifier}_{spec.version}",
            "gtin": "none",
            "udi": "none",
            "safety_advices": "Research only; not a medical device; not for diagnosis.",
            "special_operating_instructions": "Radial scans only; see the manual.",
            "additional_relevant_information": "Open source, MIT licence; without warranty.",
        },
    }


def _reconstruction(spec: PackageSpec) -> dict[str, Any]:
    return {
        "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
        "port": PORT,
        "emitter": "raw",
        "injector": "image",
        "can_process_adjustment_data": False,
        "can_use_gpu": spec.gpu,
        # None is required: without one the same images take longer.
        "min_count_required_gpus": 0,
        "min_required_gpu_memory": 0,
        "min_required_memory": spec.memory_mb,
        "min_count_required_cpu_cores": 2,
        "content_qualification_type": "RESEARCH",
        # It would weight the radius of every spoke before the density weights do.
        "require_readout_filter_off": True,
    }


def _config_choice() -> dict[str, Any]:
    for name in CONFIGS:
        find_config(name)
    return {
        "id": "config",
        "label": {"en": "Reconstruction"},
        "type": "choice",
        "values": [{"id": name, "name": {"en": shown}} for name, shown in CONFIGS.items()],
        "default": next(iter(CONFIGS)),
        "information": {"en": "what is reconstructed, and by which method"},
    }


def _parameter(row: _Row) -> dict[str, Any]:
    (field,) = (field for field in describe(row.owner) if field["name"] == row.name)
    default = field["default"] if row.default is None else row.default
    made: dict[str, Any] = {"id": plain_name(row.name), "label": {"en": row.label}}
    choices = row.choices or field["choices"]
    if isinstance(choices, tuple):
        made |= {"type": "choice", "values": [{"id": choice, "name": {"en": choice}} for choice in choices]}
    else:
        made |= {"type": "double" if isinstance(default, float) else "int"}
        made |= {"minimum": field["minimum"], "maximum": field["maximum"]}
        if field["unit"]:
            made["unit"] = {"en": field["unit"]}
    return made | {"default": default, "information": {"en": row.help or field["help"]}}


@functools.cache
def _schema() -> Any:
    return json.loads((files(__package__) / "openrecon_label.schema.json").read_text(encoding="utf-8"))


def _where(path: Any) -> str:
    return ".".join(map(str, path)) or "its top"
