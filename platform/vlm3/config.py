"""User configuration: YAML 1.2 recipes and `--set a.b=c`, read into strict, frozen pydantic models."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from io import StringIO
from pathlib import Path
from textwrap import shorten
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vlm3.errors import ConfigError, nearest

_KEY = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^."'=][^.=]*))""")
_ASSIGNMENT = re.compile(rf"\s*(?P<path>{_KEY.pattern}(?:\.{_KEY.pattern})*)\s*=(?P<value>.*)", re.DOTALL)


class StrictModel(BaseModel):
    """Base of every user-facing configuration: immutable, no coercion, unknown keys refused, numbers finite.

    YAML writes infinity as `.inf`, and a number too large for a float becomes infinity. Models for listings of foreign
    data allow such numbers, since the checks of the data report them with their row.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: object, where: str) -> Self:
        """Build the model from plain data (read from YAML or JSON).

        Args:
            data: mappings, lists and scalars; strings are accepted for enums.
            where: name of the file or request, for the error message.

        Raises:
            ConfigError: naming the first wrong key, what was expected there and the nearest valid key.
        """
        try:
            # Strict JSON mode accepts strings for enums and lists for tuples, but not "1" for 1.
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise ConfigError(f"{where}: {_explain(cls, error)}") from None
        except (TypeError, ValueError) as error:  # e.g. a date, or an anchor that contains itself
            raise ConfigError(f"{where}: not plain YAML data: {error}") from None


def load_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file (in which `2e-5` is a number) as plain data.

    Raises:
        ConfigError: the file is missing or not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; give the path of a YAML recipe, such as jobs/recipes/rooms.yaml"
        ) from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None


def dump_yaml(data: object) -> str:
    """Write plain data as YAML text that `load_yaml` can read."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(data, stream)
    return stream.getvalue()


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted path: {"a": {"b": 1}, "c": {}} gives ("a.b", 1) and ("c", {})."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def apply_overrides(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of `data` with `a.b.c=value` assignments applied; values are read as YAML.

    A key that contains a dot or `=` is written in quotes: `sources."a.b".weight=1`.

    Raises:
        ConfigError: an assignment has no `=`, or walks through something that is not a mapping.
    """
    result = copy.deepcopy(data)
    for assignment in assignments:
        keys, text = _parted(assignment)
        try:
            value = YAML(typ="safe", pure=True).load(text) if text.strip() else None
        except YAMLError as error:
            raise ConfigError(f"--set {assignment!r}: value is not YAML: {error}") from None
        node = result
        for depth, key in enumerate(keys[:-1]):
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise ConfigError(f"--set {assignment!r}: {_path(keys[: depth + 1])} is a value, it has no keys")
            node = child
        node[keys[-1]] = value
    return result


def _parted(assignment: str) -> tuple[list[str], str]:
    """Keys and value text of an assignment such as `a."b.c".d=value`.

    Raises:
        ConfigError: the text is not an assignment.
    """
    found = _ASSIGNMENT.fullmatch(assignment)
    if found is None:
        raise ConfigError(
            f"--set {assignment!r}: expected key.subkey=value, e.g. --set train.steps=200; a key with a dot or = in it"
            """ stands in quotes, e.g. --set 'sources."a.b".weight=1'"""
        )
    return [double or single or bare for double, single, bare in _KEY.findall(found["path"].strip())], found["value"]


def _path(keys: Sequence[int | str]) -> str:
    """Keys as one dotted path, as `--set` takes it."""
    return ".".join(f'"{key}"' if isinstance(key, str) and re.search("[.=]", key) else str(key) for key in keys)


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """One line on the most telling fault of a validation, and the number of other faults."""
    faults = error.errors(include_url=False)
    # A misspelt required key is reported twice, as unknown and as missing: the unknown one names what the user wrote.
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    path = _path(first["loc"]) or "(top)"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        parent = _first_model(reduce(_inside, first["loc"][:-1], model))
        return f"unknown key {path!r}{nearest(str(first['loc'][-1]), parent.model_fields if parent else ())}{more}"
    found = "" if first["type"] == "missing" else f", found {shorten(repr(first['input']), 100)}"
    return f"{path}: {first['msg'].removeprefix('Value error, ')}{found}{more}"


def _inside(annotation: Any, part: int | str) -> Any:
    """Type annotation of the entry `part` (key or index) in a value of type `annotation`; None if unknown."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        # If a union has several members, pydantic puts the name of the member it tried into the path.
        members = [m for m in arguments if getattr(m, "__name__", None) == part]
        return members[0] if members else next((found for m in arguments if (found := _inside(m, part))), None)
    return (arguments[1] if origin in (dict, Mapping) else arguments[0]) if arguments else None


def _first_model(annotation: Any) -> type[BaseModel] | None:
    """The first pydantic model inside an annotation such as `Source | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _first_model(argument))), None)
