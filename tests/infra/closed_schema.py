"""Custom resource definitions as closed JSON schemas: what a definition does not name is a fault.

The API server drops such fields without a word, unless the client asks it to be strict.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from tests.infra.kuberay_manifests import ROOT
from tests.left_out import NO_DATA

Schema = dict[str, Any]
VARIABLE = "VLM3_TEST_KUBERAY"
FILES = {"RayCluster": "rayclusters", "RayJob": "rayjobs", "RayService": "rayservices"}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Schema = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": STRINGS,
        "annotations": STRINGS,
    },
}
"""What an author writes into an object's metadata: definitions leave it to the API server."""


def definition(kind: str) -> Schema:
    """KubeRay's definition of a kind in version v1; the test is skipped, and counted, where there is none."""
    folder = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared" / "kuberay").resolve()
    file = folder / f"ray.io_{FILES[kind]}.yaml"
    if not file.is_file():
        pytest.skip(
            f"{NO_DATA}no {file}; set {VARIABLE} to a folder with KubeRay's definitions (infra/kuberay/README.md)"
        )
    return _read(file)


@cache
def _read(file: Path) -> Schema:
    versions = yaml.load(file.read_bytes(), yaml.CSafeLoader)["spec"]["versions"]
    schema: Schema = next(v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1" and v["served"])
    return schema


def closed(schema: Schema) -> Schema:
    """A copy that refuses fields without a definition, and does not require those that have a default."""
    made = {key: value for key, value in schema.items() if key not in ("description", "default")}
    fields = {name: closed(field) for name, field in schema.get("properties", {}).items()}
    if "properties" in schema:
        made["properties"] = fields
    if isinstance(schema.get("items"), dict):
        made["items"] = closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = closed(schema["additionalProperties"])
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    elif schema.get("type") == "object":
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    if schema.get("nullable"):
        made["type"] = [made["type"], "null"]
    if "required" in schema:
        made["required"] = [
            name for name in schema["required"] if "default" not in schema.get("properties", {}).get(name, {})
        ]
    return made


def _unique_keys(_: Validator, keys: list[str], values: object, schema: Schema) -> Iterator[ValidationError]:
    """The entries of a list that is a map must differ in these keys: of two that agree, one would be lost."""
    if not isinstance(values, list):
        return
    defaults = {name: field.get("default") for name, field in schema["items"]["properties"].items()}
    seen = [tuple(value.get(key, defaults.get(key)) for key in keys) for value in values if isinstance(value, dict)]
    for key in sorted({key for key in seen if seen.count(key) > 1}, key=str):
        yield ValidationError(f"{key} occurs {seen.count(key)} times in a list with unique {', '.join(keys)}")


_Validator = extend(Draft202012Validator, {"x-kubernetes-list-map-keys": _unique_keys})


@cache
def _validator(kind: str) -> Validator:
    schema = closed(definition(kind))
    schema["properties"]["metadata"] = METADATA
    schema["properties"].pop("status")  # the operator's
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"]["apiVersion"] = {"const": "ray.io/v1"}
    return _Validator(schema)


def schema_faults(manifest: Schema) -> Iterator[str]:
    """What KubeRay's definition of the object's kind has against it."""
    for error in _validator(manifest["kind"]).iter_errors(manifest):
        where = ".".join(str(part) for part in error.absolute_path)
        yield f"{where}: {error.message}"
